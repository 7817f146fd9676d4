"""What can go wrong while routing.

RoutingError
  NoEligibleExpert        no expert satisfies the constraints; carries each one's reason
  UnknownPolicy           the request names a policy that does not exist; carries those that do
  ClassifierUnavailable   the classifier broke or was too slow (a client never sees it: routing falls back)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
    """The classifier failed, or did not finish within its budget; `cause` is "broken" or "slow"."""

    def __init__(self, message: str, *, cause: str = "broken") -> None:
        super().__init__(message)
        self.cause = cause


class UnknownPolicy(RoutingError):
    """The request names a routing policy that does not exist; `known` lists those that do."""

    def __init__(self, policy: str, known: Iterable[str]) -> None:
        self.policy = policy
        self.known = tuple(sorted(known))
        super().__init__(f"There is no routing policy '{policy}'; choose one of {', '.join(self.known)}.")
