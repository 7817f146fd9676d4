"""What one request may ask of experts, whatever the strategy: a number of calls and, where one is set, a cost.

Apart from every strategy, so that none can go beyond it. A stream that is counted is admitted or refused when its
first chunk is awaited: one that nobody reads counts nothing. Further attempts at other replicas count once they are
made. A call costs what is expected of it until it has ended, then what its usage says; where no usage came (it was
cancelled, say) the expectation stays, and a call that failed before it said anything has cost nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from experts.errors import CallRefused
from experts.types import AnswerChunk, CallFacts, ExpertCall, ExpertName, ExpertStream, Usage


class Prices(Protocol):
    """What calls cost, in USD; 0 where an expert has no price."""

    def expected(self, call: ExpertCall) -> float:
        """Return what a call is expected to cost before it is made."""
        ...

    def paid(self, expert: ExpertName, usage: Usage) -> float:
        """Return what an answer has cost."""
        ...


class Budget:
    """Counts the calls and the cost of one request. Streams that share one share the caps.

    Args:
        max_calls: calls that may be made.
        max_cost_usd: a call that might lead beyond it is refused; None sets no limit.
        prices: what calls cost; needed where there is a limit.
    """

    def __init__(self, max_calls: int, max_cost_usd: float | None = None, prices: Prices | None = None) -> None:
        self.max_calls, self.max_cost_usd = max_calls, max_cost_usd
        self.calls, self.cost_usd = 0, 0.0
        self._prices = prices

    def counted(self, stream: ExpertStream) -> ExpertStream:
        """Return the same answer as a stream that is refused where the budget is used up.

        Its first chunk raises CallRefused then. Whoever holds it closes it, and with it the one given.
        """

        async def chunks(_: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
            expected = self._admit(stream.call)
            try:
                async with stream:
                    async for chunk in stream:
                        yield chunk
            finally:
                self._settle(stream.facts, expected)

        return ExpertStream(stream.call, chunks, stream.facts)

    def _admit(self, call: ExpertCall) -> float:
        """Count a call and return its expected cost.

        Raises:
            CallRefused: it is one too many, or might cost too much.
        """
        if self.calls >= self.max_calls:
            told = f"The request has made the {self.max_calls} calls to experts that it may make."
            raise CallRefused(call.expert, told)
        expected = 0.0 if self._prices is None else self._prices.expected(call)
        if self.max_cost_usd is not None and self.cost_usd + expected > self.max_cost_usd:
            raise CallRefused(
                call.expert,
                f"Asking '{call.expert}' is expected to cost {expected:.6f} USD; of {self.max_cost_usd:g} USD that the "
                f"request may cost, {max(0.0, self.max_cost_usd - self.cost_usd):.6f} are left.",
            )
        self.calls += 1
        self.cost_usd += expected
        return expected

    def _settle(self, facts: CallFacts, expected: float) -> None:
        """Put what a call really took in the place of what was expected."""
        self.calls += max(0, facts.attempts - 1)
        if facts.usage is not None and self._prices is not None:
            self.cost_usd += self._prices.paid(facts.expert, facts.usage) - expected
        elif facts.first_token_seconds is None and facts.usage is None:
            self.cost_usd -= expected
