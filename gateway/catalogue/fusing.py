"""What the fuser benchmark found, as documents: how well each expert fuses, and what pays where answers are open. Pure.

`fusion/fusers/NAME` holds an expert's figures (`accuracy`, `count`, `expected` by domain), `fusion/advice` the strategy
that pays (`open`); whatever else was found rides along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aggregator import STRATEGIES
from experts.profile import FuserFigures
from experts.types import ExpertName
from gateway.errors import InvalidRequest

PREFIX = "fusion/"
FUSERS = f"{PREFIX}fusers/"
ADVICE = f"{PREFIX}advice"


def key_of(name: ExpertName) -> str:
    """Return the store's key of how well an expert fuses."""
    return FUSERS + name


class Examined(BaseModel):
    """What the choice of a fuser reads of its figures; the rest rides along."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    accuracy: float = Field(ge=0, le=1)
    count: int = Field(ge=1)
    expected: dict[str, float] = {}


def figures_of(name: ExpertName, found: Mapping[str, Any]) -> FuserFigures:
    """Return an expert's figures.

    Raises:
        InvalidRequest: what was found cannot be read.
    """
    try:
        read = Examined.model_validate(found)
    except ValidationError as error:
        raise InvalidRequest(f"How well '{name}' fuses cannot be read.") from error
    return FuserFigures(read.accuracy, read.count, read.expected)


def advised_strategy(found: Mapping[str, Any]) -> str | None:
    """Return the strategy that pays where answers are open; None where it is none of ours."""
    named = found.get("open")
    return named if isinstance(named, str) and named in STRATEGIES else None
