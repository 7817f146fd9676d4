"""One batch as data: OpenAI's batch object, whose it is, and how its status changes. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from experts.store import Document

PREFIX = "batches/"
WINDOW_SECONDS = 86_400
WINDOW = "24h"
Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
ENDED: frozenset[Status] = frozenset({"failed", "completed", "expired", "cancelled"})
MOMENTS: Mapping[str, str] = {status: f"{status}_at" for status in ("in_progress", "finalizing", "cancelling", *ENDED)}


@dataclass(frozen=True, slots=True)
class Counts:
    """How many lines there are, are answered, have ended in an error."""

    total: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch; `key` is the id of the key it belongs to, `job` runs it, times are whole seconds since 1970."""

    id: str
    key: str
    input_file_id: str
    endpoint: str
    completion_window: str = WINDOW
    status: Status = "validating"
    metadata: Mapping[str, str] | None = None
    errors: tuple[Mapping[str, Any], ...] = ()
    counts: Counts = Counts()
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int = field(default_factory=lambda: int(time.time()))
    moments: Mapping[str, int] = field(default_factory=dict)
    job: str = ""

    @property
    def expires_at(self) -> int:
        return self.created_at + WINDOW_SECONDS

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def to(self, status: Status, **more: Any) -> Batch:
        """Return the batch with a new status since now; a batch that has ended stays as it is."""
        if self.ended:
            return self
        at = {MOMENTS[status]: int(time.time())} if status in MOMENTS and status != self.status else {}
        return replace(self, status=status, moments={**self.moments, **at}, **more)

    def shown(self) -> dict[str, Any]:
        """Return OpenAI's batch object."""
        moments = {name: self.moments.get(name) for name in MOMENTS.values()}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": {"object": "list", "data": list(self.errors)} if self.errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            **moments,
            "request_counts": asdict(self.counts),
            "metadata": None if self.metadata is None else dict(self.metadata),
        }


def batch_of(document: Document) -> Batch:
    """Return the batch in a document; what a newer version of us added is left out."""
    known = {each.name for each in fields(Batch)}
    body = {key: value for key, value in document.body.items() if key in known}
    return Batch(**{**body, "counts": Counts(**body["counts"]), "errors": tuple(body["errors"])})
