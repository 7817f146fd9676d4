"""Stand between the gateway and one server, so that nothing is left running however the gateway dies.

    gateway --pipe--> guard --own session--> python -m vllm... --> EngineCore, workers

A program of its own (standard library only, run by file path): it starts the command after `--` in a new
session, adopts every orphan below it (Linux child subreaper), and waits. When the pipe on its standard input
closes, when its parent is gone, or on SIGTERM or SIGINT, it terminates everything below it, waits for the
grace period, and kills what is left. A number written to the pipe before it closes is the grace in seconds.
When the command ends by itself, its leftovers go the same way and the guard ends with the command's exit code.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_GRACE_SECONDS = 20.0
_POLL_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True)
class Watch:
    """What the guard knows: its child, who its parent was, and the child's exit code once there is one."""

    child: int
    parent: int
    wake: int
    grace_seconds: float
    exit_code: int | None = None


def main(arguments: Sequence[str]) -> int:
    """Run `[--grace SECONDS] -- command...` and return the command's exit code (128 + signal when killed)."""
    split = arguments.index("--")
    options, command = arguments[:split], list(arguments[split + 1 :])
    grace_seconds = float(options[1]) if options[:1] == ["--grace"] else DEFAULT_GRACE_SECONDS
    parent, wake = os.getppid(), _wake_on_signals()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory(prefix="consilium-", ignore_cleanup_errors=True) as scratch:
        try:
            child = _start(command, scratch)
        except OSError as error:
            sys.stderr.write(f"cannot start {command[0]}: {error}\n")
            return 127
        watch = Watch(child.pid, parent, wake, grace_seconds)
        _wait_for_an_end(watch)
        _leave_nobody(watch)
    child.returncode = watch.exit_code  # we reaped it ourselves; Popen must not wait for it again
    return watch.exit_code or 0


def _start(command: Sequence[str], scratch: str) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own; the sockets that it leaves behind when killed are in `scratch`."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": scratch},
        start_new_session=True,
        preexec_fn=_end_with_the_guard,
    )


def _wait_for_an_end(watch: Watch) -> None:
    """Return when the child has ended or the gateway wants it to, or is gone."""
    while True:
        ready, _, _ = select.select([0, watch.wake], [], [], _POLL_SECONDS)
        _reap(watch)
        if watch.exit_code is not None or os.getppid() != watch.parent:
            return
        if watch.wake in ready and _stop_signal(watch.wake):
            return
        if 0 in ready and not _read_grace(watch):
            return


def _leave_nobody(watch: Watch) -> None:
    """Terminate everything below the guard, then kill what outlives the grace period or a second signal."""
    deadline = time.monotonic() + watch.grace_seconds
    _signal_all(watch, signal.SIGTERM)
    while _reap(watch) and time.monotonic() < deadline:
        ready, _, _ = select.select([watch.wake], [], [], 0.1)
        if ready and _stop_signal(watch.wake):
            break
    while _reap(watch):
        _signal_all(watch, signal.SIGKILL)
        time.sleep(0.05)


def _read_grace(watch: Watch) -> bool:
    """Read the pipe: False at its end, else keep the number written there as the grace period."""
    try:
        written = os.read(0, 64)
    except OSError:
        return False
    with contextlib.suppress(ValueError):
        watch.grace_seconds = float(written)
    return bool(written)


def _reap(watch: Watch) -> bool:
    """Collect everyone who has ended, remembering the child's exit code; tell whether anyone is left."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
            if pid == watch.child:
                code = os.waitstatus_to_exitcode(status)
                watch.exit_code = code if code >= 0 else 128 - code
    return False


def _signal_all(watch: Watch, number: signal.Signals) -> None:
    """Send a signal to the child's process group and to each of the guard's descendants outside it."""
    if watch.exit_code is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(watch.child, number)
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) != watch.child or watch.exit_code is not None:
                os.kill(pid, number)


def descendants(root: int) -> list[int]:
    """Return the processes below `root`, parents first; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for pid in _process_ids():
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as stat:
            parent = int(stat.read().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(pid)
    found = list(children.get(root, ()))
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _process_ids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _wake_on_signals() -> int:
    """Make SIGTERM, SIGINT and SIGCHLD readable as bytes on the returned file descriptor."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reading


def _stop_signal(wake: int) -> bool:
    received = os.read(wake, 4096)
    return signal.SIGTERM in received or signal.SIGINT in received


def _end_with_the_guard() -> None:
    """In the child, before it becomes the command: be terminated should the guard itself be killed."""
    signal.set_wakeup_fd(-1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    """Set a Linux process attribute; elsewhere there is none, and the process group has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
