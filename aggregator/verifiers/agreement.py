"""`agreement`: the answer may stand when another expert, asked before, came to the same final answer.

So the next cheap expert is asked, and the one after that while none agree (FrugalGPT, 2305.05176; two small models as
the judge). With one cheap expert there is nobody to agree with: only the signs of weakness count then.
"""

from __future__ import annotations

from aggregator.types import Answer, Candidate, FusionTask
from aggregator.verification import agreed
from aggregator.verifiers.base import Inquiry


class Agreement:
    """Two of the experts asked so far agree."""

    name = "agreement"

    def opened(self, candidate: Candidate, task: FusionTask) -> Candidate:
        """Ask as the client did."""
        return candidate

    async def doubt(self, answer: Answer, inquiry: Inquiry) -> str | None:
        """Doubt an answer that nobody else has given."""
        if len(inquiry.task.candidates) < 3:
            return None
        messages = inquiry.task.messages
        if any(agreed([answer.answer, other.answer], messages) for other in inquiry.earlier):
            return None
        return "nobody agrees with it yet"
