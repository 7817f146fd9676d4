"""The `cache:` section: how long and how much of what was answered is kept to be said again."""

from __future__ import annotations

from pydantic import Field

from experts.config import Strict


class CacheConfig(Strict):
    """Answers kept for requests that ask for it. In Redis the bounds are those of all gateways together."""

    enabled: bool = Field(default=True, description="Whether requests and keys may ask for it at all.")
    ttl_seconds: float = Field(default=3600, ge=1, le=2_592_000, description="How long an answer is said again.")
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=1024, description="Most kept at once; the oldest goes first.")
    wait_seconds: float = Field(default=10, ge=0, le=600, description="How long to wait for the same answer under way.")
    max_entry_bytes: int = Field(default=1024 * 1024, ge=256, description="An answer larger than this is not kept.")
