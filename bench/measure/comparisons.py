"""Distances of generated to held-out features as scores: said to be biased, or left blank, where there are few images."""

from __future__ import annotations

from bench.measure.context import Compared
from bench.measure.distances import SUBSET, frechet_at_infinity, frechet_distance, kernel_distances
from bench.score import Score


def frechet(compared: Compared, *, enough: int, unbiased: str) -> Score:
    """The Fréchet distance; of fewer images than ``enough`` its protocol says that it is biased, as ``unbiased`` is not."""
    distance = frechet_distance(compared.held_out, compared.generated)
    few = min(len(compared.held_out), len(compared.generated)) < enough
    bias = {"biased": f"upwards, by few images; {unbiased} is not"} if few else {}
    return Score(distance, protocol={**compared.protocol, **bias})


def at_infinity(compared: Compared, *, enough: int) -> Score:
    """The Fréchet distance of infinitely many generated images, from ``enough // 2`` on; blank of fewer than ``enough``."""
    held_out, generated = len(compared.held_out), len(compared.generated)
    if min(held_out, generated) < enough:
        return Score(
            None, f"needs {enough:,} images of each kind, not {held_out:,} held out and {generated:,} generated"
        )
    least = enough // 2
    distance = frechet_at_infinity(compared.held_out, compared.generated, least)
    return Score(distance, protocol={**compared.protocol, "extrapolated_from": least})


def kernel(compared: Compared) -> tuple[Score, Score]:
    """The mean of the kernel distances of subsets, and their standard deviation, blank where all subsets would be the same."""
    distances = kernel_distances(compared.held_out, compared.generated)
    held_out, generated = len(compared.held_out), len(compared.generated)
    spread = Score(float(distances.std()), protocol=compared.protocol)
    if min(held_out, generated) <= SUBSET:
        reason = f"needs more than {SUBSET} images of each kind, not {held_out} held out and {generated} generated"
        spread = Score(None, reason)
    return Score(float(distances.mean()), protocol=compared.protocol), spread
