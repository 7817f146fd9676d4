"""Run the application under uvicorn, so that a failed start is one sentence and a taken port is said at once."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI

from gateway.cli.listening import listening_socket
from gateway.cli.stopping import hear_out
from gateway.connections import patient
from gateway.settings import Settings

__all__ = ["Server", "Uvicorn", "listening_socket", "run", "running"]
BACKLOG = 2048
SELDOM = (20_000, 20, 50)
"""When a gateway's garbage is looked for, instead of after each 700 objects: requests leave next to none in cycles, and
looking took a third of their time (docs/benchmarks.md)."""


def run(serving: Coroutine[Any, Any, None]) -> None:
    """Run a gateway to its end, on uvloop: a request takes half the time of asyncio's own loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


def collect_seldom() -> None:
    """Keep what there is now out of garbage collection, and have the rest looked at `SELDOM`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SELDOM)


class Uvicorn(uvicorn.Server):
    """uvicorn that leaves signals to us: its own handling raises them again before our clean-up has run.

    `told`: whether it was a signal that stopped it, to which others may still have been sending requests.
    """

    told = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests finish; told by a signal, hear out who has connected before."""
        if self.told:
            await hear_out(self, sockets or ())
        await super().shutdown(sockets)


class Server:
    """One uvicorn server around one application; `app.state.services` exists once it has started."""

    def __init__(self, settings: Settings, app: FastAPI) -> None:
        self.app = app
        self._uvicorn = Uvicorn(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                http=patient(settings.slow_client_seconds),
                ws="none",
                lifespan="off",
                backlog=BACKLOG,
                timeout_graceful_shutdown=round(settings.drain_seconds),
                server_header=False,
                proxy_headers=False,
            )
        )

    async def run(self, *listeners: socket.socket, alone: bool = False) -> None:
        """Build the services, serve until told to stop, close everything; the sockets too.

        The lifespan is entered here and not by uvicorn, which would turn a failed start into a traceback.
        `alone` in its process, it keeps what is there after the start (hundreds of thousands of objects) out of
        garbage collection, which would look at all of it again and again, with every request waiting, and has the
        rest looked at `SELDOM`.

        Raises:
            ServiceError: what made the start fail.
        """
        with ExitStack() as sockets:
            for listener in listeners:
                sockets.enter_context(listener)
            async with self.app.router.lifespan_context(self.app):
                if alone:
                    collect_seldom()
                await self._uvicorn.serve(sockets=list(listeners))

    async def run_until_signal(self, *listeners: socket.socket, leader: int | None = None) -> None:
        """Run until SIGINT or SIGTERM: the first lets requests finish, the second does not.

        SIGHUP reads the configuration file again; on a terminal it goes on meaning that the terminal has gone.
        `leader` is a pipe that ends when whoever started this one of several workers has ended: then it ends too.
        """
        task = asyncio.current_task()
        assert task is not None
        if not os.isatty(0):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._told_to_read)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._told_to_stop, task)
        if leader is not None:
            asyncio.get_running_loop().add_reader(leader, self._left_alone, leader, task)
        with suppress(asyncio.CancelledError):
            await self.run(*listeners, alone=True)

    def _told_to_stop(self, running: asyncio.Task[None]) -> None:
        if not self._uvicorn.started:
            running.cancel()
        self._uvicorn.force_exit = self._uvicorn.should_exit
        self._uvicorn.should_exit = self._uvicorn.told = True

    def _left_alone(self, leader: int, running: asyncio.Task[None]) -> None:
        asyncio.get_running_loop().remove_reader(leader)
        self._told_to_stop(running)

    def _told_to_read(self) -> None:
        if self._uvicorn.started:
            self.app.state.services.file.reading.ask()

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
