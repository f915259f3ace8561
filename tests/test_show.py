"""`bench show model`: the layers, held to the tables that the source documents print."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from bench import registry
from bench.checks.subjects import SPECS, noise
from bench.cli import main
from bench.contract import Batch, ImageSpec, Model, Update
from bench.models import model_class
from bench.networks.blocks import keras_count
from bench.networks.layers import Layer, layer_tables
from bench.study.catalogue import hyperparameters

Row = tuple[str, str, str]  # kind, output, parameters


def show(*words: str) -> Result:
    return CliRunner().invoke(main, ["show", "model", *words], catch_exceptions=False)


def shown(*words: str) -> str:
    result = show(*words)
    assert result.exit_code == 0, result.output
    return result.output


def table(text: str, title: str, *, keras: bool = True) -> list[Row]:
    """What the table under ``title`` says of its layers, with Keras's counts or torch's."""
    (found,) = re.findall(rf"^{re.escape(title)}\n +layer .*\n((?: .*\n)+?) +total ", text, re.MULTILINE)
    rows = [line.split() for line in found.splitlines()]
    return [(row[-5], row[-4], row[-1] if keras else row[-2]) for row in rows]


def with_weights(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row[2] != "0"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["dcgan", "--dataset", "mnist"], "generator: 726,209 trainable, 192 not, 726,401"),
        (
            ["dcgan", "--dataset", "mnist", "--set", "depth=deep"],
            "generator: 1,636,737 .* 384 not, 1,637,121",
        ),
        (["dcgan", "--dataset", "cifar10"], "generator: 4,514,819 .* 1,920 not, 4,516,739"),
        (["dcgan", "--dataset", "cifar10", "--set", "depth=deep"], "generator: 17,631,235 .* 3,840 .*, 17,635,075"),
        (["wgan", "--dataset", "mnist"], "generator: 798,113 trainable, 192 not, 798,305"),
        (["wgan", "--dataset", "mnist", "--set", "depth=deep"], "generator: 1,923,905 .* 384 not, 1,924,289"),
        (["wgan", "--dataset", "cifar10"], "critic: 2,483,393 trainable, 2,560 not, 2,485,953"),
        (["wgan", "--dataset", "cifar10", "--set", "depth=deep"], "critic: .*, 15,673,153"),
    ],
)
def test_totals_are_those_that_document_003_prints(words: list[str], line: str) -> None:
    assert re.search(f"^{line} as Keras counts$", shown(*words), re.MULTILINE)


def test_the_fully_connected_networks_are_listings_1_and_3_of_document_002() -> None:
    text = shown("vae", "--dataset", "mnist", "--set", "hidden_dims=[512, 256]", "--set", "latent_dim=16")
    assert "layers on mnist (1x28x28), hidden_dims=[512, 256], latent_dim=16\n" in text
    sizes = [(784, 512), (512, 256), (256, 32), (16, 256), (256, 512), (512, 784)]
    rows = with_weights([*table(text, "vae: encoder"), *table(text, "vae: decoder")])
    assert rows == [("Linear", str(o), f"{i * o + o:,}") for i, o in sizes]
    assert "vae: 1,079,600 trainable, 0 not, 1,079,600 as Keras counts" in text
    text = shown("gan", "--dataset", "mnist")
    for network, kinds in (("generator", ["LeakyReLU", "Tanh"]), ("discriminator", ["LeakyReLU"])):
        assert [kind for kind, _, _ in table(text, network) if kind in ("LeakyReLU", "Tanh")] == kinds
    assert with_weights(table(text, "generator")) == [("Linear", "256", "16,640"), ("Linear", "784", "201,488")]
    assert with_weights(table(text, "discriminator")) == [("Linear", "128", "100,480"), ("Linear", "1", "129")]


def test_the_convolutional_vae_is_listing_2_of_document_002() -> None:
    """Sizes by the arithmetic of convolutions without padding: (side - kernel) / 2 + 1, and back (side - 1) * 2 + kernel."""
    text = shown("conv_vae", "--dataset", "imagenette", "--set", "architecture=unpadded", "--set", "latent_dim=32")
    convolutions = [("32x31x31", 3), ("64x14x14", 32), ("128x6x6", 64), ("256x2x2", 128)]
    encoder = [
        ("Conv2d", shape, f"{inputs * channels(shape) * 16 + channels(shape):,}") for shape, inputs in convolutions
    ]
    assert with_weights(table(text, "vae: encoder")) == [*encoder, *[("Linear", "32", "32,800")] * 2]
    back = [("128x5x5", 1024, 5), ("64x13x13", 128, 5), ("32x30x30", 64, 6), ("3x64x64", 32, 6)]
    decoder = [
        ("ConvTranspose2d", shape, f"{inputs * channels(shape) * kernel**2 + channels(shape):,}")
        for shape, inputs, kernel in back
    ]
    assert with_weights(table(text, "vae: decoder")) == [("Linear", "1024", "33,792"), *decoder]
    assert "vae: 4,348,547 trainable, 0 not, 4,348,547 as Keras counts" in text


def channels(shape: str) -> int:
    return int(shape.split("x")[0])


def keras(*rows: tuple[str, tuple[int, ...], int]) -> list[Row]:
    """Rows as Keras prints them, channels last, as ours."""
    return [(kind, "x".join(map(str, (shape[-1], *shape[:-1]))), f"{count:,}") for kind, shape, count in rows]


def test_dcgan_is_figure_13a_of_document_003_row_by_row() -> None:
    expected = keras(
        ("Linear", (6272,), 633_472),
        ("Unflatten", (7, 7, 128), 0),
        ("ConvTranspose2d", (14, 14, 64), 73_792),
        ("BatchNorm2d", (14, 14, 64), 256),
        ("ReLU", (14, 14, 64), 0),
        ("ConvTranspose2d", (14, 14, 32), 18_464),
        ("BatchNorm2d", (14, 14, 32), 128),
        ("ReLU", (14, 14, 32), 0),
        ("ConvTranspose2d", (28, 28, 1), 289),
        ("Tanh", (28, 28, 1), 0),  # which Keras has inside the convolution before it
    )
    text = shown("dcgan", "--dataset", "mnist")
    assert table(text, "generator") == expected
    assert [row[2] for row in table(text, "generator", keras=False) if row[0] == "BatchNorm2d"] == ["128", "64"]


def test_wgan_is_figures_25a_and_26a_of_document_003_row_by_row() -> None:
    expected = keras(
        ("Linear", (6272,), 633_472),
        ("ReLU", (6272,), 0),  # which Keras has inside the layer before it, as the last tanh
        ("Unflatten", (7, 7, 128), 0),
        ("Upsample", (14, 14, 128), 0),
        ("ZeroPad2d", (17, 17, 128), 0),  # which Keras has inside the convolution after it
        ("Conv2d", (14, 14, 64), 131_136),
        ("BatchNorm2d", (14, 14, 64), 256),
        ("ReLU", (14, 14, 64), 0),
        ("Upsample", (28, 28, 64), 0),
        ("ZeroPad2d", (31, 31, 64), 0),
        ("Conv2d", (28, 28, 32), 32_800),
        ("BatchNorm2d", (28, 28, 32), 128),
        ("ReLU", (28, 28, 32), 0),
        ("ZeroPad2d", (31, 31, 32), 0),
        ("Conv2d", (28, 28, 1), 513),
        ("Tanh", (28, 28, 1), 0),
    )
    assert table(shown("wgan", "--dataset", "mnist"), "generator") == expected
    critic = keras(
        ("Conv2d", (16, 16, 16), 448),
        ("LeakyReLU", (16, 16, 16), 0),
        ("Dropout", (16, 16, 16), 0),
        ("Conv2d", (8, 8, 256), 37_120),
        ("ZeroPad2d", (9, 9, 256), 0),
        ("BatchNorm2d", (9, 9, 256), 1024),
        ("LeakyReLU", (9, 9, 256), 0),
        ("Dropout", (9, 9, 256), 0),
        ("Conv2d", (9, 9, 1024), 2_360_320),
        ("BatchNorm2d", (9, 9, 1024), 4096),
        ("LeakyReLU", (9, 9, 1024), 0),
        ("Dropout", (9, 9, 1024), 0),
        ("Flatten", (82_944,), 0),
        ("Linear", (1,), 82_945),
    )
    rows = table(shown("wgan", "--dataset", "cifar10"), "critic")
    ours = [row for place, row in enumerate(rows) if row[0] != "ZeroPad2d" or rows[place + 1][0] == "BatchNorm2d"]
    assert ours == critic


def test_acai_is_appendix_4_of_document_001() -> None:
    """The sides of its 1x1 convolution grow by its padding: 34, 17, 8 and 4 after poolings that round down."""
    text = shown("acai", "--dataset", "cifar10")
    widths = [(3, 16, 1, 34), (16, 16, 3, 34), (16, 16, 3, 34), (16, 32, 3, 17), (32, 32, 3, 17)]
    widths += [(32, 64, 3, 8), (64, 64, 3, 8), (64, 128, 3, 4), (128, 16, 3, 4)]
    expected = [("Conv2d", f"{o}x{side}x{side}", f"{i * o * k * k + o:,}") for i, o, k, side in widths]
    assert with_weights(table(text, "autoencoder: encoder")) == expected
    back = [(16, 64, 4), (64, 64, 4), (64, 32, 8), (32, 32, 8), (32, 16, 16), (16, 16, 16), (16, 16, 32), (16, 3, 32)]
    decoder = [("Conv2d", f"{o}x{side}x{side}", f"{i * o * 9 + o:,}") for i, o, side in back]
    assert with_weights(table(text, "autoencoder: decoder")) == decoder


def test_a_recurrent_layer_is_one_row_with_the_number_of_its_calls() -> None:
    text = shown("draw", "--set", "glimpses=7")
    assert re.search(r"^  encoder LSTMCell +256 +7 +577,536 +577,536$", text, re.MULTILINE)
    assert len(re.findall("LSTMCell", text)) == 2


@pytest.mark.parametrize("name", registry.names("models"))
def test_every_layer_of_every_model_is_in_one_row_and_every_parameter_is_counted_once(name: str) -> None:
    kind = model_class(name)
    bounded: list[dict[str, bool]] = [{"spectral_norm": True}] if "spectral_norm" in hyperparameters(name) else []
    for spec, settings in itertools.product(SPECS, [{}, *bounded]):
        model = kind(spec, **settings)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        tables = layer_tables(model, noise(spec))
        assert list(tables) == list(model.players())
        for player, part in model.players().items():
            rows = [row for layers in tables[player].values() for row in layers]
            assert sum(row.trainable for row in rows) == sum(p.numel() for p in part.parameters())
            assert sum(row.trainable + row.fixed for row in rows) == keras_count(part)
        found = [
            ".".join(filter(None, (network, row.name)))
            for networks in tables.values()
            for network, layers in networks.items()
            for row in layers
            if row.trainable and row.calls and row.shape is not None
        ]
        owners = {place.partition(".parametrizations")[0] for place, _ in model.named_parameters()}
        assert len(found) == len(set(found))
        assert set(found) == {re.sub(r"\.\w*(weight|bias)\w*$", "", place) for place in owners}
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
        assert not any(module._forward_hooks for module in model.modules())


class Odd(Model):
    """What tables trip over: weights computed from others, shared, frozen, unused or beside other modules; one activation."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        activation = nn.ReLU()
        tied, head = nn.Linear(4, 4), nn.Linear(4, 4)
        head.weight = tied.weight
        frozen = nn.Linear(4, 4).requires_grad_(False)
        scaled = spectral_norm(nn.Conv2d(spec.channels, 4, 1))
        pooled = nn.AdaptiveAvgPool2d(1)
        self.network = nn.Sequential(scaled, pooled, nn.Flatten(), activation, tied, activation, head, frozen)
        self.critic = nn.ModuleDict({"critic": Gated(), "spare": nn.Linear(2, 1)})

    def players(self) -> dict[str, nn.Module]:
        return {"one": nn.ModuleList([self.network]), "two": self.critic}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        code = self.network(batch.images)
        loss = torch.stack([self.critic["critic"](each).mean() for each in (code, code)]).sum()
        update("two", loss)
        return {"loss": loss}


