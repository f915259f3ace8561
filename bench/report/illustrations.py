"""What a report shows besides numbers: effects, curves, and sheets of what the runs drew."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.images import COLOURS, FONT, picture, png, side_by_side
from bench.report.blocks import Picture
from bench.report.cells import HELD_OUT, titled, told_in
from bench.report.plots import Curve, Effect, Panels, curves, effects
from bench.report.tables import ROW, unnumbered, values_of
from bench.score import LARGEST, Metric
from bench.study.definition import Study, label
from bench.study.naming import applied_file, nicknames

TRAINING = "training.png"
CURVES = "curves.png"
EFFECTS = "effects.png"
PICTURES = {
    "samples.png": "Samples, from the same noise in every variant",
    "reconstructions.png": "Held-out images over their reconstructions",
    TRAINING: "Samples while it trained, from that noise",
    "interpolation.png": "Interpolations between held-out images; between noises where a model encodes none",
    "manifold.png": "The latent plane, at quantiles of its prior",
    "canvases_reconstructed.png": "The canvas, step by step, of held-out images",
    "canvases_generated.png": "The canvas, step by step, of new ones",
}
ABREAST = ("samples.png", "reconstructions.png")  # two that stand beside one another ...
LARGER = 3 * FONT // 2  # ... each in half of a page, and so has larger letters
TERMS = {
    "loss": "what the model minimises",
    "reconstruction": "what of an image is lost on the way through its code",
    "reconstruction_per_pixel": "that for each pixel",
    "kl": "the divergence of an image's codes from the prior",
    "adversarial": "how far a critic tells images from real ones",
    "features": "how far reconstructions are from images in a discriminator's features",
    "discriminator": "the loss of the network that tells real images from generated ones",
    "critic": "the loss of the network that judges images",
    "generator": "the loss of the network that is to fool the other",
    "vae": "what encoder and decoder minimise together",
    "draw": "what the drawing network minimises",
    "autoencoder": "what encoder and decoder minimise together",
    "regulariser": "what a critic makes of interpolated images",
    "wasserstein": "the critic's estimate of the distance between real and generated images",
    "labelled": "the loss of images whose label is known",
    "unlabelled": "the loss of images whose label is hidden",
    "classification": "the loss of telling the label",
}
"""What a loss term is that several models have; any other is described in its model's own file."""

PROPOSALS = 3  # of a search, of which pictures are shown
FROM = 2  # the first epoch of a curve: before it losses fall so far that nothing else could be seen


def titles(study: Study) -> dict[str, str]:
    """Every picture that a report of a study shows of a run, by its file: what the study puts its models to, and `PICTURES`."""
    return {applied_file(name): name.replace("_", " ").capitalize() for name in study.applications} | PICTURES


