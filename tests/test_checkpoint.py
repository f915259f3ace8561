"""Checkpoints: whole or not used, and what is used is what was written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bench import checkpoint
from bench.checkpoint import CONTENTS, threads_of
from bench.data import Data
from bench.files import sha256, write_whole
from bench.models.vae import VAE
from bench.optimizers import TrainingOptions
from bench.training import train

OPTIONS = TrainingOptions(epochs=4, batch_size=16)


def vae(data: Data, width: int = 16) -> VAE:
    torch.manual_seed(5)
    return VAE(data.spec, latent_dim=2, hidden_dims=[width])


def stopped(data: Data, folder: Path) -> None:
    """A training that was stopped after its third epoch, with a checkpoint of its second and a picture of each epoch."""
    training = train(vae(data), data, OPTIONS, seed=3, folder=folder, checkpoint_seconds=0)
    for progress in training:
        write_whole(folder / f"samples-{progress.epoch}.png", f"picture {progress.epoch}".encode())
        if progress.epoch == 3:
            break
    training.close()


def ended(data: Data, folder: Path | None) -> tuple[dict[str, Tensor], list[Any]]:
    """The weights and losses of the whole training."""
    model = vae(data)
    progress = list(train(model, data, OPTIONS, seed=3, folder=folder))
    return model.state_dict(), [(each.epoch, each.train, each.held_out) for each in progress]


def alike(one: tuple[dict[str, Tensor], list[Any]], other: tuple[dict[str, Tensor], list[Any]]) -> bool:
    return one[1] == other[1] and all(torch.equal(one[0][name], other[0][name]) for name in other[0])


@pytest.fixture(scope="module")
def undisturbed(few_digits: Data) -> tuple[dict[str, Tensor], list[Any]]:
    return ended(few_digits, None)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda content: None,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "junk": lambda content: b"\x00\xffjunk" * 20,
    "first byte": lambda content: flipped(content, 0),
    "middle byte": lambda content: flipped(content, len(content) // 2),
    "last byte": lambda content: flipped(content, len(content) - 1),
}
FILES = [CONTENTS, "model-2.safetensors", "state-2.pt", "samples-1.png"]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("file", FILES)
def test_a_trial_whose_checkpoint_is_damaged_starts_again_and_says_so_in_a_line(
    file: str,
    damage: str,
    few_digits: Data,
    undisturbed: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopped(few_digits, tmp_path)
    content = DAMAGE[damage]((tmp_path / file).read_bytes())
    (tmp_path / file).unlink() if content is None else (tmp_path / file).write_bytes(content)
    assert alike(ended(few_digits, tmp_path), undisturbed)
    said = capsys.readouterr().err
    if (file, damage) != (CONTENTS, "gone"):  # which is no checkpoint at all
        assert said.startswith(f"checkpoint in {tmp_path} cannot be read (")
        assert said.endswith("): the trial starts again\n")
    assert said.count("\n") <= 1


def reseal(folder: Path, changed: Any) -> None:
    """Let a checkpoint say something else of itself, as if it had been written so."""
    if isinstance(changed, dict):
        changed["files"] = {name: sha256((folder / name).read_bytes()) for name in changed["files"]}
        changed["sha256"] = sha256(json.dumps(changed, sort_keys=True).encode())
    (folder / CONTENTS).write_text(json.dumps(changed))


@pytest.mark.parametrize(
    ("foreign", "reason"),
    [
        ("trial", "it is the trial fedcba9876543210's"),
        ("list", "checkpoint.json is not what was written"),
        ("no state", "'state-2.pt'"),
        ("state is a list", "list indices must be integers"),
        ("history", "unexpected keyword argument 'colour'"),
        ("optimisers", "'optimizers'"),
        ("weights", "Error(s) in loading state_dict for VAE:"),
        ("types of weights", "its weights are of other types"),
        ("a history too short", "its history is one of 1 epochs, not of 2"),
        ("a history of words", "must be real number, not str"),
        ("moments too short", "the optimiser of vae was that of other parameters"),
        ("no moments", "the optimiser of vae was that of other parameters"),
        ("other options", "the optimiser of vae was one with other options"),
        ("no threads", "checkpoint.json is not of this version of the suite"),
        ("a million threads", "checkpoint.json says that it had 1000000 threads"),
    ],
)
def test_what_another_version_or_another_trial_left_is_not_gone_on_from(
    foreign: str, reason: str, few_digits: Data, undisturbed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole as files, and of no use; a model that was half put back is put right again."""
    folder = tmp_path / "0123456789abcdef"
    stopped(few_digits, folder)
    contents = json.loads((folder / CONTENTS).read_text())
    del contents["sha256"]
    state = torch.load(folder / "state-2.pt", weights_only=True)
    match foreign:
        case "trial":
            contents["trial"] = "fedcba9876543210"
        case "no state":
            del contents["files"]["state-2.pt"]
        case "state is a list":
            torch.save([1, 2], folder / "state-2.pt")
        case "history":
            torch.save({**state, "history": json.dumps([{"epoch": 0, "colour": "red"}])}, folder / "state-2.pt")
        case "optimisers":
            torch.save({name: value for name, value in state.items() if name != "optimizers"}, folder / "state-2.pt")
        case "types of weights":
            save_file(
                {name: each.half() for name, each in vae(few_digits).state_dict().items()},
                folder / "model-2.safetensors",
            )
        case "a history too short" | "a history of words":
            history = json.loads(state["history"])
            if "words" in foreign:
                history[1]["train"]["loss"] = "low"
            else:
                del history[2]
            torch.save({**state, "history": json.dumps(history)}, folder / "state-2.pt")
        case "moments too short":  # which torch's fused Adam would read beyond
            moments = state["optimizers"]["vae"]["state"][0]
            moments["exp_avg"] = moments["exp_avg"][:1]
            torch.save(state, folder / "state-2.pt")
        case "no moments":
            del state["optimizers"]["vae"]["state"][0]["exp_avg_sq"]
            torch.save(state, folder / "state-2.pt")
        case "other options":
            state["optimizers"]["vae"]["param_groups"][0]["maximize"] = True
            torch.save(state, folder / "state-2.pt")
        case "no threads":
            del contents["threads"]
        case "a million threads":
            contents["threads"] = 10**6
        case "weights":
            save_file(vae(few_digits, width=17).state_dict(), folder / "model-2.safetensors")
    reseal(folder, [contents] if foreign == "list" else contents)
    assert alike(ended(few_digits, folder), undisturbed)
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("writes", range(4))
def test_a_kill_between_two_writes_leaves_the_checkpoint_before(
    writes: int, few_digits: Data, undisturbed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint is three files; killed after so many of them, the trial goes on from the last whole one."""

    class Killed(BaseException):
        pass

    done = 0

    def write(path: Path, content: bytes) -> None:
        nonlocal done
        if done == 3 + writes:  # the first checkpoint is whole
            raise Killed
        write_whole(path, content)
        done += 1

    training = train(vae(few_digits), few_digits, OPTIONS, seed=3, folder=tmp_path, checkpoint_seconds=0)
    with monkeypatch.context() as killing:
        killing.setattr(checkpoint, "write_whole", write)
        with pytest.raises(Killed):
            list(training)
    epoch = json.loads((tmp_path / CONTENTS).read_text())["epoch"]
    assert epoch == (1 if writes < 3 else 2)
    assert alike(ended(few_digits, tmp_path), undisturbed)


def test_what_was_laid_down_after_the_checkpoint_is_removed(few_digits: Data, tmp_path: Path) -> None:
    """So that one picture of two, which is all that a kill left of an epoch, does not stand for both."""
    stopped(few_digits, tmp_path)
    assert (tmp_path / "samples-3.png").exists()
    (tmp_path / "folder").mkdir()
    training = train(vae(few_digits), few_digits, OPTIONS, seed=3, folder=tmp_path)
    next(training)
    assert sorted(file.name for file in tmp_path.glob("samples-*.png")) == [f"samples-{n}.png" for n in (0, 1, 2)]
    assert not (tmp_path / "folder").exists()
    training.close()


def test_a_file_in_the_folder_s_place_is_no_checkpoint(few_digits: Data, undisturbed: Any, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"junk")
    assert alike(ended(few_digits, tmp_path / "key"), undisturbed)


def test_the_threads_that_a_trial_began_with_are_kept(few_digits: Data, tmp_path: Path) -> None:
    assert threads_of(tmp_path) is None
    stopped(few_digits, tmp_path)
    assert threads_of(tmp_path) == torch.get_num_threads()
    for nothing in ("[]", "[" * 100_000):
        (tmp_path / CONTENTS).write_text(nothing)
        assert threads_of(tmp_path) is None
    for changed in ({"trial": tmp_path.name}, {"trial": tmp_path.name, "threads": "two"}):
        reseal(tmp_path, {**changed, "files": {}})
        assert threads_of(tmp_path) is None


def test_a_file_that_is_none_or_too_large_is_not_read(
    few_digits: Data,
    undisturbed: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped(few_digits, tmp_path / "pipe")
    (tmp_path / "pipe" / "state-2.pt").unlink()
    os.mkfifo(tmp_path / "pipe" / "state-2.pt")
    assert alike(ended(few_digits, tmp_path / "pipe"), undisturbed)
    assert "(state-2.pt is no file): the trial starts again" in capsys.readouterr().err
    stopped(few_digits, tmp_path / "large")
    largest = max((file.stat().st_size, file.name) for file in (tmp_path / "large").iterdir())
    monkeypatch.setattr(checkpoint, "available", lambda: largest[0] - 1)
    assert alike(ended(few_digits, tmp_path / "large"), undisturbed)
    assert f"({largest[1]} takes " in capsys.readouterr().err
