"""The strategy itself on recorded answers: `vote`, as the gateway runs it, must win and ask as the counting says."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import numpy as np

from aggregator.strategies.vote import Vote
from aggregator.types import Candidate, FusionReport, FusionTask
from experts.types import AnswerChunk, CallFacts, ExpertCall, ExpertStream
from router.evaluation.baselines import ranked
from router.evaluation.runs import Floats
from tests.bench.fusion_votes_counting import Counted
from tests.bench.routing_tables import Pool

SAMPLE = 200
SILENCE = "This is a text that comes to no conclusion of any kind and that nobody could compare with another."


async def replayed(pool: Pool, places: Sequence[int], qualities: Floats, counted: Counted, k: int) -> tuple[int, int]:
    """Return on how many of a sample of questions the strategy wins and asks as counted, and how many those are.

    Args:
        places: of the questions in the pool.
        qualities: (n, m) of the same questions, in the same order.
        counted: what counting says of votes by the k best, stopping early.
    """
    same, sample = 0, range(0, len(places), max(1, len(places) // SAMPLE))
    order = ranked(qualities)[:, :k]
    for row in sample:
        score, calls = await _voted(pool, places[row], order[row].tolist(), qualities[row])
        same += bool(np.isclose(score, counted.quality[row])) and calls == counted.calls[row]
    return same, len(sample)


async def _voted(pool: Pool, place: int, seats: Sequence[int], qualities: Floats) -> tuple[float, int]:
    outcomes = pool.outcomes
    assert outcomes.answers is not None
    said = [outcomes.answers[place, seat] for seat in seats]
    candidates = tuple(
        _says(pool.experts[seat], answer, float(qualities[seat])) for seat, answer in zip(seats, said, strict=True)
    )
    messages = ({"role": "user", "content": outcomes.texts[place]},)
    report = FusionReport("vote")
    stages = (2, *(1 for _ in seats[2:]))
    async for _ in Vote().fuse(FusionTask(candidates, messages, _nobody, stages=stages), report):
        pass
    return float(outcomes.scores[place, pool.experts.index(report.answered_by or "")]), report.attempts


def _says(expert: str, answer: str | None, quality: float) -> Candidate:
    text = SILENCE if answer is None else f"Let me think.\nAnswer: {answer}"

    async def chunks(facts: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
        facts.attempts = 1
        yield AnswerChunk(raw={"choices": [{"index": 0, "delta": {"content": text}}]}, text=text)
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        yield AnswerChunk(raw={"choices": [end]}, finish_reason="stop")

    return Candidate(ExpertStream(ExpertCall(expert, ()), chunks), quality, quality)


def _nobody(call: ExpertCall) -> ExpertStream:
    raise AssertionError(f"a vote asks nobody else, not {call.expert}")
