"""One piece of long work as data: what it was asked, who runs it, how far it is, how it ended."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias

from experts.store import Document

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})
PREFIX = "jobs/"
NOBODY = ""


@dataclass(frozen=True, slots=True)
class Job:
    """What is known about one piece of work.

    Args:
        id: made at the start.
        kind: which work.
        subject: what it is about, an expert's name say.
        spec: what it was asked to do, as JSON; enough to go on after an interruption.
        state: queued, running, done, failed or cancelled.
        done, total: how far it is, in steps of its own; total 0 while unknown.
        created_at, finished_at: seconds since 1970.
        error: why it failed, as a sentence.
        result: what the work returned.
        owner, beat_at: who runs it, and its last heartbeat.
        cancelling: somebody asked it to stop.
    """

    id: str
    kind: str
    subject: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    state: State = "queued"
    done: int = 0
    total: int = 0
    created_at: float = 0.0
    finished_at: float | None = None
    error: str | None = None
    result: Mapping[str, Any] | None = None
    owner: str = NOBODY
    beat_at: float = 0.0
    cancelling: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state in ENDED


class Run:
    """A job under way, as its work sees it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.done, self.total = job.done, job.total

    def progress(self, done: int, total: int | None = None) -> None:
        """Tell how far the work is; written at most once a second."""
        self.done = done
        self.total = self.total if total is None else total


Work: TypeAlias = Callable[[Run], Awaitable[Mapping[str, Any]]]
"""Does a job; cancelled to stop it. A `ServiceError` it raises fails the job with its sentence."""


def job_of(document: Document) -> Job:
    """Return the job in a document; what a newer version of us added is left out."""
    known = {each.name for each in fields(Job)}
    return Job(**{key: value for key, value in document.body.items() if key in known})


def ended(job: Job, state: State, *, error: str | None = None, result: Mapping[str, Any] | None = None) -> Job:
    """Return the job as it ended just now."""
    return replace(job, state=state, finished_at=time.time(), error=error, result=result)


def shown(job: Job) -> dict[str, Any]:
    """Return a job as the administrator sees it: without whose lease it is."""
    told = asdict(job)
    for inner in ("owner", "beat_at"):
        told.pop(inner)
    return told
