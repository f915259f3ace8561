"""Saved models that somebody else wrote, or that are damaged: read as data alone, and refused in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load, load_file, save, save_file

import bench.run.saved as saved
from bench.contract import DataError, ImageSpec
from bench.models.vae import VAE
from bench.registry import RegistryError
from bench.run.saved import check_weights, describe, halved, load_trained, read_trial
from bench.study.catalogue import Catalogue
from bench.study.definition import Trial
from bench.study.file import build

SPEC = ImageSpec(1, 4, 4, ("a", "b"))
TABLES: dict[str, Any] = {
    "question": "?",
    "source": "none",
    "model": "vae",
    "datasets": ["digits"],
    "metrics": ["test_loss"],
    "params": {"hidden_dims": [3]},
}


@pytest.fixture
def trial(known: Catalogue) -> Trial:
    return next(build(TABLES, Path("x.toml"), known).grid(known, {}))


@pytest.fixture
def folder(tmp_path: Path, trial: Trial) -> Path:
    """A run's two files."""
    weights = save(VAE(SPEC, hidden_dims=[3]).state_dict())
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "trial.toml").write_bytes(tomli_w.dumps(describe(trial, SPEC, weights)).encode())
    return tmp_path


def changed(folder: Path, *path: str, value: Any) -> None:
    tables = saved._tables(folder / "trial.toml")
    table = tables
    for name in path[:-1]:
        table = table[name]
    if value is None:
        del table[path[-1]]
    else:
        table[path[-1]] = value
    (folder / "trial.toml").write_bytes(tomli_w.dumps(tables).encode())


def test_a_trial_and_its_model_are_read_back(folder: Path, trial: Trial) -> None:
    assert read_trial(folder) == trial
    assert read_trial(folder).key == trial.key
    assert load_trained(folder).training is False
    changed(folder, "settings", "training", "epochs", value=None)  # of before there was such a setting
    assert read_trial(folder).settings["training"]["epochs"] == 20


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("image",), None, "image = None: must be a table"),
        (("image", "channels"), 0, "image.channels = 0: must be a whole number from 1 to 65,536"),
        (("image", "height"), 10**12, "image.height = 1000000000000: must be a whole number from 1 to 65,536"),
        (("image", "width"), "4", "image.width = '4': must be a whole number"),
        (("image", "classes"), ["a\n"], "image.classes = "),
        (("seed",), "x", "seed = 'x': must be a whole number"),
        (("variant",), 3, "variant = 3: must be a text in one line"),
        (("dataset",), "a\nb", "must be a text in one line"),
        (("settings",), 3, "settings = 3: must be a table"),
        (("settings", "params"), None, "params = None: must be a table"),
        (("settings", "params", "latent_dim"), -1, "vae cannot be built: latent_dim = -1: must be positive"),
        (
            ("settings", "params", "latent_dim"),
            10**12,
            r"encoder\.3\.weight is \[4, 3\], and VAE has it as \[2000000000000, 3\]",
        ),
        (("settings", "params", "latent_dim"), 2**62, "vae cannot be built: "),
        (("settings", "params", "latent"), 3, r"no setting 'latent' \(did you mean 'latent_dim'\?\)"),
        (("settings", "params", "hidden_dims"), [[3]], "hidden_dims = .*: must be a list, each item a whole number"),
        (("settings", "training", "vae"), {"learning_rate": 0}, "vae.learning_rate = 0: is no option of a player"),
        (("settings", "data", "classes"), 3, "classes = 3: must be a list"),
        (("varied",), 3, "varied = 3: must be a table"),
        (("fingerprint",), 3, "fingerprint = 3: must be a text"),
    ],
)
def test_a_malformed_trial_is_one_line(folder: Path, path: tuple[str, ...], value: Any, said: str) -> None:
    changed(folder, *path, value=value)
    with pytest.raises(DataError, match=said) as caught:
        load_trained(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_model_that_is_not_here_is_one_line(folder: Path) -> None:
    changed(folder, "model", value="vea")
    for read in (load_trained, read_trial):
        with pytest.raises(RegistryError, match=r"trial.toml: no model 'vea' \(did you mean 'vae'\?\)"):
            read(folder)


@pytest.mark.parametrize(
    "text", ["x", "x = " + 2000 * "[" + 2000 * "]", "x = " + 5000 * "9", "x = '\xff'", "# " + 2**24 * "x"]
)
def test_a_trial_that_is_no_toml_is_one_line(folder: Path, text: str) -> None:
    (folder / "trial.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"trial.toml (cannot be read: .+|holds .+ bytes; a run's has at most .+)$"):
        read_trial(folder)


def header(entries: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        struct.pack("<Q", 2**63) + b"{}",
        header({}, b""),
        header({"encoder.1.weight": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 4]}}, bytes(4)),
        header({"encoder.1.weight": {"dtype": "F32", "shape": [3, 16], "data_offsets": [0, 2**50]}}, bytes(4)),
        b"\x80\x04\x95" + bytes(99),  # as pickles begin
    ],
)
def test_weights_that_are_none_are_one_line(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"model.safetensors( cannot be read|: encoder\.1\.weight is not there)"):
        load_trained(folder)


