"""`signs`: what can be told without asking anybody suffices."""

from __future__ import annotations

from aggregator.types import Answer, Candidate, FusionTask
from aggregator.verifiers.base import Inquiry


class Signs:
    """Every answer that does not look weak may stand; every verifier has looked for these signs before."""

    name = "signs"

    def opened(self, candidate: Candidate, task: FusionTask) -> Candidate:
        """Ask as the client did."""
        return candidate

    async def doubt(self, answer: Answer, inquiry: Inquiry) -> str | None:
        """Find nothing more to doubt."""
        return None
