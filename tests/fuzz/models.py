"""Trained models and what a trial keeps while it trains."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
from pathlib import Path
from typing import Any, ClassVar

import tomli_w
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save

from bench.checkpoint import CONTENTS, _seal
from bench.contract import Diverged, ImageSpec
from bench.data import Data
from bench.files import sha256
from bench.models.vae import VAE
from bench.optimizers import TrainingOptions
from bench.run.saved import TRIAL, WEIGHTS, describe, load_trained, read_trial
from bench.text import LONGEST_LINE
from bench.training import train
from tests.fuzz.mutations import NUMBERS, as_json, changed, displaced, flipped, mutated_toml, remove
from tests.fuzz.target import BYTES, PICKLES, PLACES, Broken, Target

SPEC = ImageSpec(1, 4, 4, ("a", "b"))


class Trials(Target):
    """``trial.toml``, beside sound weights."""

    NAMED = "inside"  # one of the two files there
    MUTATIONS: ClassVar = {
        "bytes": BYTES,
        "values": "keys and values of other types, sizes and places, or none",
        "deep": "tables and lists in one another, long keys, numbers of many digits",
        "sizes": "one number of the model, its images or its classes, up to 10^400",
        "pickles": PICKLES,
        "places": PLACES,
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.weights = save(VAE(SPEC, hidden_dims=[3]).state_dict())
        self.tables = describe(self.trial, SPEC, self.weights)
        (folder / WEIGHTS).write_bytes(self.weights)

    def make(self, mutation: str, draw: random.Random) -> None:
        file = self.folder / TRIAL
        remove(file)
        tables = json.loads(json.dumps(self.tables))
        if mutation == "values":
            file.write_bytes(mutated_toml(tables, draw))
            return
        if mutation == "sizes":
            image, params = tables["image"], tables["settings"]["params"]
            number = draw.choice(NUMBERS)
            match draw.randrange(3):
                case 0:
                    image[draw.choice(("channels", "height", "width"))] = number
                case 1:
                    params[draw.choice(("latent_dim", "hidden_dims"))] = draw.choice((number, [number], [number] * 200))
                case _:
                    image["classes"] = [str(each) for each in range(draw.choice((0, 1, 3, 100_000)))]
        content = tomli_w.dumps(tables).encode()
        if mutation == "deep":
            size, top = draw.choice((10, 40, 1000, 100_000)), draw.choice(("settings.params", "settings", "image", "x"))
            own = f"[{top}.{'.'.join(['a'] * size)}]", f"x = {'[' * size}{']' * size}", f"{'x' * size} = {'1' * size}"
            content = draw.choice(own).encode() + b"\n" + content
        file.write_bytes({"bytes": flipped(content, draw), "pickles": self.payload}.get(mutation, content))
        if mutation == "places":
            displaced(file, draw)

    def read(self) -> None:
        read_trial(self.folder)
        load_trained(self.folder)


class Weights(Trials):
    """``model.safetensors``, beside a sound trial, with its digest or without."""

    MUTATIONS: ClassVar = {
        "bytes": BYTES,
        "headers": "headers with other names, types, shapes and places",
        "tensors": "tensors of other shapes and types, more of them, fewer",
        "pickles": PICKLES + ", by itself and in torch's own format",
        "places": PLACES,
    }

    def make(self, mutation: str, draw: random.Random) -> None:
        file = self.folder / WEIGHTS
        remove(file)
        keep = draw.random() < 0.3
        tables = {name: value for name, value in self.tables.items() if keep or name != "weights"}
        (self.folder / TRIAL).write_bytes(tomli_w.dumps(tables).encode())
        content = self.weights
        match mutation:
            case "bytes":
                content = flipped(content, draw)
            case "headers":
                content = other_header(content, draw)
            case "tensors":
                content = save(other_tensors(load_tensors(content), draw))
            case "pickles":
                content = draw.choice((self.payload, torch_pickle(self.payload)))
            case _:
                pass
        file.write_bytes(content)
        if mutation == "places":
            displaced(file, draw)


class Checkpoints(Target):
    """What a trial of two epochs goes on from: it starts again where that cannot be used, and says so in a line."""

    NAMED = ""
    MUTATIONS: ClassVar = {
        "bytes": BYTES + ", in any of its files",
        "sealed": BYTES + ", under digests that are right",
        "contents": "other keys and values of checkpoint.json, its seal right",
        "states": "other optimisers, averages, random states, histories, under digests that are right",
        "pickles": PICKLES + ", by itself and in torch's own format, under digests that are right",
        "places": PLACES,
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        images = torch.arange(8 * 16).reshape(8, 1, 4, 4).to(torch.uint8)
        self.data = small_data(images)
        self.place = folder / "checkpoint"
        self.options = TrainingOptions(epochs=2, batch_size=4, ema=0.5)
        training = train(self._model(), self.data, self.options, seed=0, folder=self.place, checkpoint_seconds=0)
        for progress in training:
            if progress.epoch == 2:
                break
        training.close()
        self.sound = {file.name: file.read_bytes() for file in self.place.iterdir()}
        self.state = next(name for name in self.sound if name.startswith("state"))

    def _model(self) -> VAE:
        torch.manual_seed(0)
        return VAE(SPEC, hidden_dims=[3])

    def make(self, mutation: str, draw: random.Random) -> None:
        remove(self.place)
        self.place.mkdir()
        files = dict(self.sound)
        contents = json.loads(files.pop(CONTENTS))
        del contents["sha256"]
        name = draw.choice(sorted(files))
        match mutation:
            case "bytes" | "sealed":
                files[name] = flipped(files[name], draw)
            case "contents":
                contents = changed(contents, draw)
            case "states":
                if name == self.state:
                    files[name] = self._other_state(files[name], draw)
                else:
                    files[name] = save(other_tensors(load_tensors(files[name]), draw))
            case "pickles":
                files[name] = draw.choice((self.payload, torch_pickle(self.payload)))
            case _:
                pass
        if mutation in ("sealed", "states", "pickles"):
            contents["files"] = {each: sha256(content) for each, content in files.items()}
        files[CONTENTS] = as_json(
            {**contents, "sha256": _seal(json.loads(as_json(contents)))} if isinstance(contents, dict) else contents
        )
        if mutation == "bytes" and draw.random() < 0.3:
            files[CONTENTS] = flipped(files[CONTENTS], draw)
        for each, content in files.items():
            (self.place / each).write_bytes(content)
        if mutation == "places":
            displaced(self.place / draw.choice(sorted(files)), draw)

    @staticmethod
    def _other_state(content: bytes, draw: random.Random) -> bytes:
        state = torch.load(io.BytesIO(content), weights_only=True)
        name = draw.choice(sorted(state))
        if name == "history":
            history = as_json(changed(json.loads(state[name]), draw)).decode()
            state[name] = draw.choice((history, history, "[" * 100_000, 1))
        else:
            state[name] = _other(state[name], draw)
        written = io.BytesIO()
        torch.save(state, written)
        return written.getvalue()

    def read(self) -> None:
        said, model = io.StringIO(), self._model()
        there = (self.place / CONTENTS).exists()
        with contextlib.redirect_stderr(said):
            past = [each.past for each in train(model, self.data, self.options, seed=0, folder=self.place)]
        lines = said.getvalue().splitlines()
        if len(past) < 3 or len(lines) > 1 or any(len(each) > LONGEST_LINE + 200 for each in lines):
            raise Broken(f"{len(past)} epochs, {lines}")
        self.again = bool(lines)
        if there and not any(past) and not lines:
            raise Broken("it starts again and does not say so")

    def outcome(self) -> str:
        try:
            found = super().outcome()
        except Diverged:  # as any weights may, from which somebody has it go on
            return "refused"
        return "refused" if found == "read" and self.again else found


def _other(value: Any, draw: random.Random) -> Any:
    """A state in which one thing, anywhere, is another."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(list(value))
        match draw.randrange(6):
            case 0:
                return {key: each for key, each in value.items() if key != name}
            case _:
                return {**value, name: _other(value[name], draw)}
    if isinstance(value, list) and value and draw.random() < 0.7:
        return [_other(value[0], draw), *value[1:]]
    if isinstance(value, torch.Tensor) and draw.random() < 0.7:
        return _other_tensor(value, draw)
    return draw.choice((None, 0, -1, "x", [], {}, torch.zeros(3), torch.tensor(float("nan")), 1e300))


