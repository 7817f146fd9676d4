"""What every backend promises. `tests/contracts/test_backends.py` holds each one to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from experts.registry import Expert, Replica
from experts.types import AnswerChunk, ExpertCall


class Backend(Protocol):
    """One protocol, no retries, no balancing: the dispatcher decides, a backend does one call."""

    def stream(self, expert: Expert, replica: Replica, call: ExpertCall) -> AsyncGenerator[AnswerChunk, None]:
        """Ask one replica and yield the answer's chunks; closing the generator aborts the request.

        Raises:
            ExpertError: every transport or server failure, translated here and nowhere else.
        """
        ...

    def relay(self, expert: Expert, replica: Replica, call: ExpertCall) -> AsyncGenerator[AnswerChunk, None]:
        """Pass `call.relay` on to one replica and yield its answer as `RelayChunk`s, byte for byte.

        Raises:
            EndpointMissing: the server does not speak the endpoint.
            ExpertError: as in `stream`.
        """
        ...

    async def probe(self, expert: Expert, replica: Replica) -> None:
        """Return when the replica is ready to serve the expert's model, raise ExpertError when not."""
        ...
