"""What is remembered of decisions, how long, and for whom."""

from __future__ import annotations

import pytest

from gateway.decisions import Decisions, Remembered, likely
from gateway.errors import UnknownRequest
from router.types import Assignment, RoutingDecision

DECISION = RoutingDecision((Assignment("math", 1.0),), policy="profile", confidence=1.0)


def entry(request_id: str, key: str = "anna") -> Remembered:
    return Remembered(request_id, key, arm="a", decision=DECISION, prompt="secret")


def test_the_oldest_is_forgotten_and_the_explanation_before_that() -> None:
    ring = Decisions(remember=3, shown=1)
    entries = [entry(str(number)) for number in range(4)]
    for each in entries:
        ring.add(each)

    with pytest.raises(UnknownRequest):
        ring.of("0", "anna")
    assert [None, None, DECISION] == [ring.of(str(number), "anna").decision for number in (1, 2, 3)]
    assert (None, "secret") == (entries[1].prompt, entries[3].prompt)
    assert ([entries[3]], 3) == (ring.latest(10), len(ring))


def test_another_key_finds_nothing() -> None:
    ring = Decisions(remember=3)
    ring.add(entry("1"))

    with pytest.raises(UnknownRequest, match="'1'"):
        ring.of("1", "ben")


def test_the_same_id_again_means_the_later_request() -> None:
    ring, later = Decisions(remember=3), entry("1", "ben")
    for each in (entry("1"), entry("2"), later):
        ring.add(each)

    assert later is ring.of("1", "ben")
    assert ["1", "2"] == [each.request_id for each in ring.latest(10)]


def test_only_likely_domains_are_worth_remembering() -> None:
    many = {f"d{number}": 0.1 for number in range(9)}

    assert {"math": 0.9, "law": 0.05} == likely({"law": 0.05, "math": 0.9, "art": 0.01})
    assert 8 == len(likely(many))
