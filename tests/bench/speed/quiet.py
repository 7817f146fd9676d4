"""How busy others keep this machine: a figure taken beside them says little about the code."""

from __future__ import annotations

import os
import time

import psutil

QUIET = 0.1
"""Processors' worth of foreign work that still counts as nothing."""


def foreign_load(seconds: float = 1.0) -> float:
    """Return how many processors' worth of work others do, measured while this process sleeps."""
    before = psutil.cpu_times()
    time.sleep(seconds)
    after = psutil.cpu_times()
    idle = after.idle - before.idle + getattr(after, "iowait", 0.0) - getattr(before, "iowait", 0.0)
    return max(0.0, (os.cpu_count() or 1) - idle / seconds)


def state() -> str:
    """Return a line on what else goes on."""
    busy = foreign_load()
    verdict = "quiet" if busy <= QUIET else "BUSY: the figures are too slow"
    return f"(load {os.getloadavg()[0]:.1f}, others use {busy:.2f} processors: {verdict})"