def pictured(study: Study, runs: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """The runs whose pictures a report shows: the lowest finished seed of every variant; of a search's proposals the best few.

    Args:
        table: the `summary` of the runs.
    """
    finished = runs[runs["state"] == "finished"].sort_values("seed", kind="stable").drop_duplicates(ROW)
    if study.is_search:
        places = table.groupby(["dataset", "split"], sort=False).cumcount()
        shown = table.loc[(table["split"] == "test") | (places < PROPOSALS), ["dataset", "split", "variant"]]
        finished = finished.merge(shown)
    return list(finished["run_id"])


def followed(study: Study, epochs: Collection[int]) -> list[int]:
    """Of the ``epochs`` after which a run was looked at, those whose samples a report shows, rising.

    They are those that the study names; where it names none, the first and one in the middle; and the last.
    """
    if not epochs:
        return []
    last = max(epochs)
    between = sorted(epoch for epoch in epochs if 0 < epoch < last)
    if study.pictures:
        between = [epoch for epoch in between if epoch in study.pictures]
    elif between:
        between = [between[0], min(between, key=lambda epoch: abs(2 * epoch - last))]
    return sorted({*between, last})


def while_training(samples: Mapping[int, bytes]) -> dict[str, bytes]:
    """The samples of one run by epoch under the names by which a report knows them; nothing where there is one epoch alone."""
    return {f"{TRAINING}@{epoch}": samples[epoch] for epoch in sorted(samples)} if len(samples) > 1 else {}


def effect_plot(study: Study, table: pd.DataFrame, runs: pd.DataFrame, metrics: Sequence[Metric]) -> bytes | None:
    """Every one of ``metrics`` against the varied setting, or by variant; None where nothing is compared.

    Nor for a search, which has plots of its own.
    """
    setting, places = _setting(study)
    if not set(table["variant"]) <= set(places):
        setting, places = "", {variant: variant for variant in table["variant"]}
    where, drawn = ["dataset", "split", "variant"], []
    if study.is_search:
        return None
    names = nicknames(table["dataset"])
    finished = dict(iter(runs[runs["state"] == "finished"].groupby(where)))
    shown = [metric for metric in metrics if not metric.name.endswith(HELD_OUT)]
    for metric in shown:
        factor, unit = told_in(study, metric)
        values: dict[str, dict[str | float, list[float]]] = {}
        said: dict[str, dict[str | float, list[float]]] = {}
        for _, row in table[table[f"{metric.name}_mean"].notna()].iterrows():
            name, place = names[row["dataset"]], places[row["variant"]]
            found = [factor * float(value) for value in values_of(finished[tuple(row[where])], metric.name)]
            values.setdefault(name, {})[place] = found
            if numbers := source_has(study, metric, row["dataset"], row["variant"]):
                said.setdefault(name, {})[place] = [factor * number for number in numbers]
        if said or any(len(own) > 1 for own in values.values()):
            drawn.append(Effect(titled(metric), unit, values, _of_real(table, metric, factor), said))
    order = list(dict.fromkeys(places[variant] for variant in table["variant"]))
    return png(effects(drawn, setting, order), plot=True) if drawn else None


def source_has(study: Study, metric: Metric, dataset: str, variant: str) -> list[float]:
    """The numbers that a study's sources have for a metric of a variant, as its claims tell them."""
    claims = [claim for claim in study.claims if claim.relation == "equal" and claim.metric == unnumbered(metric)]
    pairs = [pair for claim in claims if dataset in (claim.datasets or study.meant_for) for pair in claim.pairs]
    return [side for pair in pairs if variant in pair for side in pair if not isinstance(side, str)]


def _of_real(table: pd.DataFrame, metric: Metric, factor: float) -> dict[str, float]:
    """What a measure of generated images is of held-out ones, by data set, where that was measured too."""
    name = f"{metric.name}{HELD_OUT}_mean"
    if name not in table:
        return {}
    means = table.groupby("dataset", sort=False)[name].mean().dropna()
    names = nicknames(table["dataset"])
    return {names[str(dataset)]: factor * float(mean) for dataset, mean in means.items()}


def sheets(
    study: Study, rows: pd.DataFrame, trials: pd.DataFrame, pictures: Mapping[str, Mapping[str, bytes]], stem: str
) -> dict[str, tuple[Picture, bytes]]:
    """What the first finished run of each variant drew, by the end of the file's name: `titles`, those that there are."""
    finished = trials[trials["state"] == "finished"].sort_values("seed", kind="stable")
    first = {v: own["run_id"].iloc[0] for v, own in finished.groupby("variant") if v in set(rows["variant"])}
    drawn = {v: pictures.get(first[v], {}) for v in rows["variant"] if v in first}
    more = "{} Each image by itself, with what went into it: bench apply {} RUN."
    notes = {applied_file(name): more.format(what, name) for name, what in study.applications.items()}
    found = {}
    for name, title in titles(study).items():
        if name == TRAINING:
            each = {
                f"{variant}, epoch {file.partition('@')[2]}": picture(content)
                for variant, files in drawn.items()
                for file, content in files.items()
                if file.startswith(TRAINING)
            }
            columns = max((sum(file.startswith(TRAINING) for file in files) for files in drawn.values()), default=0)
        else:
            each = {variant: picture(files[name]) for variant, files in drawn.items() if name in files}
            columns = 3
        if each:
            found[name] = (
                Picture(f"{stem}-{name}", title, notes.get(name, "")),
                png(side_by_side(each, columns, LARGER if name in ABREAST else FONT)),
            )
    return found


def curve_plot(
    rows: pd.DataFrame, trials: pd.DataFrame, values: pd.DataFrame, stem: str
) -> tuple[Picture, bytes] | None:
    """The loss curves of the variants in ``rows``, with what each term is; None where there are none."""
    trials = trials[trials["variant"].isin(rows["variant"]) & (trials["state"] == "finished")]
    panels, first = _panels(rows, trials, values)
    if not panels:
        return None
    splits = {split for panel in panels.values() for each in panel.values() for split in each}
    held_out = sorted(splits - {*_TRAINING})
    note = f"Held-out images ({', '.join(held_out)})"
    if len({variant for panel in panels.values() for variant in panel}) > len(COLOURS) and held_out:
        panels = _only(held_out, panels)
        note += " alone, of so many variants. "
    else:
        looks = ", ".join(words for split, words in _LOOKS.items() if split in splits)
        note += f" solid{'; training images ' if looks else ''}{looks}. "
    note += "Lines are means over the seeds, bands reach from the lowest to the highest; "
    note += f"they begin after epoch {first}. "
    note += "; ".join(f"{term}: {TERMS[term]}" for term in panels if term in TERMS)
    return Picture(f"{stem}-{CURVES}", "Losses", note.strip()), png(curves(panels), plot=True)


def _only(splits: Collection[str], panels: Panels) -> Panels:
    """The curves of some splits, without what has none of them."""
    found = {
        term: {name: {s: curve for s, curve in own.items() if s in splits} for name, own in panel.items()}
        for term, panel in panels.items()
    }
    return {term: kept for term, panel in found.items() if (kept := {name: own for name, own in panel.items() if own})}


_TRAINING = ("train", "train_eval")  # in this order, before the held-out split
_LOOKS = {
    "train_eval": "dashed in eval mode (train_eval), which compares with them",
    "train": "dotted as the training steps took them (train)",
}


def _panels(rows: pd.DataFrame, trials: pd.DataFrame, values: pd.DataFrame) -> tuple[Panels, int]:
    """What `plots.curves` draws, and from which epoch on: in the first epoch, as before it, losses dwarf all others."""
    panels: dict[str, dict[str, dict[str, Curve]]] = {}
    joined = trials[["run_id", "variant"]].merge(values, on="run_id")
    joined = joined[(joined["step"] > 0) & (joined["value"].abs() < LARGEST)]
    first = FROM if len(joined) and joined["step"].max() > FROM else 1
    joined = joined[joined["step"] >= first]
    drawn: dict[tuple[str, str], Any] = {
        (str(name), str(variant)): own for (name, variant), own in joined.groupby(["name", "variant"])
    }
    names = (name.split("/", 1) for name in {name for name, _ in drawn})
    for split, term in sorted(names, key=lambda name: (name[1] != "loss", name[1], name[0] not in _TRAINING, name[0])):
        for variant in rows["variant"]:
            if (own := drawn.get((f"{split}/{term}", variant))) is not None:
                curve = own.groupby("step")["value"].apply(list).to_dict()
                panels.setdefault(term, {}).setdefault(variant, {})[split] = curve
    return panels, first


def _setting(study: Study) -> tuple[str, dict[str, str | float]]:
    """The one setting that is varied, and its value by variant, where it is numbers."""
    if len(study.vary) != 1 or len(study.variants) != 1:
        return "", {}
    ((name, values),) = study.vary.items()
    if not isinstance(values, Iterable) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    ):
        return "", {}
    return name, {label(study.variants[0], cell): float(cell[name]) for cell in study.cells()}
