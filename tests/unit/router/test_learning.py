"""What one observation may change, whose account it is charged to, and how it is taken back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.profile import EVERYWHERE, Skill, SkillProfile
from router.learning import (
    Learning,
    LearningRule,
    Mark,
    Observation,
    corrected,
    from_body,
    observed,
    offset_table,
    overlaid,
    restored,
    revised,
    taken_back,
    to_body,
)
from router.learning.offsets import logit, sigmoid, taught
from router.policies import POLICIES, PolicyContext
from router.types import DomainScores, Query

RULE = LearningRule(step=0.1, shared=0.3, daily_shift=0.5, max_shift=2.0)
POOL = (
    SkillProfile("strong", measured={"math": Skill(0.8, 400), "law": Skill(0.5, 400)}),
    SkillProfile("weak", measured={"math": Skill(0.6, 400), "law": Skill(0.7, 400)}),
)
scores01 = st.floats(0.0, 1.0)


def seen(
    scores: Mapping[str, float],
    *,
    domains: Mapping[str, float] | None = None,
    source: str = "anna",
    day: str = "2026-01-01",
    base: float = 0.5,
    trust: float = 1.0,
) -> Observation:
    marks = {expert: Mark(score, logit(base), trust) for expert, score in scores.items()}
    return Observation({"math": 1.0} if domains is None else domains, marks, source, day)


def after(*observations: Observation, rule: LearningRule = RULE, state: Learning | None = None) -> Learning:
    state = state or Learning()
    for observation in observations:
        state = observed(state, observation, rule).state
    return state


def chosen(state: Learning, domain: str = "math", rule: LearningRule = RULE) -> str:
    query = Query(messages=({"role": "user", "content": "?"},))
    decision = POLICIES["profile"].decide(
        query, DomainScores({domain: 1.0}), overlaid(POOL, state.learned(rule)), PolicyContext()
    )
    return decision.assignments[0].expert


def test_praise_raises_and_blame_lowers_only_the_experts_it_is_about() -> None:
    state = after(seen({"strong": 1.0, "weak": 0.0}))

    assert state.offsets["strong"] == pytest.approx({"math": 0.05, EVERYWHERE: 0.015})
    assert state.offsets["weak"] == pytest.approx({"math": -0.05, EVERYWHERE: -0.015})
    assert {"strong", "weak"} == set(state.offsets)


def test_any_number_of_experts_can_be_known_right() -> None:
    state = after(seen({"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.0}))

    assert [True, True, True, False] == [state.offsets[expert]["math"] > 0 for expert in "abcd"]


def test_a_domain_moves_by_its_probability() -> None:
    state = after(seen({"a": 1.0}, domains={"math": 0.8, "physics": 0.2}))

    row = state.offsets["a"]
    assert row["math"] == pytest.approx(4 * row["physics"])


@settings(deadline=None)
@given(score=scores01, base=scores01, trust=scores01, p=scores01)
def test_no_observation_moves_a_skill_further_than_the_step(score: float, base: float, trust: float, p: float) -> None:
    domains = {"math": p, "law": 1 - p}
    state = after(seen({"a": score}, domains=domains, base=base, trust=trust))

    assert all(abs(state.offsets["a"][domain]) <= RULE.step * domains[domain] + 1e-12 for domain in domains)
    assert abs(state.offsets["a"][EVERYWHERE]) <= RULE.step * RULE.shared + 1e-12


def test_what_is_as_expected_teaches_nothing() -> None:
    state = after(seen({"a": 0.7}, base=0.7))

    assert state.offsets["a"] == pytest.approx({"math": 0.0, EVERYWHERE: 0.0})


def test_steady_feedback_settles_at_the_true_skill() -> None:
    rule = replace(RULE, daily_shift=100.0)
    chance = np.random.default_rng(0)
    state = Learning()
    for _ in range(2000):
        state = observed(state, seen({"a": float(chance.random() < 0.8)}, base=0.5), rule).state

    learned = overlaid([SkillProfile("a")], state.learned(rule))[0]
    assert sigmoid(learned.shift("math")) == pytest.approx(0.8, abs=0.08)


def test_a_shift_ends_at_its_bound() -> None:
    rule = replace(RULE, daily_shift=1000.0, max_shift=0.3)

    state = after(*[seen({"a": 1.0}, base=0.1)] * 300, rule=rule)

    assert 0.3 == pytest.approx(state.offsets["a"]["math"])


def test_forgetting_returns_to_what_was_measured() -> None:
    rule = replace(RULE, forgetting=0.05, daily_shift=100.0)
    far = after(*[seen({"a": 1.0})] * 50, rule=rule)

    back = after(*[seen({"a": 0.5})] * 400, rule=rule, state=far)

    assert far.offsets["a"]["math"] > 0.4
    assert back.offsets["a"]["math"] < 0.1


def gap(state: Learning) -> float:
    strong, weak = overlaid(POOL, state.learned(RULE))
    return strong.shift("math") - weak.shift("math")


def test_ten_thousand_comments_of_one_key_in_a_day_move_two_experts_by_the_daily_shift_at_most() -> None:
    state = after(*[seen({"strong": 0.0, "weak": 1.0})] * 5000, *[seen({"strong": 0.0})] * 5000)

    assert -gap(state) <= RULE.daily_shift
    assert "strong" == chosen(state)


def test_a_spammer_who_alternates_or_names_others_gets_no_further() -> None:
    down, up = seen({"strong": 0.0}), seen({"weak": 1.0})
    decoys = [seen({f"decoy{index}": 1.0}) for index in range(50)]

    state = after(*decoys, *[down, up] * 2000, seen({"strong": 0.5}), *[down] * 2000)

    assert -gap(state) <= RULE.daily_shift


comments = st.tuples(
    st.dictionaries(st.sampled_from("abc"), scores01, min_size=1),
    st.floats(0.0, 1.0),
    st.integers(1, 20),
    st.booleans(),
)


@settings(deadline=None, max_examples=50)
@given(said=st.lists(comments, max_size=12), forgetting=st.sampled_from([0.0, 0.2]))
def test_whatever_one_key_says_in_a_day_it_moves_no_two_experts_further_than_the_daily_shift(
    said: list[tuple[dict[str, float], float, int, bool]], forgetting: float
) -> None:
    rule, state, lesson = replace(RULE, step=0.5, forgetting=forgetting), Learning(), None
    for scores, p, times, again in said:
        observation = seen(scores, domains={"math": p, "law": 1 - p})
        for _ in range(times):
            learned = (
                revised(state, lesson, observation, rule) if again and lesson else observed(state, observation, rule)
            )
            state, lesson = learned.state, learned.lesson

    shifts = [
        [profile.shift(domain) for profile in overlaid(map(SkillProfile, "abc"), state.learned(rule))]
        for domain in ("math", "law")
    ]
    assert all(max(row) - min(row) <= rule.daily_shift + 1e-9 for row in shifts)


def test_a_full_account_is_said_to_be_full_and_opens_again_the_next_day() -> None:
    state = after(*[seen({"strong": 0.0, "weak": 1.0})] * 500)

    assert observed(state, seen({"strong": 0.0}), RULE).lesson.limited
    assert not observed(state, seen({"strong": 0.0}, day="2026-01-02"), RULE).lesson.limited
    assert not observed(state, seen({"strong": 0.0}, source="ben"), RULE).lesson.limited


def test_a_clock_that_goes_back_does_not_open_a_full_account() -> None:
    state = after(*[seen({"strong": 0.0, "weak": 1.0})] * 500)

    assert observed(state, seen({"strong": 0.0}, day="2025-12-31"), RULE).lesson.limited


def test_several_keys_that_agree_do_flip_the_routing() -> None:
    complaints = [seen({"strong": 0.0, "weak": 1.0}, source=f"key{index % 20}") for index in range(2000)]

    assert "weak" == chosen(after(*complaints))


def test_a_lesson_taken_back_leaves_nothing() -> None:
    before = after(seen({"a": 1.0}), seen({"b": 0.0}))
    state, lesson, _ = observed(before, seen({"a": 0.0}), RULE)

    undone = taken_back(state, lesson)

    assert undone.offsets["a"] == pytest.approx(before.offsets["a"])
    assert undone.accounts["anna"]["a"] == pytest.approx(before.accounts["anna"]["a"])
    assert undone.version > state.version


def test_a_rollback_restores_every_decision_exactly_and_keeps_the_accounts_spent() -> None:
    good = after(seen({"strong": 1.0}), seen({"weak": 0.2}))
    bad = after(*[seen({"strong": 0.0, "weak": 1.0}, source=f"key{i % 9}") for i in range(3000)], state=good)

    back = restored(bad, good)

    assert ("strong", "weak", "strong") == (chosen(good), chosen(bad), chosen(back))
    assert good.offsets == back.offsets
    assert back.accounts == bad.accounts
    assert back.version == bad.version + 1


def test_a_lesson_from_before_a_rollback_is_not_taken_back_twice() -> None:
    good = after(seen({"a": 1.0}))
    state, lesson, _ = observed(good, seen({"a": 1.0}), RULE)
    back = restored(state, good)

    assert back == taken_back(back, lesson)


def test_profiles_without_lessons_are_the_very_same() -> None:
    laid = overlaid(POOL, {"strong": {"math": 0.1}})

    assert POOL[1] is laid[1]
    assert {"math": 0.1} == laid[0].learned


def test_what_was_learnt_about_one_expert_changes_no_other_ones_score() -> None:
    unmeasured = (SkillProfile("a", domains=("math",)), SkillProfile("b", domains=("math",)), SkillProfile("c"))
    query, about = Query(messages=({"role": "user", "content": "?"},)), DomainScores({"math": 0.9, "law": 0.1})

    plain = POLICIES["profile"].decide(query, about, unmeasured, PolicyContext())
    moved = POLICIES["profile"].decide(query, about, overlaid(unmeasured, {"a": {"math": -0.5}}), PolicyContext())

    quality = [{each.expert: each.quality for each in decision.candidates} for decision in (plain, moved)]
    assert (quality[0]["b"], quality[0]["c"]) == (quality[1]["b"], quality[1]["c"])
    assert quality[1]["a"] < quality[0]["a"]  # type: ignore[operator]
    assert any("feedback" in each.reason for each in moved.candidates if each.expert == "a")


def test_corrected_estimates_move_by_the_posterior_times_the_offsets() -> None:
    estimates = np.array([[0.5, 0.9], [0.5, 0.9]])
    posterior = np.array([[1.0, 0.0], [0.0, 1.0]])
    offsets = np.array([[1.0, 0.0], [-1.0, 0.0]])

    found = corrected(estimates, posterior, offsets)

    assert found[0] == pytest.approx([sigmoid(1.0), sigmoid(logit(0.9) - 1.0)])
    assert found[1] == pytest.approx([0.5, 0.9])


def test_one_querys_estimates_move_by_what_was_learnt_in_its_domains_and_others_stay_exactly() -> None:
    profiles = [SkillProfile("a", learned={"math": 1.0, EVERYWHERE: 0.2}), SkillProfile("b"), SkillProfile("c")]

    found = taught({"a": 0.5, "b": 0.7}, profiles, {"math": 0.5, "law": 0.5})

    assert {"a": pytest.approx(sigmoid(0.7)), "b": 0.7} == found


def test_an_offset_table_reads_what_profiles_carry() -> None:
    profiles = [SkillProfile("a", learned={"math": 0.2, EVERYWHERE: 0.1}), SkillProfile("b")]

    assert offset_table(profiles, ["math", "law"]).tolist() == [pytest.approx([0.3, 0.1]), [0.0, 0.0]]


def test_a_second_opinion_on_the_same_request_replaces_the_first() -> None:
    before = after(seen({"a": 1.0}), seen({"b": 0.0}))
    state, lesson, _ = observed(before, seen({"a": 1.0}), RULE)

    changed = revised(state, lesson, seen({"a": 0.0}), RULE).state
    once = observed(before, seen({"a": 0.0}), RULE).state

    assert changed.offsets["a"] == pytest.approx(once.offsets["a"])
    assert changed.detectors == state.detectors


def test_a_hundred_opinions_on_one_request_count_as_one() -> None:
    state, lesson, _ = observed(Learning(), seen({"a": 1.0}), RULE)
    for _ in range(100):
        state, lesson, _ = revised(state, lesson, seen({"a": 1.0}), RULE)

    assert state.offsets["a"] == pytest.approx(after(seen({"a": 1.0})).offsets["a"])


def test_a_state_survives_being_written_as_json_to_the_last_bit() -> None:
    state = after(*[seen({"a": 1 / 3, "b": 0.1}, domains={"math": 0.7, "law": 0.3}, source=f"k{i}") for i in range(50)])

    assert state == from_body(json.loads(json.dumps(to_body(state))))


def test_a_state_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 99"):
        from_body({"format": 99})
