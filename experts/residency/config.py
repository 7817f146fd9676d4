"""The `residency:` section: how many of the servers we run may hold memory at once, and how long one waits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from experts.config import Strict


class ResidencyConfig(Strict):
    """Bounds on what is awake; with neither `max_resident` nor `memory_gib` everything stays awake.

    Attributes:
        max_resident: most servers awake at once.
        memory_gib: most memory of awake servers together, by `launch.gpu_memory_gib`.
        max_wait_seconds: a server somebody has waited for so long is next, whatever the sizes of the groups.
        min_dwell_seconds: how long a server stays awake at least, unless somebody else has waited too long.
        prefetch: wake what was asked for lately when there is room and nobody waits.
        max_waiting: requests that may wait for one sleeping server; more are told to come back.
        pinned: experts whose servers are never put to sleep to make room.
        sleep_level: how servers on GPUs sleep: 1 in vLLM's sleep mode, weights in RAM; 0 stopped.
    """

    max_resident: int | None = Field(default=None, ge=1)
    memory_gib: float | None = Field(default=None, gt=0)
    max_wait_seconds: float = Field(default=60, gt=0)
    min_dwell_seconds: float = Field(default=2, ge=0)
    prefetch: bool = True
    max_waiting: int = Field(default=256, ge=1)
    pinned: tuple[str, ...] = ()
    sleep_level: Literal[0, 1] = 1

    @property
    def bounded(self) -> bool:
        """Whether there is a bound at all."""
        return self.max_resident is not None or self.memory_gib is not None
