"""`logprob`: the answer may stand when its words were probable to their author.

The mean log probability of its tokens must reach `min_logprob`. The client need not have asked for log probabilities:
the expert is asked for them, and they are left out of what the client gets. A server that refuses is asked as the
client did; its answers then stand in doubt.
"""

from __future__ import annotations

from dataclasses import replace

from aggregator.types import Answer, Candidate, FusionTask
from aggregator.verification import mean_logprob
from aggregator.verifiers.base import Inquiry


class Probabilities:
    """The expert was sure of its words."""

    name = "logprob"

    def opened(self, candidate: Candidate, task: FusionTask) -> Candidate:
        """Ask for log probabilities too."""
        call = candidate.stream.call
        if call.parameters.get("logprobs"):
            return candidate
        return replace(candidate, stream=task.ask(replace(call, parameters={**call.parameters, "logprobs": True})))

    async def doubt(self, answer: Answer, inquiry: Inquiry) -> str | None:
        """Doubt improbable words, and those whose probability is unknown."""
        mean, least = mean_logprob(answer.answer), inquiry.task.config.cascade.min_logprob
        if mean is None:
            return "its log probabilities are unknown"
        return None if mean >= least else f"its words have a mean log probability of {mean:.2f}"
