"""The form a client asked the answer to have (`response_format`), and what is done when a fused answer lacks it.

An answer made of several is checked before any of it is passed on, so such answers are not streamed as they are
written. When what was written does not fit, or broke off, the heaviest candidate that fits is returned instead, and
where none does, candidates that were not needed before are asked.

The schema is a stranger's: nothing is fetched for it, and what could take for ever is left to the expert's server:
regular expressions, some keywords that compare everything with everything, all that takes more than MOST_STEPS.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from jsonschema import ValidationError, validators
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from aggregator.asides import read_together, remark
from aggregator.replay import replay
from aggregator.types import Answer, Failure, FusionReport, FusionTask
from experts.errors import ExpertError
from experts.types import AnswerChunk, CallFacts, ExpertAnswer, whole_answer

MOST_STEPS = 10_000
"""Keywords looked at while one answer is checked: a tenth of a second or two."""
LEFT_TO_THE_SERVER = (
    *("pattern", "patternProperties", "propertyNames", "format"),
    *("uniqueItems", "unevaluatedItems", "unevaluatedProperties"),
)
UNCHECKABLE = (
    *(SchemaError, Unresolvable, RecursionError, ArithmeticError),
    *(TypeError, ValueError, AttributeError, LookupError),
)
"""What a schema that is none can raise; whether it is one is for the expert's server to say."""


class TooLong(Exception):
    """The schema takes too long to check."""


@dataclass(frozen=True, slots=True)
class Form:
    """JSON, and by which schema; None where any object will do."""

    schema: Mapping[str, Any] | None = None

    def lacks(self, answer: ExpertAnswer) -> str:
        """Return what is wrong with an answer's form in words; an empty text when it fits, or calls tools."""
        messages = [choice["message"] for choice in answer.body["choices"]]
        wrong = (self._wrong(message.get("content") or "") for message in messages if not message.get("tool_calls"))
        return next(filter(None, wrong), "")

    def _wrong(self, text: str) -> str:
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return "it is no JSON"
        if self.schema is None:
            return "" if isinstance(value, dict) else "it is no JSON object"
        try:
            error = next(_validator(self.schema).iter_errors(value), None)
        except (TooLong, *UNCHECKABLE):
            return ""
        return "" if error is None else _sayable(f"at {error.json_path}: {_shortened(error)}")


def form_of(parameters: Mapping[str, Any]) -> Form | None:
    """Return the form a client asked for, in OpenAI's words or in vLLM's; None for any text."""
    asked, structured = parameters.get("response_format"), parameters.get("structured_outputs")
    given = structured.get("json") if isinstance(structured, Mapping) else parameters.get("guided_json")
    if isinstance(given, Mapping):
        return Form(given)
    kind = asked.get("type") if isinstance(asked, Mapping) else None
    if kind == "json_object":
        return Form()
    if kind != "json_schema" or not isinstance(asked, Mapping):
        return None
    described = asked.get("json_schema")
    schema = described.get("schema") if isinstance(described, Mapping) else None
    return Form(schema) if isinstance(schema, Mapping) else Form({})


async def formed(
    chunks: AsyncGenerator[AnswerChunk, None], form: Form, task: FusionTask, report: FusionReport
) -> AsyncGenerator[AnswerChunk, None]:
    """Yield what was written, once it is known to fit; else a candidate's own answer that does.

    Raises:
        ExpertError: what was written broke off, and no candidate fits.
    """
    written: list[AnswerChunk] = []
    broken: ExpertError | None = None
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                written.append(chunk)  # noqa: PERF401 - what came before an error is the point
        lacks = form.lacks(whole_answer(written, CallFacts(expert=report.answered_by or "")))
    except ExpertError as error:
        broken, lacks = error, "it broke off"
    other = await _fitting(form, task, report) if lacks else None
    if broken is not None:
        if other is None:
            raise broken
        report.failures.append(Failure(broken.expert, 0.0, f"broke off: {broken}", broken))
    if lacks:
        instead = "no other fits" if other is None else f"{other.expert}'s is returned"
        remark(report, f"not of the form asked for ({lacks}): {instead}")
    if other is not None:
        report.answered_by = other.expert
    async with aclosing(_again(written) if other is None else replay(other.answer)) as told:
        async for chunk in told:
            yield chunk


async def _again(written: list[AnswerChunk]) -> AsyncGenerator[AnswerChunk, None]:
    for chunk in written:
        yield chunk


async def _fitting(form: Form, task: FusionTask, report: FusionReport) -> Answer | None:
    """Return the heaviest candidate that fits; those not asked yet are asked in turn when none of the others does."""
    fit = [answer for answer in report.answers if answer.answer.body["choices"] and not form.lacks(answer.answer)]
    if fit:
        return max(fit, key=lambda answer: answer.weight)
    deadline = time.monotonic() + task.limits.deadline_seconds
    for candidate in task.candidates:
        if candidate.stream.asked or time.monotonic() >= deadline:
            continue
        (outcome,) = await read_together([candidate], task, report, deadline)
        if isinstance(outcome, Failure):
            report.failures.append(outcome)
            continue
        report.unasked = [name for name in report.unasked if name != outcome.expert]
        report.answers.append(outcome)
        if not form.lacks(outcome.answer):
            return outcome
    return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _sayable(text: str) -> str:
    """Return a text without half surrogates, which JSON can name and UTF-8 cannot say."""
    return text.encode("utf-8", "replace").decode()


def _shortened(error: ValidationError) -> str:
    return error.message if len(error.message) <= 200 else f"{error.message[:200]}..."


def _validator(schema: Mapping[str, Any]) -> Validator:
    """Return what checks one value by a schema, in at most MOST_STEPS steps, and fetches nothing."""
    base = validators.validator_for(schema, default=validators.Draft202012Validator)
    left = [MOST_STEPS]

    def counted(keyword: Any) -> Any:
        def check(validator: Any, value: Any, instance: Any, within: Any) -> Iterator[ValidationError]:
            left[0] -= 1
            if left[0] < 0:
                raise TooLong
            if "patternProperties" in within and keyword is base.VALIDATORS["additionalProperties"]:
                return  # it would look for the properties that no pattern matches
            yield from keyword(validator, value, instance, within) or ()

        return check

    kept = {name: counted(keyword) for name, keyword in base.VALIDATORS.items() if name not in LEFT_TO_THE_SERVER}
    nothing = dict.fromkeys(LEFT_TO_THE_SERVER, lambda *_: ())
    return validators.extend(base, {**kept, **nothing})(schema, registry=Registry())
