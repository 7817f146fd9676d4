"""From a decision to what it taught: remember it, learn how the answer turned out, move the routing.

decided    when a request is routed: remember what feedback will need, start the shadow; where nobody asked what it is
           about (a named expert, a policy that reads no domains), have it read beside the request
answered   when its answer is whole: who wrote it, what it cost; perhaps have it judged
given      when the client says how good it was: credit the experts, learn, count it in its arm
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aggregator.types import FusionReport
from experts.errors import ExpertError
from experts.store import StoreError
from experts.types import ExpertName, Message
from gateway.background import Background
from gateway.decisions import Decisions, Opinion, Outcome, Remembered, likely
from gateway.errors import InvalidRequest
from gateway.judging import Judge
from gateway.learning import Learner
from gateway.logs import facts
from gateway.metrics import Metrics
from gateway.schemas import ChatRequest
from gateway.trials import Split, Trials
from router.conversation import message_text
from router.errors import RoutingError
from router.learning import Authorship, Credit, LearningConfig, Lesson, Mark, credits, logit
from router.types import RoutingDecision

log = logging.getLogger(__name__)
LEARNED, LIMITED, COUNTED = "learned", "limited", "counted"
PROMPT_CHARACTERS = 2000
STAND_INS = 4
READINGS_AT_ONCE, READINGS_PER_SECOND = 8, 2.0
"""Of requests whose decision read nothing: a few are enough to learn from."""
CALM = 16
"""Requests under way up to which there is time for that: the encoder takes the processors from everybody's answers."""
Reader = Callable[[ChatRequest], Awaitable[RoutingDecision]]
"""Says what a request is about, in a decision that nobody acts on."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What feedback did: `outcome` is "learned", "limited" (the key's account is full) or "counted" (nothing)."""

    outcome: str
    credited: Mapping[ExpertName, Credit]
    replaced: bool


