"""A cascade whose judge errs with probability e: the closed form, draws over all questions, and the real strategy.

The real one is `cascade` with the verifier `judge`: two recorded experts answer what they answered, and a scripted
judge says yes or no as the draw has it. Question by question it must keep what the draw keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregator import Aggregator
from aggregator.config import CascadeOptions, FusionConfig
from aggregator.types import Candidate, FusionTask
from experts.types import AnswerChunk, CallFacts, ExpertCall, ExpertStream
from router.evaluation.intervals import Bootstrap
from router.evaluation.runs import Floats
from router.policies.cascade import break_even, cascade_accuracy, escalation
from tests.bench.routing_check import Check, points

ERRORS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
STANDARD_ERRORS = 4.0
"""How far the draws may be from the closed form."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Who was right, (n,) 0 or 1 each, what they answered, and clusters of equal questions."""

    weak: Floats
    strong: Floats
    answers: NDArray[np.object_]
    stems: NDArray[np.int64]

    @property
    def chances(self) -> tuple[float, float, float]:
        """The cheap one is right, the strong one is, both are."""
        return float(self.weak.mean()), float(self.strong.mean()), float((self.weak * self.strong).mean())


def judged_right(weak: Floats, error: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return what a judge says of each answer that is wrong with probability `error`, either way."""
    said: NDArray[np.bool_] = (weak > 0.5) != (rng.random(len(weak)) < error)
    return said


def closed_form_checks(pair: Pair, sample: int, seed: int = 0) -> list[Check]:
    """Return the checks of one pair; `sample` questions go through the real strategy at every error."""
    w, s, both = pair.chances
    rng, bootstrap = np.random.default_rng(seed), Bootstrap(pair.stems)
    places = rng.choice(len(pair.weak), size=min(sample, len(pair.weak)), replace=False)
    checks, differing, margins, level = [], 0, {}, []
    for error in ERRORS:
        kept = judged_right(pair.weak, error, rng)
        quality = np.where(kept, pair.weak, pair.strong)
        form, drawn = cascade_accuracy(w, s, both, error), float(quality.mean())
        noise = float(np.abs(pair.weak - pair.strong).sum() * error * (1 - error)) ** 0.5 / len(quality)
        asked = f"{escalation(w, error):.1%} asked of the strong one, drawn {1 - kept.mean():.1%}"
        checks.append(
            Check(
                "closed form",
                f"judge error {error:.1f}: drawn = closed form +- {100 * STANDARD_ERRORS * noise:.2f}",
                f"{points(form, drawn)}, {asked}",
                abs(form - drawn) <= STANDARD_ERRORS * noise + 1e-9,
            )
        )
        level.append(drawn)
        margins[error] = (float((quality - pair.strong).mean()), *bootstrap.interval(quality - pair.strong))
        differing += asyncio.run(replayed(pair.answers[places], kept[places]))
    return [*checks, _same(differing, len(places)), _even(level, w, s, both), *_hdflow(margins)]


def _same(differing: int, sample: int) -> Check:
    asks = f"`cascade` keeps what the draw keeps: {sample} questions x {len(ERRORS)} errors"
    return Check("the real strategy", asks, f"{differing} differ", differing == 0)


def _even(level: list[float], w: float, s: float, both: float) -> Check:
    """Compare the closed form's break-even with where the line through the drawn accuracies meets the strong one's."""
    even = break_even(w, s, both)
    slope, start = np.polyfit(ERRORS, level, 1)
    crossing = float((s - start) / slope)
    asks = f"judge error at which the strong one alone ({points(s)}) is as good"
    return Check("break-even", asks, f"{even:.3f}, drawn {crossing:.3f}", abs(even - crossing) < 0.02)


def _hdflow(margins: dict[float, tuple[float, float, float]]) -> list[Check]:
    found = []
    for error, wins in ((0.1, True), (0.3, False)):
        gain, low, high = margins[error]
        text = f"{points(gain, sign=True)} [{points(low, sign=True)}, {points(high, sign=True)}]"
        asks = f"verifier error {error:.1f} {'beats' if wins else 'loses to'} the strong one alone"
        found.append(Check("HDFlow", asks, text, low > 0 if wins else high < 0))
    return found


async def replayed(answers: NDArray[np.object_], kept: NDArray[np.bool_]) -> int:
    """Return on how many questions the strategy gives another expert's answer than `kept` has it, or asks too many."""
    return sum([await _differs(weak, strong, bool(keep)) for (weak, strong), keep in zip(answers, kept, strict=True)])


async def _differs(weak: Any, strong: Any, keep: bool) -> bool:
    task = FusionTask(
        candidates=(Candidate(_says("weak", _told(weak)), 0.4), Candidate(_says("strong", _told(strong)), 0.6)),
        messages=({"role": "user", "content": "Which of the options?"},),
        ask=lambda call: _says(call.expert, "yes" if keep else "no"),
        fuser="judge",
        config=FusionConfig(cascade=CascadeOptions(verifier="judge")),
    )
    answer = await Aggregator().fuse(task, "cascade").read()
    expected = ("weak", _told(weak), ["strong"]) if keep else ("strong", _told(strong), [])
    return expected != (answer.report.answered_by, answer.answer.text, answer.report.unasked)


def _told(answer: Any) -> str:
    return "No letter stands out." if answer is None else f"The answer is ({answer})."


def _says(expert: str, text: str) -> ExpertStream:
    async def chunks(facts: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
        facts.attempts = 1
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
        yield AnswerChunk({"choices": [choice]}, text, "stop")

    return ExpertStream(ExpertCall(expert, ()), chunks)
