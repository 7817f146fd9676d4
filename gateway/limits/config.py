"""The `limits:` section: what holds for the limits of all keys."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from experts.config import Strict


class KeyLimitsConfig(Strict):
    """How limits of keys are counted."""

    on_store_failure: Literal["open", "closed"] = Field(
        default="open", description="While Redis is away: let requests of limited keys in uncounted, or answer 503."
    )
    default_output_tokens: int = Field(
        default=500, ge=1, description="Reserved for an answer whose request does not say max_tokens."
    )
