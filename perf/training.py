"""What training costs beside what it cannot do without: every system's epoch, a bare loop of the same nets, and matrix products.

    python perf/training.py [--quick] [--compile]

Systems are trained on images of noise by `bench.training.train`, whose epochs are those that runs are tracked with, and by a
bare loop: the same network and loss, batches taken from memory, fused Adam, nothing else. An epoch of ours looks at one held-
out image and a training image at its end, which is 1 or 2 % of epochs as short as these. The fully connected VAE is written
out once more as tutorials have it: a DataLoader of single images made tensors by torchvision, Adam as it comes, a loss read in
every step; and pythae's trainer trains its own VAE of the same layers (extra ``perf``). All of one system run in turn, in one
process; medians of ``ROUNDS`` with their spread, which are laid beside their bars to the hundredth that both are printed to.
Floating-point operations are counted by torch and laid beside the rate at which this machine multiplies matrices with as many
threads. Last stands a trial as its process runs it, with pictures, checkpoints and the files that are kept of it, beside the
same epochs alone; writing them down is the driver's, and `store.py` measures it.

``--compile`` adds what ``torch.compile`` of the networks gains in a step, and after how many steps it has paid for itself.
``--quick`` takes few images, to see that all of it works. Exit status 1 where a bar is missed. Run it where nothing else runs.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from bench.contract import Batch, ImageSpec, Model, Split, Update
from bench.data import Data
from bench.measure.context import Precision
from bench.models import model_class
from bench.optimizers import TrainingOptions
from bench.run.events import Asked, Finished
from bench.run.worker import Work, load_data
from bench.run.worker import build as untrained
from bench.study.catalogue import catalogue
from bench.study.file import build
from bench.training import train

ROUNDS, SIDE, MATRIX = 5, 28, 1024
TRIAL = 1.03  # of the same epochs alone
CLASSES = tuple("0123456789")
CPU = torch.device("cpu")
Epoch = Callable[[], object]
"""Trains for an epoch."""


@dataclass(frozen=True)
class System:
    """A model as it is measured: on square images of ``side`` pixels, ``images`` of them an epoch."""

    model: str
    side: int = SIDE
    batch: int = 128
    images: int = 6400
    params: Mapping[str, Any] = field(default_factory=dict)


SYSTEMS = (
    System("vae"),
    System("vae", side=8, batch=32),  # as on the digits
    System("ae", side=32, images=2560),
    System("conv_vae", side=32, images=1024),
    System("gan", images=2560),
    System("dcgan", side=32, batch=16, images=128),
    System("wgan", batch=64, images=512),
    System("acai", side=32, batch=64, images=512),
    System("vae_gan", side=32, batch=64, images=512),
    System("adversarial_vae", side=32, batch=64, images=512),
    System("cvae", images=512),
    System("cvae_gan", batch=64, images=512),
    System("supervised", images=2560),
    System("ssl_vae", batch=64, images=512),
    System("ssl_vae_gan", batch=32, images=128),
    System("draw", batch=64, images=512),
    System("draw_gan", batch=64, images=512),
)


def images_of(system: System) -> Data:
    """Noise for a system, with classes; one is held out, so that little is looked at after an epoch."""
    generator = torch.Generator().manual_seed(0)
    spec = ImageSpec(1, system.side, system.side, CLASSES)
    pixels = torch.randint(0, 256, (system.images, *spec.shape), dtype=torch.uint8, generator=generator)
    labels = torch.arange(system.images) % len(CLASSES)
    few = Split(pixels[:1], labels[:1])
    return Data("noise", spec, Split(pixels, labels), labels, few, "test", None, ())


def made(system: System) -> Model:
    """The untrained model on the processor, its weights always the same."""
    torch.manual_seed(0)
    spec = ImageSpec(1, system.side, system.side, CLASSES)
    model = model_class(system.model)(spec, **system.params).to(memory_format=torch.channels_last)
    model.train()
    return model


def ours(system: System, device: torch.device = CPU, precision: Precision = "float32") -> Epoch:
    """Epochs of the suite, as a run is tracked with."""
    options = TrainingOptions(epochs=1000, batch_size=system.batch, precision=precision)
    epochs = train(made(system).to(device), images_of(system).to(device), options, seed=0)
    next(epochs)
    return lambda: next(epochs)


def bare(system: System, device: torch.device = CPU) -> Epoch:
    """The same step and nothing around it; where a model has a convolution its weights lie channels last, as with us."""
    model, split = made(system).to(device), images_of(system).to(device).train
    pixels, update = split.images.float().div(255), descending(model)

    def epoch() -> None:
        orders = [
            torch.randperm(len(split), device=device).split(system.batch) for _ in range(1 + model.further_batches)
        ]
        for chosen, *others in zip(*orders, strict=True):
            further = tuple(taken(pixels, split.labels, each) for each in others)
            model.step(taken(pixels, split.labels, chosen, further), update)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return epoch


def taken(pixels: Tensor, labels: Tensor, chosen: Tensor, further: tuple[Batch, ...] = ()) -> Batch:
    """A batch from memory; an index in brackets would be many times slower on a CPU."""
    return Batch(pixels.index_select(0, chosen), labels.index_select(0, chosen), further=further)


def descending(model: Model) -> Update:
    """What descends a player by fused Adam, and does no more."""
    optimizers = {name: torch.optim.Adam(each.parameters(), fused=True) for name, each in model.players().items()}
    parameters = {name: list(each.parameters()) for name, each in model.players().items()}

    def update(player: str, loss: Tensor) -> None:
        optimizers[player].zero_grad()
        loss.backward(inputs=parameters[player])
        optimizers[player].step()

    return update


class Plain(nn.Module):
    """The fully connected VAE as tutorials write it, of the sizes that ours has by default."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 512), nn.ReLU(), nn.Linear(512, 4))
        self.decoder = nn.Sequential(nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, SIDE * SIDE))

    def loss(self, images: Tensor) -> Tensor:
        """The negative evidence bound, in nats per image."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        logits = self.decoder(mean + torch.randn_like(mean) * (0.5 * log_variance).exp())
        reconstruction = F.binary_cross_entropy_with_logits(logits, images.flatten(1), reduction="sum")
        kl = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum()
        loss: Tensor = (reconstruction + kl) / len(images)
        return loss


class Singly(Dataset[tuple[Tensor, int]]):
    """Images one at a time, made one of PIL's and then a tensor on the way, as torchvision's MNIST hands them out."""

    def __init__(self, split: Split) -> None:
        self.images, self.labels = split.images.squeeze(1).numpy(), split.labels.tolist()
        self.transform = transforms.Compose([transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def plain(system: System) -> Epoch:
    """The VAE written out: no suite in it at all, from memory, with fused Adam."""
    torch.manual_seed(0)
    network, split = Plain(), images_of(system).train
    pixels = split.images.float().div(255)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)

    def epoch() -> None:
        for chosen in torch.randperm(len(split)).split(system.batch):
            optimizer.zero_grad()
            network.loss(pixels.index_select(0, chosen)).backward()
            optimizer.step()

    return epoch


def tutorial(system: System) -> Epoch:
    """The same as tutorials train it."""
    torch.manual_seed(0)
    network, loader = Plain(), DataLoader(Singly(images_of(system).train), system.batch, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def epoch() -> float:
        total = 0.0
        for images, _ in loader:
            optimizer.zero_grad()
            loss = network.loss(images)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return epoch


def pythae(system: System) -> Epoch | None:
    """An epoch of pythae's trainer, of its VAE, whose layers by default are the same; None where pythae is not installed."""
    try:
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE, VAEConfig
        from pythae.trainers import BaseTrainer, BaseTrainerConfig
        from pythae.trainers.training_callbacks import CallbackHandler
    except ImportError:
        return None
    split, numbers = images_of(system).train, itertools.count(1)
    pixels = split.images.float().div(255)
    network = VAE(VAEConfig(input_dim=(1, SIDE, SIDE), latent_dim=2, reconstruction_loss="bce"))
    config = BaseTrainerConfig(per_device_train_batch_size=system.batch, no_cuda=True)
    trainer = BaseTrainer(network, BaseDataset(pixels, split.labels), training_config=config)
    trainer.set_optimizer()
    trainer.callback_handler = CallbackHandler(
        [], network
    )  # else it draws progress bars, and makes a folder for its files
    return lambda: trainer.train_step(next(numbers))


