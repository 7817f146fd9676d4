"""Quality against cost: hulls, AIQ, dominated points, hypervolume, and the price of the best expert's quality.

A router with a knob is a set of points (cost, quality). Mixing two settings at random reaches every point between
them, so its frontier is the non-decreasing convex hull (RouterBench, 2403.12031). AIQ is the mean height of that hull
over a range of costs; the range is part of the figure. Ours is from the mean cost of the cheapest single expert of
the pool to that of the dearest, the hull extended flat beyond its last point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.evaluation.runs import Floats


def convex_hull(costs: Floats, qualities: Floats) -> tuple[Floats, Floats]:
    """Return the corners of the non-decreasing, concave upper hull, by rising cost."""
    order = np.lexsort((-qualities, costs))
    hull: list[tuple[float, float]] = []
    for cost, quality in zip(costs[order].tolist(), qualities[order].tolist(), strict=True):
        if hull and quality <= hull[-1][1]:
            continue
        while len(hull) > 1 and _below(hull[-2], hull[-1], (cost, quality)):
            hull.pop()
        hull.append((cost, quality))
    corners = np.array(hull)
    return corners[:, 0], corners[:, 1]


def _below(first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]) -> bool:
    rise = (middle[1] - first[1]) * (last[0] - first[0])
    return rise <= (last[1] - first[1]) * (middle[0] - first[0])


def height(costs: Floats, qualities: Floats, at: Floats) -> Floats:
    """Return the hull's quality at the costs `at`: flat after its last corner, the first corner's before it."""
    found: Floats = np.interp(at, *convex_hull(costs, qualities))
    return found


def average_improvement_in_quality(costs: Floats, qualities: Floats, lowest: float, highest: float) -> float:
    """Return AIQ: the integral of the hull from `lowest` to `highest` cost over the width, in the unit of quality.

    A hull that begins above `lowest` counts with its first corner's quality from there; a range without width
    has the hull's height there.
    """
    x, y = convex_hull(costs, qualities)
    if highest <= lowest:
        return float(np.interp(lowest, x, y))
    inside = x[(x > lowest) & (x < highest)]
    grid = np.concatenate([[lowest], inside, [highest]])
    return float(np.trapezoid(np.interp(grid, x, y), grid) / (highest - lowest))


def undominated(costs: Floats, qualities: Floats) -> NDArray[np.bool_]:
    """Return a mask (k,) of the points that no other beats: none cheaper and as good, none as cheap and better."""
    cheaper = (costs[None, :] <= costs[:, None]) & (qualities[None, :] >= qualities[:, None])
    strictly = (costs[None, :] < costs[:, None]) | (qualities[None, :] > qualities[:, None])
    return np.asarray(~(cheaper & strictly).any(axis=1))


def hypervolume(costs: Floats, qualities: Floats, reference_cost: float, reference_quality: float) -> float:
    """Return the area that the points dominate, over costs divided by `reference_cost` (the dearest expert's).

    `reference_quality` is that of random choice; points dearer or worse than the reference add nothing.
    """
    useful = (costs < reference_cost) & (qualities > reference_quality)
    order = np.argsort(costs[useful])
    x = np.append(costs[useful][order] / reference_cost, 1.0)
    best = np.maximum.accumulate(qualities[useful][order]) if useful.any() else np.array([])
    return float((np.diff(x) * (best - reference_quality)).sum()) if useful.any() else 0.0


def cost_for_quality(costs: Floats, qualities: Floats, wanted: float) -> float | None:
    """Return the least cost at which the hull reaches a quality; None where it never does."""
    x, y = convex_hull(costs, qualities)
    if y[-1] < wanted:
        return None
    return float(np.interp(wanted, y, x))


def quality_neutral_cost(costs: Floats, qualities: Floats, best_quality: float, best_cost: float) -> float | None:
    """Return QNC (UniRoute, 2502.08773): the least cost reaching the best expert's quality over that expert's cost.

    Read on the hull, as a random mixture of two settings reaches it; None where the router never does.
    """
    found = cost_for_quality(costs, qualities, best_quality)
    return None if found is None or best_cost <= 0 else found / best_cost
