"""What is known about an expert: declared, then measured. The router decides on this and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experts.types import Domain, Endpoint, ExpertName

EVERYWHERE: Domain = "*"
"""Stands for all domains at once in what was learnt about an expert; no domain is called that."""


@dataclass(frozen=True, slots=True)
class Skill:
    """Measured skill in one domain: share of `count` questions answered rightly (0..1)."""

    accuracy: float
    count: int


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens read and written; None where nobody said."""

    input_per_million: float
    output_per_million: float

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return what so many tokens cost, in USD."""
        return (prompt_tokens * self.input_per_million + completion_tokens * self.output_per_million) / 1e6


@dataclass(frozen=True, slots=True)
class ThinkingGain:
    """What thinking added in one domain: accuracy on minus accuracy off, over the same `count` questions.

    `changed` is the share of those questions whose answer became right or wrong by it.
    """

    accuracy: float
    count: int
    changed: float = 0.5


@dataclass(frozen=True, slots=True)
class ThinkingSwitch:
    """How an expert is told to think or not (fields of the request body), and what that brings.

    `token_factor`: how many times as many tokens an answer with thinking takes.
    """

    on: Mapping[str, Any]
    off: Mapping[str, Any]
    gain: Mapping[Domain, ThinkingGain] = field(default_factory=dict)
    token_factor: float = 4.0


@dataclass(frozen=True, slots=True)
class FuserFigures:
    """How often an expert, shown others' answers of which at least one was right, wrote a right one.

    Args:
        accuracy: the share over all panels it was shown.
        count: how many.
        expected: the share by domain, drawn toward `accuracy` where panels were few.
    """

    accuracy: float
    count: int
    expected: Mapping[Domain, float] = field(default_factory=dict)

    def in_domain(self, domain: Domain | None) -> float:
        """Return the share to expect in a domain; over all where it was not examined there."""
        return self.accuracy if domain is None else self.expected.get(domain, self.accuracy)


@dataclass(frozen=True, slots=True)
class SkillProfile:
    """An expert as the router sees it.

    Args:
        expert: its name.
        domains: declared domains, most characteristic first; a group's name means all its domains.
        description: one or two sentences, used for routing until something is measured.
        examples: questions it is for.
        measured: skill per domain, from validation questions; overrides what is declared.
        output_tokens: mean tokens of its answers, where measured.
        latency_ms: mean time to a whole answer, where measured; what it really takes now comes with the query.
        context_window: tokens it can read and write together; None when unknown.
        modalities: what it can read ("text", "image", "audio").
        capabilities: "tools", "json_schema", "thinking".
        tags: free labels such as "licence:apache-2.0".
        fallback: experts that stand in for it, in order.
        thinking: its thinking switch; None when it has none.
        learned: log odds that feedback has added to its skill, by domain and `EVERYWHERE`; empty before any.
        fusing: how well it fuses others' answers, where measured; routing does not look at it.
        endpoints: what its servers speak, where somebody said.
    """

    expert: ExpertName
    domains: tuple[Domain, ...] = ()
    description: str = ""
    examples: tuple[str, ...] = ()
    measured: Mapping[Domain, Skill] = field(default_factory=dict)
    price: Price | None = None
    active_parameters_billions: float | None = None
    context_window: int | None = None
    modalities: frozenset[str] = frozenset({"text"})
    capabilities: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    fallback: tuple[ExpertName, ...] = ()
    output_tokens: float | None = None
    latency_ms: float | None = None
    thinking: ThinkingSwitch | None = None
    learned: Mapping[Domain, float] = field(default_factory=dict)
    fusing: FuserFigures | None = None
    endpoints: frozenset[Endpoint] | None = None

    def speaks(self, endpoint: Endpoint) -> bool:
        """Say whether its servers may be asked at an endpoint, as far as anybody said."""
        return self.endpoints is None or endpoint in self.endpoints

    def shift(self, domain: Domain) -> float:
        """Return the log odds that feedback has added to its skill in a domain."""
        return self.learned.get(domain, 0.0) + self.learned.get(EVERYWHERE, 0.0)
