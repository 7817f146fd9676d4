"""The `fusion:` section."""

from __future__ import annotations

from pydantic import Field

from aggregator.types import FusionLimits
from experts.config import Strict


class FusionConfig(Strict):
    """How several answers become one.

    `strategy` is used for `council` and wherever a request asks for several experts without naming one.
    `fuser` is the expert that writes fused answers; None means the default expert.
    """

    strategy: str = "synthesize"
    fuser: str | None = None
    quorum: int = Field(default=1, ge=1)
    deadline_seconds: float = Field(default=60, gt=0)
    max_experts: int = Field(default=3, ge=1, le=16)

    def limits(self) -> FusionLimits:
        """Return quorum and deadline as the strategies take them."""
        return FusionLimits(self.quorum, self.deadline_seconds)
