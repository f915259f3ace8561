"""A trained model on disk: a run's ``trial.toml`` and ``model.safetensors``, which load without any of the stores.

Both may come from anybody. Nothing of them is believed before it was seen to be what the code takes, nothing is allocated before
there is room for it, and nothing in them is run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_file, save

from bench import __version__
from bench.contract import DataError, ImageSpec, Model
from bench.files import Weights
from bench.memory import available, in_words
from bench.models import model_class
from bench.ranges import Within
from bench.registry import RegistryError, unknown
from bench.study.catalogue import Catalogue, catalogue
from bench.study.definition import SECTIONS, Trial
from bench.study.types import fits, wanted
from bench.text import is_plain, read_toml, reason

TRIAL, WEIGHTS = "trial.toml", "model.safetensors"
LARGEST = 2**24  # bytes of a trial.toml, which holds the names of all classes, and of the names of weights
HALF = "F16"  # of a float32, as `bench export --weights half` keeps it
# What safetensors calls the types that weights and their statistics have.
TYPES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
Side = Annotated[int, Within(least=1, most=2**16)]


def describe(trial: Trial, spec: ImageSpec, weights: bytes) -> dict[str, Any]:
    """A trial, the images and the weights that were made of it, for ``trial.toml``; what is None is left out, as in all TOML."""
    image = {"channels": spec.channels, "height": spec.height, "width": spec.width, "classes": list(spec.classes)}
    made = {"key": trial.key, "image": image, "bench": __version__, "weights": hashlib.sha256(weights).hexdigest()}
    tables: dict[str, Any] = _without_none({**trial.as_dict(), **made})
    return tables


def load_trained(folder: Path | str) -> Model:
    """The trained model in a folder that holds a run's ``trial.toml`` and ``model.safetensors``, in eval mode.

    Raises:
        DataError: one of the two cannot be read, is not there, or they do not belong together.
        RegistryError: there is no such model here.
    """
    place = Path(folder) / TRIAL
    tables = _tables(place)
    trial, spec = _trial(place, tables), _spec(place, tables)
    make, params = model_class(trial.model), trial.settings["params"]
    try:
        with torch.device("meta"):
            bare = make(spec, **params)
    except RegistryError:
        raise
    except Exception as error:  # whatever torch raises over sizes, and a user's own model over anything
        raise DataError(f"{place}: {trial.model} cannot be built: {reason(error)}") from error
    check_weights(bare, Path(folder) / WEIGHTS, str(tables.get("weights", "")))
    model = make(spec, **params)
    model.load_state_dict(load_file(Path(folder) / WEIGHTS))
    return model.eval()


def read_trial(folder: Path | str) -> Trial:
    """The trial that a run's ``trial.toml`` describes.

    Raises:
        DataError: it cannot be read, is not there, or is not what a run writes.
        RegistryError: its model is not there.
    """
    place = Path(folder) / TRIAL
    return _trial(place, _tables(place))


def check_weights(model: Model, file: Path, digest: str = "") -> None:
    """Refuse weights that are not ``model``'s, by names, sizes and types, before any of them is read.

    Args:
        digest: SHA-256 of the file as it was written, where that is known.

    Raises:
        DataError: they are not, or cannot be read.
    """
    if not file.is_file():
        raise DataError(f"{file} is not there, or no file")
    own = {name: list(value.shape) for name, value in model.state_dict().items()}
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    if (held := file.stat().st_size) > size + LARGEST:
        raise DataError(
            f"{file} holds {in_words(held)}, and the weights of {type(model).__name__} take {in_words(size)}"
        )
    try:
        with safe_open(file, framework="pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            found = {name: list(each.get_shape()) for name, each in slices.items()}
            types = {name: each.get_dtype() for name, each in slices.items()}
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {reason(error)}") from error
    for name in [*own, *found]:
        here, there = own.get(name, "none of its own"), found.get(name, "not there")
        if here != there:
            raise DataError(f"{file}: {name} is {there}, and {type(model).__name__} has it as {here}")
    for name, value in model.state_dict().items():
        halved = types[name] == HALF and value.dtype == torch.float32
        if types[name] != TYPES.get(value.dtype, types[name]) and not halved:
            raise DataError(
                f"{file}: {name} is {types[name]}, and {type(model).__name__} has it as {TYPES[value.dtype]}"
            )
    if size > (room := available()):
        raise DataError(
            f"{file}: {type(model).__name__} takes {in_words(size)} of memory, and there are {in_words(room)}"
        )
    if digest and hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        raise DataError(f"{file} is damaged: it is not what was written with its {TRIAL}")


def packing(weights: Weights) -> Callable[[Mapping[str, bytes]], dict[str, bytes]]:
    """What becomes of a run's files, by name, where its weights go into a file of runs so."""

    def without(files: Mapping[str, bytes]) -> dict[str, bytes]:
        return {name: content for name, content in files.items() if name != WEIGHTS}

    kinds: Mapping[Weights, Callable[[Mapping[str, bytes]], dict[str, bytes]]]
    kinds = {"full": dict, "half": halved, "none": without}
    return kinds[weights]


