"""Run the application under uvicorn, so that a failed start is one sentence and a taken port is said at once."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from experts.errors import LaunchError
from gateway.settings import Settings

BACKLOG = 2048


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 takes any free one.

    Raises:
        LaunchError: the port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise LaunchError("gateway", f"Cannot listen on {host}:{port} ({reason}): choose another --port.") from error
    listener.set_inheritable(True)
    return listener


class Server:
    """One uvicorn server around one application; `app.state.services` exists once it has started."""

    def __init__(self, settings: Settings, app: FastAPI) -> None:
        self.app = app
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                self.app,
                log_config=None,
                access_log=False,
                lifespan="on",
                backlog=BACKLOG,
                timeout_graceful_shutdown=round(settings.drain_seconds),
                server_header=False,
            )
        )
        # The reason of a failed start is raised by `run`; uvicorn's traceback of it would only hide it.
        logging.getLogger("uvicorn.error").addFilter(_not_a_failed_start)

    async def run(self, listener: socket.socket) -> None:
        """Serve until told to stop; the socket is closed at the end.

        Raises:
            ServiceError: what made the start fail.
        """
        with listener:
            await self._uvicorn.serve(sockets=[listener])
        if (failure := getattr(self.app.state, "failure", None)) is not None:
            raise failure

    async def up(self, serving: asyncio.Task[None]) -> None:
        """Wait until it accepts connections, or raise what `serving`, its `run`, failed with."""
        while not self._uvicorn.started:
            done, _ = await asyncio.wait({serving}, timeout=0.05)
            if done:
                serving.result()
                return

    def stop(self) -> None:
        """Ask it to finish what runs and end."""
        self._uvicorn.should_exit = True


def _not_a_failed_start(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(("Traceback", "Application startup failed"))


@asynccontextmanager
async def running(server: Server, listener: socket.socket) -> AsyncIterator[str]:
    """Run the server beside the caller's own work; yields its URL, stops it and waits when left.

    Raises:
        ServiceError: it could not start.
    """
    host, port = listener.getsockname()[:2]
    serving = asyncio.create_task(server.run(listener), name="gateway")
    try:
        await server.up(serving)
        yield f"http://{host}:{port}"
    finally:
        server.stop()
        await serving
