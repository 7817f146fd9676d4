"""A whole evaluation: stable names, honest advice, alarms that ring."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experts.errors import ConfigError
from router.evaluation import Reference, evaluate_routing
from router.evaluation.text import describe
from router.evaluation.trial import Trial
from router.evaluation.voting import VoteRule
from tests.unit.router.evaluation.worlds import World, dominated, specialists, world


def rows_of(given: World) -> dict[str, Any]:
    found = evaluate_routing(given.train, given.test, {"auto": given.truth}, draws=300)
    return {row["policy"]: row for row in found["rows"]}


def test_rows_have_fixed_names_and_everything_is_json() -> None:
    given = specialists()
    found = evaluate_routing(given.train, given.test, {"auto": given.truth}, draws=100)

    names = [row["policy"] for row in found["rows"]]
    votes = [f"{name}+vote{size}" for name in ("best_single", "true_domain", "auto") for size in (2, 3, "all")]
    assert ["random", "best_single", "true_domain", "auto", "oracle", *votes] == names
    assert {"pool", "n", "rows", "recommendation", "alarms", "controls", "baselines", "by_category"} == set(found)
    assert 600 == found["n"]
    json.dumps(found, allow_nan=False)


def test_the_ladder_rises_and_its_gaps_are_closed() -> None:
    rows = rows_of(specialists())

    ladder = [rows[name]["accuracy"] for name in ("random", "best_single", "true_domain", "oracle")]
    assert sorted(ladder) == ladder
    assert 1.0 == rows["true_domain"]["gap_closed"]["true_domain"]
    assert 1.0 == rows["oracle"]["gap_closed"]["oracle"]


def test_where_experts_differ_it_advises_to_route() -> None:
    given = specialists()
    advice = evaluate_routing(given.train, given.test, {"auto": given.truth}, draws=300)["recommendation"]

    assert ("routing", "auto") == (advice["use"], advice["policy"])
    assert advice["text"].startswith("Route: auto gains +")


def test_where_one_dominates_it_recommends_that_one_and_refuses_votes() -> None:
    given = dominated()
    found = evaluate_routing(given.train, given.test, {"auto": given.truth}, draws=300)
    rows = {row["policy"]: row for row in found["rows"]}

    assert ("single", "a") == (found["recommendation"]["use"], found["recommendation"]["expert"])
    assert "touches zero" in found["recommendation"]["text"]
    assert (True, 1.0) == (rows["auto+vote3"]["refused"], rows["auto+vote3"]["mean_experts"])
    assert rows["best_single"]["accuracy"] == rows["auto+vote3"]["accuracy"]


def test_votes_pay_among_peers_and_not_where_one_knows() -> None:
    peers = world(np.full((3, 3), 0.6), np.ones(3), 900, 0)

    assert VoteRule.learned(Trial.of(peers.train, peers.test, draws=10), 3).pays
    for knows in (specialists(), dominated()):
        assert not VoteRule.learned(Trial.of(knows.train, knows.test, draws=10), 3).pays


def test_perfect_estimates_are_calibrated_and_cheap_ones_save() -> None:
    row = rows_of(specialists(3000))["auto"]

    assert row["ece"] < 0.02
    assert row["cost_ratio_at_best_single"] is not None
    assert row["aiq"] > rows_of(specialists(3000))["best_single"]["aiq"]


def test_questions_seen_in_training_ring_the_alarm() -> None:
    given = specialists()

    alarms = evaluate_routing(given.train, given.train, {"auto": given.truth}, draws=10)["alarms"]

    assert "train_is_test" in [alarm["name"] for alarm in alarms]


def test_a_twin_across_the_split_rings_a_smaller_one() -> None:
    given = specialists()
    test = replace(given.test, keys=np.concatenate([given.train.keys[:6], given.test.keys[6:]]))

    alarms = evaluate_routing(given.train, test, {}, draws=10)["alarms"]

    assert ["duplicates_across_splits"] == [alarm["name"] for alarm in alarms]
    assert "1.0%" in alarms[0]["text"]


def test_too_few_are_said_to_be_too_few() -> None:
    given = specialists(24)

    names = [alarm["name"] for alarm in evaluate_routing(given.train, given.test, {}, draws=10)["alarms"]]

    assert ["too_few_questions", "too_few_training_questions", "too_few_of_a_category"] == names


def test_shuffled_categories_gain_nothing() -> None:
    control = rows_control(specialists(3000))

    assert control["passed"]
    assert control["gain"] < 0.02


def rows_control(given: World) -> Any:
    return evaluate_routing(given.train, given.test, {}, draws=300)["controls"]["shuffled_categories"]


def test_without_prices_and_answers_what_needs_them_is_none() -> None:
    given = specialists()
    train, test = (replace(side, costs=side.costs * np.nan, codes=None) for side in (given.train, given.test))

    found = evaluate_routing(train, test, {"auto": given.truth}, draws=10)

    row = next(row for row in found["rows"] if row["policy"] == "auto")
    assert [None, None, None] == [row["cost_per_1k"], row["aiq"], row["arena"]]
    assert [] == [row for row in found["rows"] if "+vote" in row["policy"]]
    assert "unpriced" in [alarm["name"] for alarm in found["alarms"]]
    json.dumps(found, allow_nan=False)


def test_without_categories_there_is_no_true_domain() -> None:
    given = specialists()
    train = replace(given.train, categories=np.full(600, ""))

    names = [row["policy"] for row in evaluate_routing(train, given.test, {}, draws=10)["rows"]]

    assert "true_domain" not in names


def test_a_smaller_pool_is_evaluated_on_its_own_columns() -> None:
    given = specialists()

    found = evaluate_routing(given.train, given.test, {"auto": given.truth}, experts=["c", "a"], draws=10)

    assert ["c", "a"] == found["pool"]
    assert set(found["baselines"]["experts"]) == {"a", "c"}


def test_questions_not_measured_on_everyone_are_left_out_and_counted() -> None:
    given = specialists()
    scores = given.test.scores.copy()
    scores[:7, 0] = np.nan

    found = evaluate_routing(given.train, replace(given.test, scores=scores), {"auto": given.truth}, draws=10)

    assert 593 == found["n"]
    assert "7 questions were left out" in found["alarms"][0]["text"]


def test_nothing_left_is_an_error() -> None:
    given = specialists()
    empty = replace(given.test, scores=given.test.scores * np.nan)

    with pytest.raises(ConfigError, match="measured on every expert"):
        evaluate_routing(given.train, empty, {}, draws=10)


def test_strangers_are_named() -> None:
    given = specialists()

    with pytest.raises(ConfigError, match="Nothing was fitted for z; there are a, b, c"):
        Trial.of(given.train, given.test, ["z"])


def test_a_reference_is_kept_without_texts(tmp_path: Path) -> None:
    given = specialists()

    given.train.save(tmp_path)
    back = Reference.load(tmp_path)

    assert given.train.experts == back.experts
    for name in ("scores", "costs", "codes", "categories", "keys", "lengths"):
        assert (getattr(given.train, name) == getattr(back, name)).all()
    with pytest.raises(ConfigError, match="holds no policies"):
        Reference.load(tmp_path / "elsewhere")


def test_the_table_says_who_is_asked_for_what() -> None:
    given = specialists()

    law = evaluate_routing(given.train, given.test, {"auto": given.truth}, draws=10)["by_category"]["law"]

    assert (200, 1.0) == (law["n"], law["asked"]["b"])
    assert law["experts"]["b"] == law["accuracy"] > law["experts"]["a"]


def test_the_text_names_rows_advice_alarms_and_controls() -> None:
    given = specialists()
    found = evaluate_routing(given.train, given.train, {"auto": given.truth}, draws=10)

    told = describe(found)

    parts = ["3 experts, 600 questions, fitted on 600.", "auto+vote3", "Route: auto gains", "! 100% of these"]
    assert [] == [part for part in parts if part not in told]
    assert "Controls, which should gain nothing: shuffled categories" in told
    assert "auto asks a in 33% of the questions." in told
    assert "Any of the experts it thinks best is right: 2: " in told


def test_refused_votes_say_so_in_the_text() -> None:
    given = dominated()

    told = describe(evaluate_routing(given.train, given.test, {"auto": given.truth}, draws=50))

    assert "auto+vote3 (refused)" in told
    assert "touches zero" in told


def test_where_only_money_can_be_saved_the_advice_says_so() -> None:
    given = world(np.full((3, 2), 0.8), np.array([1e-4, 1e-3]), 600, 3)
    estimates = np.tile([0.8, 0.80001], (600, 1))

    advice = evaluate_routing(given.train, given.test, {"auto": estimates}, draws=200)["recommendation"]

    assert "single" == advice["use"]
    assert "Where cost counts, routing still pays: the same accuracy at " in advice["text"]
