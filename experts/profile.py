"""What is known about an expert: declared, then measured. The router decides on this and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from experts.types import Domain, ExpertName


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


@dataclass(frozen=True, slots=True)
class SkillProfile:
    """An expert as the router sees it.

    Args:
        expert: its name.
        domains: declared domains, most characteristic first; a group's name means all its domains.
        description: one or two sentences, used for routing until something is measured.
        examples: questions it is for.
        measured: skill per domain, from validation questions; overrides what is declared.
        context_window: tokens it can read and write together; None when unknown.
        modalities: what it can read ("text", "image", "audio").
        capabilities: "tools", "json_schema", "thinking".
        tags: free labels such as "licence:apache-2.0".
        fallback: experts that stand in for it, in order.
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
