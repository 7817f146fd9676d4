"""Run a model's Python in a separate, bounded process.

It guards against accidents (endless loops, memory hogs, floods of output, stray files), not against a determined
attacker: the process keeps the user's identity and can read what that user can read. Grade only models you trained or
trust, or put this whole command into a container.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

OUTPUT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """What the program printed (at most 64 KiB), whether it ended well, and if not, the last line of its complaint."""

    stdout: str
    ok: bool
    error: str


def run_python(source: str, *, timeout_seconds: float = 5, memory_mib: int = 512) -> SandboxResult:
    """Run Python source isolated from the environment, site packages, and the working folder.

    The program has no environment variables, writes no files, starts no processes (unless the caller is root, whom
    that limit does not bind), and its whole process group is killed after `timeout_seconds`.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as program:
        program.write(_bounded(source, timeout_seconds, memory_mib).encode("utf-8", "replace"))
        program.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-"],
            stdin=program,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        with process:
            try:
                return _listen(process, time.monotonic() + timeout_seconds)
            finally:
                _kill(process)


def _listen(process: subprocess.Popen[bytes], deadline: float) -> SandboxResult:
    assert process.stdout is not None
    assert process.stderr is not None
    heard: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    stopped = _read_until(heard, deadline)
    stdout, stderr = (bytes(text).decode("utf-8", "replace") for text in heard.values())
    if stopped:
        return SandboxResult(stdout, False, stopped)
    try:
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return SandboxResult(stdout, False, "timed out")
    complaint = stderr.strip().rsplit("\n", 1)[-1]
    return SandboxResult(stdout, code == 0, complaint or ("" if code == 0 else f"exit status {code}"))


def _read_until(heard: dict[IO[bytes], bytearray], deadline: float) -> str:
    """Fill the buffers until both streams end; return why it stopped early, or an empty string."""
    with selectors.DefaultSelector() as selector:
        for stream in heard:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                return "timed out"
            for key, _ in ready:
                chunk = os.read(key.fd, OUTPUT_BYTES)
                if not chunk:
                    selector.unregister(key.fileobj)
                for stream, text in heard.items():
                    if stream is key.fileobj:
                        text += chunk[: OUTPUT_BYTES - len(text)]
                if any(len(text) >= OUTPUT_BYTES for text in heard.values()):
                    return "too much output"
    return ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


_PRELUDE = """\
import resource as _r
for _name, _limit in {limits!r}:
    _r.setrlimit(_name, (_limit, _limit))
del _r, _name, _limit
exec(compile({source!r}, "answer.py", "exec"), {{"__name__": "__main__"}})
"""


def _bounded(source: str, timeout_seconds: float, memory_mib: int) -> str:
    """Return the program with its limits set first, by the child itself: safe to call from a threaded parent."""
    limits = [
        (resource.RLIMIT_CPU, max(1, round(timeout_seconds))),
        (resource.RLIMIT_AS, memory_mib * 2**20),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ]
    return _PRELUDE.format(limits=[(int(name), limit) for name, limit in limits], source=source)
