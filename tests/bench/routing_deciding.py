"""What the objective, the number of experts and cascades do on recorded outcomes, with the policies as they run.

    python -m tests.bench.routing_deciding --data DIR

DIR is described in tests/bench/routing_tables.py. Skills by category are measured on `train`, decisions are made on
`dev` by the policies `profile` and `cascade` over the shipped classifier, and recorded outcomes are looked up.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experts.profile import Price, Skill, SkillProfile
from gateway.opinions import MeanExperts
from router import Router, RoutingConfig
from router.encoder import Encoder
from router.policies.base import PolicyContext
from router.policies.cascade import CascadePolicy
from router.policies.profile import ProfilePolicy
from router.policies.selection import how_many, needs, threshold_for
from router.training.outcomes import Outcomes, read_outcomes
from router.types import Assignment, CandidateScore, DomainScores, Objective, Query, RoutingDecision
from tests.bench.routing_tables import TABLES, read_pools

SLIDER = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.0)
TARGETS = (1.3, 1.76, 2.0, 2.6)
ERRORS = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True, slots=True)
class World:
    """One pool: its profiles from `train`, its `dev` questions, and what the classifier says about them."""

    profiles: tuple[SkillProfile, ...]
    context: PolicyContext
    train: list[DomainScores]
    dev: list[DomainScores]
    outcomes: Outcomes


async def world(data: Path, pool: str, experts: Sequence[str], encoder: Encoder) -> World:
    """Read a pool and classify its questions."""
    folder = data / TABLES.get(pool, "mmlu_pro")
    outcomes = read_outcomes(
        [folder / "questions.parquet"], [folder / "outcomes.parquet"], [data / "models.csv"], experts
    )
    outcomes = outcomes.where(np.asarray(~np.isnan(outcomes.scores).any(axis=1)))
    train, dev = (outcomes.where(np.isin(outcomes.splits, [split])) for split in ("train", "dev"))
    profiles = tuple(profile(train, place) for place in range(len(train.experts)))
    router = await Router.create(RoutingConfig(classifier="linear", max_experts=5), profiles, encoder=encoder)
    few = train.where(np.arange(0, len(train), max(1, len(train) // 1000)))
    known, new = [[await router.classifier.classify(asked(text)) for text in side.texts] for side in (few, dev)]
    return World(profiles, router.context, known, new, dev)


def asked(text: str) -> Query:
    """Return the question as the gateway would put it."""
    return Query(({"role": "user", "content": text},), prompt_tokens=len(text) // 4)


def profile(train: Outcomes, place: int) -> SkillProfile:
    """Return an expert as measured on the training questions; without a category all questions are one."""
    name, scores = train.experts[place], train.scores[:, place]
    labels = np.where(train.categories == "", "general chat", train.categories)
    skills = {
        str(label): Skill(float(scores[labels == label].mean()), int((labels == label).sum()))
        for label in np.unique(labels)
    }
    price = train.prices.get(name)
    return SkillProfile(name, measured=skills, price=None if price is None else Price(*price))


def slider(world: World) -> Iterator[str]:
    """Yield accuracy and cost at each position of the slider, beside the best single expert's."""
    single = int(np.argmax([pooled(each) for each in world.profiles]))
    scores, costs = world.outcomes.scores, world.outcomes.costs
    best = float(scores[:, single].mean()), 1000 * float(np.nanmean(costs[:, single]))
    yield f"  best single {world.profiles[single].expert}: {best[0]:.3f} right, {best[1]:.3f} USD per 1,000"
    for c in SLIDER:
        chosen = choices(world, replace(asked(""), objective=Objective(c)))
        rows = np.arange(len(chosen))
        right, cost = float(scores[rows, chosen].mean()), 1000 * float(np.nanmean(costs[rows, chosen]))
        used = Counter(world.profiles[each].expert for each in chosen).most_common(2)
        yield f"  cost_quality {c:.1f}: {right:.3f} right, {cost:.3f} USD ({cost / best[1]:.2f} of best single); {used}"