@dataclass
class Taken:
    """Seconds of every round: waited for, and computed by this thread, which others on the machine touch less."""

    waited: list[float] = field(default_factory=list)
    computed: list[float] = field(default_factory=list)


def in_turn(epochs: Mapping[str, Epoch], rounds: int) -> dict[str, Taken]:
    """What each takes, in turn so that a machine whose speed drifts does not favour one; the first of each is not counted."""
    spent = {name: Taken() for name in epochs}
    for turn in range(rounds + 1):
        for name, epoch in epochs.items():
            waited, computed = time.perf_counter(), time.thread_time()
            epoch()
            if turn:
                spent[name].waited.append(time.perf_counter() - waited)
                spent[name].computed.append(time.thread_time() - computed)
    return spent


def beside(what: str, spent: Mapping[str, Taken], other: str, bar: float, more: str = "") -> bool:
    """Print what ours takes beside another, with the bar that the ratio computed must keep to; whether it is missed."""
    waited, computed = (
        [a / b for a, b in zip(getattr(spent["ours"], each), getattr(spent[other], each), strict=True)]
        for each in ("waited", "computed")
    )
    met = round(median(computed), 2) <= bar  # to the hundredth that both are printed to
    end = f"{bar:g}: {'met' if met else 'MISSED'}"
    print(f"{what:<52} {spread(computed):>20} {spread(waited):>20}  {end:<12} {more}".rstrip(), flush=True)
    return not met


def operations(system: System) -> float:
    """Floating-point operations of one training step, both ways, as torch counts them."""
    model = made(system)
    parameters = {name: list(each.parameters()) for name, each in model.players().items()}
    with FlopCounterMode(display=False) as counted:
        model.step(first_batch(model, system), lambda player, loss: loss.backward(inputs=parameters[player]))
    return float(counted.get_total_flops())


