"""A real redis-server on a free port with a folder of its own, that a test can kill and start again.

The binary is a tool of the tests like git and curl: a machine without it fails them, with a sentence.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import free_port

MISSING = "redis-server is not on the PATH: install it (Debian: apt-get install redis-server), or run -m 'not redis'."


class RedisServer:
    """One server. Writes are on the disk before they are acknowledged, so that a kill loses none."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.fail(MISSING, pytrace=False)
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "appendonly": "yes"}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        command = [binary, *words, "--appendfsync", "always", "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._wait_until_it_answers()

    def kill(self) -> None:
        """Kill it with signal 9; nothing when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait_until_it_answers(self) -> None:
        from redis import Redis
        from redis.exceptions import RedisError

        deadline = time.monotonic() + 30
        with Redis(port=self.port, socket_timeout=2) as client:
            while True:
                try:
                    client.ping()
                    return
                except RedisError:
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.05)


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run one until left; its folder goes with it."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