def choices(world: World, query: Query) -> NDArray[np.int64]:
    """Return the column of each question's expert."""
    places = {each.expert: place for place, each in enumerate(world.profiles)}
    prompts = (world.outcomes.in_chars // 4).astype(int)
    queries = (replace(query, prompt_tokens=int(tokens)) for tokens in prompts)
    decide = ProfilePolicy().decide
    decisions = (decide(q, s, world.profiles, world.context) for q, s in zip(queries, world.dev, strict=True))
    return np.array([places[decision.assignments[0].expert] for decision in decisions])


def pooled(measured: SkillProfile) -> float:
    """Return the accuracy over all the questions an expert was measured on."""
    skills = measured.measured.values()
    return sum(skill.accuracy * skill.count for skill in skills) / sum(skill.count for skill in skills)


def mean_numbers(world: World) -> Iterator[str]:
    """Yield the mean number of experts that a target gives on questions the threshold was not set by."""
    query = replace(asked(""), max_experts=5)

    def odds(scores: DomainScores) -> list[float]:
        decision = ProfilePolicy().decide(query, scores, world.profiles, world.context)
        return [candidate.share for candidate in decision.candidates]

    train, dev = ([odds(scores) for scores in side] for side in (world.train, world.dev))
    recent = np.stack([needs(each, 5) for each in train])
    for target in TARGETS:
        top_p = 1 - threshold_for(recent, target)
        taken = np.array([how_many(each, 5, top_p) for each in dev])
        yield f"  target {target:.2f}: {taken.mean():.3f} on dev; {dict(sorted(Counter(taken.tolist()).items()))}"
        yield f"    set anew as requests come: {online(target, dev):.3f}"


def online(target: float, shares: Sequence[Sequence[float]]) -> float:
    """Return the mean number of experts as the gateway keeps it, from the first request on."""
    mean, taken = MeanExperts(target, 5), []
    for row in shares:
        query = mean.limited(replace(asked(""), max_experts=5))
        taken.append(how_many(row, query.max_experts, query.top_p))
        candidates = tuple(CandidateScore("", 0.0, None, False, "", share=share) for share in row)
        mean.decided(RoutingDecision((Assignment("", 1.0),), "profile", 1.0, candidates=candidates))
    return float(np.mean(taken))


def cascades(world: World) -> Iterator[str]:
    """Yield what a cascade of the pool's cheapest good plan was expected to reach, and what it reached."""
    rng, places = np.random.default_rng(0), {each.expert: place for place, each in enumerate(world.profiles)}
    query = replace(asked(""), max_experts=2)
    for error in ERRORS:
        context = replace(world.context, judge_error=error)
        plans = [CascadePolicy().decide(query, scores, world.profiles, context) for scores in world.dev]
        right, cost, alone = [], [], []
        for row, plan in enumerate(plans):
            first, last = (places[plan.assignments[at].expert] for at in (0, -1))
            score, paid = world.outcomes.scores[row], world.outcomes.costs[row]
            kept = (score[first] > 0.5) != (rng.random() < error) if first != last else True
            right.append(score[first] if kept else score[last])
            cost.append(paid[first] + (0.0 if kept or first == last else paid[last]))
            alone.append((score[last], paid[last]))
        strong = np.nanmean(np.array(alone), axis=0)
        many = np.mean([bool(plan.stages) for plan in plans])
        yield (
            f"  check errs in {error:.1f}: {np.mean(right):.3f} right against {strong[0]:.3f} of the strong expert "
            f"alone, at {np.nanmean(cost) / strong[1]:.2f} of its cost; {many:.2f} of the questions in a cascade"
        )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pools", default="mixed7,zeroeval_mixed8", help="where experts differ in price")
    options = parser.parse_args()
    data, pools = options.data, read_pools(options.data)
    async with Encoder() as encoder:
        for name in filter(None, options.pools.split(",")):
            found = await world(data, name, pools[name], encoder)
            print(f"{name}, {len(found.dev)} questions", *slider(found), sep="\n", flush=True)
            print("cascades", *cascades(found), sep="\n", flush=True)
        found = await world(data, "small14", pools["small14"], encoder)
        print("small14: mean number of experts", *mean_numbers(found), sep="\n", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
