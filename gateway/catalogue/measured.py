"""Lay what was measured about an expert over what is written about it. Pure.

A measurement is a document `measured/NAME`: `skills` by domain (`accuracy`, `count`), `output_tokens`, `latency_ms`,
and whatever else whoever measured wants to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from experts.config import ExpertConfig, SkillConfig
from experts.types import ExpertName
from gateway.errors import InvalidRequest

PREFIX = "measured/"


def key_of(name: ExpertName) -> str:
    """Return the store's key of what was measured about an expert."""
    return PREFIX + name


class MeasuredSkill(SkillConfig):
    """A skill; what else stands beside it rides along."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Measured(BaseModel):
    """What routing reads of a measurement; the rest of it rides along."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    skills: dict[str, MeasuredSkill] = {}
    output_tokens: float | None = Field(default=None, gt=0)
    latency_ms: float | None = Field(default=None, gt=0)


def overlaid(config: ExpertConfig, found: Mapping[str, Any]) -> ExpertConfig:
    """Return the configuration with measured skills and numbers instead of its own; domains not measured keep theirs.

    Raises:
        InvalidRequest: what was found cannot be read.
    """
    try:
        read = Measured.model_validate(found)
    except ValidationError as error:
        raise InvalidRequest(f"What was measured about '{config.name}' cannot be read.") from error
    numbers = {"output_tokens": read.output_tokens, "latency_ms": read.latency_ms}
    known = {key: number for key, number in numbers.items() if number is not None}
    return config.model_copy(update={**known, "skills": {**config.skills, **read.skills}})
