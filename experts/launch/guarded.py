"""One process behind its guard: start it, wait for its end, take it down with everything below it.

The guard holds the other end of a pipe of ours. Should we die, the pipe closes and the guard clears up.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")
_BEYOND_GRACE_SECONDS = 15.0
_KEPT_FROM_SERVERS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def server_environment(ours: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """Return the variables a server runs with: ours without our secrets and our Python's paths, and `added`."""
    kept = {
        name: value
        for name, value in ours.items()
        if not name.startswith("CONSILIUM_") and name not in _KEPT_FROM_SERVERS
    }
    return {**kept, "PYTHONSAFEPATH": "1", **added}


class GuardedProcess:
    """A running command and its guard. Made by `start`; whoever starts it calls `stop`, however it ended."""

    def __init__(self, process: subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, argv: Sequence[str], env: Mapping[str, str], log: Path) -> GuardedProcess:
        """Start a command in a session of its own; both its outputs are appended to `log`."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", str(GUARD), "--", *argv),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=server_environment(os.environ, env),
                start_new_session=True,
            )
        return cls(process)

    @property
    def guard_pid(self) -> int:
        """The guard's process id; everything of the server's is below it."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for the end and return the command's exit code; its leftovers are gone by then."""
        return await self._process.wait()

    async def stop(self, grace_seconds: float) -> int:
        """Terminate everything, kill what outlives the grace period, return the exit code."""
        pipe = self._process.stdin
        assert pipe is not None, "the guard is started with a pipe"
        if self._process.returncode is None:
            pipe.write(f"{grace_seconds}\n".encode())
        pipe.close()
        try:
            return await asyncio.wait_for(self._process.wait(), grace_seconds + _BEYOND_GRACE_SECONDS)
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()
