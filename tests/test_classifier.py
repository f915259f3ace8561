"""The data set's own classifier, whose features measure."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from bench.batches import DataOptions, prepare
from bench.contract import HIDDEN, Unmeasurable
from bench.data import Data
from bench.datasets import spec_of
from bench.features import Extractor, classifier
from bench.measure.distances import frechet_distance
from bench.study.definition import VALIDATION_SHARE


def test_the_classifier_is_trained_once_and_damage_is_mended(few_digits: Data, tmp_path: Path) -> None:
    few_digits = replace(few_digits, part_of=None)  # as a data set of their own
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = classifier.load(few_digits, tmp_path, tmp_path)
    assert torch.equal(state, torch.get_rng_state())
    (file,) = tmp_path.glob("*.safetensors")
    made = file.stat().st_mtime_ns
    images = few_digits.held_out.images.float() / 255
    assert torch.equal(seen(first, images), seen(classifier.load(few_digits, tmp_path, tmp_path), images))
    assert file.stat().st_mtime_ns == made
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)  # one flipped bit, which only a checksum tells
    again = classifier.load(few_digits, tmp_path, tmp_path)
    assert torch.equal(seen(first, images), seen(again, images))
    assert again.protocol == first.protocol


def test_the_classifier_knows_digits_and_its_distance_orders_damage(digits: Data, cache: Path) -> None:
    extractor = classifier.load(digits, cache, cache)
    images = digits.held_out.images.float() / 255
    told = extractor.logits(seen(extractor, images)).argmax(1)
    assert (told == digits.held_out.labels).double().mean() > 0.97
    train = seen(extractor, digits.train.images[:500].float() / 255)

    def distance(changed: torch.Tensor) -> float:
        return frechet_distance(train, seen(extractor, changed))

    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    noised = [distance((images + amount * noise).clamp(0, 1)) for amount in (0, 0.1, 0.3, 0.6)]
    blurred = [distance(F.avg_pool2d(images, size, 1, size // 2)) for size in (1, 5, 9)]
    fewer = distance(images[digits.held_out.labels < 5])
    assert noised == sorted(noised)
    assert blurred == sorted(blurred)
    assert fewer > 3 * noised[0]


def test_the_digits_classifier_comes_with_the_suite_whatever_a_trial_takes_of_them(
    digits: Data, few_digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained where no images of its are measured on: a search's, which measures on others, has one of its own."""
    monkeypatch.setattr(classifier, "_trained", None)
    options = DataOptions(classes=("3", "1"), test_images=20)
    some = prepare("digits", digits.spec, digits.train, digits.held_out, options)
    searched = prepare("digits", digits.spec, digits.train, digits.held_out, DataOptions(validation=VALIDATION_SHARE))
    of_all, of_few, of_some = (classifier.load(data, tmp_path, tmp_path) for data in (digits, few_digits, some))
    assert of_all.protocol == of_few.protocol == of_some.protocol
    assert of_all.protocol != classifier.load(searched, tmp_path, tmp_path).protocol
    features = seen(of_all, some.held_out.images.float() / 255)
    assert torch.equal(of_some.logits(features), of_all.logits(features)[:, [3, 1]])
    assert torch.equal(of_some.logits(features).argmax(1), some.held_out.labels)


def test_the_classifiers_that_come_with_the_suite_are_of_its_data_sets() -> None:
    files = sorted(classifier.WEIGHTS.iterdir())
    told = [re.fullmatch(r"(\w+)(-searched)?-[0-9a-f]{16}\.safetensors", file.name) for file in files]
    assert {found[1] for found in told if found} == {"cifar10", "digits", "fashion_mnist", "imagenette", "mnist"}
    for file, found in zip(files, told, strict=True):
        assert found, file.name
        classifier.Classifier(spec_of(found[1])).load_state_dict(load_file(file))


def test_labels_withheld_from_the_model_are_not_withheld_from_the_classifier(digits: Data, cache: Path) -> None:
    withheld = replace(digits, train=replace(digits.train, labels=torch.full_like(digits.train.labels, HIDDEN)))
    assert classifier.load(withheld, cache, cache).protocol == classifier.load(digits, cache, cache).protocol


def test_a_classifier_needs_labels(few_digits: Data, tmp_path: Path) -> None:
    bare = replace(few_digits, spec=replace(few_digits.spec, classes=()))
    with pytest.raises(Unmeasurable, match="digits has no labels to train a classifier on"):
        classifier.load(bare, tmp_path, tmp_path)


@torch.inference_mode()
def seen(extractor: Extractor, images: torch.Tensor) -> torch.Tensor:
    return extractor(images)
