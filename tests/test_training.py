"""The training loop: what moves, what is kept, how it goes on."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.batches import DataOptions, prepare
from bench.checkpoint import Checkpoint, Progress
from bench.contract import HIDDEN, Batch, Diverged, Model, Update, in_order
from bench.data import Data
from bench.measure.context import Precision
from bench.models.dcgan import DCGAN
from bench.models.gan import GAN
from bench.models.ssl_vae import SSLVAE
from bench.models.vae import VAE
from bench.optimizers import Optimizers, TrainingOptions
from bench.subsets import balanced
from bench.training import counterpart, mean_terms, train

OPTIONS = TrainingOptions(epochs=4, batch_size=16)


def vae(data: Data) -> VAE:
    torch.manual_seed(5)
    return VAE(data.spec, latent_dim=2, hidden_dims=[16])


def gan(data: Data) -> DCGAN:
    torch.manual_seed(5)
    return DCGAN(data.spec, latent_dim=4)


def same(one: Model, other: Model) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_progress_begins_before_the_first_step_and_counts_epochs(few_digits: Data) -> None:
    model = vae(few_digits)
    untrained = mean_terms(model, in_order(few_digits.held_out))
    progress = list(train(model, few_digits, OPTIONS, seed=0))
    assert [p.epoch for p in progress] == [0, 1, 2, 3, 4]
    assert progress[0].train == {}
    assert progress[0].held_out == untrained
    assert progress[0].train_eval == mean_terms(vae(few_digits), in_order(counterpart(few_digits)))
    assert (
        set(progress[1].train)
        == set(progress[1].train_eval)
        == set(progress[1].held_out)
        == {"loss", "reconstruction", "kl"}
    )
    assert progress[4].held_out["loss"] < progress[0].held_out["loss"]
    for each in progress[1:]:
        assert each.train["loss"] == pytest.approx(each.train["reconstruction"] + each.train["kl"], rel=1e-5)
        assert each.images_per_second == pytest.approx(96 / each.seconds)  # 6 whole batches of 16 in 100 images


@pytest.mark.parametrize("options", [{}, {"labelled": 20}, {"horizontal_flip": True}, {"binarise": "dynamic"}])
@pytest.mark.parametrize("make", [gan, lambda data: SSLVAE(data.spec, latent_dim=2)])
def test_training_images_are_looked_at_as_held_out_ones_are(
    make: type[Model], options: dict[str, Any], digits: Data
) -> None:
    """So that of the same images it is the same number, whatever the steps saw of them."""
    few = digits.held_out.take(balanced(digits.held_out.labels, 50))
    data = prepare("digits", digits.spec, few, few, DataOptions(**options))
    data = replace(
        data, train=replace(data.train, images=data.held_out.images)
    )  # where they are drawn, they are drawn apart
    for progress in train(make(data), data, replace(OPTIONS, epochs=2), seed=0):
        assert progress.train_eval == progress.held_out
    assert progress.train != progress.held_out


def test_as_many_training_images_are_looked_at_as_are_held_out_up_to_a_thousand(digits: Data) -> None:
    assert len(counterpart(digits)) == len(digits.held_out)
    assert len(counterpart(replace(digits, held_out=digits.train))) == 1000
    withheld = prepare("digits", digits.spec, digits.train, digits.held_out, DataOptions(labelled=10))
    assert torch.equal(counterpart(withheld).labels, counterpart(digits).labels)
    unknown = digits.train_labels.clone()
    unknown[100:] = HIDDEN
    assert len(counterpart(replace(digits, train_labels=unknown))) == 100
    without = replace(digits, spec=replace(digits.spec, classes=()), train_labels=torch.full_like(unknown, HIDDEN))
    assert len(counterpart(without)) == len(digits.held_out)


def test_one_step_of_plain_descent_is_the_gradient_times_the_rate(few_digits: Data) -> None:
    model = nn.Linear(3, 1, bias=False)
    owner = GAN(few_digits.spec)
    owner.players = lambda: {"only": model}  # type: ignore[method-assign]
    before = model.weight.detach().clone()
    optimizers = Optimizers(owner, TrainingOptions(optimizer="sgd", learning_rate=0.5))
    optimizers.update("only", model(torch.tensor([[1.0, 2.0, 3.0]])).sum())
    torch.testing.assert_close(model.weight, before - 0.5 * torch.tensor([[1.0, 2.0, 3.0]]))


def test_a_clipped_gradient_has_the_norm_it_is_clipped_to(few_digits: Data) -> None:
    model = nn.Linear(2, 1, bias=False)
    owner = GAN(few_digits.spec)
    owner.players = lambda: {"only": model}  # type: ignore[method-assign]
    before = model.weight.detach().clone()
    optimizers = Optimizers(owner, TrainingOptions(optimizer="sgd", learning_rate=1.0, gradient_clip=0.1))
    optimizers.update("only", model(torch.tensor([[30.0, 40.0]])).sum())
    assert (model.weight - before).norm().item() == pytest.approx(0.1, rel=1e-4)


def test_a_player_may_have_options_of_its_own(few_digits: Data) -> None:
    settings = {"optimizer": "adam", "learning_rate": 1e-3, "discriminator": {"optimizer": "sgd", "learning_rate": 0.1}}
    optimizers = Optimizers(GAN(few_digits.spec), TrainingOptions.from_settings(settings))
    assert isinstance(optimizers.by_player["discriminator"], torch.optim.SGD)
    assert optimizers.by_player["discriminator"].param_groups[0]["lr"] == 0.1
    assert isinstance(optimizers.by_player["generator"], torch.optim.Adam)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("rmsprop", torch.optim.RMSprop),
        ("sgd", torch.optim.SGD),
    ],
)
def test_every_optimizer_word_is_that_optimizer(few_digits: Data, word: str, kind: type) -> None:
    options = TrainingOptions(optimizer=word, weight_decay=0.25)  # type: ignore[arg-type]
    optimizer = Optimizers(vae(few_digits), options).by_player["vae"]
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["weight_decay"] == 0.25


def test_the_same_seed_ends_in_the_same_weights_and_another_does_not(few_digits: Data) -> None:
    ends = []
    for seed in (0, 0, 1):
        model = vae(few_digits)
        list(train(model, few_digits, OPTIONS, seed=seed))
        ends.append(model)
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


@pytest.mark.parametrize("make", [vae, gan])
@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_trial_goes_on_bit_equal(
    make: type[Model], killed_after: int, few_digits: Data, tmp_path: Path
) -> None:
    undisturbed = make(few_digits)
    expected = list(train(undisturbed, few_digits, OPTIONS, seed=3))
    killed = train(make(few_digits), few_digits, OPTIONS, seed=3, folder=tmp_path, checkpoint_seconds=0)
    for _ in range(killed_after + 1):  # the pull after an epoch writes its checkpoint, so the last epoch is lost
        next(killed)
    assert isinstance(killed, Generator)
    killed.close()
    torch.manual_seed(999)
    resumed = make(few_digits)
    found = list(train(resumed, few_digits, OPTIONS, seed=3, folder=tmp_path))
    assert same(undisturbed, resumed)
    assert [(p.epoch, p.train, p.held_out) for p in found] == [(p.epoch, p.train, p.held_out) for p in expected]


def test_a_finished_checkpoint_is_only_told_again(few_digits: Data, tmp_path: Path) -> None:
    first = list(train(vae(few_digits), few_digits, OPTIONS, seed=0, folder=tmp_path))
    model = vae(few_digits)
    assert list(train(model, few_digits, OPTIONS, seed=0, folder=tmp_path)) == first


@pytest.mark.parametrize("damage", ["state-4.pt", "model-4.safetensors"])
def test_a_damaged_checkpoint_is_said_and_the_trial_starts_again(
    damage: str, few_digits: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = vae(few_digits)
    list(train(undisturbed, few_digits, OPTIONS, seed=0, folder=tmp_path))
    file = tmp_path / damage
    file.write_bytes(file.read_bytes()[:100])
    again = vae(few_digits)
    list(train(again, few_digits, OPTIONS, seed=0, folder=tmp_path))
    assert "cannot be read" in capsys.readouterr().err
    assert same(undisturbed, again)


def test_a_checkpoint_keeps_the_random_state_of_the_gpu(
    few_digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model says that it is on a GPU, and what that draws from is a tensor of the test's own."""
    state = torch.arange(16, dtype=torch.uint8)
    gpu = {"state": state}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: gpu["state"].clone())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda given: gpu.update(state=given))
    model = vae(few_digits)
    checkpoint = Checkpoint(tmp_path, model, Optimizers(model, OPTIONS), {"order": torch.Generator()})
    history = [Progress(epoch, {}, {}, {}, 0.0, 0.0, 0.0) for epoch in (0, 1)]
    with monkeypatch.context() as on_gpu:
        on_gpu.setattr(Model, "device", torch.device("cuda"))
        checkpoint.save(history)
        gpu["state"] = state.flip(0)  # by what is drawn after the checkpoint, or by another process
        assert checkpoint.restore() == history
        assert torch.equal(gpu["state"], state)
    gpu["state"] = state.flip(0)
    assert checkpoint.restore() == history
    assert torch.equal(gpu["state"], state.flip(0)), "a model on the processor draws nothing from a GPU"
    checkpoint.save(history)
    assert torch.load(tmp_path / "state-1.pt", weights_only=True)["cuda"] is None


