"""What may be traced of a request, in words that need no library. Without a collector nobody calls any of it.

Tracing        the process's: begins a trace for each request
RequestTrace   one request's, in `CURRENT` while it is answered: its route, its calls, its fusion
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from aggregator.types import FusedStream
from experts.types import ExpertStream
from router.types import RoutingDecision


class RequestTrace(Protocol):
    """One request's. Streams that it returns say the same as those given; whoever holds one closes it."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What tells another server which trace this is."""
        ...

    def routed(self, decision: RoutingDecision) -> None:
        """Note how long it took to decide, and what was decided."""
        ...

    def call(self, stream: ExpertStream) -> ExpertStream:
        """Return a call that is a part of the trace, and says so to the expert's server."""
        ...

    def fusing(self, stream: FusedStream) -> FusedStream:
        """Return a fused answer that is a part of the trace."""
        ...

    def end(self, status: int, told: Mapping[str, Any]) -> None:
        """Note how the request ended; `told` is its log line."""
        ...


class Tracing(Protocol):
    """Begins traces. Whoever opened it closes it."""

    def begin(self, method: str, path: str, request_id: str, parent: Mapping[str, str]) -> RequestTrace:
        """Begin the trace of a request, as a part of the caller's where `parent` has its headers."""
        ...

    async def aclose(self) -> None:
        """Send what has not been sent."""
        ...


CURRENT: ContextVar[RequestTrace | None] = ContextVar("trace", default=None)
