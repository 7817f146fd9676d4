"""Which calls are sent twice: the slowest share, and never more than that."""

from __future__ import annotations

from random import Random

from experts.config import HedgeConfig
from experts.hedging import ENOUGH, SAVED, Hedges

ONE_IN_TEN = HedgeConfig(share=0.1)


def test_nothing_is_hedged_before_it_is_known_what_is_slow() -> None:
    hedges = Hedges()
    patience = []
    for _ in range(ENOUGH + 1):
        patience.append(hedges.patience("math", ONE_IN_TEN))
        hedges.began("math", ONE_IN_TEN, 0.2)

    assert [*[None] * ENOUGH, 0.2] == patience


def test_patience_ends_where_the_slowest_share_begins() -> None:
    hedges, rng = Hedges(), Random(3)
    for _ in range(256):
        hedges.began("math", ONE_IN_TEN, rng.random())
    patience = hedges.patience("math", ONE_IN_TEN)

    assert patience is not None
    assert 0.85 < patience < 0.95


def test_a_fixed_patience_needs_no_measurement() -> None:
    assert 0.5 == Hedges().patience("math", HedgeConfig(after_seconds=0.5))


def test_hedges_are_paid_for_by_the_calls_before_them() -> None:
    hedges, spent = Hedges(), 0
    for _ in range(1000):
        hedges.patience("math", ONE_IN_TEN)
        spent += hedges.spend("math")

    assert 99 <= spent <= 100


def test_a_quiet_hour_does_not_pay_for_a_storm() -> None:
    hedges = Hedges()
    for _ in range(10_000):
        hedges.patience("math", ONE_IN_TEN)

    assert SAVED == sum(hedges.spend("math") for _ in range(100))
