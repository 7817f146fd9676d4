"""Does an answer look weak? What can be told without asking anybody; every verifier of a cascade begins with it.

An answer is weak that is empty, cut off, a refusal, without a final answer where one was asked for, made of
samples that contradict each other, or of words its author gave little probability. Tool calls are taken as
they are. Nothing here knows whether an answer is right; how often such a check may err before a cascade does
not pay is computed by who plans it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import fsum
from typing import Any

from aggregator.extraction import alike, final_answer, wanted
from experts.types import ExpertAnswer, Message

LEAST_MEAN_LOGPROB = -1.0
LEAST_AGREEMENT = 0.5
REFUSAL_CHARACTERS = 120

_REFUSAL = re.compile(
    r"\b(i('m| am) (sorry|afraid|unable|not able)|i (can ?not|can't|won't|do not know|don't know|am unable)|"
    r"as an ai( language)? model|i have no (idea|information))\b",
    re.IGNORECASE,
)
_CLOSED = re.compile(
    r"\\boxed|final answer|answer (only|with|choices)|only (the|a) (letter|number|answer)", re.IGNORECASE
)

Check = Callable[[ExpertAnswer, Sequence[Message]], str | None]


def weakness(answer: ExpertAnswer, messages: Sequence[Message]) -> str | None:
    """Return in two or three words why an answer looks weak, or None."""
    if calls_tools(answer):
        return None
    return next((reason for check in CHECKS if (reason := check(answer, messages))), None)


def calls_tools(answer: ExpertAnswer) -> bool:
    """Say whether the answer calls tools instead of answering in words."""
    return any(choice["message"].get("tool_calls") for choice in answer.body["choices"])


def finals(texts: Sequence[str], messages: Sequence[Message]) -> list[str | None]:
    """Return the final answer of each text to a conversation, equal ones spelt equally; None where there is none."""
    asked = wanted(messages)
    found = [final_answer(text, asked) for text in texts]
    spelt = alike(final for final in found if final is not None)
    return [None if final is None else spelt[final] for final in found]


def agreed(answers: Sequence[ExpertAnswer], messages: Sequence[Message]) -> bool:
    """Say whether two or more answers all come to the same final answer."""
    found = finals([answer.text for answer in answers], messages)
    return len(found) > 1 and None not in found and len(set(found)) == 1


def mean_logprob(answer: ExpertAnswer) -> float | None:
    """Return the mean log probability of the answer's tokens, all choices together; None where none is known."""
    known = [p for choice in answer.body["choices"] for p in _logprobs(choice.get("logprobs"))]
    return fsum(known) / len(known) if known else None


def wants_final_answer(messages: Sequence[Message]) -> bool:
    """Say whether the conversation asks for something that can be compared: options, a literal, a bare answer."""
    content = messages[-1].get("content") if messages else None
    asked, text = wanted(messages), content if isinstance(content, str) else ""
    return asked.kind in ("choice", "literal") or bool(asked.form) or _CLOSED.search(text) is not None


def _empty(answer: ExpertAnswer, _messages: Sequence[Message]) -> str | None:
    return None if answer.text.strip() else "empty"


def _unfinished(answer: ExpertAnswer, _messages: Sequence[Message]) -> str | None:
    return {"length": "cut off", "content_filter": "filtered"}.get(answer.finish_reason or "")


def _refused(answer: ExpertAnswer, _messages: Sequence[Message]) -> str | None:
    said_so = any(choice["message"].get("refusal") for choice in answer.body["choices"])
    return "refused" if said_so or _REFUSAL.search(answer.text[:REFUSAL_CHARACTERS]) else None


def _inconclusive(answer: ExpertAnswer, messages: Sequence[Message]) -> str | None:
    missing = wants_final_answer(messages) and final_answer(answer.text, wanted(messages)) is None
    return "no final answer" if missing else None


def _contradictory(answer: ExpertAnswer, messages: Sequence[Message]) -> str | None:
    """Compare the samples of one answer (`n` > 1), as self-consistency does."""
    texts = [choice["message"].get("content") or "" for choice in answer.body["choices"]]
    counts = Counter(final for final in finals(texts, messages) if final is not None)
    if len(texts) < 2 or not counts:
        return None
    share = counts.most_common(1)[0][1] / len(texts)
    return "its samples disagree" if share <= LEAST_AGREEMENT else None


def _doubtful(answer: ExpertAnswer, _messages: Sequence[Message]) -> str | None:
    """Look at the words' probabilities, where the client asked for them (`logprobs`)."""
    mean = mean_logprob(answer)
    return "unsure of its words" if mean is not None and mean < LEAST_MEAN_LOGPROB else None


def _logprobs(value: Any) -> list[float]:
    tokens = value.get("content") if isinstance(value, Mapping) else None
    found = [token.get("logprob") for token in tokens if isinstance(token, Mapping)] if isinstance(tokens, list) else []
    return [float(p) for p in found if isinstance(p, int | float)]


CHECKS: tuple[Check, ...] = (_empty, _unfinished, _refused, _inconclusive, _contradictory, _doubtful)
