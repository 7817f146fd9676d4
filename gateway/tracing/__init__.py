"""Where the time of a request went, told to an OpenTelemetry collector where one is configured."""

from gateway.tracing.context import CURRENT, Tracing
from gateway.tracing.middleware import TraceContext

__all__ = ["CURRENT", "TraceContext", "Tracing"]