class Gated(nn.Module):
    """A parameter of its own, and a module inside."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.ones(4))
        self.inside = weight_norm(nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inside(x * self.gate)
        return out


def test_odd_layers_are_counted_for_what_they_are() -> None:
    spec = ImageSpec(1, 5, 5)
    tables = layer_tables(Odd(spec), Batch(torch.rand(2, 1, 5, 5), torch.zeros(2, dtype=torch.int64)))
    assert tables == {
        "one": {
            "network": [
                Layer("0", "Conv2d", (4, 5, 5), 1, 8, 0),
                Layer("1", "AdaptiveAvgPool2d", (4, 1, 1), 1, 0, 0),
                Layer("2", "Flatten", (4,), 1, 0, 0),
                Layer("3", "ReLU", (4,), 2, 0, 0),
                Layer("4", "Linear", (4,), 1, 20, 0),
                Layer("6", "Linear", (4,), 1, 4, 0),  # its weight is that of the other
                Layer("7", "Linear", (4,), 1, 0, 20),
            ]
        },
        "two": {
            "critic.critic": [
                Layer("", "Gated", (3,), 2, 4, 0),
                Layer("inside", "Linear", (3,), 2, 3 + 12 + 3, 0),  # a norm for each row, the direction, the bias
            ],
            "critic.spare": [Layer("", "Linear", None, 0, 3, 0)],
        },
    }


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dcgna"], "no model 'dcgna' (did you mean 'dcgan'?)"),
        (["dcgan", "--set", "dept=deep"], "no setting of dcgan 'dept' (did you mean 'depth'?)"),
        (["dcgan", "--set", "latent_dim=ten"], "latent_dim = 'ten': must be a whole number"),
        (["dcgan", "--set", "depth=abyssal"], "depth = 'abyssal': must be one of 'shallow', 'deep'"),
        (["dcgan", "--set", "depth"], "must be key=value"),
        (["dcgan", "--dataset", "mnits"], "dcgan on mnits: no data set 'mnits' (did you mean 'mnist'?)"),
        (["dcgan", "--set", "architecture=tutorial"], "dcgan on digits: architecture = 'tutorial' is for 64x64 images"),
        (["dcgan", "--set", "latent_dim=0"], "dcgan on digits: latent_dim = 0: must be positive"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_status_2(words: list[str], message: str) -> None:
    result = show(*words)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1


def test_other_images_of_a_data_set_make_other_layers(inside: object) -> None:
    text = shown("supervised", "--set", "classes=['3', '8']", "--set", "image_size=16")
    assert "layers on digits (1x16x16), classes=['3', '8'], image_size=16\n" in text
    assert table(text, "classifier")[-1] == ("Linear", "2", "2,050")
