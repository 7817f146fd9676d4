"""Experts come and go under traffic for ten seconds; the long run, with figures, is tests/bench/registry.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.bench.registry import measured

SECONDS, RATE, CHURNERS = 10.0, 50.0, 20
VISIBLE_SECONDS = 1.0


@pytest.mark.slow
async def test_no_request_is_lost_while_twenty_experts_come_and_go(tmp_path: Path) -> None:
    _, figures = await measured(tmp_path, SECONDS, RATE, CHURNERS)

    assert [] == figures.failed
    assert SECONDS * RATE == len(figures.latencies)
    assert {"registered", "changed", "drained", "resumed", "deleted"} == {*figures.changes}
    assert min(figures.changes[what] for what in ("registered", "changed", "drained", "deleted")) >= CHURNERS
    assert figures.answered_by["churner"] > 0.2 * len(figures.latencies)
    assert np.median(figures.visible) < VISIBLE_SECONDS
