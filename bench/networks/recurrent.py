"""The DRAW network: Gregor et al., DRAW: A Recurrent Neural Network for Image Generation, 2015, https://arxiv.org/abs/1502.04623.

Document 004, sections 2.4 and 4.6, which print LSTMs of 256 units and no more. Ten glimpses, a code of ten numbers in each and
windows of 5x5 are those of its authors' code, https://github.com/Jianbo-Lab/vae-gan.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.contract import ImageSpec
from bench.networks.blocks import check_positive, check_repeats, one_hot, reparameterised


@dataclass(frozen=True)
class Drawing:
    """How an image was drawn.

    Attributes:
        canvases: c_1 to c_T, logits ``[T, B, C, H, W]``.
        means: of the codes ``[B, T, Z]``.
        log_variances: of the codes ``[B, T, Z]``.
    """

    canvases: Tensor
    means: Tensor
    log_variances: Tensor


class DrawNetwork(nn.Module):
    """An encoder that reads images glimpse by glimpse, and a decoder that writes onto a canvas.

    Where there are ``classes``, the label joins the inputs of both. With ``attention`` both look through a grid of ``window``
    x ``window`` Gaussian filters (section 3.2 of the paper), else at the whole image.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int,
        glimpses: int,
        hidden_size: int,
        attention: bool,
        window: int,
        classes: int,
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim, hidden_size=hidden_size, window=window)
        check_repeats(glimpses=glimpses)
        self.spec = spec
        self.classes = classes
        self.latent_dim = latent_dim
        self.glimpses = glimpses
        self.hidden_size = hidden_size
        self.window = window
        seen = spec.channels * window**2 if attention else spec.pixels
        self.encoder = nn.LSTMCell(2 * seen + hidden_size + classes, hidden_size)
        self.code = nn.Linear(hidden_size, 2 * latent_dim)
        self.decoder = nn.LSTMCell(latent_dim + classes, hidden_size)
        self.write = nn.Linear(hidden_size, seen)
        self.read_attention = nn.Linear(hidden_size, 5) if attention else None
        self.write_attention = nn.Linear(hidden_size, 5) if attention else None
        for layer in (self.encoder, self.decoder, self.code, self.write, self.read_attention, self.write_attention):
            if layer is not None:  # zero-centred normal weights, as all of document 004's
                for parameter in layer.parameters():
                    if parameter.ndim == 2:
                        nn.init.xavier_normal_(parameter)
                    else:
                        nn.init.zeros_(parameter)

    def reconstruct(self, images: Tensor, labels: Tensor | None, *, noisy: bool = True) -> Drawing:
        """Draw images ``[B, C, H, W]`` again, from codes that are sampled or, if not ``noisy``, their means.

        Args:
            labels: int64 ``[B]``, needed where there are classes.
        """
        condition = self._given(labels, len(images))
        canvases, means, log_variances = [], [], []
        state = _State(images.new_zeros(images.shape), self._zeros(len(images)), self._zeros(len(images)))
        for _ in range(self.glimpses):
            error = images - state.canvas.sigmoid()
            seen = self._read(torch.cat((images, error), dim=1), state.decoder[0])
            encoder = self.encoder(torch.cat((seen, state.decoder[0], condition), dim=1), state.encoder)
            mean, log_variance = self.code(encoder[0]).chunk(2, dim=1)
            z = reparameterised(mean, log_variance) if noisy else mean
            state = self._written(_State(state.canvas, encoder, state.decoder), z, condition)
            canvases.append(state.canvas)
            means.append(mean)
            log_variances.append(log_variance)
        return Drawing(torch.stack(canvases), torch.stack(means, 1), torch.stack(log_variances, 1))

    def draw(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Codes ``[B, T, Z]`` to canvases, logits ``[T, B, C, H, W]``."""
        condition = self._given(labels, len(z))
        blank = torch.zeros(len(z), *self.spec.shape, device=z.device)
        state = _State(blank, self._zeros(len(z)), self._zeros(len(z)))
        canvases = []
        for glimpse in z.unbind(1):
            state = self._written(state, glimpse, condition)
            canvases.append(state.canvas)
        return torch.stack(canvases)

    def noise(self, n: int) -> Tensor:
        """``n`` codes from the prior, ``[n, T, Z]``."""
        return torch.randn(n, self.glimpses, self.latent_dim, device=self.code.weight.device)

    def _written(self, state: _State, z: Tensor, condition: Tensor) -> _State:
        decoder = self.decoder(torch.cat((z, condition), dim=1), state.decoder)
        patch = self.write(decoder[0])
        if self.write_attention is None:
            stroke = patch.view_as(state.canvas)
        else:
            down, across, intensity = self._filters(self.write_attention(decoder[0]))
            patch = patch.view(len(z), self.spec.channels, self.window, self.window)
            stroke = down.mT @ patch @ across / intensity
        return _State(state.canvas + stroke, state.encoder, decoder)

    def _read(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Images ``[B, 2C, H, W]`` as they are, or through the filters: ``[B, 2 * seen]``."""
        if self.read_attention is None:
            return images.flatten(1)
        down, across, intensity = self._filters(self.read_attention(hidden))
        return (down @ images @ across.mT * intensity).flatten(1)

    def _filters(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Equations 19 to 26: ``[B, 5]`` to filters ``[B, 1, N, H]``, ``[B, 1, N, W]`` and the intensity ``[B, 1, 1, 1]``."""
        x, y, log_variance, log_stride, log_intensity = parameters.float().unbind(1)
        height, width = self.spec.height, self.spec.width
        stride = (max(height, width) - 1) / max(1, self.window - 1) * log_stride.exp()
        across = gaussian_filters((width + 1) / 2 * (x + 1), stride, log_variance, self.window, width)
        down = gaussian_filters((height + 1) / 2 * (y + 1), stride, log_variance, self.window, height)
        return down.unsqueeze(1), across.unsqueeze(1), log_intensity.exp().view(-1, 1, 1, 1)

    def _given(self, labels: Tensor | None, n: int) -> Tensor:
        """Labels one-hot ``[n, classes]``, or no numbers ``[n, 0]``.

        Raises:
            ValueError: there are classes and no labels.
        """
        if not self.classes:
            return torch.zeros(n, 0, device=self.code.weight.device)
        if labels is None:
            raise ValueError("a conditional model needs labels")
        return one_hot(labels, self.classes)

    def _zeros(self, n: int) -> tuple[Tensor, Tensor]:
        zeros = torch.zeros(n, self.hidden_size, device=self.code.weight.device)
        return zeros, zeros


def gaussian_filters(centre: Tensor, stride: Tensor, log_variance: Tensor, count: int, pixels: int) -> Tensor:
    """Equations 19, 20, 25 and 26 along one side: ``count`` filters about ``centre``, each summing to 1: ``[B, count, pixels]``.

    Pixels are numbered from 1, as the paper's equation 22 implies; ``centre``, ``stride`` and ``log_variance`` are ``[B]``.
    """
    offsets = torch.arange(1, count + 1, device=centre.device) - count / 2 - 0.5
    means = centre.view(-1, 1, 1) + offsets.view(1, -1, 1) * stride.view(-1, 1, 1)
    distance = torch.arange(1, pixels + 1, device=centre.device) - means
    # A softmax is the same quotient, and stays finite where a filter lies outside the image.
    return torch.softmax(-distance.square() / (2 * log_variance.exp().view(-1, 1, 1)), dim=2)


@dataclass(frozen=True)
class _State:
    """What one glimpse hands to the next: the canvas, and the hidden and cell states of both LSTMs."""

    canvas: Tensor
    encoder: tuple[Tensor, Tensor]
    decoder: tuple[Tensor, Tensor]
