"""What every feature extractor promises."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import torch

from bench import registry
from bench.checks import NotPromised, expect
from bench.checks.fixtures import digits, scratch
from bench.contract import Unmeasurable
from bench.data import Data
from bench.features import Extractor, Judges
from bench.measure.context import extract
from bench.paths import Paths

FEW = 12  # images that an extractor is tried on
CLOSE = 1e-3  # how far features of an image may depend on how many are looked at together, relatively


@dataclass(frozen=True)
class Subject:
    """An extractor by its module, and digits."""

    module: ModuleType
    data: Data
    data_dir: Path

    def extractor(self) -> Extractor:
        """The extractor for digits.

        Raises:
            NotPromised: it cannot be had here.
        """
        try:
            made: Extractor = self.module.load(self.data, scratch(), self.data_dir)
        except Unmeasurable as error:
            expect("\n" not in str(error) and str(error), f"a reason must be one line, not {str(error)!r}")
            raise NotPromised(f"it cannot be had here: {error}") from None
        return made

    @property
    def images(self) -> torch.Tensor:
        """A few digits, uint8."""
        return self.data.held_out.images[:FEW]


def subject(name: str) -> Subject:
    """The extractor ``name``, seen from the working directory."""
    return Subject(registry.load("features", name), digits(), Paths.find(Path.cwd()).data)


def check_its_first_line_says_what_it_is(features: Subject) -> None:
    """The file's docstring begins with a line that says what the features are; lists show it."""
    expect(
        len(registry.first_line(features.module.__doc__)) > 30,
        "the file's docstring must begin with a line that says what the features are",
    )


def check_it_says_whether_it_is_costly_and_how_it_is_had(features: Subject) -> None:
    """`COSTLY_ON_CPU` is true or false; ``fetch(data_dir)`` and ``load(data, cache, data_dir)`` are functions."""
    costly = features.module.COSTLY_ON_CPU
    expect(isinstance(costly, bool), f"COSTLY_ON_CPU = {costly!r}: must be True or False")
    for name, expected in {"fetch": ["data_dir"], "load": ["data", "cache", "data_dir"]}.items():
        found = list(inspect.signature(getattr(features.module, name)).parameters)
        expect(found == expected, f"{name} must take {', '.join(expected)}, not {', '.join(found)}")


def check_its_protocol_tells_networks_apart(features: Subject) -> None:
    """`protocol` is texts by name, with the hash of the weights among them."""
    protocol = features.extractor().protocol
    plain = isinstance(protocol, Mapping) and all(isinstance(word, str) for pair in protocol.items() for word in pair)
    expect(plain and protocol, f"protocol = {protocol!r}: must be texts by name")
    expect("weights" in protocol, f"protocol must have 'weights', their hash, beside {', '.join(protocol)}")


def check_features_are_a_vector_of_every_image(features: Subject) -> None:
    """Images ``[B, C, H, W]`` in ``[0, 1]`` become finite features ``[B, D]``, the same however many are looked at together."""
    extractor = features.extractor()
    together = extract(extractor, features.images, "float32")
    expect(
        together.ndim == 2 and len(together) == FEW,
        f"features of {FEW} images must be [{FEW}, D], not {list(together.shape)}",
    )
    expect(bool(together.isfinite().all()), "features must be finite")
    alone = torch.cat([extract(extractor, image[None], "float32") for image in features.images])
    apart = float((together - alone).norm() / together.norm().clamp(min=1e-12))
    expect(apart < CLOSE, f"an image alone has other features than among others, by {apart:.1e}; is it in eval mode?")


def check_loading_twice_gives_the_same(features: Subject) -> None:
    """The same extractor comes again, by its protocol and its features, and no random state is touched."""
    first = features.extractor()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    second = features.extractor()
    expect(torch.equal(state, torch.get_rng_state()), "loading it drew from torch's random numbers: fork them")
    expect(dict(first.protocol) == dict(second.protocol), f"the protocol was {first.protocol}, then {second.protocol}")
    same = torch.equal(*(extract(each, features.images, "float32") for each in (first, second)))
    expect(same, "loaded a second time, it gives other features")


def check_what_judges_has_a_logit_of_every_class(features: Subject) -> None:
    """An extractor that tells classes gives logits ``[B, K]``."""
    extractor = features.extractor()
    if not isinstance(extractor, Judges):
        raise NotPromised("it tells no classes")
    logits = extractor.logits(extract(extractor, features.images, "float32"))
    expected = [FEW, len(features.data.spec.classes)]
    expect(list(logits.shape) == expected, f"logits must be {expected}, not {list(logits.shape)}")


def check_a_data_set_it_cannot_serve_is_refused_in_one_line(features: Subject) -> None:
    """For images without labels it is an extractor like any, or `Unmeasurable` with a reason."""
    spec = replace(features.data.spec, classes=())
    bare = replace(features.data, spec=spec, train_labels=torch.full_like(features.data.train_labels, -1))
    try:
        extract(features.module.load(bare, scratch(), features.data_dir), features.images, "float32")
    except Unmeasurable as error:
        expect("\n" not in str(error) and str(error), f"a reason must be one line, not {str(error)!r}")
