"""Who may answer at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experts.profile import SkillProfile
from router.errors import NoEligibleExpert
from router.policies.eligibility import eligible
from router.types import Constraints

MATH = SkillProfile(
    "math-7b",
    domains=("math",),
    context_window=4096,
    modalities=frozenset({"text", "image"}),
    capabilities=frozenset({"tools"}),
    tags=frozenset({"licence:apache-2.0"}),
)
LAW = SkillProfile("law-7b", domains=("law",))


@pytest.mark.parametrize(
    ("constraints", "reason"),
    [
        (Constraints(allow=frozenset({"math-7b"})), "not among the allowed experts"),
        (Constraints(deny=frozenset({"law-7b"})), "denied by the request"),
        (Constraints(require_tags=frozenset({"licence:apache-2.0"})), "lacks the tag licence:apache-2.0"),
        (Constraints(modalities=frozenset({"text", "image"})), "cannot read image"),
        (Constraints(capabilities=frozenset({"tools"})), "lacks the capability tools"),
        (Constraints(unfit={"law-7b": "no healthy replica"}), "no healthy replica"),
    ],
)
def test_each_constraint_excludes_with_its_reason(constraints: Constraints, reason: str) -> None:
    fit, excluded = eligible([MATH, LAW], constraints)

    assert fit == (MATH,)
    assert excluded == {"law-7b": reason}


def test_context_window_excludes_only_where_it_is_known() -> None:
    fit, excluded = eligible([MATH, LAW], Constraints(min_context_tokens=5000))

    assert fit == (LAW,)
    assert excluded == {"math-7b": "context window of 4096 tokens, about 5000 needed"}


def test_order_of_registration_is_kept() -> None:
    third = replace(LAW, expert="third")

    fit, excluded = eligible([LAW, third, MATH], Constraints())

    assert [profile.expert for profile in fit] == ["law-7b", "third", "math-7b"]
    assert excluded == {}


def test_nobody_left_is_an_error_that_says_why_for_each() -> None:
    with pytest.raises(NoEligibleExpert, match="math-7b: denied by the request; law-7b: asleep") as caught:
        eligible([MATH, LAW], Constraints(deny=frozenset({"math-7b"}), unfit={"law-7b": "asleep"}))

    assert caught.value.excluded == {"math-7b": "denied by the request", "law-7b": "asleep"}


def test_no_expert_at_all_is_said_plainly() -> None:
    with pytest.raises(NoEligibleExpert, match="none is registered"):
        eligible([], Constraints())
