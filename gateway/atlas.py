"""Lay queries and examples out in two dimensions, so that one sees which queries lie near which expert's examples.

The axes are the principal components of the groups' means (between-group principal components analysis), so that
they show how experts differ and not how texts happen to; with fewer than three groups, those of all vectors.
`explained` says how much of all variance that keeps. Pure: vectors in, places out.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PLANE = 2
Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Places in the plane, each axis within -1..1, in the order of the vectors.

    `explained` is the share of the vectors' variance that each axis shows.
    """

    places: tuple[tuple[float, float], ...]
    explained: tuple[float, float]


def laid_out(vectors: Sequence[NDArray[np.float32]], groups: Sequence[Hashable | None]) -> Layout:
    """Return where each vector lies.

    Args:
        vectors: all of one dimension.
        groups: what each belongs to, in the same order; None where that is not to shape the axes.
    """
    if not len(vectors):
        return Layout((), (0.0, 0.0))
    table = np.asarray(vectors, dtype=np.float64)
    centred = table - table.mean(axis=0)
    flat = _padded(centred @ _axes(_shaping(table, groups)).T)
    widest = np.abs(flat).max(axis=0)
    places = np.round(flat / np.where(widest > 0, widest, 1.0), 4)
    shares = (flat**2).sum(axis=0) / max(float((centred**2).sum()), 1e-12)
    first, second = (round(float(share), 4) for share in shares)
    return Layout(tuple((float(x), float(y)) for x, y in places), (first, second))


def _shaping(table: Table, groups: Sequence[Hashable | None]) -> Table:
    """Return the rows whose components the axes are: the groups' means, or all rows where there are too few groups."""
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        if group is not None:
            members.setdefault(group, []).append(row)
    if len(members) <= PLANE:
        return table
    return np.stack([table[rows].mean(axis=0) for rows in members.values()])


def _axes(table: Table) -> Table:
    """Return at most two unit axes; each points to where its largest part is positive, so that maps do not flip."""
    _, _, found = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
    axes = found[:PLANE]
    largest = np.abs(axes).argmax(axis=1)
    signs = np.where(axes[np.arange(len(axes)), largest] < 0, -1.0, 1.0)
    return np.asarray(axes * signs[:, None])


def _padded(table: Table) -> Table:
    """Return two columns; where there is but one direction the other is zero."""
    return np.pad(table, ((0, 0), (0, PLANE)))[:, :PLANE]
