"""Policies fitted on recorded outcomes: one reading of a text, many estimators over it, a decision like any other's.

Basis           how texts are read: the design of linear models and the categories, learned once for all
ESTIMATORS      name -> what learns; one line a policy
FittedPolicy    an estimator as a routing policy: estimates for the experts it knows, profiles for the others
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from experts.profile import SkillProfile
from experts.types import Domain, ExpertName, Message
from router.conversation import read_turns
from router.features import Features, read_features
from router.learning.offsets import taught
from router.policies.auto import Stacked
from router.policies.base import settle
from router.policies.candidates import PolicyContext, Scored
from router.policies.categories import Categories, labels_of
from router.policies.cluster import Clusters
from router.policies.domain import CategoryTable
from router.policies.eligibility import eligible
from router.policies.knn import NearestNeighbours
from router.policies.lesson import Estimator, Lesson, Reading, imputed
from router.policies.pilot import Pilots
from router.policies.predictive import Linear, Network
from router.policies.profile import ProfilePolicy
from router.policies.skill import skill_table
from router.policies.smoothing import Design, Floats, Normal
from router.types import DomainScores, Query, RoutingDecision

ESTIMATORS: dict[str, Callable[[], Estimator]] = {
    "auto": Stacked,
    "cluster": Clusters,
    "domain": lambda: CategoryTable(certain=True),
    "factors": lambda: Linear(rank=3),
    "knn": NearestNeighbours,
    "mlp": Network,
    "pilot": Pilots,
    "predictive": Linear,
    "profile": lambda: CategoryTable(certain=False),
}
TEMPERATURE = 0.1
LEAST_EVIDENCE = 0.05
CLEAR_TURN = 0.5
"""Evidence from which the last message speaks for itself; below, the one before is read with it."""


class Basis:
    """Reads texts for estimators. Fitted once, on the questions that all of them learn from."""

    def __init__(self) -> None:
        self.design = Design()
        self.categories = Categories()

    def fit(self, features: Features, scores: Floats, categories: NDArray[np.str_], folds: NDArray[np.int64]) -> Lesson:
        """Learn to read, and return the lesson for the estimators; gaps in the scores are imputed."""
        normal = Normal(self.design.fit(features).matrix(features), folds)
        self.categories.fit(normal, labels_of(categories, features.vectors))
        reading = Reading(features, normal.matrix, self.categories.posterior)
        return Lesson(reading, normal, imputed(scores), self.categories.targets, folds)

    def read(self, features: Features) -> Reading:
        """Return texts as estimators read them."""
        matrix = self.design.matrix(features)
        return Reading(features, matrix, self.categories.classify(matrix))


@dataclass(frozen=True, slots=True)
class FittedPolicy:
    """An estimator that decides. Experts it was not fitted on are judged by their profiles, as `profile` does.

    Args:
        name: the policy's.
        basis: how it reads.
        estimator: what it learned.
        experts: the estimator's columns.
        luck: how often two wrong experts give the same answer; None where no answers were recorded.
    """

    name: str
    basis: Basis
    estimator: Estimator
    experts: tuple[ExpertName, ...]
    luck: float | None = None
    reads_scores: ClassVar[bool] = True

    def decide(
        self, query: Query, scores: DomainScores, profiles: Sequence[SkillProfile], context: PolicyContext
    ) -> RoutingDecision:
        """Return the experts most probably right.

        Raises:
            NoEligibleExpert: nobody satisfies the query's constraints.
        """
        candidates, excluded = eligible(profiles, query.constraints)
        text = asked_text(query.messages)
        if scores.vector is None or not text or not {each.expert for each in candidates} & set(self.experts):
            return ProfilePolicy().decide(query, scores, profiles, context)
        reading = self.basis.read(read_features([text], np.asarray(scores.vector)[None, :]))
        estimates = dict(zip(self.experts, map(float, self.estimator.estimate(reading)[0]), strict=True))
        known = taught(estimates, profiles, scores.scores)
        category = self.basis.categories.names_[int(reading.posterior[0].argmax())]
        strangers = skill_table(profiles, context.taxonomy, context.default).expected(scores.scores)
        judged = [_scored(each, known, category, strangers) for each in candidates]
        ranked = sorted(judged, key=lambda each: -each.score)
        return settle(
            _weighed(ranked, self.luck),
            query,
            context,
            policy=self.name,
            scores=scores,
            excluded=excluded,
            reason=f"{ranked[0].expert}: {ranked[0].reason}",
            bar=max(known[each.expert] for each in profiles if each.expert in known),
        )


def asked_text(messages: Sequence[Message]) -> str:
    """Return what is asked now: the last message, with the one before it where it says too little alone."""
    turns = read_turns(messages)
    if not turns:
        return ""
    clear = turns[-1].weight >= CLEAR_TURN or len(turns) == 1
    return turns[-1].text if clear else f"{turns[-2].text}\n{turns[-1].text}"


def _scored(
    profile: SkillProfile,
    known: Mapping[ExpertName, float],
    category: str,
    strangers: Mapping[ExpertName, tuple[float, Domain | None]],
) -> Scored:
    if profile.expert not in known:
        quality = strangers[profile.expert][0]
        return Scored(profile, quality, 1.0, "not among the recorded outcomes: judged by its profile", quality)
    quality = float(known[profile.expert])
    reason = f"right with probability {quality:.2f} on questions like this ({category})"
    return Scored(profile, quality, 1.0, reason, quality)


def _weighed(ranked: Sequence[Scored], luck: float | None) -> list[Scored]:
    """Return the candidates with the weights of their votes.

    The root of the evidence that an answer of theirs is right, log(p / (1 - p)) - log(luck), where it is known how
    often wrong experts agree by luck (Nitzan & Paroush 1982; the root because experts err together). Else softmax
    weights.
    """
    if luck is None:
        top = ranked[0].score
        return [each._replace(weight=float(np.exp((each.score - top) / TEMPERATURE))) for each in ranked]
    right = np.clip([each.score for each in ranked], 0.01, 0.99)
    evidence = np.maximum(np.log(right / (1 - right)) - np.log(luck), LEAST_EVIDENCE)
    return [each._replace(weight=float(weight)) for each, weight in zip(ranked, np.sqrt(evidence), strict=True)]