def test_divergence_names_the_term_and_the_epoch(few_digits: Data) -> None:
    options = TrainingOptions(epochs=50, batch_size=16, optimizer="sgd", learning_rate=1e6)

    def run() -> Iterator[Progress]:
        return train(vae(few_digits), few_digits, options, seed=0)

    with pytest.raises(Diverged, match=r"loss term '\w+' is (nan|inf) in epoch \d+"):
        list(run())


def test_bfloat16_keeps_float32_parameters_and_learns(few_digits: Data) -> None:
    model = vae(few_digits)
    options = TrainingOptions(epochs=4, batch_size=16, precision="bfloat16")
    progress = list(train(model, few_digits, options, seed=0))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert progress[-1].held_out["loss"] < progress[0].held_out["loss"]


class Twice(Model):
    """One weight matrix, looked through before and after it is moved: by so much its second look differs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 1)

    def players(self) -> dict[str, nn.Module]:
        return {"layer": self.layer}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        before = self.layer(batch.images.flatten(1)).mean()
        update("layer", before)
        return {"moved": before - self.layer(batch.images.flatten(1)).mean()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_a_step_sees_after_an_update_is_what_was_updated(few_digits: Data, precision: Precision) -> None:
    """By descent at rate 1 the mean falls by the squared length of its gradient: of the mean image, and 1 for the bias."""
    options = TrainingOptions(epochs=1, batch_size=100, precision=precision, optimizer="sgd", learning_rate=1.0)
    moved = list(train(Twice(), few_digits, options, seed=0))[1].train["moved"]
    mean = few_digits.train.images.float().div(255).flatten(1).mean(0)
    assert moved == pytest.approx(float(mean.square().sum()) + 1, rel=0.02)


def resumed(data: Data, options: TrainingOptions, folder: Path, *, killed_after: int) -> tuple[Model, list[Progress]]:
    """The end of a training that was killed after so many epochs, with a checkpoint after every one but the last."""
    killed = train(vae(data), data, options, seed=3, folder=folder, checkpoint_seconds=0)
    for _ in range(killed_after + 1):
        next(killed)
    killed.close()
    torch.manual_seed(999)
    model = vae(data)
    return model, list(train(model, data, options, seed=3, folder=folder))


def test_augmentation_goes_on_bit_equal_and_belongs_to_the_seed(digits: Data, few_digits: Data, tmp_path: Path) -> None:
    data_options = DataOptions(train_images=100, test_images=50, horizontal_flip=True, random_crop=2, noise=0.1)
    data = prepare("digits", digits.spec, digits.train, digits.held_out, data_options)
    undisturbed, plain = vae(data), vae(data)
    expected = [p.train for p in train(undisturbed, data, OPTIONS, seed=3)]
    list(train(plain, few_digits, OPTIONS, seed=3))
    assert not same(undisturbed, plain)
    model, found = resumed(data, OPTIONS, tmp_path, killed_after=2)
    assert same(undisturbed, model)
    assert [p.train for p in found] == expected


def test_augmentation_leaves_the_order_and_the_noise_as_they_were(few_digits: Data) -> None:
    """So that two variants differ in nothing else."""
    seen = []
    for augment in (None, lambda images, generator: images + 0 * torch.rand(images.shape, generator=generator)):
        model = vae(few_digits)
        list(train(model, replace(few_digits, augment=augment), OPTIONS, seed=3))
        seen.append(model)
    assert same(*seen)


@pytest.mark.parametrize("make", [vae, gan])
@pytest.mark.parametrize("killed_after", [2, 4])
def test_averages_and_schedules_go_on_bit_equal(
    make: type[Model], killed_after: int, few_digits: Data, tmp_path: Path
) -> None:
    options = replace(OPTIONS, ema=0.9, schedule="cosine", warmup=5.0)
    undisturbed = make(few_digits)
    expected = list(train(undisturbed, few_digits, options, seed=3))
    killed = train(make(few_digits), few_digits, options, seed=3, folder=tmp_path, checkpoint_seconds=0)
    for _ in range(killed_after + 1):
        next(killed)
    killed.close()
    resumed = make(few_digits)
    found = list(train(resumed, few_digits, options, seed=3, folder=tmp_path))
    assert same(undisturbed, resumed)
    assert [(p.train, p.held_out) for p in found] == [(p.train, p.held_out) for p in expected]
    told_again = make(few_digits)  # the averages, not the weights that they are of
    list(train(told_again, few_digits, options, seed=3, folder=tmp_path))
    assert same(undisturbed, told_again)
