"""What can go wrong while fusing.

FusionError
  QuorumNotReached(failures)   too few experts answered; carries who failed and why
  UnknownStrategy              no strategy has that name
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experts.errors import ServiceError

if TYPE_CHECKING:
    from aggregator.types import Failure


class FusionError(ServiceError):
    """Several answers could not become one."""


class QuorumNotReached(FusionError):
    """Fewer experts answered than the quorum asks for."""

    def __init__(self, needed: int, answered: int, failures: Sequence[Failure]) -> None:
        told = "; ".join(f"{failure.expert}: {failure.message}" for failure in failures)
        super().__init__(f"{answered} of the {needed} answers needed arrived ({told or 'nobody was asked'}).")
        self.failures = tuple(failures)


class UnknownStrategy(FusionError):
    """No fusion strategy has that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"There is no fusion strategy '{name}'; use one of {', '.join(sorted(known))}.")
