"""The scripts that measure speed work; what they find is no test's business."""

from __future__ import annotations

import pytest

import perf.__main__ as every
from perf import gpu


def test_the_script_for_a_gpu_does_all_of_it_on_the_processor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu.py", "--tiny"])
    assert gpu.main() == 0
    printed = capsys.readouterr().out
    assert "matrix products of float32" in printed
    for word in ("vae", "gan", "Inception, float32", "Inception, bfloat16"):
        assert word in printed


def test_a_bar_that_is_missed_is_told_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(words: list[str], **more: object) -> object:
        return type("Ended", (), {"returncode": int("perf.start" in words), "stdout": "abc1234\n"})

    monkeypatch.setattr("subprocess.run", run)
    assert every.main(["imports", "start", "store --quick"]) == 1
    assert capsys.readouterr().out.endswith("bars missed by: start\n")
    assert every.main(["imports"]) == 0
    assert "commit abc1234" in capsys.readouterr().out


def test_every_script_is_run_by_the_command_for_all() -> None:
    """But those that need another machine, or a server and half an hour."""
    scripts = {file.stem for file in every.ROOT.glob("perf/*.py")} - {"__main__", "gpu", "scale", "cluster"}
    assert {script.split()[0] for script in every.ALL} == scripts
