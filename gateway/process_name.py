"""What a process is called in leases, and whether a process of that name is surely gone."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

import psutil

CLOCK_STEP_SECONDS = 5.0
"""When a process began is counted from the machine's clock, which may be set meanwhile."""
NAMESPACE = Path("/proc/self/ns/pid")


def own_name() -> str:
    """Return a name that nobody else has, and that others on this machine can look up.

    Its parts: the machine, what counts its process numbers (a container has a count of its own), the number, when
    the process began, and chance.
    """
    number = os.getpid()
    return "/".join((_machine(), str(number), f"{_begun(number):.2f}", secrets.token_hex(4)))


def surely_gone(name: str) -> bool:
    """Say whether the process of this name does not run any more; False where that cannot be known from here."""
    parts = name.rsplit("/", 3)
    if len(parts) != 4 or parts[0] != _machine() or not parts[1].isdigit():
        return False
    try:
        return abs(_begun(int(parts[1])) - float(parts[2])) > CLOCK_STEP_SECONDS
    except ValueError:
        return False
    except psutil.NoSuchProcess:
        return True


def _machine() -> str:
    try:
        counted_by = os.readlink(NAMESPACE)
    except OSError:
        counted_by = "pid"
    return f"{socket.gethostname()}/{counted_by}"


def _begun(number: int) -> float:
    return psutil.Process(number).create_time()
