"""One candidate passes straight through; several go through the asked strategy. Both leave as one stream."""

from __future__ import annotations

from collections.abc import Mapping

from aggregator.errors import UnknownStrategy
from aggregator.form import form_of, formed
from aggregator.strategies import STRATEGIES, Strategy
from aggregator.types import FusedStream, FusionReport, FusionTask

SINGLE = "single"
ENOUGH_WITH_ONE = frozenset({"decompose", "knowledge", "panel", "self"})
"""Strategies that make something of a single candidate; for all others it is the answer."""


class Aggregator:
    """Choose the strategy and start it. Holds no state: every fusion stands alone."""

    def __init__(self, strategies: Mapping[str, Strategy] = STRATEGIES) -> None:
        self._strategies = strategies

    def strategy(self, name: str, candidates: int = 2) -> Strategy:
        """Return the strategy called `name` ("none" is another word for "single") for so many candidates.

        Raises:
            UnknownStrategy: there is no such strategy.
        """
        asked = SINGLE if name == "none" else name
        if asked not in self._strategies:
            raise UnknownStrategy(name, [*self._strategies, "none"])
        alone = candidates == 1 and asked not in ENOUGH_WITH_ONE
        return self._strategies[SINGLE if alone else asked]

    def fuse(self, task: FusionTask, strategy: str) -> FusedStream:
        """Return the (lazy) fused answer; of several experts' it has the form that the client asked for."""
        chosen = self.strategy(strategy, len(task.candidates))
        report = FusionReport(strategy=chosen.name)
        chunks = chosen.fuse(task, report)
        if (form := form_of(task.parameters)) is not None and chosen.name != SINGLE:
            chunks = formed(chunks, form, task, report)
        return FusedStream(chunks, report)
