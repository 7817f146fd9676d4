"""What makes experts run: told which ones there should be, it starts, stops, loads and unloads until they are.

Whoever keeps the list of experts holds a `Runtime` and never asks where servers come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from experts.config import ExpertConfig
from experts.registry import Replica


class Runtime(Protocol):
    """Where experts that are ours to run are run."""

    async def settle(self, experts: Sequence[ExpertConfig]) -> None:
        """Make these experts, all of them, the ones that run. Asked twice, the second time changes nothing.

        Servers are begun and come up meanwhile; adapters of a server that is up are loaded on return. Calls may
        overlap: each returns when its wish, or a newer one, is carried out. What a server refuses later is not
        raised here: `state` says failed.

        Raises:
            ConfigError: they cannot run here; nothing was changed.
        """
        ...

    def replicas(self, config: ExpertConfig) -> tuple[Replica, ...]:
        """Return where an expert answers: its own replicas, or our server's address once it is settled."""
        ...

    def state(self, expert: str) -> str | None:
        """Return starting, ready, restarting, failed or asleep; None when the expert is not ours to run."""
        ...

    def failure(self, expert: str) -> str:
        """Return why an expert is failed or restarting, in a sentence; empty while all is well."""
        ...