class Feedback:
    """Joins the ring of decisions, the learner, the trials and the judge. All but the ring are borrowed.

    `judge` is None when nobody judges; `reader` says what a request is about where its own decision does not.
    """

    def __init__(
        self,
        config: LearningConfig,
        *,
        learner: Learner,
        split: Split,
        trials: Trials,
        judge: Judge | None,
        reader: Reader,
        metrics: Metrics,
    ) -> None:
        self.config, self.learner, self.split, self.trials = config, learner, split, trials
        self.decisions = Decisions(config.remember)
        self._judge, self._metrics = judge, metrics
        self._reader = reader
        self._giving = asyncio.Lock()
        self._reading = Background("reading", READINGS_AT_ONCE, READINGS_PER_SECOND)
        self._judging = Background("judge", config.judge.concurrency)

    def decided(self, request_id: str, key: str, request: ChatRequest, decision: RoutingDecision) -> Remembered:
        """Remember a decision, and start whatever goes on beside the request."""
        entry = Remembered(
            request_id=request_id,
            key=key,
            arm=self.split.arm(request),
            decision=decision,
            prompt=message_text(request.messages[-1])[:PROMPT_CHARACTERS] if self.config.keep_prompts else None,
        )
        self.decisions.add(entry)
        if decision.domains:
            self._understand(entry, decision, decision)
        elif self.config.enabled and request.endpoint != "embeddings" and self._metrics.running <= CALM:
            self._reading.start(self._read(entry, request, decision))
        self.trials.shadow(request, entry)
        return entry

    def _understand(self, entry: Remembered, decision: RoutingDecision, read: RoutingDecision) -> None:
        """Note what a request is about and how good its experts were believed to be before anything was learnt."""
        entry.domains = likely(read.domains)
        entry.vector = read.vector if entry.decision is not None else None
        qualities = {each.expert: each.quality for each in read.candidates}
        entry.bases = {
            name: logit(quality) - self.learner.shift(name, entry.domains)
            for name in answerers(decision)
            if (quality := qualities.get(name)) is not None
        }

    async def _read(self, entry: Remembered, request: ChatRequest, decision: RoutingDecision) -> None:
        try:
            read = await self._reader(request)
        except RoutingError:
            return
        self._understand(entry, decision, read)

    def wants_text(self) -> bool:
        """Say whether this answer's text will be judged; drawn anew for each request."""
        return self._judge is not None and random.random() < self.config.judge.share

    def answered(
        self, entry: Remembered, request: ChatRequest, report: FusionReport, cost_usd: float | None, text: str | None
    ) -> None:
        """Note how an answer came about; `text` is its words when it is to be judged."""
        if report.answered_by is None:
            return
        weights = {answer.expert: answer.weight for answer in report.answers}
        authorship = Authorship(report.answered_by, weights if len(weights) > 1 else {}, dict(report.finals))
        entry.outcome = Outcome(authorship, time.time() - entry.at, cost_usd)
        self.trials.answered(entry, entry.outcome)
        if text is not None and self._judge is not None:
            texts = {answer.expert: answer.text for answer in report.answers} or {report.answered_by: text}
            judged = {expert: each for expert, each in texts.items() if expert != self._judge.expert and each.strip()}
            if judged and not self._judging.start(self._judged(self._judge, entry, request.messages, judged)):
                self._metrics.judgements.labels("dropped").inc()

    async def given(self, request_id: str, key: str, opinion: Opinion) -> Heard:
        """Take a client's opinion on a request of its own; a second one on the same request replaces the first.

        Raises:
            UnknownRequest: the request is not remembered, or another key's.
            InvalidRequest: it has no answer, or `expert` had no part in it.
            StoreError: what it teaches could not be kept; nothing has changed.
        """
        entry = self.decisions.of(request_id, key)
        found = credited(entry, opinion)
        async with self._giving:
            former = entry.opinion
            lesson = await self._learn(entry, found, entry.lesson)
            entry.opinion, entry.lesson = opinion, lesson or entry.lesson
            self.trials.judged(entry, opinion, former)
        outcome = outcome_of(lesson)
        self._metrics.feedback.labels(entry.arm or "none", outcome).inc()
        return Heard(outcome, found, former is not None)

    async def aclose(self) -> None:
        """Stop reading and judging."""
        await self._reading.aclose()
        await self._judging.aclose()

    async def _learn(
        self, entry: Remembered, found: Mapping[ExpertName, Credit], former: Lesson | None = None
    ) -> Lesson | None:
        """Learn from what is now known about a request's experts; None when nothing can be."""
        bases = entry.bases
        marks = {name: Mark(each.score, bases[name], each.trust) for name, each in found.items() if name in bases}
        if not self.config.enabled or not (marks or former):
            return None
        return await self.learner.learn(entry.domains, marks, entry.key, former)

    async def _judged(
        self, judge: Judge, entry: Remembered, messages: tuple[Message, ...], texts: Mapping[ExpertName, str]
    ) -> None:
        """Have each text judged, and learn from all marks at once."""
        found: dict[ExpertName, Credit] = {}
        for expert, text in texts.items():
            try:
                score = await judge.score(messages, text)
            except ExpertError as error:
                self._metrics.judgements.labels("failed").inc()
                log.info("a judge could not be asked", extra=facts(expert=judge.expert, error=type(error).__name__))
                continue
            if score is None:
                self._metrics.judgements.labels("unreadable").inc()
            else:
                found[expert] = Credit(score, 1.0)
        try:
            lesson = await self._learn(entry, found)
        except StoreError as error:
            log.warning("what a judge said could not be kept", extra=facts(error=str(error)))
            return
        if found:
            self._metrics.judgements.labels(outcome_of(lesson)).inc(len(found))


def answerers(decision: RoutingDecision) -> list[ExpertName]:
    """Return who may come to answer: everybody assigned, and the first who stand in."""
    return [*(each.expert for each in decision.assignments), *decision.fallbacks[:STAND_INS]]


def credited(entry: Remembered, opinion: Opinion) -> dict[ExpertName, Credit]:
    """Return what an opinion says about each expert.

    Raises:
        InvalidRequest: the request has no answer, or `expert` had no part in it.
    """
    if entry.outcome is None:
        raise InvalidRequest(f"Request '{entry.request_id}' has no answer to judge.", param="request_id")
    authorship = entry.outcome.authorship
    if opinion.expert is None:
        return credits(opinion.score, authorship)
    if opinion.expert not in authorship.experts:
        known = ", ".join(sorted(authorship.experts))
        raise InvalidRequest(f"Expert '{opinion.expert}' had no part in this answer; {known} had.", param="expert")
    return {opinion.expert: Credit(opinion.score, 1.0)}


def outcome_of(lesson: Lesson | None) -> str:
    """Return in a word what feedback did."""
    if lesson is None:
        return COUNTED
    return LIMITED if lesson.limited else LEARNED
