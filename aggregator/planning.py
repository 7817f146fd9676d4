"""A plan: one question as several numbered ones, read from what a planner wrote. Pure.

    1. What is the atomic number of gold?
    2. What is {1} plus 17?

`{1}` stands for the answer to line 1. Only the final answer of a step goes into a later question, on one line and
short, and it is put in once: what looks like a reference inside an answer stays text.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aggregator.extraction import final_answer, normalise
from experts.fusion_prompt import one_line
from experts.planning_prompt import Turn
from experts.types import Message

REFERENCE = re.compile(r"\{(\d{1,2})\}")
LONGEST_QUESTION = 1000
LONGEST_ANSWER = 200
LONGEST_PIECE, LATEST_PIECES = 2000, 50
EARLIER_TURNS, LONGEST_TURN = 6, 2000
_LINE = re.compile(r"(\d{1,2})[.)]\s+(.+)")
_PIECE = re.compile(
    r"(?i)\banswer\"?\s{0,9}(?:is|:|=)[\s*\"]{0,9}([^\n\"]{1,2000})|\\boxed\{([^{}\n]{1,2000})\}|([-+]?\d[\d,]*+(?:\.\d++)?)"
)
"""Where final answers stand: after "answer is" or "answer:", in a box, or as a number."""
_THOUGHTS = "</think>"
_FENCE = "```"


class Unplannable(ValueError):
    """The question cannot be split, or the reply cannot be read as a plan; the message says why in a few words."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sub-questions in the order of their numbers; every reference points backwards."""

    questions: tuple[str, ...]

    @property
    def uses(self) -> tuple[frozenset[int], ...]:
        """For each step, the steps (from 0) whose answers its question needs."""
        return tuple(
            frozenset(int(number) - 1 for number in REFERENCE.findall(question)) for question in self.questions
        )

    @property
    def waves(self) -> tuple[tuple[int, ...], ...]:
        """The steps in groups that can be asked together, each after the groups before it."""
        depths: list[int] = []
        for used in self.uses:
            depths.append(1 + max((depths[step] for step in used), default=-1))
        return tuple(
            tuple(step for step, depth in enumerate(depths) if depth == level) for level in range(max(depths) + 1)
        )

    @property
    def concludes(self) -> bool:
        """Whether every step leads to the last one, so that its answer is the answer to the whole."""
        led: set[int] = {len(self.questions) - 1}
        for step in reversed(range(len(self.questions))):
            if step in led:
                led |= self.uses[step]
        return len(led) == len(self.questions)

    def question(self, step: int, answers: Mapping[int, str]) -> str:
        """Return a step's question with the answers it needs put in."""
        return REFERENCE.sub(lambda found: answers[int(found[1]) - 1], self.questions[step])


def read_plan(reply: str, *, max_steps: int, max_depth: int) -> Plan:
    """Read a planner's reply. Words before line 1 are passed over; after it only lines of the plan may come.

    Args:
        reply: what the planner wrote.
        max_steps: sub-questions allowed.
        max_depth: steps that may have to wait for one another, the first counted.

    Raises:
        Unplannable: there is no plan, it is one line, it has references that lead nowhere, or it is out of bounds.
    """
    questions: list[str] = []
    for line in reply.rpartition(_THOUGHTS)[2].splitlines():
        line = line.strip()
        found = _LINE.fullmatch(line)
        if found and int(found[1]) == len(questions) + 1:
            questions.append(found[2])
        elif questions and line and line != _FENCE:
            raise Unplannable("the planner's reply is no plan")
    if len(questions) < 2:
        raise Unplannable("the planner sees one question" if questions else "the planner's reply is no plan")
    plan = Plan(tuple(questions))
    _check(plan, max_steps, max_depth)
    return plan


def told(answer: str) -> str | None:
    """Return what later questions are told of an answer: its final answer as written, on one line, never long.

    None when it has none, or when it is code, which is no part of a sentence.
    """
    final = final_answer(answer)
    if final is None or _FENCE in answer:
        return None
    pieces = deque((piece for found in _PIECE.finditer(answer) for piece in found.groups() if piece), LATEST_PIECES)
    candidates = (*reversed(pieces), answer.strip()[:LONGEST_PIECE])
    written = next((piece for piece in candidates if normalise(piece) == final), final)
    bare = written.strip().strip("*$` ").rstrip(".!*$` ")
    return one_line(bare)[:LONGEST_ANSWER].strip() or None


def question_of(messages: Sequence[Message], parameters: Mapping[str, Any]) -> str:
    """Return what a conversation asks last.

    Raises:
        Unplannable: it is no text, it could be taken for references, or more is wanted than one answer in words.
    """
    if parameters.get("tools") or parameters.get("functions"):
        raise Unplannable("the request offers tools")
    if (parameters.get("n") or 1) != 1:
        raise Unplannable("several answers are wanted")
    last = messages[-1] if messages else {}
    question = _text(last.get("content")) if last.get("role") == "user" else None
    if not question:
        raise Unplannable("the last message is no question in words")
    if REFERENCE.search(question):
        raise Unplannable("the question has numbers in braces itself")
    return question


def turns_before(messages: Sequence[Message]) -> tuple[Turn, ...]:
    """Return the last turns before the question that were in words, oldest first, long ones cut."""
    spoken = [(str(message.get("role")), _text(message.get("content"))) for message in messages[:-1]]
    kept = [(who, said[:LONGEST_TURN]) for who, said in spoken if who in ("user", "assistant") and said]
    return tuple(kept[-EARLIER_TURNS:])


def _text(content: object) -> str | None:
    """Return a message's text, or None when it is made of anything else too."""
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, Sequence):
        return None
    parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
    return "\n".join(str(part) for part in parts) if None not in parts else None


def _check(plan: Plan, max_steps: int, max_depth: int) -> None:
    if len(plan.questions) > max_steps:
        raise Unplannable(f"the plan has {len(plan.questions)} steps, {max_steps} are allowed")
    if any(len(question) > LONGEST_QUESTION for question in plan.questions):
        raise Unplannable(f"a sub-question is longer than {LONGEST_QUESTION} characters")
    if any(not 0 <= used < step for step, uses in enumerate(plan.uses) for used in uses):
        raise Unplannable("a sub-question refers to one that does not come before it")
    if len(plan.waves) > max_depth:
        raise Unplannable(f"{len(plan.waves)} steps of the plan wait for one another, {max_depth} may")
