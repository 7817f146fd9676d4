"""Order things by noisy comparisons: who is compared with whom, what a reply says, who wins. Nothing here asks anybody.

Comparisons need not be transitive (TradExpert, 2411.00782, relaxes the sort for the same reason), so nobody is
left out after one loss: all pairs are compared and wins are counted (Copeland). Every comparison is made in both
orders and each reply is worth half a win, so a reader who always prefers the first place settles nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from string import ascii_uppercase
from typing import TypeVar

T = TypeVar("T")
Order = tuple[int, ...]
"""Who is shown together, by number, in the order shown."""

HALF = 0.5
_THINKING = re.compile(r"^.*</think(?:ing)?>", re.DOTALL)
_ONLY_A_LETTER = re.compile(r"(?:(?:the )?(?:best )?(?:answer|letter)(?: is)? )?([a-z])", re.IGNORECASE)
_FIRST_A_LETTER = re.compile(r"[\W_]*([A-Z])[*\"'`)\]]*(?:[.:,;]|\n|$)")
_SPOKEN_OF = re.compile(r"\b[Aa]nswer(?: is)?[\s:*(\"'`]{1,8}([A-Z])\b")


def comparisons(count: int, pairs_up_to: int) -> list[Order]:
    """Return every pair in both orders, or, of more than `pairs_up_to`, all in one list in two orders."""
    if count <= pairs_up_to:
        return [order for a in range(count) for b in range(a + 1, count) for order in ((a, b), (b, a))]
    return [tuple(range(count)), tuple(reversed(range(count)))]


def named(reply: str, count: int) -> int | None:
    """Return the place (0 is A) that a reply names among `count`, or None when it names nobody or several."""
    said = _THINKING.sub("", reply).strip()
    only = _ONLY_A_LETTER.fullmatch(re.sub(r"[\W_]+", " ", said).strip())
    letters = {only[1].upper()} if only else _letters(said)
    place = ascii_uppercase.find(letters.pop()) if len(letters) == 1 else -1
    return place if 0 <= place < count else None


def _letters(said: str) -> set[str]:
    first = _FIRST_A_LETTER.match(said)
    return {first[1]} if first else set(_SPOKEN_OF.findall(said))


def wins(count: int, orders: Sequence[Order], places: Sequence[int | None]) -> list[float]:
    """Return the wins of each; `places` says which place each comparison named, None being void."""
    won = [0.0] * count
    for order, place in zip(orders, places, strict=True):
        if place is not None:
            won[order[place]] += HALF
    return won


def best_first(won: Sequence[float], weights: Sequence[float]) -> list[int]:
    """Return the numbers by wins; ties by weight, then as they came."""
    return sorted(range(len(won)), key=lambda number: (-won[number], -weights[number], number))


def ranked(items: Sequence[T], first_is_better: Callable[[T, T], bool]) -> list[T]:
    """Return items best first by comparing all pairs in both orders; ties keep the order given."""
    orders = comparisons(len(items), len(items))
    places = [0 if first_is_better(items[first], items[second]) else 1 for first, second in orders]
    return [items[number] for number in best_first(wins(len(items), orders, places), [0.0] * len(items))]
