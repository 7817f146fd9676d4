"""A gateway at half of what it can do, clients leaving: memory and descriptors stay flat; a leak is noticed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.bench.chaos.clients import Tally
from tests.bench.soak.run import Outcome, run
from tests.bench.soak.trend import Trend, trend


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.timeout(400)
async def test_memory_and_descriptors_stay_flat_for_two_minutes(tmp_path: Path) -> None:
    outcome = await run(tmp_path, seconds=120, seed=4)

    assert [] == outcome.wrong
    assert outcome.tally.outcomes["answered"] > 500
    assert outcome.tally.outcomes["client left"] > 20


def series(per_second: float, seconds: int, noise: float) -> Trend:
    dice, times = random.Random(5), [n / 4 for n in range(seconds * 4)]
    return trend(times, [200 * 2**20 + at * per_second + dice.gauss(0, noise) for at in times], warm_up=seconds / 5)


def test_a_leak_is_noticed_and_a_heap_that_breathes_is_none() -> None:
    """A kilobyte a request at a hundred requests a second, in half an hour; noise of two megabytes."""
    flat, leaking = series(0, 1800, 2 * 2**20), series(100 * 1024, 1800, 2 * 2**20)
    steady = Trend(0, -1, 1, 100, 1440)

    assert [] == Outcome(Tally(), 1, flat, steady, []).wrong
    assert 1 == len(Outcome(Tally(), 1, leaking, steady, []).wrong)
    assert 1 == len(Outcome(Tally(), 1, flat, Trend(0.01, 0.009, 0.011, 100, 1440), []).wrong)
    assert leaking.low < 100 * 1024 < leaking.high


def test_too_short_a_run_says_nothing_rather_than_flat() -> None:
    with pytest.raises(ValueError, match="too few"):
        trend([1.0, 2.0], [1.0, 1.0], 0)
