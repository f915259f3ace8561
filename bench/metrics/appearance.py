"""What is said of generated images by eye, each as a number over that of held-out images: 1 where they are alike.

sharpness: The share of energy in details of under 4 pixels, over that of held-out images: below 1 blurrier, above 1 noisier.
contrast: The standard deviation of the pixels of an image, on average, over that of held-out images: below 1 paler.
checkerboard: How far the energy of a grid of 2, 4 or 8 pixels stands out, over that of held-out images: above 1 it shows.
blockiness: How much larger steps are across borders of blocks of 8 or 4 pixels, over that of held-out images: above 1 they show.

Definitions, cut-offs and windows stand in `bench.measure.appearance`. Grids are what strides leave behind: Odena et al.,
Deconvolution and Checkerboard Artifacts, 2016, https://doi.org/10.23915/distill.00003.
"""

from __future__ import annotations

from bench.contract import Model, Unmeasurable
from bench.data import Data
from bench.measure.appearance import (
    block_excess,
    block_of,
    check_detail,
    grid_excess,
    period_of,
    power,
    relative_sharpness,
    root_mean_square_contrast,
)
from bench.measure.context import Context
from bench.score import Score

VALUES = {"sharpness": "neither", "contrast": "neither", "checkerboard": "neither", "blockiness": "neither"}
UNITS = {
    "sharpness": "times held-out",
    "contrast": "times held-out",
    "checkerboard": "times held-out",
    "blockiness": "times held-out",
}
NEEDS = Model
EXTRACTOR = None


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """Each of the two sets as a whole; what does not fit the images leaves its own number blank."""
    sets = context.generated.images, data.held_out.images
    spectra = power(sets[0]), power(sets[1])
    generated, height, width = len(sets[0]), *sets[0].shape[2:]
    made, real = (root_mean_square_contrast(images) for images in sets)
    scores = {"contrast": Score(made / real, protocol={"generated": generated})}
    try:
        sharpness = relative_sharpness(*spectra)
        scores["sharpness"] = Score(sharpness, protocol={"generated": generated, "high": "from 1/4 cycle per pixel"})
    except Unmeasurable as error:
        scores["sharpness"] = Score(None, str(error))
    try:
        check_detail(spectra[1])
        facts = {"generated": generated, "grid": period_of(height, width)}
        scores["checkerboard"] = Score(grid_excess(spectra[0]) / grid_excess(spectra[1]), protocol=facts)
    except Unmeasurable as error:
        scores["checkerboard"] = Score(None, str(error))
    try:
        facts = {"generated": generated, "blocks": block_of(height, width)}
        scores["blockiness"] = Score(block_excess(sets[0]) / block_excess(sets[1]), protocol=facts)
    except Unmeasurable as error:
        scores["blockiness"] = Score(None, str(error))
    return scores
