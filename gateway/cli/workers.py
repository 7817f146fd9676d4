"""Several gateway processes behind one listening socket: start them, start again what dies, pass signals on.

Each worker is a whole gateway; what they share is in the store. This process answers nothing and stays small. Its
copy of the socket keeps connections waiting while a worker is started again; when it is gone itself, the workers
notice by a pipe that ends, and stop as if told to.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from gateway.logs import facts

log = logging.getLogger(__name__)
QUICK_SECONDS = 10.0
"""A worker that lived shorter than this has not come up."""
MOST_QUICK_ENDS = 3
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.2, 5.0
BROKEN_CONFIGURATION = 2


@dataclass(frozen=True, slots=True)
class Post:
    """Where one worker listens, by descriptor: with all others, and alone; `leader` ends when this process does."""

    shared: int
    own: int
    leader: int

    @classmethod
    def read(cls, text: str) -> Post:
        """Return what `str` has written."""
        return cls(*map(int, text.split(",")))

    def __str__(self) -> str:
        return f"{self.shared},{self.own},{self.leader}"

    def sockets(self) -> list[socket.socket]:
        """Return the sockets; whoever calls this closes them."""
        return [socket.socket(fileno=self.shared), socket.socket(fileno=self.own)]


class Crew:
    """The workers of one gateway. `run` ends when all of them have.

    Args:
        command: what a worker is started with, its post excepted.
        listeners: the socket they share, then one for each of them; borrowed.
    """

    def __init__(self, command: Sequence[str], listeners: Sequence[socket.socket]) -> None:
        self._command, self._listeners = tuple(command), tuple(listeners)
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ending = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """Keep the workers running until told to stop; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        if not os.isatty(0):
            loop.add_signal_handler(signal.SIGHUP, self._tell, signal.SIGHUP)
        held, leader = os.pipe()
        try:
            await asyncio.gather(*(self._keep(number, held) for number in range(1, len(self._listeners))))
        finally:
            os.close(leader)
            os.close(held)
        return self._code

    def stop(self) -> None:
        """Let every worker finish what runs and end; the second time, end at once."""
        self._ending.set()
        for listener in self._listeners:
            listener.close()
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(number)

    async def _keep(self, number: int, leader: int) -> None:
        """Run one worker, again and again."""
        quick = 0
        while not self._ending.is_set():
            begun = time.monotonic()
            process = self._processes[number] = await self._started(number, leader)
            if self._ending.is_set() and process.returncode is None:  # nobody could tell it while it was being started
                process.send_signal(signal.SIGTERM)
            code = await process.wait()
            if self._ending.is_set():
                return
            quick = quick + 1 if time.monotonic() - begun < QUICK_SECONDS else 0
            log.warning("a worker ended", extra=facts(worker=number, code=code, again=quick < MOST_QUICK_ENDS))
            if code == BROKEN_CONFIGURATION or quick >= MOST_QUICK_ENDS:
                self._code = code if code > 0 else 1
                self.stop()
                return
            with suppress(TimeoutError):
                delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**quick)
                await asyncio.wait_for(self._ending.wait(), delay)

    async def _started(self, number: int, leader: int) -> asyncio.subprocess.Process:
        post = Post(self._listeners[0].fileno(), self._listeners[number].fileno(), leader)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", *self._command, "--post", str(post)),
            pass_fds=(post.shared, post.own, post.leader),
            start_new_session=True,  # an interrupt from the keyboard reaches this process, which passes it on
        )
