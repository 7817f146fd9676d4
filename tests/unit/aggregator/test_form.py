"""The form asked for: what fits, what is returned when a fused answer does not, and schemas that mean harm."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from aggregator import STRATEGIES
from aggregator.form import Form, form_of
from experts.types import CallFacts, ExpertAnswer, Usage
from tests.unit.aggregator.council import FUSER, Arm, always, asked_by_us, council

LABEL = {"type": "object", "properties": {"label": {"enum": ["spam", "ham"]}}, "required": ["label"]}
SPAM, HAM, OTHER = '{"label": "spam"}', '{"label": "ham"}', '{"label": "eggs"}'
ASKED = {"response_format": {"type": "json_schema", "json_schema": {"name": "label", "schema": LABEL}}}


def answer(*texts: str, **message: Any) -> ExpertAnswer:
    choices = [{"index": n, "message": {"content": text, **message}} for n, text in enumerate(texts)]
    return ExpertAnswer("a", {"choices": choices}, texts[0], "stop", Usage(), CallFacts("a"))


@pytest.mark.parametrize(
    ("schema", "text", "wrong"),
    [
        (LABEL, SPAM, ""),
        (LABEL, OTHER, "at $.label: 'eggs' is not one of"),
        (LABEL, "{}", "'label' is a required property"),
        (LABEL, "spam", "no JSON"),
        (LABEL, "", "no JSON"),
        (LABEL, f"```json\n{SPAM}\n```", "no JSON"),
        (LABEL, '{"label": NaN}', "no JSON"),
        (LABEL, "[" * 100_000, "no JSON"),
        (None, '{"any": [1]}', ""),
        (None, "[1]", "no JSON object"),
        ({}, "[1]", ""),
        ({"$defs": {"s": {"type": "string"}}, "items": {"$ref": "#/$defs/s"}}, '["x", 1]', "at $[1]: 1 is not"),
    ],
)
def test_an_answer_fits_that_is_json_of_the_schema(schema: dict[str, Any] | None, text: str, wrong: str) -> None:
    lacks = Form(schema).lacks(answer(text))

    assert (wrong in lacks) if wrong else lacks == ""


def test_every_choice_must_fit_and_tool_calls_have_a_form_of_their_own() -> None:
    assert "eggs" in Form(LABEL).lacks(answer(SPAM, OTHER))
    assert "" == Form(LABEL).lacks(answer("", tool_calls=[{}]))


@pytest.mark.parametrize(
    ("parameters", "form"),
    [
        (ASKED, Form(LABEL)),
        ({"response_format": {"type": "json_object"}}, Form(None)),
        ({"response_format": {"type": "json_schema"}}, Form({})),
        ({"guided_json": LABEL}, Form(LABEL)),
        ({"structured_outputs": {"json": LABEL}}, Form(LABEL)),
        ({"structured_outputs": {"choice": ["a"]}}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": "json"}, None),
        ({}, None),
    ],
)
def test_the_form_is_what_the_client_asked_for(parameters: dict[str, Any], form: Form | None) -> None:
    assert form == form_of(parameters)


DOUBLING: dict[str, Any] = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(25)}
MEAN: list[tuple[Any, str]] = [
    ({"pattern": "^(a+)+$"}, json.dumps("a" * 64 + "!")),
    ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, json.dumps({"a" * 64 + "!": 1})),
    ({"propertyNames": {"pattern": "^(a+)+$"}}, json.dumps({"a" * 64 + "!": 1})),
    ({"uniqueItems": True}, json.dumps([{"n": n} for n in range(5_000)])),
    ({"$defs": {**DOUBLING, "a25": True}, "$ref": "#/$defs/a0"}, "1"),
    ({"$ref": "#"}, "1"),
    ({"multipleOf": 0}, "1"),
    ({"type": 5}, "1"),
    ({"properties": 5}, "{}"),
    ({"$schema": 5}, "1"),
]


@pytest.mark.parametrize(("schema", "text"), MEAN, ids=[str(schema)[:60] for schema, _ in MEAN])
def test_a_schema_that_means_harm_takes_no_time_and_is_left_to_the_server(schema: Any, text: str) -> None:
    begun = time.process_time()

    assert "" == Form(schema).lacks(answer(text))
    assert time.process_time() - begun < 2


def test_nothing_is_fetched_for_a_schema() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
        assert "" == Form({"$ref": url}).lacks(answer("1"))
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize("strategy", sorted({*STRATEGIES} - {"single"}))
async def test_a_fused_answer_fits_where_a_candidate_does(strategy: str) -> None:
    world = council(a=Arm(OTHER), b=Arm(HAM), c=Arm("spam"), fuser=Arm("no JSON at all"))
    world.parameters = ASKED
    fused = await world.fuse(strategy).read()
    assert (HAM, "b") == (fused.answer.text, fused.report.answered_by)
    assert "not of the form asked for" in fused.report.note


async def test_where_nobody_does_better_what_was_written_is_returned_and_the_note_says_so() -> None:
    world = council(a=Arm(OTHER), b=Arm("x"), c=Arm("y"), fuser=Arm("no JSON at all"))
    world.parameters = ASKED
    fused = await world.fuse("synthesize").read()

    assert ("no JSON at all", FUSER) == (fused.answer.text, fused.report.answered_by)
    assert "not of the form asked for (it is no JSON): no other fits" in fused.report.note


async def test_usage_counts_those_asked_for_the_form_only() -> None:
    world = council(a=Arm(OTHER), b=Arm(HAM))
    world.parameters = ASKED
    fused = await world.fuse("cascade").read()

    assert ["a", "b"] == world.opened
    assert 2 * 5 == fused.report.usage.total_tokens
    assert 2 == fused.report.attempts


@pytest.mark.parametrize("strategy", sorted({*STRATEGIES} - {"single"}))
async def test_what_fits_is_passed_on_as_it_was_written(strategy: str) -> None:
    world = council(a=Arm(SPAM), b=Arm(OTHER), c=Arm(HAM), fuser=Arm(SPAM))
    world.parameters = ASKED
    fused = await world.fuse(strategy).read()

    assert SPAM == fused.answer.text
    assert "form asked for" not in fused.report.note


@pytest.mark.parametrize("strategy", ["synthesize", "refine"])
async def test_a_writer_that_breaks_off_before_anything_was_passed_on_is_replaced(strategy: str) -> None:
    world = council(a=Arm(SPAM, breaks=asked_by_us), b=Arm(HAM), c=Arm(OTHER), fuser=Arm(breaks=always))
    world.parameters = ASKED
    fused = await world.fuse(strategy).read()

    assert (SPAM, "a") == (fused.answer.text, fused.report.answered_by)
    assert "it broke off): a's is returned" in fused.report.note


async def test_the_one_who_writes_is_asked_for_the_form() -> None:
    world = council(a=Arm(SPAM), b=Arm(HAM), c=Arm(HAM), fuser=Arm(HAM))
    world.parameters = ASKED
    await world.fuse("synthesize").read()

    assert [ASKED] == [dict(call.parameters) for call in world.calls if call.expert == FUSER]


@pytest.mark.parametrize("strategy", ["knowledge", "panel", "rank"])
async def test_texts_that_only_we_read_are_asked_for_without_the_form(strategy: str) -> None:
    world = council(a=Arm(SPAM), b=Arm(HAM), c=Arm(HAM), fuser=Arm(SPAM))
    world.parameters = {**ASKED, "n": 2, "guided_choice": [SPAM], "max_tokens": 9}
    await world.fuse(strategy).read()
    asides = [call for call in world.calls if call.parameters != world.parameters]

    assert asides
    assert all(not call.parameters.keys() & world.parameters.keys() for call in asides)


async def test_one_experts_own_answer_is_passed_on_live_whatever_its_form() -> None:
    world = council(a=Arm("no JSON"))
    world.parameters = ASKED
    seen = [chunk.text async for chunk in world.fuse("single")]

    assert "no JSON" == "".join(seen)
    assert len(seen) > 1


async def test_json_is_compared_by_what_it_says() -> None:
    spelled = '{"why": [1, 2], "label": "ham"}', '{ "label":"ham",\n  "why": [1,2] }'
    world = council(a=Arm(SPAM), b=Arm(spelled[0]), c=Arm(spelled[1]))
    world.parameters = {"response_format": {"type": "json_object"}}
    fused = await world.fuse("vote").read()

    assert fused.report.finals["b"] == fused.report.finals["c"] != fused.report.finals["a"]
