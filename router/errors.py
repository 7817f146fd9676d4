"""What can go wrong while routing.

RoutingError
  NoEligibleExpert        no expert satisfies the constraints; carries each one's reason
  ClassifierUnavailable   the classifier broke or was too slow (never seen by a client: routing falls back)
"""

from __future__ import annotations

from collections.abc import Mapping

from experts.errors import ServiceError
from experts.types import ExpertName


class RoutingError(ServiceError):
    """Routing could not produce a decision."""


class NoEligibleExpert(RoutingError):
    """No expert satisfies the request's constraints; `excluded` says why, expert by expert."""

    def __init__(self, excluded: Mapping[ExpertName, str]) -> None:
        reasons = "; ".join(f"{expert}: {reason}" for expert, reason in excluded.items())
        super().__init__(f"No expert can take this request ({reasons or 'none is registered'}).")
        self.excluded = dict(excluded)


class ClassifierUnavailable(RoutingError):
    """The classifier failed or did not finish within its budget."""
