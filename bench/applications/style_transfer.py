"""The style of one image with every label: its code decoded under each. Document 004, section 4.4.2 and figure 9."""

from __future__ import annotations

import torch

from bench.applications import Applied, class_name, held_out, no_codes, spread
from bench.contract import Autoencodes, Model, Unsupported, conditioned_on, eval_mode
from bench.data import Data
from bench.images import png, strips, tile


def apply(model: Model, data: Data, *, count: int = 10) -> Applied:
    """Rows of a held-out image and its mean code decoded with every label.

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
    with eval_mode(model):
        codes = model.encode(batch.images, batch.labels)
        columns += [model.decode(codes, torch.full_like(batch.labels, label)) for label in range(classes)]
    table = torch.stack(columns, dim=1)
    files, rows = {}, []
    for row, place in enumerate(places.tolist()):
        for label in range(classes):
            name = f"images/{place:05}_as_{label}.png"
            files[name] = png(tile(table[row, 1 + label]))
            own = class_name(data, int(batch.labels[row]))
            rows.append({"file": name, "image": place, "label": own, "decoded_as": class_name(data, label)})
    return Applied(png(strips(table)), files, rows)