def first_batch(model: Model, system: System, device: torch.device = CPU) -> Batch:
    """The images of one step."""
    data, chosen = images_of(system).to(device).train, torch.arange(system.batch, device=device)
    pixels = data.images.float().div(255)
    return taken(pixels, data.labels, chosen, (taken(pixels, data.labels, chosen),) * model.further_batches)


def matrix_rate(device: torch.device = CPU) -> float:
    """Floating-point operations a second of a product of two large matrices of float32, the best of several."""
    size = MATRIX * (8 if device.type == "cuda" else 1)
    left, right = (torch.rand(size, size, device=device) for _ in range(2))
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    seconds = []
    for _ in range(5):
        started = clock()
        (left @ right)[0, 0].item()  # which waits for a GPU
        seconds.append(clock() - started)
    return 2 * size**3 / min(seconds)


def compiled(system: System, device: torch.device = CPU) -> tuple[float, float, float]:
    """Seconds of a bare step, of one of compiled networks, and of the steps in which they are compiled."""
    seconds: list[list[float]] = []
    torch.compiler.reset()
    torch._dynamo.config.recompile_limit = (
        64  # which all networks of a system share, and past which nothing is compiled
    )
    for compiles in (False, True):
        model = made(system).to(device)
        for network in model.children() if compiles else ():
            network.compile()
        update, batch = descending(model), first_batch(model, system, device)
        seconds.append([])
        for _ in range(20):
            started = time.perf_counter()
            terms = model.step(batch, update)
            next(iter(terms.values())).detach().item()  # which waits for a GPU
            seconds[-1].append(time.perf_counter() - started)
    (eager, fast) = (median(each[5:]) for each in seconds)
    return eager, fast, sum(seconds[1][:5])


def gain(system: System, device: torch.device = CPU) -> str:
    """What compiling its networks gains a system, in words."""
    eager, fast, cost = compiled(system, device)
    pays = f"after {cost / (eager - fast):,.0f} steps" if fast < eager else "never"
    return (
        f"{system.model:<16} {system.side:>4} {1000 * eager:>8.2f} ms a step, compiled {1000 * fast:.2f} ms; "
        f"{cost:.0f} s to compile, which pays {pays}"
    )


def trials(epochs: int, folder: Path) -> dict[str, Epoch]:
    """A whole trial of a VAE on the digits as its process runs it, all but its measures; and the same epochs alone."""
    known = catalogue()
    settings: dict[str, Any] = {"epochs": epochs, "batch_size": 32}
    tables = {"question": "?", "source": "none", "model": "vae", "datasets": ["digits"], "metrics": ["test_loss"]}
    trial = next(build({**tables, "training": settings}, Path("perf.toml"), known).grid(known, {}))
    numbers = itertools.count()

    def whole() -> None:
        place = folder / str(next(numbers))
        *_, last = Work(Asked(), place, place, {})(trial)
        assert isinstance(last, Finished), last

    def alone() -> None:
        data = load_data(trial, folder)
        for _ in train(untrained(trial, data.spec), data, TrainingOptions(**settings), seed=trial.seed):
            pass

    return {"ours": whole, "alone": alone}


def spread(values: Sequence[float]) -> str:
    """A median with what lies about it."""
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> int:
    """Print the tables; 1 where a bar is missed."""
    torch.set_num_threads(1)  # what a trial has that shares the machine
    quick, missed = "--quick" in sys.argv, 0
    rounds = 2 if quick else ROUNDS
    print(f"{'ours beside':<52} {'computed':>20} {'waited for':>20}  bar")
    for system in SYSTEMS:
        one = replace(system, images=2 * system.batch) if quick else system
        spent = in_turn({"ours": ours(one), "bare loop": bare(one)}, rounds)
        seconds = median(spent["ours"].computed)
        share = operations(one) * one.images / one.batch / seconds / matrix_rate()
        what = f"{one.model}, {one.side} x {one.side}, batches of {one.batch} / a bare loop"
        missed += beside(
            what, spent, "bare loop", 1.0, f"{one.images / seconds:,.0f} images/s, {share:.0%} of the rate"
        )
    vae = System("vae", images=256 if quick else 6400)
    loops = {"ours": ours(vae), "plain": plain(vae), "tutorial": tutorial(vae)}
    if peer := pythae(vae):
        loops["pythae's trainer"] = peer
    else:
        print("pythae is not installed: pip install -e '.[perf]'")
    spent = in_turn(loops, rounds)
    for name, bar in zip(list(spent)[1:], (1.0, 0.3, 1.0), strict=False):
        missed += beside(f"vae / the same net, {name}", spent, name, bar)
    with tempfile.TemporaryDirectory(prefix="bench-perf-") as folder:
        spent = in_turn(trials(2 if quick else 50, Path(folder)), rounds)
    missed += beside("a trial with pictures and checkpoints / without", spent, "alone", TRIAL)
    if "--compile" in sys.argv:
        for system in SYSTEMS:
            print(gain(system), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
