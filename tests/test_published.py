"""The committed reports: each from the runs that lie beside it, and small enough to be carried about."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.tracking.archive import Archive

REPORTS = Path(__file__).parent.parent / "reports"
PUBLISHED = sorted(file.parent.name for file in REPORTS.glob("*/runs.zip"))
SMALLEST = sorted(PUBLISHED, key=lambda name: (REPORTS / name / "runs.zip").stat().st_size)[:2]
MOST_MEGABYTES = 60  # of all runs together


def test_the_runs_of_all_reports_are_few_megabytes() -> None:
    assert sum((REPORTS / name / "runs.zip").stat().st_size for name in PUBLISHED) < MOST_MEGABYTES * 1e6


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_report_names_committed_code_and_no_place(name: str) -> None:
    """Of every run: where it was changed the commit says so, and where it lay says nothing of it."""
    text = (REPORTS / name / "README.md").read_text()
    assert re.search(r"^\* commit: [0-9a-f]{40}(, [0-9a-f]{40})*$", text, re.MULTILINE)
    assert f"bench import reports/{name}/runs.zip\nbench report {name}" in text
    with Archive(REPORTS / name / "runs.zip") as archive:
        for run_id in archive.studies()[name]:
            facts = json.dumps(archive.run(run_id).tags)
            assert not re.search(r"/(home|root|work|tmp)/", facts)


@pytest.mark.parametrize("name", SMALLEST)
def test_a_report_can_be_made_again_by_the_commands_on_its_page(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "reports").symlink_to(REPORTS)
    study = REPORTS.parent / "studies" / f"{name}.toml"
    (tmp_path / "studies" / study.name).write_text(study.read_text())
    monkeypatch.chdir(tmp_path)
    commands = re.search(
        r"^bench import .*\nbench report .*$", (REPORTS / name / "README.md").read_text(), re.MULTILINE
    )
    assert commands
    for command in commands[0].splitlines():
        result = CliRunner().invoke(main, command.split()[1:])
        assert result.exit_code == 0, result.output
    again = tmp_path / "mlruns" / "reports" / name
    for file in ("summary.csv", "claims.csv"):
        if (REPORTS / name / file).exists():
            assert (again / file).read_text() == (REPORTS / name / file).read_text()
    answers = [json.loads((folder / name / "report.json").read_text())["answer"] for folder in (REPORTS, again.parent)]
    assert answers[0] == answers[1]
