"""Encode, classify, decide; and what happens when something in that is slow or broken."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from experts.errors import ConfigError
from experts.profile import SkillProfile, ThinkingGain, ThinkingSwitch
from router import Router, RoutingConfig
from router.errors import ClassifierUnavailable, NoEligibleExpert, UnknownPolicy
from router.policies import POLICIES, PolicyContext
from router.types import Constraints, DomainScores, Incumbent, Query, RoutingDecision
from tests.fakes.encoder import FakeEncoder

POOL = (
    SkillProfile("math", domains=("math",)),
    SkillProfile("law", domains=("law",)),
    SkillProfile("general"),
)
ASK = Query(messages=({"role": "user", "content": "Can my landlord keep the deposit because of normal wear?"},))
CONFIG = RoutingConfig(default="general", classifier="centroid", budget_ms=2000)


class Stub:
    """A classifier that says, raises or delays what it is told to."""

    name = "stub"
    domains = ("math", "law")

    def __init__(self, *, delay: float = 0, error: Exception | None = None) -> None:
        self.delay, self.error, self.asked = delay, error, 0

    async def classify(self, query: Query) -> DomainScores:
        self.asked += 1
        await asyncio.sleep(self.delay)
        if self.error:
            raise self.error
        return DomainScores({"math": 0.1, "law": 0.9}, encode_ms=2.0, classify_ms=0.5)


def router(stub: Stub, **settings: object) -> Router:
    config = RoutingConfig.model_validate({"default": "general", **settings})
    return Router(stub, config=config, context=PolicyContext(default="general"))


async def test_a_question_goes_to_the_expert_for_its_domain() -> None:
    chosen = await Router.create(CONFIG, POOL, encoder=FakeEncoder())

    decision = await chosen.route(ASK, POOL)

    assert decision.assignments[0].expert == "law"
    assert decision.policy == "profile"
    assert max(decision.domains, key=lambda name: decision.domains[name]) == "law"
    assert set(decision.timings_ms) == {"encode", "classify", "decide"}


async def test_a_slow_classifier_fails_open_to_the_default_expert_within_the_budget() -> None:
    stub = Stub(delay=30)

    async with asyncio.timeout(5):
        decision = await router(stub, budget_ms=10).route(ASK, POOL)

    assert decision.assignments[0].expert == "general"
    assert decision.policy == "profile"
    assert decision.confidence == 0.0
    assert decision.reason == "routing failed open: classification took longer than 10 ms"
    assert decision.fallbacks == ("math", "law")


async def test_a_broken_classifier_fails_open() -> None:
    decision = await router(Stub(error=ClassifierUnavailable("The encoder failed: boom"))).route(ASK, POOL)

    assert decision.assignments[0].expert == "general"
    assert decision.reason == "routing failed open: The encoder failed: boom"


async def test_failing_open_never_picks_an_excluded_expert() -> None:
    query = replace(ASK, constraints=Constraints(unfit={"general": "draining"}))

    decision = await router(Stub(error=ClassifierUnavailable("boom"))).route(query, POOL)

    assert decision.assignments[0].expert == "math"
    assert decision.excluded == {"general": "draining"}


async def test_one_eligible_expert_needs_no_classification() -> None:
    stub = Stub()
    query = replace(ASK, constraints=Constraints(allow=frozenset({"math"})))

    decision = await router(stub).route(query, POOL)

    assert decision.assignments[0].expert == "math"
    assert decision.reason == "only math is eligible"
    assert stub.asked == 0


@pytest.mark.parametrize("policy", ["fixed", "uniform"])
async def test_policies_that_read_no_scores_cause_no_classification(policy: str) -> None:
    stub = Stub()

    decision = await router(stub).route(replace(ASK, policy=policy), POOL)

    assert decision.policy == policy
    assert stub.asked == 0


@pytest.mark.parametrize("policy", [None, "auto", "profile"])
async def test_auto_means_the_configured_policy(policy: str | None) -> None:
    assert (await router(Stub()).route(replace(ASK, policy=policy), POOL)).policy == "profile"
    if policy != "profile":
        assert (await router(Stub(), policy="fixed").route(replace(ASK, policy=policy), POOL)).policy == "fixed"


async def test_an_unknown_policy_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UnknownPolicy, match="no routing policy 'best'; choose one of auto, cascade, fixed, llm, "):
        await router(Stub()).route(replace(ASK, policy="best"), POOL)


class FittedToMath:
    """A fitted policy that knows one expert."""

    reads_scores: ClassVar[bool] = True
    experts = frozenset({"math"})

    def decide(
        self, query: Query, scores: DomainScores, profiles: Sequence[SkillProfile], context: PolicyContext
    ) -> RoutingDecision:
        return replace(POLICIES["profile"].decide(query, scores, profiles, context), policy="auto")


@pytest.mark.parametrize(
    ("pool", "policy"), [(POOL, "auto"), ((SkillProfile("law"), SkillProfile("general")), "profile")]
)
async def test_auto_is_the_fitted_policy_where_it_knows_some_of_the_experts(
    pool: tuple[SkillProfile, ...], policy: str
) -> None:
    chosen = await Router.create(CONFIG, pool, encoder=FakeEncoder(), fitted={"auto": FittedToMath()})

    assert policy == (await chosen.route(ASK, pool)).policy


async def test_a_session_keeps_its_expert_when_classification_fails() -> None:
    stub = Stub(error=ClassifierUnavailable("boom"))
    query = replace(ASK, incumbent=Incumbent("law", "profile", "law"))

    assert "law" == (await router(stub).route(query, POOL)).assignments[0].expert


async def test_a_lone_expert_is_classified_for_where_its_thinking_depends_on_the_domain() -> None:
    switch = ThinkingSwitch({"t": 1}, {"t": 0}, {"law": ThinkingGain(0.3, 400)})
    stub, query = Stub(), replace(ASK, constraints=Constraints(allow=frozenset({"law"})))

    decision = await router(stub).route(query, (*POOL[:1], replace(POOL[1], thinking=switch), POOL[2]))

    assert ("on", 1) == (decision.thinking, stub.asked)


async def test_nobody_eligible_is_an_error() -> None:
    with pytest.raises(NoEligibleExpert):
        await router(Stub()).route(replace(ASK, constraints=Constraints(require_tags=frozenset({"x"}))), POOL)


async def test_timings_are_those_of_the_classifier() -> None:
    decision = await router(Stub()).route(ASK, POOL)

    assert decision.timings_ms["encode"] == 2.0
    assert decision.timings_ms["classify"] == 0.5
    assert decision.timings_ms["decide"] >= 0


async def test_a_router_for_new_experts_knows_their_domain() -> None:
    first = await Router.create(CONFIG, POOL, encoder=FakeEncoder())
    baker = SkillProfile("baker", examples=("How long must sourdough bread rise?", "Which flour makes bread crusty?"))
    question = Query(({"role": "user", "content": "Why does sourdough bread rise overnight?"},))

    second = await first.with_profiles((*POOL, baker))

    assert "baker" in second.classifier.domains
    assert "baker" not in first.classifier.domains
    assert (await second.route(question, (*POOL, baker))).assignments[0].expert == "baker"


async def test_domains_of_ones_own_are_known_by_their_examples() -> None:
    config = RoutingConfig.model_validate(
        {
            "default": "general",
            "classifier": "auto",
            "domains": {"geology": {"examples": ["How old is this basalt?", "What minerals make granite?"]}},
        }
    )
    pool = (*POOL, SkillProfile("rocks", domains=("geology",)))
    question = Query(({"role": "user", "content": "Is granite older than basalt?"},))

    chosen = await Router.create(config, pool, encoder=FakeEncoder())

    assert chosen.classifier.name == "centroid"
    assert (await chosen.route(question, pool)).assignments[0].expert == "rocks"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "best"}, "routing.policy: there is no 'best'"),
        ({"classifier": "magic"}, "routing.classifier: there is no 'magic'"),
        ({"classifier": "linear", "artifact": "/nowhere"}, "holds no usable head"),
    ],
)
async def test_a_wrong_setting_is_said_at_start(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        await Router.create(RoutingConfig.model_validate(settings), POOL, encoder=FakeEncoder())


def test_importing_the_door_loads_neither_torch_nor_scikit_learn() -> None:
    heavy = "{'torch', 'sentence_transformers', 'sklearn', 'transformers'}"
    code = f"import router, sys; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"

    subprocess.run([sys.executable, "-c", code], check=True)
