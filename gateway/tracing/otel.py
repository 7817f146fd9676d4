"""Spans of a request, by OpenTelemetry's SDK. Imported only where a collector is configured.

    gateway.request            the whole request, in the caller's trace where it named one
      route                    the decision
      chat EXPERT              one for each call to an expert: arms, fusers, judges, sub-questions
      fuse                     from the first question to the last word, where several answers became one

Spans are ended by whoever began them, whatever happens; a span of a call that nobody needed any more says `cut`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aggregator.types import FusedStream
from experts.errors import ServiceError
from experts.trace_context import SENT_ALONG
from experts.types import AnswerChunk, CallFacts, ExpertStream
from gateway.tracing import attributes
from router.types import RoutingDecision

W3C = TraceContextTextMapPropagator()
NANOSECONDS = 1_000_000_000


class OtelTracing:
    """Begins traces; see `Tracing`. `provider` is shut down with it.

    Args:
        prompts: whether conversations and answers stand in the spans.
    """

    def __init__(self, provider: TracerProvider, *, prompts: bool = False) -> None:
        self._provider, self._prompts = provider, prompts
        self._tracer = provider.get_tracer("consilium")

    def begin(self, method: str, path: str, request_id: str, parent: Mapping[str, str]) -> OtelTrace:
        """Begin the trace of a request; see `Tracing.begin`."""
        about = {"http.request.method": method, "url.path": path, "consilium.request_id": request_id}
        context = W3C.extract(dict(parent))
        span = self._tracer.start_span("gateway.request", context, SpanKind.SERVER, about)
        return OtelTrace(self._tracer, span, prompts=self._prompts)

    async def aclose(self) -> None:
        """Send what has not been sent; on a thread, since that waits for the collector."""
        await asyncio.to_thread(self._provider.shutdown)


class OtelTrace:
    """One request's; see `RequestTrace`."""

    def __init__(self, tracer: Tracer, span: Span, *, prompts: bool) -> None:
        self._tracer, self._span, self._prompts = tracer, span, prompts
        self._context = set_span_in_context(span)
        self.headers: Mapping[str, str] = headers_of(span)

    def routed(self, decision: RoutingDecision) -> None:
        """Note the decision; it was made just now."""
        end = time.time_ns()
        start = end - round(sum(decision.timings_ms.values()) / 1000 * NANOSECONDS)
        about = attributes.of_decision(decision)
        self._tracer.start_span("route", self._context, attributes=about, start_time=start).end(end)

    def call(self, stream: ExpertStream) -> ExpertStream:
        """Return the call as a part of the trace; see `RequestTrace.call`."""
        return ExpertStream(stream.call, lambda _: self._called(stream), stream.facts)

    def fusing(self, stream: FusedStream) -> FusedStream:
        """Return the fused answer as a part of the trace; see `RequestTrace.fusing`."""
        return FusedStream(self._fused(stream), stream.report)

    def end(self, status: int, told: Mapping[str, Any]) -> None:
        """Note how the request ended."""
        self._span.set_attributes(attributes.of_request(told, status))
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    async def _called(self, stream: ExpertStream) -> AsyncGenerator[AnswerChunk, None]:
        about = attributes.of_call(stream.call)
        if self._prompts:
            about |= attributes.of_question(stream.call.messages)
        name = f"{attributes.operation(stream.call)} {stream.call.expert}"
        span = self._tracer.start_span(name, self._context, SpanKind.CLIENT, about)
        heard = _Heard()
        try:
            async with stream:
                await self._primed(stream, span)
                async for chunk in stream:
                    heard.add(chunk, texts=self._prompts)
                    yield chunk
            heard.whole = True
        except ServiceError as error:
            failed(span, error)
            heard.whole = True
            raise
        finally:
            span.set_attributes(heard.attributes(stream.facts, texts=self._prompts))
            span.end()

    async def _primed(self, stream: ExpertStream, span: Span) -> None:
        """Send the request, which names this span as its parent."""
        token = SENT_ALONG.set(headers_of(span))
        try:
            await stream.prime()
        finally:
            SENT_ALONG.reset(token)
        span.add_event("first_token")

    async def _fused(self, stream: FusedStream) -> AsyncGenerator[AnswerChunk, None]:
        span = self._tracer.start_span("fuse", self._context)
        try:
            async with aclosing(stream):
                async for chunk in stream:
                    yield chunk
        except ServiceError as error:
            failed(span, error)
            raise
        finally:
            span.set_attributes(attributes.of_fusion(stream.report))
            span.end()


class _Heard:
    """What went by of an answer."""

    def __init__(self) -> None:
        self.model: str | None = None
        self.reasons: list[str] = []
        self.words: list[str] = []
        self.whole = False

    def add(self, chunk: AnswerChunk, *, texts: bool) -> None:
        if self.model is None:
            self.model = chunk.raw.get("model")
        if chunk.finish_reason:
            self.reasons.append(chunk.finish_reason)
        if texts:
            self.words.append(chunk.text)

    def attributes(self, facts: CallFacts, *, texts: bool) -> attributes.Attributes:
        told = attributes.of_answer(facts, self.model, self.reasons)
        if texts:
            told |= attributes.of_words("".join(self.words), self.reasons)
        return told if self.whole else {**told, "consilium.cut": True}


def headers_of(span: Span) -> dict[str, str]:
    """Return what tells another server that this span is its parent."""
    carrier: dict[str, str] = {}
    W3C.inject(carrier, set_span_in_context(span))
    return carrier


def failed(span: Span, error: ServiceError) -> None:
    """Note the kind of an error; its sentence stays out."""
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))
