"""One key as data: what a client may use with it, until when. The secret itself is in no record, only its SHA-256.

`KeyBody` is what the administrator says, `KeyRecord` what is kept. A revoked key's record stays: its usage has a
name, and a gateway whose only key was revoked does not become an open one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from experts.store import Body, Document
from gateway.schemas import ANY_EXPERT, ExpertChoice

PREFIX = "keys/"
SECRET_PREFIX = "sk-"
SECRET_BYTES = 32
Period = Literal["total", "day", "month"]
State = Literal["active", "expired", "revoked"]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Word = Annotated[str, Field(min_length=1, max_length=128)]


class KeyBody(BaseModel):
    """What `POST /admin/keys` reads. What is left out is not limited."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Word = Field(description="Whose it is, for people.")
    expires_at: AwareDatetime | None = Field(default=None, description="Until when; seconds since 1970, or ISO 8601.")
    experts: list[Word] = Field(default=[], max_length=256, description="Only these experts; empty means all.")
    tags: list[Word] = Field(default=[], max_length=256, description="Only experts that carry every one of these.")
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    budget_usd: float | None = Field(default=None, gt=0, le=1e9, allow_inf_nan=False)
    budget_period: Period = "total"
    priority: int | None = Field(default=None, ge=-10, le=10, description="The usual priority, and the highest.")
    share: int = Field(default=1, ge=1, le=100, description="Turns where calls wait, for each one of other keys.")
    cache: bool = Field(default=False, description="Whether its requests may be answered from the cache, unasked.")


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key that was given out. Times are seconds since 1970; empty `experts` and `tags` allow all."""

    id: str
    name: str
    hash: str
    created_at: float
    expires_at: float | None = None
    experts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    budget_usd: float | None = None
    budget_period: Period = "total"
    priority: int | None = None
    share: int = 1
    cache: bool = False
    revoked_at: float | None = None

    def state(self, now: float) -> State:
        """Return whether it lets anybody in at this time."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    @property
    def limited(self) -> bool:
        """Whether anybody has to count what is done with it."""
        return any(cap is not None for cap in (self.requests_per_minute, self.tokens_per_minute, self.budget_usd))


def made(body: KeyBody, now: float) -> tuple[KeyRecord, str]:
    """Return a new key's record and its secret, which is nowhere else."""
    secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    said = body.model_dump(exclude={"expires_at"})
    until = None if body.expires_at is None else body.expires_at.timestamp()
    more = {**said, "experts": tuple(body.experts), "tags": tuple(body.tags)}
    record = KeyRecord(id=f"key_{secrets.token_hex(8)}", hash=hash_of(secret), created_at=now, expires_at=until, **more)
    return record, secret


def changed(record: KeyRecord, body: KeyBody) -> KeyRecord:
    """Return a key with what the administrator now says of it; the secret, its age and its state stay."""
    said = body.model_dump(exclude={"expires_at"})
    until = None if body.expires_at is None else body.expires_at.timestamp()
    return replace(record, **{**said, "experts": tuple(body.experts), "tags": tuple(body.tags), "expires_at": until})


def said_of(record: KeyRecord) -> dict[str, Any]:
    """Return a key in the fields of `KeyBody`."""
    return {name: value for name, value in body_of(record).items() if name in KeyBody.model_fields}


def hash_of(secret: str) -> str:
    """Return what a secret is known by."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def record_of(document: Document) -> KeyRecord:
    """Return the key in a document; what a newer version of us added is left out."""
    known = {each.name for each in fields(KeyRecord)}
    said = {key: value for key, value in document.body.items() if key in known}
    return KeyRecord(**{**said, "experts": tuple(said["experts"]), "tags": tuple(said["tags"])})


def body_of(record: KeyRecord) -> Body:
    """Return a key as it is kept."""
    return {**asdict(record), "experts": list(record.experts), "tags": list(record.tags)}


def shown(record: KeyRecord, now: float) -> Mapping[str, Any]:
    """Return a key as the administrator sees it: without its hash."""
    told = {key: value for key, value in body_of(record).items() if key != "hash"}
    return {"object": "key", **told, "state": record.state(now)}


@lru_cache(maxsize=4096)
def as_choice(record: KeyRecord) -> ExpertChoice:
    """Return the experts that a key may use, as a request would say it."""
    if not record.experts and not record.tags:
        return ANY_EXPERT
    return ExpertChoice(allow=list(record.experts), require_tags=list(record.tags))
