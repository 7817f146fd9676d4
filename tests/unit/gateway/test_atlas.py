"""The map: axes that tell groups apart, places within bounds, the same picture for the same vectors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.atlas import laid_out
from gateway.decisions import Decisions, Remembered
from router.types import Assignment, RoutingDecision

RNG = np.random.default_rng(7)


def around(axis: int, count: int, noise: float = 0.05, dimension: int = 24) -> NDArray[np.float32]:
    """Return unit vectors near one axis."""
    vectors = np.eye(dimension)[[axis] * count] + noise * RNG.standard_normal((count, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_what_belongs_together_lies_together() -> None:
    vectors = np.concatenate([around(axis, 8) for axis in (0, 1, 2)])
    groups = [name for name in ("maths", "law", "code") for _ in range(8)]
    places = np.asarray(laid_out(list(vectors), groups).places).reshape(3, 8, 2)
    centres = places.mean(axis=1)

    within = np.abs(places - centres[:, None]).max()
    between = min(np.linalg.norm(centres[a] - centres[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert between > 5 * within


def test_axes_follow_the_groups_and_not_what_varies_most() -> None:
    groups = ["maths"] * 8 + ["law"] * 8 + ["code"] * 8
    vectors = np.concatenate([around(axis, 8) for axis in (0, 1, 2)])
    strange = np.zeros((40, 24), dtype=np.float32)
    strange[:, 20] = np.linspace(-1, 1, 40)
    both = laid_out([*vectors, *strange], [*groups, *[None] * 40])

    spread = np.ptp(np.asarray(both.places[24:]), axis=0)
    assert spread.max() < 0.2


def test_places_are_within_bounds_and_shares_of_variance_add_to_at_most_one() -> None:
    layout = laid_out(list(around(0, 30, noise=1.0)), [number % 5 for number in range(30)])
    places = np.asarray(layout.places)

    assert pytest.approx(1.0, abs=1e-3) == np.abs(places).max()
    assert 0 < sum(layout.explained) <= 1


def test_the_order_of_the_vectors_does_not_turn_the_map_around() -> None:
    vectors, groups = list(around(0, 12, noise=0.5)), [number % 4 for number in range(12)]
    there = laid_out(vectors, groups).places
    back = laid_out(vectors[::-1], groups[::-1]).places

    np.testing.assert_allclose(there, back[::-1], atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_vector_still_has_a_place(count: int) -> None:
    layout = laid_out(list(around(0, count)), ["maths"] * count)

    assert count == len(layout.places)
    assert np.isfinite(layout.places).all()


def test_vectors_are_forgotten_with_the_explanation() -> None:
    ring = Decisions(remember=10, shown=1)
    decision = RoutingDecision((Assignment("math", 1.0),), policy="profile", confidence=1.0)
    entries = [Remembered(str(n), "anna", "a", decision, vector=np.ones(4, dtype=np.float32)) for n in range(2)]
    for each in entries:
        ring.add(each)

    assert (None, True) == (entries[0].vector, entries[1].vector is not None)
