"""The style of one image with every label: a code of it decoded under each. Document 004, section 4.4.2 and figure 9."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.applications import Applied, Count, class_name, held_out, no_codes, spread
from bench.contract import Autoencodes, Batch, Infers, Model, Unsupported, conditioned_on, eval_mode
from bench.data import Data
from bench.images import png, strips, tile
from bench.networks.blocks import reparameterised


def apply(model: Model, data: Data, *, count: Count = 10, sampled: bool = True, seed: int = 0) -> Applied:
    """Rows of a held-out image and a code of it decoded with every label.

    Args:
        sampled: draw the code, as the document does, where the model has a distribution over codes; else decode its mean.

    Raises:
        Unsupported: the model has no codes, or is not told the label.
    """
    if not isinstance(model, Autoencodes):
        raise no_codes(model)
    if conditioned_on(model) != "labels":
        raise Unsupported(
            f"style transfer needs a model that is told the label, and this {type(model).__name__} is not"
        )
    places = spread(data, count)
    batch = held_out(data, places)
    classes = len(data.spec.classes)
    columns = [batch.images]
    with eval_mode(model, seed):
        codes = _codes(model, batch, sampled=sampled)
        columns += [model.decode(codes, torch.full_like(batch.labels, label)) for label in range(classes)]
    table = torch.stack(columns, dim=1)
    files, rows = {}, []
    for row, place in enumerate(places.tolist()):
        for label in range(classes):
            name = f"images/{place:05}_as_{label}.png"
            files[name] = png(tile(table[row, 1 + label]))
            own = class_name(data, int(batch.labels[row]))
            drawn_as = class_name(data, label)
            rows.append({"file": name, "image": place, "label": own, "decoded_as": drawn_as, "seed": seed})
    return Applied(png(strips(table)), files, rows)


def _codes(model: Autoencodes, batch: Batch, *, sampled: bool) -> Tensor:
    if sampled and isinstance(model, Infers):
        return reparameterised(*model.posterior(batch.images, batch.labels))
    return model.encode(batch.images, batch.labels)
