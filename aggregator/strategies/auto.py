"""`auto`: the strategy by the kind of question and by what is known of the experts; nothing is asked to find out.

    tools, or several choices asked for      single   one expert's own
    one expert is far ahead of the others    single   no vote would do better, and nobody else is asked
    an answer that can be compared           fusion.auto.closed (vote)
    anything else                            fusion.auto.open (single), or what was measured to pay

How far is far enough was measured on recorded answers (aggregator.ballots).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from aggregator.ballots import leads
from aggregator.config import AutoOptions
from aggregator.extraction import wanted
from aggregator.strategies.base import Strategy
from aggregator.types import Candidate, Chosen, FusionReport, FusionTask
from aggregator.verification import wants_final_answer
from experts.types import AnswerChunk, Message

AUTO, SINGLE = "auto", "single"
COMPARABLE = frozenset({"boolean", "integer", "number", "null"})
"""Types of a JSON schema whose values are the same or not; of texts nobody can say."""
DEEPEST = 16


class Choice(NamedTuple):
    """A strategy, and why it was chosen; `reason` is empty where somebody asked for it."""

    strategy: str
    reason: str = ""

    @property
    def shown(self) -> str:
        """The strategy as explanations have it: "auto: vote" where `auto` chose it."""
        return f"{AUTO}: {self.strategy}" if self.reason else self.strategy


class Auto:
    """Choose another strategy and do as it does; the report has the chosen one's name."""

    name = AUTO

    def __init__(self, others: Mapping[str, Strategy]) -> None:
        self._others = others

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the chosen strategy's answer; see `Strategy.fuse`."""
        choice = choose(task.candidates, task.messages, task.parameters, task.config.auto)
        report.strategy = choice.strategy
        async with aclosing(self._others[choice.strategy].fuse(task, report)) as chunks:
            async for chunk in chunks:
                yield chunk


def choose(
    candidates: Sequence[Candidate | Chosen],
    messages: Sequence[Message],
    parameters: Mapping[str, Any],
    options: AutoOptions,
) -> Choice:
    """Return the strategy for a question and those who would answer it."""
    found = by_kind(messages, parameters, options)
    if found.strategy == SINGLE:
        return found
    if len(candidates) == 1:
        return Choice(SINGLE, f"only {candidates[0].expert} is asked")
    if (first := dominant(candidates)) is not None:
        return Choice(SINGLE, f"{first.expert} is far ahead of the others")
    return found


def by_kind(messages: Sequence[Message], parameters: Mapping[str, Any], options: AutoOptions) -> Choice:
    """Return the strategy for a question, whoever answers it."""
    if (parameters.get("tools") and parameters.get("tool_choice") != "none") or parameters.get("functions"):
        return Choice(SINGLE, "tools may be called")
    if (parameters.get("n") or 1) != 1:
        return Choice(SINGLE, "several choices of one expert are asked for")
    if is_closed(messages, parameters):
        return Choice(_named(options.closed), "the answers can be compared")
    return Choice(_named(options.open), "the answers cannot be compared")


def _named(strategy: str) -> str:
    return SINGLE if strategy == "none" else strategy


def is_closed(messages: Sequence[Message], parameters: Mapping[str, Any]) -> bool:
    """Say whether answers to the question can be the same or not: by its words, or by the form that is asked for."""
    if wants_final_answer(messages) or wanted(messages).kind != "any":
        return True
    structured = parameters.get("structured_outputs")
    if parameters.get("guided_choice") or (isinstance(structured, Mapping) and structured.get("choice")):
        return True
    form = parameters.get("response_format")
    described = form.get("json_schema") if isinstance(form, Mapping) else None
    return isinstance(described, Mapping) and _comparable(described.get("schema"))


def _comparable(schema: Any, depth: int = 0) -> bool:
    """Say whether all values of a JSON schema can be compared: choices, numbers, truth values and lists of those."""
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return False
    if "enum" in schema or "const" in schema or str(schema.get("type")) in COMPARABLE:
        return True
    if schema.get("type") == "array":
        return _comparable(schema.get("items"), depth + 1)
    parts = schema.get("properties")
    return isinstance(parts, Mapping) and bool(parts) and all(_comparable(part, depth + 1) for part in parts.values())


def dominant(candidates: Sequence[Candidate | Chosen]) -> Candidate | Chosen | None:
    """Return the first candidate where it is so far ahead of every other that no vote pays; else, or in doubt, None."""
    qualities = [candidate.quality for candidate in candidates if candidate.quality is not None]
    if len(qualities) < len(candidates) or not leads(qualities) or qualities[0] < max(qualities):
        return None
    return candidates[0]
