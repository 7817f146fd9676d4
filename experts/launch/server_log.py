"""Read what a vLLM server writes: how far its start has come, and why it failed.

The log is a file the server writes to directly, so it is complete however either side dies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from textwrap import shorten

_TAIL_BYTES = 200_000


class Stage(Enum):
    """How far a start has come; the values read well after a server's name."""

    STARTING = "starting"
    LOADING = "loading weights"
    WARMING = "warming up"
    READY = "ready"


_STAGE_SIGNS = (
    (
        Stage.WARMING,
        re.compile(r"Loading weights took|# GPU blocks|KV cache size|init engine|Warming up|Starting vLLM"),
    ),
    (Stage.LOADING, re.compile(r"Starting to load model|Loading (safetensors|pt) checkpoint|Loading model from")),
)
_EXCEPTION = re.compile(
    r"(?:^|\s|\])(?P<line>(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt|NotFound)\b: .+)"
)
_USAGE_ERROR = re.compile(r"(?P<line>error: .+)$")
_MERE_CONSEQUENCES = ("Engine core initialization failed", "See root cause above", "Failed core proc")
_PREFIX = re.compile(r"^\([\w ]*pid=\d+\)\s*|^(?:INFO|WARNING|ERROR)\s+[\d-]+\s[\d:]+\s+\[[^\]]*\]\s*")


def rotate(log: Path) -> None:
    """Set the previous run's log aside as `NAME.log.1`, so that `log` is this run's alone."""
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))


def read_tail(log: Path) -> str:
    """Return the end of a log, enough for any traceback; empty when there is none yet."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def stage_of(text: str) -> Stage:
    """Return the furthest stage before `READY` that a log shows; READY itself is for the server to say."""
    return next((stage for stage, sign in _STAGE_SIGNS if sign.search(text)), Stage.STARTING)


def failure_in(text: str) -> str:
    """Return what a log says about why the server ended, in at most 300 characters.

    That is the last exception that is not a mere consequence of another one; else the last lines.
    """
    lines = text.splitlines()
    found = [number for number, line in enumerate(lines) if _why(line)]
    causes = [number for number in found if not any(mark in lines[number] for mark in _MERE_CONSEQUENCES)]
    if not found:
        last = [bare for line in lines if (bare := without_prefix(line))][-2:]
        return shorten(" / ".join(last), 300, placeholder="...") or "it wrote nothing"
    chosen = (causes or found)[-1]
    return shorten(f"{_why(lines[chosen])} {_continuation(lines[chosen + 1 :])}", 300, placeholder="...")


def _continuation(following: Sequence[str]) -> str:
    """Return the next line when it belongs to the exception's message: pydantic says there what is wrong."""
    line = following[0] if following else ""
    foreign = _PREFIX.match(line) or line.startswith(("Traceback", "/", "[")) or _why(line)
    return "" if foreign else line.strip()


def without_prefix(line: str) -> str:
    """Return a log line without vLLM's process and time prefixes."""
    while (shorter := _PREFIX.sub("", line, count=1)) != line:
        line = shorter
    return line.strip()


def _why(line: str) -> str:
    match = _EXCEPTION.search(line) or _USAGE_ERROR.search(line)
    return match["line"].strip() if match else ""
