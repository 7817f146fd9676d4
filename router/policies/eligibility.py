"""Who may answer at all: hard constraints, applied before anything is scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

from experts.profile import SkillProfile
from experts.types import ExpertName
from router.errors import NoEligibleExpert
from router.types import Constraints

Rule = Callable[[SkillProfile, Constraints], str | None]


def eligible(
    profiles: Sequence[SkillProfile], constraints: Constraints
) -> tuple[tuple[SkillProfile, ...], dict[ExpertName, str]]:
    """Return the experts that satisfy the constraints, in order, and for each other one the first reason.

    Raises:
        NoEligibleExpert: none does.
    """
    rules = [rule for applies, rule in RULES if applies(constraints)]
    verdicts = [(profile, _verdict(profile, constraints, rules)) for profile in profiles]
    excluded = {profile.expert: reason for profile, reason in verdicts if reason is not None}
    fit = tuple(profile for profile, reason in verdicts if reason is None)
    if not fit:
        raise NoEligibleExpert(excluded)
    return fit, excluded


def _verdict(profile: SkillProfile, constraints: Constraints, rules: Sequence[Rule]) -> str | None:
    for rule in rules:
        if (reason := rule(profile, constraints)) is not None:
            return reason
    return None


def _allowed(profile: SkillProfile, constraints: Constraints) -> str | None:
    outside = bool(constraints.allow) and profile.expert not in constraints.allow
    return "not among the allowed experts" if outside else None


def _denied(profile: SkillProfile, constraints: Constraints) -> str | None:
    return "denied by the request" if profile.expert in constraints.deny else None


def _fit_to_serve(profile: SkillProfile, constraints: Constraints) -> str | None:
    return constraints.unfit.get(profile.expert)


def _tags(profile: SkillProfile, constraints: Constraints) -> str | None:
    lacking = sorted(constraints.require_tags - profile.tags)
    return f"lacks the tag {', '.join(lacking)}" if lacking else None


def _modalities(profile: SkillProfile, constraints: Constraints) -> str | None:
    if constraints.modalities <= profile.modalities:
        return None
    lacking = sorted(constraints.modalities - profile.modalities)
    return f"cannot read {', '.join(lacking)}"


def _capabilities(profile: SkillProfile, constraints: Constraints) -> str | None:
    lacking = sorted(constraints.capabilities - profile.capabilities)
    return f"lacks the capability {', '.join(lacking)}" if lacking else None


def _context_window(profile: SkillProfile, constraints: Constraints) -> str | None:
    window, needed = profile.context_window, constraints.min_context_tokens
    if window is None or window >= needed:
        return None
    return f"context window of {window} tokens, about {needed} needed"


def _endpoint(profile: SkillProfile, constraints: Constraints) -> str | None:
    endpoint = constraints.endpoint
    return None if endpoint is None or profile.speaks(endpoint) else f"does not speak {endpoint}"


RULES: tuple[tuple[Callable[[Constraints], object], Rule], ...] = (
    (attrgetter("allow"), _allowed),
    (attrgetter("deny"), _denied),
    (attrgetter("require_tags"), _tags),
    (attrgetter("modalities"), _modalities),
    (attrgetter("capabilities"), _capabilities),
    (attrgetter("min_context_tokens"), _context_window),
    (attrgetter("endpoint"), _endpoint),
    (attrgetter("unfit"), _fit_to_serve),
)
"""Each rule with what it reads of the constraints: where that is empty, nobody is looked at."""
