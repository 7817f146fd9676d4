"""Policies fitted on recorded outcomes: what they learn, what they refuse, and that they are maskable and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experts.errors import ConfigError
from experts.profile import SkillProfile
from router.features import Features, read_features
from router.fitted import FittedPolicies, artifact_policies
from router.policies.auto import Stacked
from router.policies.base import PolicyContext
from router.policies.domain import without_doubtful_leads
from router.policies.fitted import ESTIMATORS, Basis, FittedPolicy, asked_text
from router.policies.lesson import by_turns, imputed
from router.training.policies import fit_policies
from router.types import Constraints, DomainScores, Query
from tests.unit.router.outcome_world import EXPERTS, NamedEncoder, world

QUESTIONS = 600


@pytest.fixture(scope="module")
def fitted() -> FittedPolicies:
    outcomes, features = world(QUESTIONS, seed=1)
    return fit_policies(outcomes, encoder=NamedEncoder(), features=features)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_every_policy_beats_the_best_single_expert_where_experts_differ(name: str, fitted: FittedPolicies) -> None:
    fresh, features = world(400, seed=2)
    estimates = fitted.estimates(features, [name])[name]
    chosen = fresh.scores[np.arange(len(fresh)), estimates.argmax(axis=1)].mean()
    assert chosen > fresh.scores.mean(axis=0).max() + 0.1
    assert ((estimates >= 0) & (estimates <= 1)).all()


def test_auto_always_asks_the_expert_that_dominates() -> None:
    outcomes, features = world(QUESTIONS, seed=3, dominated=True)
    fresh, unseen = world(400, seed=4, dominated=True)
    estimates = fit_policies(outcomes, encoder=NamedEncoder(), names="auto", features=features).estimates(unseen)
    best = int(outcomes.scores.mean(axis=0).argmax())
    assert (estimates["auto"].argmax(axis=1) == best).mean() > 0.99
    assert len(fresh) == 400


def test_auto_learns_nothing_from_shuffled_outcomes() -> None:
    outcomes, features = world(QUESTIONS, seed=5)
    order = np.random.default_rng(0).permutation(QUESTIONS)
    shuffled = replace(outcomes, scores=outcomes.scores[order])
    fresh, unseen = world(400, seed=6)
    estimates = fit_policies(shuffled, encoder=NamedEncoder(), names="auto", features=features).estimates(unseen)
    best = fresh.scores[:, int(shuffled.scores.mean(axis=0).argmax())]
    chosen = fresh.scores[np.arange(400), estimates["auto"].argmax(axis=1)]
    assert (chosen - best).mean() <= 0.03


def test_auto_takes_its_usual_weights_nearly_as_they_are(fitted: FittedPolicies) -> None:
    stack = fitted.estimators["auto"]
    assert isinstance(stack, Stacked)
    assert 0.95 < stack.weights_.sum() < 1.3


def test_auto_is_calibrated_on_unseen_questions(fitted: FittedPolicies) -> None:
    fresh, features = world(2000, seed=7)
    estimates = fitted.estimates(features, ["auto"])["auto"]
    edges = np.linspace(0, 1, 6)
    places = np.digitize(estimates, edges[1:-1])
    gaps = [
        abs(estimates[places == place].mean() - fresh.scores[places == place].mean()) * (places == place).mean()
        for place in np.unique(places)
    ]
    assert sum(gaps) < 0.05


def test_auto_leaves_strange_texts_to_the_best_single_expert(fitted: FittedPolicies) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    strange = read_features(["zzz qqq"] * 50, -np.abs(vectors))
    estimates = fitted.estimates(strange, ["auto"])["auto"]
    means = [fitted.facts["means"][name] for name in fitted.experts]
    assert (estimates.argmax(axis=1) == int(np.argmax(means))).mean() > 0.9


def test_what_is_kept_in_a_folder_estimates_the_same(fitted: FittedPolicies, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = FittedPolicies.load(tmp_path)
    _, features = world(50, seed=8)
    before, after = fitted.estimates(features), loaded.estimates(features)
    assert list(before) == list(after)
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, atol=1e-5)


def test_an_artifact_of_another_encoder_is_refused(fitted: FittedPolicies, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    with pytest.raises(ConfigError, match="fitted on the encoder 'toy', but routing.encoder.model is 'other'"):
        artifact_policies(tmp_path, "other")


def test_a_folder_without_policies_says_how_to_make_them(tmp_path: Path) -> None:
    assert artifact_policies(tmp_path, "toy") == {}
    with pytest.raises(ConfigError, match="consilium router train --questions"):
        FittedPolicies.load(tmp_path)


def test_a_usual_policy_is_not_replaced_by_a_fitted_one(fitted: FittedPolicies, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    names = set(artifact_policies(tmp_path, "toy"))
    assert {"auto", "domain", "knn"} <= names
    assert "profile" not in names


def query(text: str, **constraints: object) -> Query:
    return Query(({"role": "user", "content": text},), Constraints(**constraints))  # type: ignore[arg-type]


def scores_for(features: Features) -> DomainScores:
    return DomainScores({"math": 1.0}, vector=features.vectors[0])


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"profile"}))
def test_leaving_an_expert_out_changes_no_order_among_the_others(name: str, fitted: FittedPolicies) -> None:
    policy = fitted.policies()[name]
    profiles = [SkillProfile(expert) for expert in EXPERTS]
    outcomes, features = world(40, seed=9)
    for place, text in enumerate(outcomes.texts):
        scores = scores_for(features.where(np.array([place])))
        whole = [each.expert for each in policy.decide(query(text), scores, profiles, PolicyContext()).candidates]
        for out in EXPERTS:
            left = policy.decide(query(text, deny=frozenset({out})), scores, profiles, PolicyContext())
            assert [each for each in whole if each != out] == [each.expert for each in left.candidates]


def test_an_expert_without_outcomes_takes_part_by_its_profile(fitted: FittedPolicies) -> None:
    outcomes, features = world(1, seed=10)
    profiles = [*(SkillProfile(expert) for expert in EXPERTS), SkillProfile("newcomer", domains=("math",))]
    decision = fitted.policies()["auto"].decide(
        query(outcomes.texts[0]), scores_for(features), profiles, PolicyContext()
    )
    newcomer = next(each for each in decision.candidates if each.expert == "newcomer")
    assert newcomer.reason == "not among the recorded outcomes: judged by its profile"
    assert decision.policy == "auto"


def test_without_a_vector_the_profile_policy_decides(fitted: FittedPolicies) -> None:
    profiles = [SkillProfile(expert) for expert in EXPERTS]
    decision = fitted.policies()["auto"].decide(query("2 + 2?"), DomainScores({"math": 1.0}), profiles, PolicyContext())
    assert decision.policy == "profile"


def test_a_short_follow_up_is_read_with_the_question_before() -> None:
    messages = (
        {"role": "user", "content": "What is the derivative of sin x with respect to x?"},
        {"role": "assistant", "content": "cos x"},
        {"role": "user", "content": "and that?"},
    )
    assert asked_text(messages) == "What is the derivative of sin x with respect to x?\nand that?"


def test_gaps_are_filled_by_how_the_others_did() -> None:
    scores = np.array([[1.0, 1.0], [0.0, 0.0], [1.0, np.nan], [0.0, np.nan]])
    filled = imputed(scores)
    assert filled[2, 1] > 0.5 > filled[3, 1]
    assert np.array_equal(filled[:2], scores[:2])


def test_duplicates_share_a_fold() -> None:
    stems = np.array([0, 1, 2, 0, 1, 3, 4, 5])
    folds = by_turns(stems)
    assert folds[0] == folds[3]
    assert folds[1] == folds[4]


def test_a_lead_within_its_error_is_cut() -> None:
    scores = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    labels = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    skill = np.array([[0.9, 0.5], [0.5, 0.55]])
    cut = without_doubtful_leads(skill, labels, scores, errors=1.0)
    assert cut.tolist() == [[0.9, 0.5], [0.5, 0.5]]


def test_too_little_to_learn_from_is_an_error() -> None:
    outcomes, features = world(5, seed=1)
    with pytest.raises(ConfigError, match="two experts and ten questions at least; there are 3 and 5"):
        fit_policies(outcomes, encoder=NamedEncoder(), features=features)


def test_an_unknown_policy_is_an_error() -> None:
    outcomes, features = world(50, seed=1)
    with pytest.raises(ConfigError, match="There is no policy magic to fit; choose from auto, cluster"):
        fit_policies(outcomes, encoder=NamedEncoder(), names=["magic"], features=features)


def test_without_categories_clusters_stand_in() -> None:
    outcomes, features = world(QUESTIONS, seed=1)
    nameless = replace(outcomes, categories=np.full(QUESTIONS, ""))
    lesson = Basis().fit(features, nameless.scores, nameless.categories, by_turns(nameless.stems))
    assert lesson.labels.shape[1] >= 2
    assert lesson.labels.sum() == QUESTIONS


def test_votes_weigh_the_root_of_the_evidence_where_luck_is_known(fitted: FittedPolicies) -> None:
    outcomes, features = world(1, seed=11)
    policy = FittedPolicy("auto", fitted.basis, fitted.estimators["auto"], fitted.experts, luck=0.2)
    asked = replace(query(outcomes.texts[0]), max_experts=3)
    profiles = [SkillProfile(expert) for expert in EXPERTS]
    decision = policy.decide(asked, scores_for(features), profiles, PolicyContext())
    right = np.array([each.quality for each in decision.candidates])
    evidence = np.sqrt(np.maximum(np.log(right / (1 - right)) - np.log(0.2), 0.05))
    weights = [each.weight for each in decision.assignments]
    np.testing.assert_allclose(weights, evidence / evidence.sum(), atol=1e-6)
