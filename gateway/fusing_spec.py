"""What a benchmark of fusers is asked to do, and what that comes to: which questions, who answers, who fuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from experts.profiling import POCKET
from experts.registry import Expert, Snapshot
from experts.types import ExpertName
from gateway.errors import InvalidRequest, UnknownExpert
from gateway.profiling_spec import FindFile, Paper, ProfileSpec, paper_of

USUAL_PANELS = 3
"""Panels that one question makes."""


class BenchmarkSpec(BaseModel):
    """The body of the request, and the `spec` of its job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = Field(default=POCKET, description="builtin:pocket, a file on the gateway's machine, or a file id.")
    questions: int = Field(default=100, ge=1, le=10_000, description="Most questions, evenly over domains.")
    experts: tuple[str, ...] = Field(default=(), description="Who is tried as fuser; empty: every expert.")
    panelists: tuple[str, ...] = Field(default=(), description="Who answers; empty: every expert that routing asks.")
    concurrency: int = Field(default=8, ge=1, le=256, description="Calls under way at a time.")
    max_tokens: int | None = Field(default=None, ge=1, description="Longest answer.")
    run_code: bool = Field(default=False, description="Run the code that experts write, on the gateway's machine.")
    seed: int = Field(default=0, description="Draws who sits on which panel.")


@dataclass(frozen=True, slots=True)
class Plan:
    """Who answers which questions, and who then fuses the answers."""

    paper: Paper
    panelists: tuple[Expert, ...]
    fusers: tuple[Expert, ...]

    @property
    def answers(self) -> int:
        """How many answers panels are made of."""
        return len(self.paper.questions) * len(self.panelists)

    @property
    def calls(self) -> int:
        """About how many calls it takes; how many panels there are is known once the answers are."""
        return self.answers + USUAL_PANELS * len(self.paper.questions) * len(self.fusers)


async def plan_of(spec: BenchmarkSpec, world: Snapshot, find_file: FindFile | None = None) -> Plan:
    """Return what a benchmark comes to, with the experts there are.

    Raises:
        UnknownExpert: an expert that it names does not exist.
        InvalidRequest: fewer than two experts can answer.
        QuestionError: the questions cannot be used.
    """
    panelists = _named(spec.panelists, world) or [each for each in world.values() if each.config.routed]
    fusers = _named(spec.experts, world) or list(world.values())
    answering = tuple(each for each in panelists if not each.drained)
    if len(answering) < 2:
        raise InvalidRequest("A panel needs two experts that answer: name them as panelists.", param="panelists")
    asked = ProfileSpec(questions=spec.data, limit=spec.questions, run_code=spec.run_code)
    paper = await paper_of(asked, find_file)
    return Plan(paper, answering, tuple(each for each in fusers if not each.drained))


def _named(names: Sequence[ExpertName], world: Snapshot) -> list[Expert]:
    missing = [name for name in names if name not in world]
    if missing:
        raise UnknownExpert(f"There is no expert '{missing[0]}'; there are {', '.join(world)}.")
    return [world[name] for name in dict.fromkeys(names)]
