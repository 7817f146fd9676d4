"""What the router reads and what it says. A decision is data: it explains itself, nobody has acted on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from experts.types import Domain, ExpertName, Message


@dataclass(frozen=True, slots=True)
class Constraints:
    """What an expert must satisfy before anything is scored.

    Args:
        allow: only these experts; empty means all.
        deny: never these.
        require_tags: every one of these tags.
        modalities: what the conversation contains.
        capabilities: what the request needs ("tools", "json_schema").
        min_context_tokens: estimated tokens of the conversation and the answer asked for.
        unfit: experts that cannot serve now, with the reason (no healthy replica, draining).
    """

    allow: frozenset[ExpertName] = frozenset()
    deny: frozenset[ExpertName] = frozenset()
    require_tags: frozenset[str] = frozenset()
    modalities: frozenset[str] = frozenset({"text"})
    capabilities: frozenset[str] = frozenset()
    min_context_tokens: int = 0
    unfit: Mapping[ExpertName, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """One routing question: the whole conversation and what the client asked of the routing.

    `max_experts` caps the assignments (1 unless several are wanted); `top_p` instead takes experts until
    their weights reach it. `policy` names a routing policy, None means the configured one.
    """

    messages: tuple[Message, ...]
    constraints: Constraints = Constraints()
    policy: str | None = None
    max_experts: int = 1
    top_p: float | None = None


@dataclass(frozen=True, slots=True)
class DomainScores:
    """Calibrated probability per domain, summing to 1, and the best one's as `confidence`.

    `familiarity` (0..1): how much the query looks like anything the classifier knows; 1 when unknown.
    `vector`: unit vector of what the conversation asks now, shape [dimension], for policies fitted on the
    encoder; None when there is no text or no encoder.
    """

    scores: Mapping[Domain, float]
    familiarity: float = 1.0
    encode_ms: float = 0.0
    classify_ms: float = 0.0
    vector: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    @property
    def confidence(self) -> float:
        return max(self.scores.values(), default=0.0)

    def ranked(self) -> list[tuple[Domain, float]]:
        """Return (domain, probability), most probable first."""
        return sorted(self.scores.items(), key=lambda item: -item[1])


@dataclass(frozen=True, slots=True)
class Assignment:
    """One chosen expert; weights of a decision's assignments sum to 1."""

    expert: ExpertName
    weight: float


@dataclass(frozen=True, slots=True)
class CandidateScore:
    """How one eligible expert scored, and why, in words an operator can check."""

    expert: ExpertName
    score: float
    quality: float | None
    chosen: bool
    reason: str
    cost_usd: float | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """Who should answer and why.

    `assignments` come best first and are never empty. `fallbacks` are the experts to try, in order, when
    those fail. `confidence` is the classifier's; `reason` says in a sentence why this policy decided so.
    """

    assignments: tuple[Assignment, ...]
    policy: str
    confidence: float
    domains: Mapping[Domain, float] = field(default_factory=dict)
    candidates: tuple[CandidateScore, ...] = ()
    excluded: Mapping[ExpertName, str] = field(default_factory=dict)
    fallbacks: tuple[ExpertName, ...] = ()
    skills: tuple[str, ...] = ()
    thinking: str = "auto"
    reason: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
