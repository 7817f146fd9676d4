"""Ordering by noisy comparisons: what a reply says, who wins, and what comparing everybody twice is worth."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from aggregator.ranking import best_first, comparisons, named, ranked, wins


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("A", 0),
        (" b.", 1),
        ("**B**", 1),
        ("(C)", 2),
        ("Answer B", 1),
        ("The best answer is C.", 2),
        ("B\nIt is the only one that is right.", 1),
        ("A. It is right.", 0),
        ("<think>A? No, B... C!</think>\n\nB", 1),
        ("I find that answer B is right.", 1),
        ("D", None),
        ("", None),
        ("A good question.", None),
        ("Answer A is better than answer B.", None),
        ("Neither of them.", None),
        ("Ä", None),
        ("B" * 100_000, None),
    ],
)
def test_a_reply_names_one_place_or_nobody(reply: str, place: int | None) -> None:
    assert place == named(reply, 3)


def test_few_are_compared_pair_by_pair_and_many_in_one_list_always_in_both_orders() -> None:
    assert [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] == comparisons(3, 4)
    assert [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0)] == comparisons(5, 4)
    assert [] == comparisons(1, 4)


def test_a_pair_that_flips_counts_half_for_each_and_a_void_reply_for_nobody() -> None:
    orders = comparisons(3, 4)

    always_first = wins(3, orders, [0] * 6)
    one_void = wins(3, orders, [1, 0, None, None, None, 1])

    assert [1.0, 1.0, 1.0] == always_first
    assert [0.0, 1.5, 0.0] == one_void


def test_ties_go_by_weight_then_as_they_came() -> None:
    assert [1, 0, 2] == best_first([1.0, 1.0, 1.0], [0.3, 0.4, 0.3])


def test_items_are_ordered_by_a_comparator_that_always_tells_the_truth() -> None:
    items = random.Random(0).sample(range(100), 20)

    assert sorted(items, reverse=True) == ranked(items, lambda first, second: first > second)


def noisy(noise: random.Random, flips: float = 0.2) -> Callable[[int, int], bool]:
    return lambda first, second: (first > second) != (noise.random() < flips)


def single_pass(items: list[int], first_is_better: Callable[[int, int], bool]) -> int:
    best = items[0]
    for item in items[1:]:
        best = item if first_is_better(item, best) else best
    return best


def test_all_pairs_find_the_best_more_often_than_a_single_pass_and_that_more_often_than_chance() -> None:
    chance, trials, found = random.Random(7), 600, [0, 0]
    for _ in range(trials):
        items = chance.sample(range(8), 8)
        found[0] += ranked(items, noisy(chance))[0] == 7
        found[1] += single_pass(items, noisy(chance)) == 7
    all_pairs, one_pass = (hits / trials for hits in found)

    assert all_pairs > one_pass + 0.1 > 1 / 8 + 0.2, (all_pairs, one_pass)


def test_a_comparator_that_always_prefers_the_first_place_leaves_the_order_given() -> None:
    assert [3, 1, 2] == ranked([3, 1, 2], lambda _first, _second: True)
