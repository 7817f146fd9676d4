"""Fitted policies on tables: which experts are compared, and what a leak looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from experts.errors import ConfigError
from router.evaluation import Reference
from router.evaluation.baselines import CategoryTable
from router.evaluation.controls import shuffled
from router.evaluation.measuring import measure_policies, of_experts, shuffled_control, training_rows
from router.training.outcomes import Outcomes
from tests.unit.router.evaluation.worlds import specialists


def read(asked: Outcomes) -> NDArray[np.str_]:
    return np.array([text.split()[-1] for text in asked.texts])


@dataclass
class TableOnly:
    """A policy that is told the category, the last word of the text."""

    experts: tuple[str, ...]
    table: CategoryTable

    def estimates(self, features: Any, names: Sequence[str]) -> Mapping[str, NDArray[np.float64]]:
        return {name: self.table.estimates(features) for name in names}

    def plan_estimates(self, features: Any) -> None:
        """Has no plans."""


def fit(train: Outcomes) -> TableOnly:
    return TableOnly(train.experts, CategoryTable.fit(train.scores, train.categories))


def outcomes(side: Reference) -> Outcomes:
    n = len(side)
    return Outcomes(
        ids=tuple(side.keys.tolist()),
        texts=tuple(f"a question about {name}" for name in side.categories),
        categories=side.categories,
        splits=np.array(["train"] * n),
        stems=np.arange(n),
        keys=side.keys,
        experts=side.experts,
        scores=side.scores,
        answers=np.where(side.scores > 0, "x", "y").astype(object),
        costs=side.costs,
        in_chars=side.lengths,
    )


def test_a_fitted_policy_is_measured_on_the_experts_asked_for() -> None:
    world = specialists()
    train, test = outcomes(world.train), outcomes(world.test)

    found = measure_policies(fit(train), Reference.of(train), test, read(test), ["auto"], experts=["b", "a"])

    rows = {row["policy"]: row for row in found["rows"]}
    assert ["b", "a"] == found["pool"]
    assert rows["true_domain"]["accuracy"] == rows["auto"]["accuracy"] > rows["best_single"]["accuracy"]


def test_an_expert_that_was_not_fitted_is_left_out_or_named() -> None:
    world = specialists()
    train, test = outcomes(world.train), outcomes(replace(world.test, experts=("a", "b", "new")))

    found = measure_policies(fit(train), Reference.of(train), test, read(test), ["auto"])

    assert ["a", "b"] == found["pool"]
    with pytest.raises(ConfigError, match="new is both fitted and measured; these are: a, b"):
        measure_policies(fit(train), Reference.of(train), test, read(test), ["auto"], experts=["a", "new"])


def test_fitting_on_shuffled_outcomes_gains_nothing() -> None:
    world = specialists(1500)
    train, test = outcomes(world.train), outcomes(world.test)

    control = shuffled_control(fit, train, test, read(test), "auto", ["a", "b", "c"])

    assert control["passed"]
    assert control["gain"] < 0.02


def test_a_leak_does_not_pass_the_control() -> None:
    world = specialists(1500)
    train, test = outcomes(world.train), outcomes(world.test)

    control = shuffled_control(lambda ignored: fit(test), train, test, read(test), "auto", ["a", "b", "c"])

    assert not control["passed"]


def test_shuffling_keeps_every_experts_mean() -> None:
    train = outcomes(specialists().train)

    assert pytest.approx(train.scores.mean(axis=0)) == shuffled(train).scores.mean(axis=0)
    assert (train.scores != shuffled(train).scores).any()


def test_training_rows_are_found_by_their_key() -> None:
    world = specialists()
    train, test = outcomes(world.train), outcomes(world.test)

    assert training_rows(test, Reference.of(train)) is None
    assert train.ids[:5] == getattr(training_rows(train.where(np.arange(5)), Reference.of(train)), "ids", None)


def test_columns_follow_their_experts() -> None:
    train = outcomes(specialists().train)

    assert (train.scores[:, [2, 0]] == of_experts(train, ["c", "a"]).scores).all()
