"""Open tracing where a collector is configured. The SDK's own variables (`OTEL_*`) say the rest: sampling, headers."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from experts.errors import ConfigError
from gateway.settings import Settings
from gateway.tracing.context import Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

TRACES = "/v1/traces"
SECONDS = 5.0
"""The longest a batch of spans waits for the collector."""
MISSING = "CONSILIUM_OTLP_ENDPOINT needs OpenTelemetry's SDK: pip install 'consilium[otel]'."


def opened_tracing(settings: Settings, stack: AsyncExitStack) -> Tracing | None:
    """Return what traces requests; None where no collector is configured. Closed with the stack.

    Raises:
        ConfigError: the extra is not installed.
    """
    if not settings.otlp_endpoint:
        return None
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from gateway.tracing.otel import OtelTracing
    except ImportError as error:
        raise ConfigError(MISSING) from error
    named = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "consilium")}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter(settings.otlp_endpoint)))
    tracing = OtelTracing(provider, prompts=settings.trace_prompts)
    stack.push_async_callback(tracing.aclose)
    return tracing


def exporter(endpoint: str) -> SpanExporter:
    """Return what sends spans to a collector, OTLP over HTTP."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    url = endpoint.rstrip("/")
    return OTLPSpanExporter(url if url.endswith(TRACES) else url + TRACES, timeout=SECONDS)
