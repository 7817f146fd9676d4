"""Ask a second replica where the first is slow to begin: the tail at scale (Dean and Barroso 2013).

Hedges      which calls are worth it: the slowest share of an expert's calls, and never more than that share (pure)
first_begun race two attempts for the first token; the loser is cancelled and forgotten

Nothing has been said to anybody before the first token, so it does not matter who is taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from experts.attempt import Attempt
from experts.config import HedgeConfig
from experts.types import ExpertName

REMEMBERED = 256
ENOUGH = 32
"""First-token times of an expert that are needed before its slowest calls are known."""
SAVED = 4.0
"""Hedges that an expert may save up, so that a quiet minute does not pay for a storm of them."""


@dataclass(slots=True)
class _Tail:
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    allowed: float = 0.0
    slow: float | None = None


class Hedges:
    """How long to wait, and whether a hedge is paid for: each call earns the configured share of one."""

    def __init__(self) -> None:
        self._tails: dict[ExpertName, _Tail] = {}

    def patience(self, expert: ExpertName, config: HedgeConfig) -> float | None:
        """Count a call, and return the seconds after which it is one of the slowest; None while that is not known."""
        tail = self._tails.setdefault(expert, _Tail())
        tail.allowed = min(SAVED, tail.allowed + config.share)
        return tail.slow if config.after_seconds is None else config.after_seconds

    def spend(self, expert: ExpertName) -> bool:
        """Pay for one hedge, if the calls so far have earned it."""
        tail = self._tails.setdefault(expert, _Tail())
        if paid := tail.allowed >= 1:
            tail.allowed -= 1
        return paid

    def began(self, expert: ExpertName, config: HedgeConfig, seconds: float) -> None:
        """Remember how long the first token took, by whichever attempt."""
        tail = self._tails.setdefault(expert, _Tail())
        tail.seconds.append(seconds)
        if len(tail.seconds) >= ENOUGH:
            in_order = sorted(tail.seconds)
            tail.slow = in_order[min(len(in_order) - 1, int(len(in_order) * (1 - config.share)))]


async def first_begun(
    first: Attempt, second: Callable[[], Attempt | None], patience_seconds: float, first_by: float
) -> Attempt:
    """Return whichever attempt begins first; `second` is asked for another one when the first is slow.

    `first_by` is when the request's time is up (monotonic).

    Raises:
        ExpertError: neither began; the error is the last one's.
    """
    attempts = {asyncio.create_task(first.begin(first_by)): first}
    try:
        await asyncio.wait(attempts, timeout=patience_seconds)
        if not any(task.done() for task in attempts) and (other := second()) is not None:
            attempts[asyncio.create_task(other.begin(first_by))] = other
        task = await _first_success(attempts)
        task.result()
        await _called_off({loser: attempt for loser, attempt in attempts.items() if loser is not task})
        return attempts.pop(task)
    finally:
        await _called_off(attempts)


async def _called_off(attempts: dict[asyncio.Task[None], Attempt]) -> None:
    """Cancel attempts and close them; who is cancelled meanwhile is told so once that is done."""
    if not attempts:
        return
    for task in attempts:
        task.cancel()
    try:
        await asyncio.gather(*attempts, return_exceptions=True)
    finally:
        for attempt in attempts.values():
            await attempt.aclose()


async def _first_success(tasks: dict[asyncio.Task[None], Attempt]) -> asyncio.Task[None]:
    """Return the first that succeeds, else the last that failed."""
    pending = set(tasks)
    while True:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        succeeded = [task for task in done if task.exception() is None]
        if succeeded or not pending:
            return (succeeded or list(done))[0]
