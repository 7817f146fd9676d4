"""When an expert thinks: only where it was measured to pay, and never against the client's word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import yaml

from experts.config import ExpertConfig, ThinkingConfig
from experts.profile import Price, Skill, SkillProfile, ThinkingGain, ThinkingSwitch
from router.policies import PolicyContext
from router.policies.objective import Economy, dearest_price
from router.policies.profile import ProfilePolicy
from router.policies.thinking import is_sure
from router.types import DomainScores, Objective, Query, RoutingDecision, Thinking

ASK = Query(messages=({"role": "user", "content": "?"},), prompt_tokens=100)
GAINS = {"math": ThinkingGain(0.2, 400), "law": ThinkingGain(0.02, 400), "history": ThinkingGain(-0.1, 400)}
SWITCH = ThinkingSwitch({"think": True}, {"think": False}, GAINS, token_factor=4.0)
SKILLS = {"math": Skill(0.6, 1000), "law": Skill(0.6, 1000), "history": Skill(0.6, 1000)}
THINKER = SkillProfile("thinker", measured=SKILLS, price=Price(1.0, 1.0), output_tokens=300, thinking=SWITCH)


def decide(
    domain: str,
    *pool: SkillProfile,
    asked: Thinking = "auto",
    objective: Objective = Objective(),  # noqa: B008
) -> RoutingDecision:
    everybody = pool or (THINKER,)
    context = PolicyContext(economy=replace(Economy(), dearest=dearest_price(everybody, Economy())), max_experts=4)
    query = replace(ASK, thinking=asked, objective=objective)
    return ProfilePolicy().decide(query, DomainScores({domain: 1.0}), everybody, context)


@pytest.mark.parametrize(("domain", "mode"), [("math", "on"), ("law", "off"), ("history", "off"), ("code", "off")])
def test_thinking_is_on_where_its_gain_is_sure(domain: str, mode: str) -> None:
    decision = decide(domain)

    assert mode == decision.thinking == decision.assignments[0].thinking


def test_the_reason_says_that_the_expert_thinks_and_what_it_brings() -> None:
    assert (
        decide("math").reason == "thinker: best measured on math (0.60, n=1000); thinking is on, measured at +0.20 here"
    )


@pytest.mark.parametrize("asked", ["on", "off"])
@pytest.mark.parametrize("domain", ["math", "history"])
def test_the_clients_word_holds(domain: str, asked: Thinking) -> None:
    assert asked == decide(domain, asked=asked).thinking


def test_an_expert_without_a_switch_is_left_alone() -> None:
    plain = replace(THINKER, thinking=None)

    assert "auto" == decide("math", plain, asked="on").thinking


def test_a_switch_that_was_never_measured_is_left_alone() -> None:
    unmeasured = replace(THINKER, thinking=replace(SWITCH, gain={}))

    assert "auto" == decide("math", unmeasured).thinking
    assert "on" == decide("math", unmeasured, asked="on").thinking


def test_thinking_has_to_be_worth_its_tokens() -> None:
    assert "on" == decide("math", objective=Objective(cost_quality=0.9)).thinking
    assert "off" == decide("math", objective=Objective(cost_quality=0.3)).thinking


def test_thinking_has_to_fit_the_budget() -> None:
    assert "off" == decide("math", objective=Objective(max_cost_usd=0.0005)).thinking


def test_an_expert_that_thinks_is_as_good_as_it_is_then() -> None:
    better = SkillProfile("better", measured={"math": Skill(0.7, 1000), "law": Skill(0.7, 1000)})

    assert "thinker" == decide("math", better, THINKER).assignments[0].expert
    assert "better" == decide("law", better, THINKER).assignments[0].expert


def test_the_cost_of_thinking_is_shown() -> None:
    cost = {domain: decide(domain).candidates[0].cost_usd for domain in ("math", "law")}

    assert {"math": pytest.approx(1300e-6), "law": pytest.approx(400e-6)} == cost


@pytest.mark.parametrize(("gain", "count", "changed", "sure"), [
    (0.10, 100, 0.5, False),
    (0.10, 400, 0.5, True),
    (0.10, 100, 0.2, True),
    (-0.10, 400, 0.5, True),
    (0.0, 10_000, 0.5, False),
])  # fmt: skip
def test_a_gain_is_sure_when_its_interval_excludes_zero(gain: float, count: int, changed: float, sure: bool) -> None:
    assert sure == is_sure(ThinkingGain(gain, count, changed))


def test_the_capability_alone_means_the_usual_switch() -> None:
    record = {"name": "t", "replicas": [{"base_url": "http://127.0.0.1:1/v1"}], "capabilities": ["thinking"]}

    switch = ExpertConfig.model_validate(record).profile().thinking

    assert switch is not None
    assert {"chat_template_kwargs": {"enable_thinking": True}} == switch.on
    assert {} == switch.gain


def test_the_switch_can_be_written_in_yaml_without_quotes() -> None:
    record = yaml.safe_load("{on: {think: yes}, off: {think: no}, gain: {math: {accuracy: 0.1, count: 50}}}")

    switch = ThinkingConfig.model_validate(record).switch()

    assert ({"think": True}, {"think": False}) == (switch.on, switch.off)
    assert ThinkingGain(0.1, 50) == switch.gain["math"]


def hybrid_accuracy(chosen: Sequence[str], off: np.ndarray, on: np.ndarray) -> float:
    """Return the share of queries whose mode is the better one, the cheaper one where both are alike."""
    better = np.where(on > off, "on", "off")
    return float(np.mean(np.array(chosen) == better))


def test_modes_by_domain_beat_the_one_mode_that_is_right_most_often() -> None:
    draw = np.random.default_rng(7)
    domains = draw.choice(["math", "law"], size=2000)
    off = (draw.random(2000) < 0.3).astype(float)
    on = np.where(domains == "math", (draw.random(2000) < 0.95), off).astype(float)
    modes = {domain: decide(domain).thinking for domain in ("math", "law")}

    chosen = [modes[domain] for domain in domains]

    assert hybrid_accuracy(chosen, off, on) > max(hybrid_accuracy([mode] * 2000, off, on) for mode in ("on", "off"))
    thinks = np.array(chosen) == "on"
    tokens = np.where(thinks, SWITCH.token_factor, 1.0).mean()
    assert np.where(thinks, on, off).mean() >= on.mean()
    assert 0.3 < 1 - tokens / SWITCH.token_factor
