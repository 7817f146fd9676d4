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
from router.evaluation.voting import votes_pay
from tests.unit.router.evaluation.worlds import World, dominated, specialists


def rows_of(world: World) -> dict[str, Any]:
    found = evaluate_routing(world.train, world.test, {"auto": world.truth}, draws=300)
    return {row["policy"]: row for row in found["rows"]}


def test_rows_have_fixed_names_and_everything_is_json() -> None:
    world = specialists()
    found = evaluate_routing(world.train, world.test, {"auto": world.truth}, draws=100)

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
    world = specialists()
    advice = evaluate_routing(world.train, world.test, {"auto": world.truth}, draws=300)["recommendation"]

    assert ("routing", "auto") == (advice["use"], advice["policy"])
    assert advice["text"].startswith("Route: auto gains +")


def test_where_one_dominates_it_recommends_that_one_and_refuses_votes() -> None:
    world = dominated()
    found = evaluate_routing(world.train, world.test, {"auto": world.truth}, draws=300)
    rows = {row["policy"]: row for row in found["rows"]}

    assert ("single", "a") == (found["recommendation"]["use"], found["recommendation"]["expert"])
    assert "touches zero" in found["recommendation"]["text"]
    assert (True, 1.0) == (rows["auto+vote3"]["refused"], rows["auto+vote3"]["mean_experts"])
    assert rows["best_single"]["accuracy"] == rows["auto+vote3"]["accuracy"]


def test_votes_pay_among_equals_with_independent_errors() -> None:
    world = specialists(1500)

    assert votes_pay(Trial.of(world.train, world.test, draws=10), 3)


def test_perfect_estimates_are_calibrated_and_cheap_ones_save() -> None:
    row = rows_of(specialists(3000))["auto"]

    assert row["ece"] < 0.02
    assert row["cost_ratio_at_best_single"] is not None
    assert row["aiq"] > rows_of(specialists(3000))["best_single"]["aiq"]


def test_questions_seen_in_training_ring_the_alarm() -> None:
    world = specialists()

    alarms = evaluate_routing(world.train, world.train, {"auto": world.truth}, draws=10)["alarms"]

    assert "train_is_test" in [alarm["name"] for alarm in alarms]


def test_a_twin_across_the_split_rings_a_smaller_one() -> None:
    world = specialists()
    test = replace(world.test, keys=np.concatenate([world.train.keys[:6], world.test.keys[6:]]))

    alarms = evaluate_routing(world.train, test, {}, draws=10)["alarms"]

    assert ["duplicates_across_splits"] == [alarm["name"] for alarm in alarms]
    assert "1.0%" in alarms[0]["text"]


def test_too_few_are_said_to_be_too_few() -> None:
    world = specialists(24)

    names = [alarm["name"] for alarm in evaluate_routing(world.train, world.test, {}, draws=10)["alarms"]]

    assert ["too_few_questions", "too_few_training_questions", "too_few_of_a_category"] == names


def test_shuffled_categories_gain_nothing() -> None:
    control = rows_control(specialists(3000))

    assert control["passed"]
    assert control["gain"] < 0.02


def rows_control(world: World) -> Any:
    return evaluate_routing(world.train, world.test, {}, draws=300)["controls"]["shuffled_categories"]


def test_without_prices_and_answers_what_needs_them_is_none() -> None:
    world = specialists()
    train, test = (replace(side, costs=side.costs * np.nan, codes=None) for side in (world.train, world.test))

    found = evaluate_routing(train, test, {"auto": world.truth}, draws=10)

    row = next(row for row in found["rows"] if row["policy"] == "auto")
    assert [None, None, None] == [row["cost_per_1k"], row["aiq"], row["arena"]]
    assert [] == [row for row in found["rows"] if "+vote" in row["policy"]]
    assert "unpriced" in [alarm["name"] for alarm in found["alarms"]]
    json.dumps(found, allow_nan=False)


def test_without_categories_there_is_no_true_domain() -> None:
    world = specialists()
    train = replace(world.train, categories=np.full(600, ""))

    names = [row["policy"] for row in evaluate_routing(train, world.test, {}, draws=10)["rows"]]

    assert "true_domain" not in names


def test_a_smaller_pool_is_evaluated_on_its_own_columns() -> None:
    world = specialists()

    found = evaluate_routing(world.train, world.test, {"auto": world.truth}, experts=["c", "a"], draws=10)

    assert ["c", "a"] == found["pool"]
    assert set(found["baselines"]["experts"]) == {"a", "c"}


def test_questions_not_measured_on_everyone_are_left_out_and_counted() -> None:
    world = specialists()
    scores = world.test.scores.copy()
    scores[:7, 0] = np.nan

    found = evaluate_routing(world.train, replace(world.test, scores=scores), {"auto": world.truth}, draws=10)

    assert 593 == found["n"]
    assert "7 questions were left out" in found["alarms"][0]["text"]


def test_nothing_left_is_an_error() -> None:
    world = specialists()
    empty = replace(world.test, scores=world.test.scores * np.nan)

    with pytest.raises(ConfigError, match="measured on every expert"):
        evaluate_routing(world.train, empty, {}, draws=10)


def test_strangers_are_named() -> None:
    world = specialists()

    with pytest.raises(ConfigError, match="Nothing was fitted for z; there are a, b, c"):
        Trial.of(world.train, world.test, ["z"])


def test_a_reference_is_kept_without_texts(tmp_path: Path) -> None:
    world = specialists()

    world.train.save(tmp_path)
    back = Reference.load(tmp_path)

    assert world.train.experts == back.experts
    for name in ("scores", "costs", "codes", "categories", "keys", "lengths"):
        assert (getattr(world.train, name) == getattr(back, name)).all()
    with pytest.raises(ConfigError, match="holds no policies"):
        Reference.load(tmp_path / "elsewhere")


def test_the_table_says_who_is_asked_for_what() -> None:
    world = specialists()

    law = evaluate_routing(world.train, world.test, {"auto": world.truth}, draws=10)["by_category"]["law"]

    assert (200, 1.0) == (law["n"], law["asked"]["b"])
    assert law["experts"]["b"] == law["accuracy"] > law["experts"]["a"]


def test_the_text_names_rows_advice_alarms_and_controls() -> None:
    world = specialists()
    found = evaluate_routing(world.train, world.train, {"auto": world.truth}, draws=10)

    told = describe(found)

    parts = ["3 experts, 600 questions, fitted on 600.", "auto+vote3", "Route: auto gains", "! 100% of these"]
    assert [] == [part for part in parts if part not in told]
    assert "Controls, which should gain nothing: shuffled categories" in told


def test_refused_votes_say_so_in_the_text() -> None:
    world = dominated()

    told = describe(evaluate_routing(world.train, world.test, {"auto": world.truth}, draws=50))

    assert "auto+vote3 (refused)" in told
    assert "touches zero" in told
