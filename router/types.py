"""What the router reads and what it says. A decision is data: it explains itself, nobody has acted on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from experts.types import Domain, Endpoint, ExpertName, Message

Thinking: TypeAlias = Literal["auto", "on", "off"]
"""Asked of a request: decide, think, do not. Said of an assignment: left as the server has it, on, off."""


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
        endpoint: where its servers are asked; None where that does not matter.
        unfit: experts that cannot serve now, with the reason (no healthy replica, draining).
    """

    allow: frozenset[ExpertName] = frozenset()
    deny: frozenset[ExpertName] = frozenset()
    require_tags: frozenset[str] = frozenset()
    modalities: frozenset[str] = frozenset({"text"})
    capabilities: frozenset[str] = frozenset()
    min_context_tokens: int = 0
    endpoint: Endpoint | None = None
    unfit: Mapping[ExpertName, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Objective:
    """What a client wants of quality, cost and time.

    Args:
        cost_quality: 0 = cheapest acceptable, 1 = best regardless of cost; None means the configured one.
        max_cost_usd: no more than this for all the experts asked, by expected cost.
        max_latency_ms: nobody who is expected to take longer for the whole answer.
    """

    cost_quality: float | None = None
    max_cost_usd: float | None = None
    max_latency_ms: float | None = None

    @property
    def limited(self) -> bool:
        """Whether cost or time has a hard limit."""
        return self.max_cost_usd is not None or self.max_latency_ms is not None


@dataclass(frozen=True, slots=True)
class Load:
    """What an expert is doing now, and how long its answers lately took; None where it has given none."""

    in_flight: int = 0
    waiting: int = 0
    places: int = 64
    first_token_ms: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Incumbent:
    """Who answered the conversation's last message, and what that was about."""

    expert: ExpertName
    policy: str
    domain: Domain | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """One routing question: the whole conversation and what the client asked of the routing.

    Args:
        messages: the conversation, oldest first.
        constraints: what an expert must satisfy.
        policy: a routing policy; None means the configured one.
        max_experts: cap of the assignments (1 unless several are wanted).
        top_p: instead take experts until their weights reach it.
        staged: whether later experts may be asked only when the first do not settle it.
        objective: quality against cost and time.
        thinking: what the client asked of the experts' thinking switch.
        prompt_tokens: estimated tokens of the conversation.
        max_output_tokens: most tokens the answer may have; None when the client set no limit.
        load: what experts are doing now.
        incumbent: who answered last, when the client keeps a session.
        seed: drawn anew for each request; what `random` draws from.
        may_be_read: whether the reading expert (`routing.llm`) may see it.
    """

    messages: tuple[Message, ...]
    constraints: Constraints = Constraints()
    policy: str | None = None
    max_experts: int = 1
    top_p: float | None = None
    staged: bool = False
    objective: Objective = Objective()
    thinking: Thinking = "auto"
    prompt_tokens: int = 0
    max_output_tokens: int | None = None
    load: Mapping[ExpertName, Load] = field(default_factory=dict)
    incumbent: Incumbent | None = None
    seed: int | None = None
    may_be_read: bool = True


@dataclass(frozen=True, slots=True)
class DomainScores:
    """Calibrated probability per domain, summing to 1, and the best one's as `confidence`.

    `familiarity` (0..1): how much the query looks like anything the classifier knows; 1 when unknown.
    `vector`: unit vector of what the conversation asks now, shape [dimension], for policies fitted on the
    encoder; None when there is no text or no encoder. `skills` and `difficulty` (0..1) come from an expert
    that read the query, where one did; `note` says how that went.
    """

    scores: Mapping[Domain, float]
    familiarity: float = 1.0
    encode_ms: float = 0.0
    classify_ms: float = 0.0
    read_ms: float = 0.0
    vector: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    skills: tuple[str, ...] = ()
    difficulty: float | None = None
    note: str = ""

    @property
    def confidence(self) -> float:
        return max(self.scores.values(), default=0.0)

    @property
    def topic(self) -> Domain | None:
        """The most probable domain; None when nothing was classified."""
        return max(self.scores, key=lambda domain: self.scores[domain], default=None)

    def ranked(self) -> list[tuple[Domain, float]]:
        """Return (domain, probability), most probable first."""
        return sorted(self.scores.items(), key=lambda item: -item[1])


@dataclass(frozen=True, slots=True)
class Assignment:
    """One chosen expert; weights of a decision's assignments sum to 1."""

    expert: ExpertName
    weight: float
    thinking: Thinking = "auto"


class CandidateScore(NamedTuple):
    """How one eligible expert scored, and why, in words an operator can check.

    `score` is what candidates are ordered by, `share` its part of all candidates' weight; cost and latency
    are expected ones, in the mode `thinking`, None where unknown.
    """

    expert: ExpertName
    score: float
    quality: float | None
    chosen: bool
    reason: str
    cost_usd: float | None = None
    latency_ms: float | None = None
    share: float = 0.0
    thinking: Thinking = "auto"


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """Who should answer and why.

    Args:
        assignments: best first, never empty.
        policy: who decided.
        confidence: the classifier's.
        domains: probability per domain.
        candidates: every eligible expert, best first.
        excluded: why each other expert was not.
        fallbacks: whom to try, in order, when the assigned ones fail.
        skills: what the query takes, where an expert was asked to read it.
        thinking: the first assignment's mode.
        reason: a sentence about why this policy decided so.
        timings_ms: milliseconds per step.
        stages: how many assignments are asked together before it is looked whether more are needed; empty
            means all at once, else they sum to the assignments.
        fusion: the strategy this plan is made for; None leaves that to the request.
        cost_usd: expected cost when everybody assigned is asked.
        difficulty: 0..1, where an expert was asked to read the query.
        failed_open: why the default expert answers unseen: the classifier was "slow" or "broken"; else None.
        vector: the classifier's unit vector of what the conversation asks, for whoever draws a map of queries.
    """

    assignments: tuple[Assignment, ...]
    policy: str
    confidence: float
    domains: Mapping[Domain, float] = field(default_factory=dict)
    candidates: tuple[CandidateScore, ...] = ()
    excluded: Mapping[ExpertName, str] = field(default_factory=dict)
    fallbacks: tuple[ExpertName, ...] = ()
    skills: tuple[str, ...] = ()
    thinking: Thinking = "auto"
    reason: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    stages: tuple[int, ...] = ()
    fusion: str | None = None
    cost_usd: float | None = None
    difficulty: float | None = None
    failed_open: str | None = None
    vector: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
