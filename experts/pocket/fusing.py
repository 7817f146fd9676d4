"""What the fuser practises on: panels made up from the training questions, one expert right and the others elsewhere.

It writes the gist alone: copying a whole working over hundreds of tokens is more than two million parameters learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from experts.pocket.corpus import Conversation
from experts.pocket.exam import DOMAINS, stream
from experts.pocket.grading import PYTHON_BLOCK, final_answer
from experts.pocket.panels import Panel, draw_panel

LONGEST_PANEL = 700
"""Characters of a panel's system message beyond which it is left out: long ones teach little for their tokens."""

Replies = dict[str, tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class FusionExercises:
    """An endless supply of panels with a right opinion, and the gist of that opinion as the answer to write."""

    seed: int

    def __iter__(self) -> Iterator[tuple[Conversation, str]]:
        random = Random(self.seed)
        for panel in _made_up(random, self.seed):
            best, conversation = panel.best(), panel.conversation()
            if best is not None and len(conversation[0]["content"]) <= LONGEST_PANEL:
                yield conversation, gist(best.answer)


def gist(answer: str) -> str:
    """Return what has to be copied of an answer: its last block of code, or its final line without the working."""
    blocks = list(PYTHON_BLOCK.finditer(answer))
    return blocks[-1].group(0) if blocks else f"Answer: {final_answer(answer)}"


def _made_up(random: Random, seed: int) -> Iterator[Panel]:
    """Yield panels where each off-domain expert answers some other question, in its own style."""
    streams = {domain: stream(domain, "train", seed + 3) for domain in DOMAINS}
    while True:
        question = next(streams[random.choice(DOMAINS)])
        replies: Replies = {domain: (next(streams[domain]).response, False) for domain in DOMAINS}
        replies[question.domain] = (question.response, True)
        other = next(streams[question.domain])
        replies["base"] = (other.response, other.answer == question.answer)
        yield draw_panel(question, replies, random)
