"""Seat panels: what experts answered to each question, with the weights that routing would give them for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from aggregator.extraction import final_answer
from experts.fusing_exam import Panel, Seat, panels
from experts.profiling import Question
from experts.registry import Expert
from experts.types import ExpertName
from gateway.fusing_sitting import Answers
from gateway.fusing_spec import Plan
from gateway.pipeline import Pipeline
from gateway.planning import COUNCIL
from gateway.profiling_journal import Marked
from gateway.schemas import parse_chat
from router.errors import RoutingError
from router.types import RoutingDecision

RIGHT = 0.5
"""Marks from here up count as right."""


async def seated(plan: Plan, answered: Mapping[ExpertName, Answers], pipeline: Pipeline, seed: int) -> list[Panel]:
    """Return every panel that the answers make, question by question."""
    found: list[Panel] = []
    for place, question in enumerate(plan.paper.questions):
        given = {each.name: answered[each.name].marks.get(place) for each in plan.panelists if each.name in answered}
        decision = await _decided(question, sorted(given), pipeline)
        seats = [_seat(each, marked, decision) for each in plan.panelists if (marked := given.get(each.name))]
        council = () if decision is None else tuple(who.expert for who in decision.assignments)
        found += panels(question, seats, council, seed)
    return found


def _seat(expert: Expert, marked: Marked, decision: RoutingDecision | None) -> Seat:
    scores = () if decision is None else decision.candidates
    known = next((score for score in scores if score.expert == expert.name), None)
    text = marked.text or ""
    return Seat(
        expert=expert.name,
        text=text,
        right=marked.score >= RIGHT,
        final=final_answer(text),
        weight=0.0 if known is None else known.share,
        quality=None if known is None else known.quality,
        domains=expert.profile.domains,
    )


async def _decided(question: Question, among: Sequence[ExpertName], pipeline: Pipeline) -> RoutingDecision | None:
    """Return whom routing would have answer together; None where it would ask none of these."""
    asked = {"experts": {"allow": among}, "fusion": "synthesize"}
    body = {"model": COUNCIL, "messages": question.messages, "routing": asked}
    try:
        return await pipeline.decide(parse_chat(orjson.dumps(body), {}))
    except RoutingError:
        return None
