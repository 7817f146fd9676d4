"""Texts that are ready at the same moment are judged in one go, and nobody notices but the processor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from experts.types import Domain
from router.classifiers.base import Judgement, Together
from router.encoder import Vectors


class Counting:
    """A head that says which texts it was given; a text "bad" breaks it."""

    domains: tuple[Domain, ...] = ("a", "b")

    def __init__(self) -> None:
        self.given: list[list[str]] = []

    def judge(self, vectors: Vectors, texts: Sequence[str]) -> Judgement:
        self.given.append(list(texts))
        if "bad" in texts:
            raise ValueError("bad")
        share = vectors[:, 0].astype(np.float64)
        return Judgement(np.stack([share, 1 - share], axis=1), 2 * share)


def vectors(*firsts: float) -> Vectors:
    return np.array([[first, 0] for first in firsts], dtype=np.float32)


async def test_everybody_gets_the_rows_of_their_own_texts() -> None:
    head = Counting()
    together = Together(head)
    found = await asyncio.gather(
        together.judge(vectors(0.5), ["x"]),
        together.judge(vectors(0.25, 0.125), ["y", "z"]),
        together.judge(vectors(1.0), ["w"]),
    )

    assert head.given == [["x", "y", "z", "w"]]
    assert [each.probabilities[:, 0].tolist() for each in found] == [[0.5], [0.25, 0.125], [1.0]]
    assert [each.familiarity.tolist() for each in found] == [[1.0], [0.5, 0.25], [2.0]]


async def test_no_more_than_so_many_are_answered_at_once_and_later_ones_are_answered_too() -> None:
    head = Counting()
    together = Together(head, most=2)
    await asyncio.gather(*(together.judge(vectors(0.5), [name]) for name in "abcde"))
    await together.judge(vectors(0.5), ["later"])

    assert head.given == [["a", "b"], ["c", "d"], ["e"], ["later"]]


async def test_a_head_that_breaks_is_heard_by_all_it_judged_for_and_by_nobody_later() -> None:
    together = Together(Counting())
    found = await asyncio.gather(
        *(together.judge(vectors(0.5), [name]) for name in ("good", "bad")), return_exceptions=True
    )

    assert [str(each) for each in found] == ["bad", "bad"]
    assert (await together.judge(vectors(0.5), ["good"])).familiarity.tolist() == [1.0]


async def test_who_goes_away_takes_nothing_from_the_others() -> None:
    head = Counting()
    together = Together(head)
    gone, staying = (asyncio.create_task(together.judge(vectors(0.5), [name])) for name in ("gone", "staying"))
    await asyncio.sleep(0)
    gone.cancel()

    assert (await staying).familiarity.tolist() == [1.0]
    with pytest.raises(asyncio.CancelledError):
        await gone
