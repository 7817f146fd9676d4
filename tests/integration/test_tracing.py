"""Traces over real sockets: what spans there are, what they say and never say, and whose trace they belong to."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from experts.errors import ConfigError
from gateway.settings import Settings
from gateway.tracing import opening
from gateway.tracing.middleware import given
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving
from tests.integration.test_keys import LAW, MATH, ask

CANARY = "canary-7f3a91"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


class Team:
    """A mathematician and a lawyer, and what was traced of the gateway before them once it has closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.math, self.law = FakeExpert(), FakeExpert()
        self._patch, self._memory = monkeypatch, InMemorySpanExporter()

    @asynccontextmanager
    async def gateway(self, *, prompts: bool = False, endpoint: str = "memory") -> AsyncIterator[httpx.AsyncClient]:
        self._memory = memory = InMemorySpanExporter()
        if endpoint == "memory":
            self._patch.setattr(opening, "exporter", lambda _: memory)
        async with serving(self.math, self.law):
            records = [
                expert_record("math", self.math, fallback=["law"], **MATH),
                expert_record("law", self.law, **LAW),
            ]
            settings = Settings(keep_alive_seconds=0.5, otlp_endpoint=endpoint, trace_prompts=prompts)
            async with gateway_over(records, settings=settings) as client:
                yield client

    @property
    def spans(self) -> list[ReadableSpan]:
        return sorted(self._memory.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> Team:
    return Team(monkeypatch)


async def asked(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return await client.post("/v1/chat/completions", json=ask(**body), headers=headers)


def about(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_has_spans_for_its_route_and_its_call_with_their_facts(team: Team, stream: bool) -> None:
    async with team.gateway() as client:
        answer = await asked(client, stream=stream, temperature=0.5, max_tokens=20)

    request, route, call = (team.named(name) for name in ("gateway.request", "route", "chat math"))
    assert 3 == len(team.spans)
    assert {request.context.span_id} == {span.parent.span_id for span in (route, call) if span.parent}
    assert (SpanKind.SERVER, SpanKind.CLIENT) == (request.kind, call.kind)
    told = about(request)
    assert ("POST", "/v1/chat/completions", 200) == tuple(
        told[name] for name in ("http.request.method", "url.path", "http.response.status_code")
    )
    assert answer.headers["x-request-id"] == told["consilium.request_id"]
    assert ("auto", "math") == (told["gen_ai.request.model"], told["gen_ai.response.model"])
    assert told["gen_ai.usage.output_tokens"] > 0
    assert ("profile", ("math",)) == (about(route)["consilium.policy"], about(route)["consilium.experts"])
    assert "consilium.route.encode_ms" in about(route)
    of_call = about(call)
    assert ("chat", "math", 0.5, 20) == tuple(
        of_call[f"gen_ai.{name}"]
        for name in ("operation.name", "request.model", "request.temperature", "request.max_tokens")
    )
    assert (("stop",), told["gen_ai.usage.output_tokens"]) == (
        of_call["gen_ai.response.finish_reasons"],
        of_call["gen_ai.usage.output_tokens"],
    )
    assert f":{of_call['server.port']}/" in team.math.url
    assert (1, ["first_token"]) == (of_call["consilium.attempts"], [event.name for event in call.events])
    assert "consilium.cut" not in of_call


async def test_a_fused_answer_has_a_span_for_every_arm_and_one_for_the_fusion(team: Team) -> None:
    routing = {"fusion": "synthesize", "max_experts": 2, "experts": {"allow": ["math", "law"]}}
    async with team.gateway() as client:
        answer = await asked(client, model="council", routing=routing)

    assert 200 == answer.status_code, answer.text
    names = [span.name for span in team.spans]
    assert {"gateway.request", "route", "fuse", "chat math", "chat law"} == set(names)
    assert 3 == sum(name.startswith("chat ") for name in names), "two candidates and the writer"
    fuse = about(team.named("fuse"))
    assert ("synthesize", {"math", "law"}) == (fuse["consilium.fusion"], set(fuse["consilium.candidates"]))
    assert 1 == len({span.context.trace_id for span in team.spans})


async def test_the_callers_trace_goes_on_here_and_at_the_expert(team: Team) -> None:
    async with team.gateway() as client:
        await asked(client, {"traceparent": PARENT, "tracestate": "a=1"})

    request, call = team.named("gateway.request"), team.named("chat math")
    sent = team.math.request_headers[0]
    assert request.parent is not None
    assert (int(TRACE, 16), int(SPAN, 16)) == (request.context.trace_id, request.parent.span_id)
    assert f"00-{TRACE}-{call.context.span_id:016x}-01" == sent["traceparent"]
    assert "a=1" == sent["tracestate"]


async def test_without_a_collector_the_callers_trace_is_passed_on_as_it_came(team: Team) -> None:
    async with team.gateway(endpoint="") as client:
        await asked(client, {"traceparent": PARENT, "tracestate": "a=1"})
        await asked(client, {"traceparent": "00-not-a-trace-01", "tracestate": "a=1"})
        await asked(client)

    sent = [(h.get("traceparent"), h.get("tracestate")) for h in team.math.request_headers]
    assert [(PARENT, "a=1"), (None, None), (None, None)] == sent
    assert [] == team.spans


async def test_a_request_to_another_endpoint_is_traced_under_its_own_name(team: Team) -> None:
    async with team.gateway() as client:
        body = {"model": "math", "prompt": CANARY}
        answer = await client.post("/v1/completions", json=body, headers={"traceparent": PARENT})

    call = team.named("text_completion math")
    assert 200 == answer.status_code, answer.text
    assert "text_completion" == about(call)["gen_ai.operation.name"]
    assert f"00-{TRACE}-{call.context.span_id:016x}-01" == team.math.endpoints.headers[0]["traceparent"]
    assert CANARY not in "".join(span.to_json() for span in team.spans)


async def test_a_failed_call_says_its_kind_and_the_one_that_stood_in_is_told(team: Team) -> None:
    async with team.gateway() as client:
        team.math.status = 500
        stood_in = await asked(client, model="math")
        team.law.status = 500
        failed = await asked(client, model="law")

    assert (200, 503) == (stood_in.status_code, failed.status_code)
    first, second = team.named("chat math"), team.named("chat law")
    assert ("law", ("math: ExpertUnavailable",)) == (
        about(first)["consilium.expert"],
        about(first)["consilium.failed_attempts"],
    )
    assert "ExpertUnavailable" == about(second)["error.type"]
    requests = [span for span in team.spans if span.name == "gateway.request"]
    assert [StatusCode.UNSET, StatusCode.ERROR] == [span.status.status_code for span in requests]
    assert "503" == about(requests[1])["error.type"]


async def test_a_call_that_the_client_left_is_cut_and_every_span_ends(team: Team) -> None:
    team.math.word_delay = 0.2
    async with team.gateway() as client:
        async with client.stream("POST", "/v1/chat/completions", json=ask(model="math", stream=True)) as answer:
            await anext(answer.aiter_bytes())
        await asyncio.sleep(0.5)

    assert {"gateway.request", "route", "chat math"} == {span.name for span in team.spans}
    assert about(team.named("chat math"))["consilium.cut"]


async def test_no_word_of_a_conversation_stands_in_a_span_unless_that_is_switched_on(team: Team) -> None:
    async def through(*, prompts: bool) -> str:
        async with team.gateway(prompts=prompts) as client:
            await asked(client, {"authorization": f"Bearer {CANARY}"}, text=CANARY)
            await asked(client, text=CANARY, stream=True)
            await asked(client, text=CANARY, model="council", routing={"fusion": "vote", "max_experts": 2})
            team.math.status = 400
            await asked(client, text=CANARY, model="math")
            await asked(client, model=CANARY)
            team.math.status = 200
        assert 5 == len([span for span in team.spans if span.name == "gateway.request"])
        return "".join(span.to_json() for span in team.spans)

    assert CANARY not in await through(prompts=False)
    assert CANARY in await through(prompts=True)
    told = [about(span) for span in team.spans if "gen_ai.input.messages" in about(span)]
    question, answer = (json.loads(told[0][f"gen_ai.{which}.messages"]) for which in ("input", "output"))
    assert [{"role": "user", "parts": [{"type": "text", "content": CANARY}]}] == question
    assert [{"type": "text", "content": f"you said: {CANARY}"}] == answer[0]["parts"]


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Run a collector that keeps what it is sent."""
    kept: list[ExportTraceServiceRequest] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert "/v1/traces" == self.path
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Keep)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_spans_reach_a_collector(team: Team) -> None:
    with collector() as (url, kept):
        async with team.gateway(endpoint=url) as client:
            await asked(client)

    resources = [resource for each in kept for resource in each.resource_spans]
    names = {span.name for resource in resources for scope in resource.scope_spans for span in scope.spans}
    service = [a.value.string_value for a in resources[0].resource.attributes if a.key == "service.name"]
    assert {"gateway.request", "route", "chat math"} == names
    assert ["consilium"] == service


async def test_a_collector_that_is_away_costs_no_answer(team: Team) -> None:
    async with team.gateway(endpoint="http://127.0.0.1:9") as client:
        answers = [await asked(client) for _ in range(3)]

    assert [200] * 3 == [answer.status_code for answer in answers]


async def test_without_the_extra_the_setting_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'consilium[otel]'")):
        async with gateway_over(
            [{"name": "a", "replicas": [{"base_url": "http://127.0.0.1:9/v1"}]}],
            settings=Settings(otlp_endpoint="http://x"),
        ):
            pass


def test_the_sdk_is_not_loaded_where_no_collector_is_configured() -> None:
    loaded = "import sys, gateway.app; sys.exit('opentelemetry.sdk' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", loaded]).returncode


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"traceparent", b"")],
        [(b"traceparent", f"00-{'0' * 32}-{SPAN}-01".encode())],
        [(b"traceparent", f"ff-{TRACE}-{SPAN}-01".encode())],
        [(b"traceparent", PARENT.upper().encode())],
        [(b"traceparent", PARENT.encode() + b"\r\nx: y")],
        [(b"traceparent", PARENT.encode()), (b"traceparent", PARENT.encode())],
        [(b"tracestate", b"a=1")],
    ],
)
def test_a_trace_that_is_not_written_as_w3c_says_is_none(headers: list[tuple[bytes, bytes]]) -> None:
    assert {} == given(headers)
