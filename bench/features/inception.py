"""pytorch-fid's Inception features, the ones that "FID" means: its network, its weights, its resize.

Heusel et al., GANs Trained by a Two Time-Scale Update Rule, 2017, https://arxiv.org/abs/1706.08500; the network is that of
https://github.com/mseitzer/pytorch-fid, converted from the original. Without its weights there is no FID, only a reason.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import fuse_conv_bn_eval

from bench.contract import Unmeasurable
from bench.data import Data

FILE = "pt_inception-2015-12-05-6726825d.pth"  # as pytorch-fid names it; its own module is read where it is used: it takes 1.5 s
SHA256 = FILE.removesuffix(".pth").rpartition("-")[2]  # how the file's hash begins; its name says so
NETWORK_SECONDS = 20.0
COSTLY_ON_CPU = True
BATCH_ON_CPU = 16  # larger ones lose time to memory that the system hands out anew each time


class InceptionFeatures:
    """The pool3 features, 2048 numbers an image, as an `Extractor`."""

    def __init__(self, network: torch.nn.Module, weights: str) -> None:
        fold_normalisation(network.eval().requires_grad_(False))
        self.network = network.to(memory_format=torch.channels_last)  # the faster order, on a CPU too
        self.protocol: Mapping[str, str] = {
            "extractor": "pytorch-fid's Inception v3, pool3",
            "weights": weights,
            "resize": "299x299, bilinear, not antialiased",
            "grey": "repeated to RGB",
            "normalisation": "folded into the convolutions",
        }

    def __call__(self, images: Tensor) -> Tensor:
        """float32 ``[B, C, H, W]`` in ``[0, 1]`` to ``[B, 2048]``."""
        parts = images.split(BATCH_ON_CPU) if images.device.type == "cpu" else (images,)
        return torch.cat([self._features(part) for part in parts])

    def _features(self, images: Tensor) -> Tensor:
        colour = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.network(colour)[0].flatten(1)
        return features


def fold_normalisation(network: torch.nn.Module) -> None:
    """Put the batch normalisation of every convolution that Inception has into the convolution's weights, in place.

    The features stay the same to 4e-7 in float32, and are nearer to it in bfloat16: 0.4 % instead of 1.5 %.
    """
    for block in network.modules():
        convolution, normalisation = getattr(block, "conv", None), getattr(block, "bn", None)
        if isinstance(convolution, torch.nn.Conv2d) and isinstance(normalisation, torch.nn.BatchNorm2d):
            block.conv = fuse_conv_bn_eval(convolution, normalisation)
            block.bn = torch.nn.Identity()


def load(data: Data, cache: Path, data_dir: Path) -> InceptionFeatures:
    """The network with its published weights, on the device of the data; never from the network.

    Raises:
        Unmeasurable: the weights are not here, or are not the published ones.
    """
    file = find(data_dir)
    if file is None:
        raise Unmeasurable(f"no Inception weights: put pytorch-fid's {FILE} into {data_dir.name}/")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if not digest.startswith(SHA256):
        raise Unmeasurable(f"{file.name} is damaged: its sha256 begins {digest[:8]}, not {SHA256}; remove it")
    return InceptionFeatures(build(file).to(data.held_out.images.device), digest[:12])


def build(file: Path) -> torch.nn.Module:
    """pytorch-fid's own network with the weights in ``file``, which it would otherwise download."""
    from pytorch_fid import inception as pytorch_fid

    state = torch.load(file, weights_only=True, map_location="cpu")
    original = pytorch_fid.load_state_dict_from_url
    pytorch_fid.load_state_dict_from_url = lambda url, progress: state
    try:
        return pytorch_fid.InceptionV3([pytorch_fid.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])  # type: ignore[no-any-return]
    finally:
        pytorch_fid.load_state_dict_from_url = original


def find(data_dir: Path) -> Path | None:
    """The weights in ``data_dir``, or where torch keeps what it downloads."""
    places = (data_dir / FILE, Path(torch.hub.get_dir()) / "checkpoints" / FILE)
    return next((place for place in places if place.exists()), None)


def located(data_dir: Path) -> str:
    """In words, where the weights are, or how they are had."""
    if file := find(data_dir):
        return f"in {file}"
    from pytorch_fid.inception import FID_WEIGHTS_URL

    return (
        f"not here: a run that takes FID or KID downloads them; without a network put {FID_WEIGHTS_URL} into {data_dir}"
    )


def files(data_dir: Path) -> list[Path]:
    """The weights, where they are here."""
    return [file for file in (find(data_dir),) if file]


def fetch(data_dir: Path) -> None:
    """Download the weights into ``data_dir`` where they are not here yet.

    Raises:
        Unmeasurable: they cannot be downloaded.
    """
    if find(data_dir) is not None:
        return
    from pytorch_fid.inception import FID_WEIGHTS_URL

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_SECONDS)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(FID_WEIGHTS_URL, str(data_dir / FILE), hash_prefix=SHA256)
    except (OSError, RuntimeError) as error:
        raise Unmeasurable(f"Inception's weights cannot be downloaded ({error}); put {FILE} into {data_dir}") from error
    finally:
        socket.setdefaulttimeout(patience)
