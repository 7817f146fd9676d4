"""`rank`: the fuser compares the answers, and the best is returned verbatim.

Few answers are compared pair by pair, many as one list, always in both orders, against a reader who prefers one
place (LLM-Blender's pair ranker, 2306.02561; TradExpert's ranking mode, 2411.00782; see aggregator.ranking). Answers
that come to the same final answer are one: their heaviest author speaks for them, with their weights together in
ties. A reply that names nobody is void; when all are, the weights decide.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from aggregator.asides import by_final_answer, read_together, remark, shown
from aggregator.asking import aside_parameters, asked, instructed
from aggregator.gathering import gather
from aggregator.ranking import Order, best_first, comparisons, named, wins
from aggregator.replay import replay
from aggregator.strategies.synthesize import has_tool_calls
from aggregator.types import Answer, Candidate, Chosen, Failure, FusionReport, FusionTask
from experts.fusion_prompt import LETTERS, ranking_instructions
from experts.types import AnswerChunk


class Rank:
    """Return the answer that a reader finds best."""

    name = "rank"

    async def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the best answer; see `Strategy.fuse`."""
        answers = await gather(task.candidates, task.limits, report)
        best = await _best(answers, task, report)
        report.answered_by = best.expert
        async for chunk in replay(best.answer):
            yield chunk


async def _best(answers: Sequence[Answer], task: FusionTask, report: FusionReport) -> Answer:
    heaviest = max(answers, key=lambda answer: answer.weight)
    if has_tool_calls(heaviest):
        remark(report, "tool calls: the primary's")
        return heaviest
    readable = [answer for answer in answers if answer.text.strip() and not has_tool_calls(answer)]
    groups = sorted(by_final_answer(readable, task.messages), key=lambda group: -group.weight)[: len(LETTERS)]
    report.finals.update({answer.expert: group.final for group in groups if group.final for answer in group.answers})
    if len(groups) > 1:
        won = await _wins([group.answers[0] for group in groups], task, report)
        return groups[best_first(won, [group.weight for group in groups])[0]].answers[0]
    few = "one answer arrived: passed through" if len(answers) == 1 else "fewer than two answers have words"
    remark(report, few if len(readable) < 2 else "the answers agree: nobody compared them")
    return groups[0].answers[0] if groups else heaviest


async def _wins(answers: Sequence[Answer], task: FusionTask, report: FusionReport) -> list[float]:
    """Ask the fuser for every comparison at once and return the wins of each answer."""
    orders = comparisons(len(answers), _pairs_up_to(task))
    calls = [_comparison(task, [answers[number] for number in order]) for order in orders]
    outcomes = await read_together(calls, task, report)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    report.failures += [Failure(f.expert, 0.0, f"fuser: {f.message}", f.error) for f in failures[:1]]
    report.fuser = next((outcome.expert for outcome in outcomes if isinstance(outcome, Answer)), None)
    places = [
        named(outcome.text, len(order)) if isinstance(outcome, Answer) else None
        for outcome, order in zip(outcomes, orders, strict=True)
    ]
    _remark_what_was_unusual(orders, places, report)
    return wins(len(answers), orders, places)


def _pairs_up_to(task: FusionTask) -> int:
    """Return how many answers may be compared pair by pair: some pairs must not be refused for want of calls."""
    left = task.config.max_calls - len(task.candidates)
    return max(count for count in range(1, task.config.rank.pairs_up_to + 1) if count * (count - 1) <= max(0, left))


def _comparison(task: FusionTask, answers: Sequence[Answer]) -> Candidate:
    instructions = ranking_instructions([shown(answer) for answer in answers])
    fuser = Chosen(task.fuser or task.candidates[0].expert)
    return asked(task, fuser, instructed(task.messages, instructions), {**aside_parameters(task), "temperature": 0})


def _remark_what_was_unusual(orders: Sequence[Order], places: Sequence[int | None], report: FusionReport) -> None:
    void = places.count(None)
    if void == len(places):
        remark(report, "no comparison named an answer: the heaviest is returned")
        return
    if void:
        remark(report, f"{void} of {len(places)} comparisons named nobody")
    chosen = [None if place is None else order[place] for order, place in zip(orders, places, strict=True)]
    flipped = sum(a is not None and b is not None and a != b for a, b in zip(chosen[::2], chosen[1::2], strict=True))
    if flipped:
        remark(report, f"{flipped} of {len(places) // 2} comparisons changed with the order")
