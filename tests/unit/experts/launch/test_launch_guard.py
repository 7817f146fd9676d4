"""No process outlives the guard, whoever dies and however: real processes, Linux."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from experts.launch.guarded import GUARD

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="child subreapers are Linux's")

STUBBORN_TREE = """
    import os, signal, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()                      # a session of its own...
        if os.fork():
            os._exit(0)                  # ...and an orphan, the way daemons are made
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(sys.argv[1], "a") as notes:
        notes.write(f"{os.getpid()}\\n")
    time.sleep(600)
"""
GATEWAY = """
    import subprocess, sys, time
    guard = subprocess.Popen([sys.executable, "-I", *sys.argv[1:]], stdin=subprocess.PIPE)
    print(guard.pid, flush=True)
    time.sleep(600)
"""


class Tree:
    """A stubborn command with an orphaned grandchild; what its processes note down is read back as ids."""

    def __init__(self, folder: Path) -> None:
        self.notes = folder / "pids"
        self.notes.touch()
        self.script = folder / "tree.py"
        self.script.write_text(textwrap.dedent(STUBBORN_TREE))

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(self.script), str(self.notes)]

    def pids(self) -> list[int]:
        """Wait until both processes have noted their ids, and return these."""
        _wait_until(lambda: len(self.notes.read_text().splitlines()) == 2)
        return [int(line) for line in self.notes.read_text().splitlines()]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    yield tree
    for line in tree.notes.read_text().splitlines():
        if psutil.pid_exists(int(line)):
            psutil.Process(int(line)).kill()


def _wait_until(holds: object, seconds: float = 10) -> None:
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def _guard(*command: str, grace: float = 0.3) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", str(GUARD), "--grace", str(grace), "--", *command], stdin=subprocess.PIPE
    )


def _all_gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


def test_closing_the_pipe_ends_even_who_ignores_sigterm(tree: Tree) -> None:
    with _guard(*tree.command) as guard:
        pids = tree.pids()
    assert guard.returncode == 128 + signal.SIGKILL
    assert _all_gone(pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_guard_ends_the_tree(tree: Tree, number: signal.Signals) -> None:
    with _guard(*tree.command) as guard:
        pids = tree.pids()
        guard.send_signal(number)
        guard.wait(10)
        assert _all_gone(pids)


def test_a_second_signal_does_not_wait_for_the_grace_period(tree: Tree) -> None:
    with _guard(*tree.command, grace=60) as guard:
        pids = tree.pids()
        guard.terminate()
        time.sleep(0.3)
        guard.terminate()
        guard.wait(10)
    assert _all_gone(pids)


def test_kill_9_of_the_gateway_leaves_nobody(tree: Tree, tmp_path: Path) -> None:
    script = tmp_path / "gateway.py"
    script.write_text(textwrap.dedent(GATEWAY))
    arguments = [str(GUARD), "--grace", "0.3", "--", *tree.command]
    with subprocess.Popen([sys.executable, str(script), *arguments], stdout=subprocess.PIPE) as gateway:
        assert gateway.stdout is not None
        guard_pid = int(gateway.stdout.readline())
        pids = [guard_pid, *tree.pids()]
        gateway.kill()
    _wait_until(lambda: _all_gone(pids) or _only_zombies(pids))


def test_leftovers_go_when_the_command_is_killed(tree: Tree) -> None:
    with _guard(*tree.command) as guard:
        pids = tree.pids()
        child = next(p for p in psutil.Process(guard.pid).children() if p.pid in pids and p.cmdline())
        child.kill()
        guard.wait(10)
        assert _all_gone(pids)


def test_a_number_in_the_pipe_is_the_grace_period(tree: Tree) -> None:
    with _guard(*tree.command, grace=60) as guard:
        pids = tree.pids()
        began = time.monotonic()
        guard.communicate(b"0.2\n", timeout=10)
    assert time.monotonic() - began < 5
    assert _all_gone(pids)


@pytest.mark.parametrize(("code", "expected"), [("raise SystemExit(7)", 7), ("pass", 0)])
def test_the_guard_ends_with_the_commands_code(code: str, expected: int) -> None:
    with _guard(sys.executable, "-c", code) as guard:
        assert guard.wait(10) == expected


def test_a_command_that_is_not_there_is_127(capfd: pytest.CaptureFixture[str]) -> None:
    with _guard("/no/such/python") as guard:
        assert guard.wait(10) == 127
    assert "cannot start /no/such/python" in capfd.readouterr().err


def test_the_scratch_folder_is_gone_afterwards(tmp_path: Path) -> None:
    note = tmp_path / "note"
    code = f"import os, pathlib; pathlib.Path({str(note)!r}).write_text(os.environ['TMPDIR'])"
    with _guard(sys.executable, "-c", code) as guard:
        guard.wait(10)
    assert note.read_text()
    assert not Path(note.read_text()).exists()


def _only_zombies(pids: list[int]) -> bool:
    """In a container whose first process reaps nobody, the ended guard stays as a zombie."""
    return all(not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in pids)