def _other_tensor(value: torch.Tensor, draw: random.Random) -> torch.Tensor:
    shape = tuple(draw.choice((0, 1, 3, 16)) for _ in range(draw.randrange(4)))
    kind = draw.choice((torch.float64, torch.int64, torch.uint8, torch.bool, torch.complex64))
    return draw.choice((value[:1] if value.ndim else value[None], value[None], value.to(kind), torch.zeros(shape)))


def other_tensors(tensors: dict[str, torch.Tensor], draw: random.Random) -> dict[str, torch.Tensor]:
    """Tensors of which one has another name, shape or type, is gone or has come."""
    name = draw.choice(sorted(tensors))
    match draw.randrange(4):
        case 0:
            del tensors[name]
        case 1:
            tensors[draw.choice(("x", "a\nb", "x" * 5000, ""))] = tensors.pop(name)
        case 2:
            tensors["more"] = torch.zeros(3)
        case _:
            tensors[name] = _other_tensor(tensors[name], draw).contiguous()
    return tensors


def other_header(content: bytes, draw: random.Random) -> bytes:
    """A file of safetensors that says something else of what is in it."""
    (size,) = struct.unpack("<Q", content[:8])
    header = as_json(changed(json.loads(content[8 : 8 + size]), draw))
    claimed = draw.choice((len(header), len(header), len(header), 0, 2**31, 2**63, 2**64 - 1))
    return struct.pack("<Q", claimed) + header + content[8 + size :]


def torch_pickle(payload: bytes) -> bytes:
    """What `torch.save` writes, with ``payload`` for what it would unpickle."""
    import zipfile

    written = io.BytesIO()
    torch.save({"history": "[]"}, written)
    found = io.BytesIO()
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(found, "w") as new:
        for info in old.infolist():
            new.writestr(info, payload if info.filename.endswith("data.pkl") else old.read(info))
    return found.getvalue()


def small_data(images: torch.Tensor) -> Data:
    """Eight images of two classes, the same to be measured on."""
    from bench.batches import DataOptions, prepare
    from bench.contract import Split

    split = Split(images, torch.arange(8) % 2)
    return prepare("x", SPEC, split, split, DataOptions())
