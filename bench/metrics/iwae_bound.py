"""The importance-weighted lower bound of held-out images in nats per image: tighter than ``elbo``, pixels Bernoulli too.

Burda et al., Importance Weighted Autoencoders, 2016, equation 8, https://arxiv.org/abs/1509.00519; log p(x | y) for a model that
is told y. Of binarised images and with 5,000 draws it is what papers call the log-likelihood; of grey ones it compares with no
paper's.
"""

from __future__ import annotations

from bench.contract import Infers
from bench.data import Data
from bench.measure.context import Context, chosen
from bench.measure.likelihood import importance_weighted_bounds, pixels_in_words
from bench.score import Score

VALUES = {"iwae_bound": "higher"}
UNITS = {"iwae_bound": "nats"}
NEEDS = Infers
EXTRACTOR = None


def measure(model: Infers, data: Data, context: Context) -> dict[str, Score]:
    """The mean over held-out images from all parts of the split, as many and with as many draws as the options say."""
    draws, count = context.options.likelihood_draws, min(context.options.likelihood_images, len(data.held_out))
    images = data.held_out.take(data.held_out.spaced(count))
    bound = float(importance_weighted_bounds(model, images, draws).mean())
    pixels = pixels_in_words(images.images)
    protocol = {"draws": draws, "of_images": count, "pixels": pixels, **chosen(len(data.held_out), count)}
    return {"iwae_bound": Score(bound, protocol=protocol)}
