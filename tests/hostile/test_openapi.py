"""Schemathesis over the gateway's own OpenAPI document: every operation, with what fits its schema and what does not.

As the administrator, who reaches everything. What may break the world under attack for the rest (removing its experts,
long jobs) is asked of experts that do not exist.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok

from tests.hostile.shape import wrong
from tests.hostile.world import ADMIN, MALLORY, Target

IN_CI, LONG = 12, 400
JSON_OR_LESS = ("application/json", "text/")
UNTOUCHED = {"/admin/experts/benchmark-fuser"}
"""Begins work of minutes at every call."""
INHABITED = {"name": "nobody-here"}


def operations(target: Target) -> list[Any]:
    """Return every operation of the document as the gateway serves it."""
    schema = schemathesis.openapi.from_url(f"{target.url}/openapi.json")
    return [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]


def attack(target: Target, operation: Any, examples: int) -> list[str]:
    """Call an operation with made-up cases; return what was wrong with the answers."""
    found: list[str] = []
    key = ADMIN if operation.path.startswith("/admin") else MALLORY

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy())
    def each(case: Any) -> None:
        if "name" in (case.path_parameters or {}):
            case.path_parameters["name"] = f"nobody-{abs(hash(str(case.path_parameters['name']))) % 97}"
        answer = case.call(headers={"authorization": f"Bearer {key}"}, timeout=20)
        said = wrong(answer.status_code, {k: ",".join(v) for k, v in answer.headers.items()}, answer.content)
        if said:
            found.append(f"{case.method} {case.formatted_path}: {said}")

    each()
    return found


def attacked_operations(target: Target, examples: int) -> tuple[int, list[str]]:
    """Return how many operations there are, and what went wrong."""
    chosen = [each for each in operations(target) if each.path not in UNTOUCHED]
    return len(chosen), [found for each in chosen for found in attack(target, each, examples)]


@pytest.mark.timeout(300)
def test_no_operation_fails_on_what_its_schema_makes_up(target: Target) -> None:
    count, found = attacked_operations(target, IN_CI)

    assert count > 30
    assert [] == found[:5]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_no_operation_fails_on_hundreds_of_made_up_requests(target: Target) -> None:
    _, found = attacked_operations(target, LONG)

    assert [] == found[:5]