def halved(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A run's files with its weights in float16, and in ``trial.toml`` the digest of those; a model of them computes in float32.

    A tensor goes into half precision where it is float32 and all of it stays finite there. A weight is then right to
    0.05 % of itself, or to 3e-8 where it is smaller than 6e-5.
    """
    try:
        tensors = load(files.get(WEIGHTS, b""))
    except SafetensorError:  # there are none, or they are damaged, which their digest tells whoever reads them
        return dict(files)
    for name, tensor in tensors.items():
        if tensor.dtype == torch.float32 and bool((half := tensor.half()).isfinite().all()):
            tensors[name] = half
    weights = save(tensors)
    before, now = (hashlib.sha256(each).hexdigest().encode() for each in (files[WEIGHTS], weights))
    described = {name: content.replace(before, now) for name, content in files.items() if name == TRIAL}
    return {**files, **described, WEIGHTS: weights}


def kept_in(weights: Mapping[str, torch.Tensor]) -> str:
    """The precision of weights that were kept: ``float16`` where any is in half of it, else ``float32``."""
    return "float16" if any(value.dtype == torch.float16 for value in weights.values()) else "float32"


def _tables(place: Path) -> dict[str, Any]:
    try:
        if not place.is_file():
            raise DataError(f"{place} is not there, or no file")
        if place.stat().st_size > LARGEST:
            raise DataError(f"{place} holds {place.stat().st_size:,} bytes; a run's has at most {LARGEST:,}")
        return read_toml(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{place} cannot be read: {reason(error)}") from error


def _spec(place: Path, tables: Mapping[str, Any]) -> ImageSpec:
    image = _table(place, tables, "image")
    for name in ("channels", "height", "width"):
        if not fits(image.get(name), Side):
            raise DataError(f"{place}: image.{name} = {image.get(name)!r}: must be {wanted(image.get(name), Side)}")
    classes = image.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(word, str) and is_plain(word) for word in classes):
        raise DataError(f"{place}: image.classes = {classes!r}: must be a list of names")
    return ImageSpec(image["channels"], image["height"], image["width"], tuple(classes))


def _trial(place: Path, tables: Mapping[str, Any]) -> Trial:
    known = catalogue()
    for name in ("variant", "model", "dataset"):
        if not isinstance(tables.get(name), str) or not is_plain(tables[name]):
            raise DataError(f"{place}: {name} = {tables.get(name)!r}: must be a text in one line")
    if not fits(tables.get("seed"), int):
        raise DataError(f"{place}: seed = {tables.get('seed')!r}: must be a whole number")
    if not isinstance(tables.get("fingerprint", ""), str):
        raise DataError(f"{place}: fingerprint = {tables['fingerprint']!r}: must be a text")
    if tables["model"] not in known.params:
        raise RegistryError(f"{place}: {unknown('model', tables['model'], sorted(known.params))}")
    settings = _table(place, tables, "settings")
    checked = {section: _settings(place, settings, section, known, tables["model"]) for section in SECTIONS}
    _table(place, tables, "varied")
    found = {field.name: tables[field.name] for field in fields(Trial) if field.name in tables}
    return Trial.from_dict({**found, "settings": checked})


def _settings(place: Path, tables: Mapping[str, Any], section: str, known: Catalogue, model: str) -> dict[str, Any]:
    """One table of settings, each as the code takes it; what is not there, as None never is, is as it is by default."""
    options = known.params[model] if section == "params" else known.options[section]
    given = _table(place, tables, section)
    for name, value in given.items():
        if section == "training" and isinstance(value, Mapping):
            for own, each in value.items():
                if own not in known.player_options or not fits(each, options[own].type):
                    raise DataError(f"{place}: settings.training.{name}.{own} = {each!r}: is no option of a player")
        elif name not in options:
            raise DataError(f"{place}: settings.{section}: {unknown('setting', name, sorted(options))}")
        elif not fits(value, options[name].type):
            raise DataError(
                f"{place}: settings.{section}.{name} = {value!r}: must be {wanted(value, options[name].type)}"
            )
    return {**{name: option.default for name, option in options.items()}, **given}


def _table(place: Path, tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = tables.get(name)
    if not isinstance(value, dict):
        raise DataError(f"{place}: {name} = {value!r}: must be a table")
    return value


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return value
