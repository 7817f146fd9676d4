"""`self_consistency`: the answer may stand when further samples of the same expert come to the same final answer.

The share of samples that agree, the answer itself included, must reach `min_agreement` (2203.11171; AutoMix,
2310.12963, verifies with samples too). Asking ends as soon as the share is certain to be reached, or to be missed.
"""

from __future__ import annotations

from collections.abc import Sequence

from aggregator.sampling import sampled, samples_differ
from aggregator.types import Answer, Candidate, FusionTask
from aggregator.verification import finals
from aggregator.verifiers.base import Inquiry, read_aside
from experts.types import Message


class SelfConsistency:
    """The expert, asked again, says the same."""

    name = "self_consistency"

    def opened(self, candidate: Candidate, task: FusionTask) -> Candidate:
        """Ask as the client did."""
        return candidate

    async def doubt(self, answer: Answer, inquiry: Inquiry) -> str | None:
        """Doubt an answer that too few samples repeat, or that cannot be compared."""
        options, messages = inquiry.task.config.cascade, inquiry.task.messages
        if finals([answer.text], messages) == [None] or not samples_differ(inquiry.candidate):
            return "its samples cannot be compared"
        more = sampled(inquiry.task, inquiry.candidate, options.samples - 1, options.temperature, answer.expert)
        needed = options.min_agreement * options.samples

        def settled(answers: Sequence[Answer], pending: Sequence[Candidate]) -> bool:
            same = repeated(answer, answers, messages)
            return same >= needed or same + len(pending) < needed

        found = await read_aside(more, inquiry, "sample", settled)
        return None if repeated(answer, found, messages) >= needed else "its samples disagree"


def repeated(answer: Answer, samples: Sequence[Answer], messages: Sequence[Message]) -> int:
    """Return how often an answer was given, itself included."""
    own, *others = finals([answer.text, *(sample.text for sample in samples)], messages)
    return 1 + others.count(own)
