"""Stop a server without losing a request: whoever has connected is heard before connections are closed.

uvicorn closes what is silent at once: a connection that waits to be accepted, or whose request is still on its way, is
reset then. Here, nobody new can connect, who has connected is accepted, and for a moment every answer says that
its connection ends; what is silent after that is closed, and what runs may finish.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

import uvicorn

HEARD_SECONDS = 1.0
"""How long a connection may be silent after the signal to stop."""
CLOSING_SECONDS = 0.02
"""How long the loop needs to let go of its listening sockets."""


async def hear_out(server: uvicorn.Server, sockets: Sequence[socket.socket]) -> None:
    """Stop listening, and wait until everybody who has connected had the time to send a request."""
    kept = [listener.dup() for listener in sockets]
    for serving in server.servers:
        serving.close()
    for listener in sockets:
        listener.close()
    await asyncio.sleep(CLOSING_SECONDS)
    last = [connection for listener in kept for connection in _accepted(listener)]
    server.server_state.default_headers.append((b"connection", b"close"))
    for connection in last:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: _protocol(server), connection)
    for _ in range(round(HEARD_SECONDS / CLOSING_SECONDS)):
        if server.server_state.connections and not server.force_exit:
            await asyncio.sleep(CLOSING_SECONDS)


def _accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield who waits to be accepted, and close the socket in the moment that nobody does."""
    with listener, suppress(OSError):  # nobody waits any more, or no descriptor is left for who does
        listener.setblocking(False)
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


def _protocol(server: uvicorn.Server) -> asyncio.Protocol:
    """Return what uvicorn itself would serve a connection with."""
    kind = server.config.http_protocol_class
    protocol: asyncio.Protocol = kind(  # type: ignore[call-arg]
        config=server.config, server_state=server.server_state, app_state=server.lifespan.state
    )
    return protocol
