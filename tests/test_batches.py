"""Splits, selections, hidden labels and the stream of batches."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import torch

from bench.batches import DataOptions, prepare, steps_per_epoch, stream
from bench.contract import HIDDEN, DataError, ImageSpec, Split
from bench.data import Data
from bench.subsets import spaced

SPEC = ImageSpec(1, 2, 2, ("a", "b", "c"))


def numbered(n: int) -> Split:
    """Images whose first pixel is their number; labels in turn."""
    images = torch.zeros(n, 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(n).to(torch.uint8)
    return Split(images, torch.arange(n) % 3)


def apply(options: DataOptions) -> Data:
    return prepare("toy", SPEC, numbered(60), numbered(30), options)


def test_a_pass_shows_every_image_once() -> None:
    batches = list(islice(stream(numbered(12), 4, torch.Generator().manual_seed(0)), 6))
    for start in (0, 3):
        seen = torch.cat([b.images[:, 0, 0, 0] * 255 for b in batches[start : start + 3]]).round().int()
        assert sorted(seen.tolist()) == list(range(12))
    assert not torch.equal(batches[0].images, batches[3].images)


def test_batches_are_whole_and_floats_in_the_unit_range() -> None:
    batches = list(islice(stream(numbered(50), 16, torch.Generator()), 9))
    assert {len(batch) for batch in batches} == {16}
    assert batches[0].images.dtype == torch.float32
    assert max(float(batch.images.max()) for batch in batches) <= 1


def test_batches_that_are_selected_together_are_those_that_are_selected_singly(monkeypatch: pytest.MonkeyPatch) -> None:
    """And each holds the labels of its own images: in ``numbered`` image n has a pixel of n and the label n % 3."""
    seen = []
    for pixels in (1, 3 * 4 * numbered(1).images.numel(), 2**18):  # one, three and all batches of a pass at a time
        monkeypatch.setattr("bench.batches.SELECTED", pixels)
        seen.append(list(islice(stream(numbered(30), 4, torch.Generator().manual_seed(1)), 14)))
    for one, three, whole in zip(*seen, strict=True):
        assert torch.equal(one.images, three.images)
        assert torch.equal(one.images, whole.images)
        for batch in (one, three, whole):
            assert torch.equal((batch.images[:, 0, 0, 0] * 255).round().long() % 3, batch.labels)


def test_batches_of_parts_are_the_same_however_many_are_selected_together(monkeypatch: pytest.MonkeyPatch) -> None:
    data = apply(DataOptions(second_half=("c",)))
    seen = []
    for pixels in (1, 2**18):
        monkeypatch.setattr("bench.batches.SELECTED", pixels)
        seen.append(list(islice(stream(data.train, 8, torch.Generator().manual_seed(2), data.parts), 12)))
    for one, whole in zip(*seen, strict=True):
        assert torch.equal(one.images, whole.images)
        assert torch.equal(one.labels, whole.labels)
        assert one.weights is not None
        assert whole.weights is not None
        assert torch.equal(one.weights, whole.weights)


def test_a_split_smaller_than_a_batch_is_one_batch() -> None:
    assert len(next(stream(numbered(5), 64, torch.Generator()))) == 5
    assert steps_per_epoch(5, 64) == 1


def test_the_order_goes_on_from_the_generators_state() -> None:
    generator = torch.Generator().manual_seed(4)
    batches = stream(numbered(12), 4, generator)
    list(islice(batches, 3))
    state = generator.get_state()
    expected = next(batches)
    resumed = torch.Generator()
    resumed.set_state(state)
    assert torch.equal(next(stream(numbered(12), 4, resumed)).images, expected.images)


def test_classes_are_kept_in_train_and_test_and_relabelled_in_order() -> None:
    data = apply(DataOptions(classes=("c", "a")))
    assert data.spec.classes == ("c", "a")
    assert len(data.train) == 40
    first = data.train.images[:, 0, 0, 0] % 3
    assert torch.equal(first == 2, data.train.labels == 0)
    assert set(data.held_out.labels.tolist()) == {0, 1}


def test_sizes_are_balanced_over_classes() -> None:
    data = apply(DataOptions(train_images=30, test_images=9))
    assert torch.bincount(data.train.labels).tolist() == [10, 10, 10]
    assert torch.bincount(data.held_out.labels).tolist() == [3, 3, 3]


@pytest.mark.parametrize("options", [{"train_images": 1000}, {"validation": 0.5}, {}])
@pytest.mark.parametrize("n", [10, 100, 200])
def test_places_through_a_split_are_of_all_classes_though_the_classes_take_turns_in_it(
    options: dict[str, Any], n: int
) -> None:
    """Of 10,000 images of MNIST so taken every tenth is the commonest digit; and whole sets may be sorted."""
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate((500, 540, 480, 520, 460))])
    spec = ImageSpec(1, 2, 2, tuple("abcde"))
    train = Split(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), labels)
    split = prepare("toy", spec, train, train, DataOptions(**options)).train
    counts = torch.bincount(split.labels[split.spaced(n)], minlength=5)
    assert counts.sum() == n
    assert (counts - n / 5).abs().max() < 4 * (n * 0.2 * 0.8) ** 0.5  # four standard deviations of a draw


def test_places_through_a_split_rise_and_are_all_of_them_where_as_many_are_asked_for() -> None:
    places = spaced(1000, 100)
    assert torch.equal(places // 10, torch.arange(100))  # one of each ten
    assert len((places % 10).unique()) == 10
    assert torch.equal(spaced(7, 7), torch.arange(7))
    assert torch.equal(spaced(3, 6), torch.tensor([0, 0, 1, 1, 2, 2]))
    assert len(spaced(0, 0)) == len(spaced(5, 0)) == 0


def test_a_validation_split_is_carved_from_train_alone() -> None:
    data = apply(DataOptions(validation=0.1))
    assert data.held_out_name == "validation"
    assert (len(data.train), len(data.held_out)) == (54, 6)
    both = torch.cat((data.train.images, data.held_out.images))[:, 0, 0, 0]
    assert sorted(both.tolist()) == list(range(60))
    assert torch.equal(data.held_out.images, apply(DataOptions(validation=0.1)).held_out.images)


def test_validation_takes_the_same_share_of_every_class() -> None:
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate((10, 500, 490))])
    train = Split(torch.zeros(1000, 1, 2, 2, dtype=torch.uint8), labels)
    data = prepare("toy", SPEC, train, numbered(30), DataOptions(validation=0.1))
    assert torch.bincount(data.train.labels).tolist() == [9, 450, 441]
    assert torch.bincount(data.held_out.labels).tolist() == [1, 50, 49]


def test_no_option_changes_what_another_one_draws() -> None:
    alone, together = apply(DataOptions(test_images=9)), apply(DataOptions(test_images=9, train_images=30))
    assert torch.equal(alone.held_out.images, together.held_out.images)
    few, many = (apply(DataOptions(labelled=n)).train.labels for n in (6, 12))
    assert torch.equal(few[few != HIDDEN], many[few != HIDDEN])


def test_labels_that_are_hidden_already_stay_hidden() -> None:
    labels = torch.arange(60) % 3
    labels[30:] = HIDDEN
    data = prepare("toy", SPEC, Split(numbered(60).images, labels), numbered(30), DataOptions(labelled=12))
    assert torch.bincount(data.train.labels + 1).tolist() == [48, 4, 4, 4]
    assert (data.train.labels[30:] == HIDDEN).all()


def test_labels_are_kept_alike_for_every_class() -> None:
    data = apply(DataOptions(labelled=12))
    kept = data.train.labels[data.train.labels != HIDDEN]
    assert torch.bincount(kept).tolist() == [4, 4, 4]
    assert (data.held_out.labels != HIDDEN).all()


def test_the_labels_that_are_kept_belong_to_the_seed_and_the_images_do_not() -> None:
    options = DataOptions(labelled=12, validation=0.1, train_images=48)
    one, same, other = (prepare("toy", SPEC, numbered(60), numbered(30), options, seed=seed) for seed in (1, 1, 2))
    kept = [set((data.train.labels != HIDDEN).nonzero().flatten().tolist()) for data in (one, same, other)]
    assert kept[0] == kept[1] != kept[2]
    for data in (one, other):
        assert torch.bincount(data.train.labels[data.train.labels != HIDDEN]).tolist() == [4, 4, 4]
        assert torch.equal(data.train.images, same.train.images)
        assert torch.equal(data.train_labels, same.train_labels)
        assert torch.equal(data.held_out.images, same.held_out.images)


def test_every_image_has_the_same_chance_to_keep_its_label() -> None:
    counts = torch.zeros(60)
    for seed in range(1000):
        counts += (
            prepare("toy", SPEC, numbered(60), numbered(30), DataOptions(labelled=12), seed=seed).train.labels >= 0
        )
    assert counts.sum() == 12_000
    assert (counts - 200).abs().max() < 5 * (1000 * 0.2 * 0.8) ** 0.5  # five standard deviations


def test_every_batch_holds_the_same_share_of_labels() -> None:
    data = apply(DataOptions(labelled=6, labelled_share=0.25))
    steps = steps_per_epoch(len(data.train), 8, data.parts)
    assert steps == 54 // 6  # a pass over the unlabelled images, six to a batch
    batches = list(islice(stream(data.train, 8, torch.Generator().manual_seed(0), parts=data.parts), steps))
    for batch in batches:
        assert (batch.labels != HIDDEN).tolist() == [True] * 2 + [False] * 6
    unlabelled = torch.cat([batch.images[2:, 0, 0, 0] for batch in batches]).mul(255).round().int().tolist()
    assert len(set(unlabelled)) == 54
    labelled = torch.cat([batch.images[:2, 0, 0, 0] for batch in batches]).mul(255).round().int()
    assert torch.bincount(labelled).unique().tolist() == [0, 3]  # 18 places, six images in turn


def test_the_halves_of_a_batch_hold_their_own_classes() -> None:
    data = apply(DataOptions(second_half=("b", "c")))
    batch = next(stream(data.train, 10, torch.Generator().manual_seed(0), parts=data.parts))
    assert (batch.labels[:5] == 0).all()
    assert (batch.labels[5:] > 0).all()


def test_parts_go_on_from_the_generators_state() -> None:
    data = apply(DataOptions(labelled=6))
    generator = torch.Generator().manual_seed(4)
    batches = stream(data.train, 8, generator, data.parts)
    list(islice(batches, steps_per_epoch(60, 8, data.parts)))
    resumed = torch.Generator()
    resumed.set_state(generator.get_state())
    expected = next(batches)
    assert torch.equal(next(stream(data.train, 8, resumed, data.parts)).images, expected.images)


def test_a_batch_too_small_for_its_parts_is_refused() -> None:
    data = apply(DataOptions(second_half=("b",)))
    with pytest.raises(DataError, match="batch_size = 1: too small to hold images of each of 2 parts"):
        next(stream(data.train, 1, torch.Generator(), parts=data.parts))


@pytest.mark.parametrize(
    ("options", "measured_on"),
    [
        (DataOptions(), 0),
        (DataOptions(labelled=3), 0),
        (DataOptions(train_images=10), 0),
        (DataOptions(classes=("c", "a")), 0),
        (DataOptions(classes=("c", "b", "a")), 0),
        (DataOptions(validation=0.2), 12),
        (DataOptions(train_images=10, validation=0.2, classes=("c", "a")), 2),
    ],
)
def test_what_measures_learns_from_every_image_but_those_that_are_measured_on(
    options: DataOptions, measured_on: int
) -> None:
    """Each with its own label of all that there are, so that it is the same for whoever measures."""
    data = apply(options)
    held_out = data.held_out.images[:, 0, 0, 0].tolist() if measured_on else []
    numbers = data.whole.split.images[:, 0, 0, 0].long()
    assert len(held_out) == measured_on
    assert sorted(numbers.tolist() + held_out) == list(range(60))
    assert data.whole.classes == SPEC.classes
    assert torch.equal(data.whole.split.labels, numbers % 3)


def test_what_there_is_is_taken_where_fewer_are_allowed() -> None:
    data = apply(DataOptions(train_images=100, test_images=9, allow_fewer=True))
    assert (len(data.train), len(data.held_out)) == (60, 9)
    assert sorted(data.train.images[:, 0, 0, 0].tolist()) == list(range(60))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (DataOptions(train_images=0, allow_fewer=True), "train_images = 0: data set toy has 1 to 60"),
        (DataOptions(second_half=("d",)), "has no class 'd'; it has: a, b, c"),
        (DataOptions(second_half=("a", "b", "c")), "no class is left for the first half"),
        (DataOptions(second_half=("a",), labelled=3), "a batch can be made up by one of the two"),
        (DataOptions(labelled=3, labelled_share=1.0), "labelled_share = 1.0: must be more than 0 and less than 1"),
        (DataOptions(classes=("d",)), "has no class 'd'; it has: a, b, c"),
        (DataOptions(classes=("a", "a")), "each can be kept once"),
        (DataOptions(train_images=61), "train_images = 61: data set toy has 1 to 60"),
        (DataOptions(test_images=0), "test_images = 0: data set toy has 1 to 30"),
        (DataOptions(validation=1.0), "must leave images on both sides"),
        (DataOptions(validation=-0.1), "must leave images on both sides"),
        (DataOptions(validation=0.001), "must leave images on both sides"),
        (DataOptions(validation=float("nan")), "must leave images on both sides"),
        (DataOptions(labelled=10), "labelled = 10: must be a multiple of 3"),
        (DataOptions(labelled=63), "up to 60"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: DataOptions, message: str) -> None:
    with pytest.raises(DataError, match=message):
        apply(options)


def test_classes_cannot_be_chosen_where_there_are_none() -> None:
    with pytest.raises(DataError, match="data set toy has no class 'a'; it has: none"):
        prepare("toy", ImageSpec(1, 2, 2), numbered(9), numbered(9), DataOptions(classes=("a",)))


def test_labels_cannot_be_kept_where_there_are_none() -> None:
    with pytest.raises(DataError, match="has no labels to keep"):
        prepare("toy", ImageSpec(1, 2, 2), numbered(9), numbered(9), DataOptions(labelled=3))
