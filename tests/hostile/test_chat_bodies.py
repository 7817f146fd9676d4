"""Chat bodies, options and headers that hypothesis makes up: an answer or OpenAI's error, never a failure of ours."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.schemas import RoutingOptions
from router.policies import POLICIES
from tests.hostile.shape import wrong
from tests.hostile.world import MALLORY, Target

IN_CI, LONG = 150, 5_000
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
ANY_JSON = st.recursive(
    SCALARS | TEXT, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "refusal", "x"]) | ANY_JSON},
    optional={"text": TEXT | ANY_JSON, "image_url": ANY_JSON, "input_audio": ANY_JSON},
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant", "tool", "developer"]) | TEXT},
    optional={
        "content": TEXT | st.lists(PARTS | ANY_JSON, max_size=3) | st.none(),
        "tool_calls": ANY_JSON,
        "name": ANY_JSON,
    },
)
TIMES = ("deadline_ms", "first_token_ms", "idle_ms")
MODELS = st.sampled_from(["math", "prose", "auto", "council", "nobody"])
READ_BY_US: tuple[str, ...] = (
    "stream_options",
    "tools",
    "tool_choice",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
    "n",
)
READ_BY_US += ("parallel_tool_calls", "logprobs", "temperature", "chat_template_kwargs", "user", "stop", "modalities")
POLICY = st.sampled_from([*POLICIES, "auto", "none"]) | TEXT
NUMBERS = st.integers(-5, 20) | st.floats(-1, 1e4) | ANY_JSON
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(RoutingOptions.model_fields, NUMBERS),
        "policy": POLICY,
        "fusion": st.sampled_from(["none", "vote", "rank", "synthesize", "cascade", "auto", "self", "decompose"])
        | TEXT,
        "thinking": st.sampled_from(["auto", "on", "off"]) | ANY_JSON,
        "explain": st.booleans() | ANY_JSON,
        "deadline_ms": st.integers(1000, 5000) | ANY_JSON,
        "experts": ANY_JSON
        | st.fixed_dictionaries({}, optional={k: st.lists(TEXT) | ANY_JSON for k in ("allow", "deny")}),
    },
)
BODIES = st.fixed_dictionaries(
    {"model": MODELS, "messages": st.lists(MESSAGES, min_size=1, max_size=4)},
    optional={"stream": st.booleans(), "routing": OPTIONS, **dict.fromkeys(READ_BY_US, ANY_JSON)},
)
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60).map(
    str.strip  # a client that sends no other
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={f"x-consilium-{name}": HEADER for name in ("policy", "experts", "deadline-ms", "session")}
    | {"x-request-id": HEADER},
)


def attack(target: Target, path: str, examples: int) -> list[str]:
    """Send made-up bodies; return what was wrong with the answers."""
    found: list[str] = []
    with target.client(MALLORY) as client:

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(BODIES, HEADERS)
        def each(body: dict[str, Any], headers: dict[str, str]) -> None:
            sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            answer = client.post(path, json=body, headers=sent)
            if said := wrong(
                answer.status_code, answer.headers, answer.content, upstream=asked_too_little(body, headers)
            ):
                found.append(f"{said} to {body} {headers}")
            found.extend(f"{name} in {answer.headers}" for name in answer.headers if "evil" in name)

        each()
    return found


def asked_too_little(body: dict[str, Any], headers: dict[str, str]) -> bool:
    """Say whether a time that the request itself gives may end it: the expert is then said to be late."""
    asked = body.get("routing") or {}
    return any(map(asked.get, TIMES)) or bool(headers.get("x-consilium-deadline-ms"))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
def test_made_up_bodies_and_options_end_in_an_answer_or_an_openai_error(target: Target, path: str) -> None:
    assert [] == attack(target, path, IN_CI)[:3]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
def test_thousands_of_made_up_bodies_do_so_too(target: Target, path: str) -> None:
    assert [] == attack(target, path, LONG)[:3]


def test_the_attack_reaches_experts(target: Target) -> None:
    """What is refused at the door tests nothing behind it."""
    before = len(target.expert.requests)
    attack(target, "/v1/chat/completions", 60)

    assert len(target.expert.requests) - before > 10
    assert "" != wrong(500, httpx.Headers(), b'{"error":{}}')