def test_a_flipped_bit_of_the_weights_is_found(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged: it is not what was written with its trial.toml"):
        load_trained(folder)


def test_in_half_precision_a_model_is_half_as_large_and_its_weights_right_to_the_eleventh_bit(folder: Path) -> None:
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    whole = load_trained(folder).state_dict()
    for name, content in halved({**files, "samples.png": b"a picture"}).items():
        (folder / name).write_bytes(content)
    assert (folder / "samples.png").read_bytes() == b"a picture"
    numbers = sum(value.numel() for value in whole.values())
    assert len(files["model.safetensors"]) - (folder / "model.safetensors").stat().st_size == pytest.approx(
        2 * numbers, abs=32
    )
    for name, value in load_trained(folder).state_dict().items():  # whose digest was found right
        assert value.dtype == torch.float32
        assert not torch.equal(value, whole[name])
        torch.testing.assert_close(value, whole[name], rtol=2**-11, atol=2**-25)


def test_what_half_precision_cannot_hold_stays_as_it_is() -> None:
    tensors = {
        "large": torch.tensor([1e5]),
        "count": torch.tensor(3),
        "small": torch.tensor([0.1]),
        "double": torch.ones(1).double(),
    }
    kept = load(halved({"model.safetensors": save(tensors)})["model.safetensors"])
    assert {name: value.dtype for name, value in kept.items()} == {
        "large": torch.float32,
        "count": torch.int64,
        "small": torch.float16,
        "double": torch.float64,
    }
    assert halved({"model.safetensors": b"damaged"}) == {"model.safetensors": b"damaged"}
    assert halved({"samples.png": b""}) == {"samples.png": b""}


def test_weights_must_have_room_before_they_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = VAE(SPEC, hidden_dims=[3])
    size = sum(value.nbytes for value in model.state_dict().values())
    monkeypatch.setattr(saved, "available", lambda: size)
    check_weights(model, folder / "model.safetensors")
    monkeypatch.setattr(saved, "available", lambda: size - 1)
    with pytest.raises(DataError, match=r"VAE takes .* of memory, and there are"):
        check_weights(model, folder / "model.safetensors")


def test_what_is_not_there_is_one_line(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model.safetensors is not there"):
        load_trained(folder)
    (folder / "trial.toml").unlink()
    (folder / "trial.toml").mkdir()
    with pytest.raises(DataError, match=r"trial.toml is not there, or no file"):
        read_trial(folder)


def test_another_model_s_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(save({"encoder.1.weight": torch.zeros(3, 16)}))
    with pytest.raises(DataError, match=r"encoder.1.bias is not there, and VAE has it as \[3\]"):
        load_trained(folder)


def test_a_file_larger_than_the_model_is_not_looked_into(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as opened:
        opened.truncate(2**26)
    with pytest.raises(
        DataError, match=r"model.safetensors holds 64 MiB, and the weights of VAE take [\d.]+ (KiB|bytes)"
    ):
        load_trained(folder)


def test_names_without_end_in_a_trial_are_refused_before_they_are_read(folder: Path) -> None:
    file = folder / "trial.toml"
    text = file.read_text()
    for own, said in (
        (f"[x.{'a.' * 100_000}a]", "a line of it has 100,001 dots"),
        (f"[x.{'a.' * 60}a]", "too deep in"),
    ):
        file.write_text(f"{text}\n{own}\n")
        with pytest.raises(DataError, match=f"trial.toml cannot be read: .*{said}"):
            load_trained(folder)


@pytest.mark.parametrize(("kind", "said"), [(torch.complex64, "C64"), (torch.float64, "F64"), (torch.int64, "I64")])
def test_weights_of_another_type_are_refused(kind: torch.dtype, said: str, folder: Path) -> None:
    """Complex ones lost their imaginary part, with a remark of torch's over two lines."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "encoder.1.bias": tensors["encoder.1.bias"].to(kind)}, file)
    trial = folder / "trial.toml"
    trial.write_text("\n".join(row for row in trial.read_text().split("\n") if not row.startswith("weights = ")))
    with pytest.raises(DataError, match=rf"encoder\.1\.bias is {said}, and VAE has it as F32"):
        load_trained(folder)
