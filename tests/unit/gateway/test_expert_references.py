"""Who names whom: what would leave somebody with nobody is refused, and what slips through is mended."""

from __future__ import annotations

from typing import Any

import pytest

from experts.config import ExpertConfig
from gateway.catalogue.records import REGISTERED, Entry
from gateway.catalogue.references import check_change, mended, references, roles_of
from gateway.configuration import GatewayConfig
from gateway.errors import ExpertInUse, InvalidRequest

URL = "http://127.0.0.1:9001/v1"


def entry(name: str, base: str | None = None, fallback: tuple[str, ...] = ()) -> Entry:
    place: dict[str, Any] = {"replicas": [{"base_url": URL}]}
    if base is not None:
        place = {"adapter": {"base": base, "path": "adapters/x"}}
    written = {"name": name, "fallback": list(fallback), **place}
    return Entry(ExpertConfig.model_validate(written), written, REGISTERED)


def world(*entries: Entry) -> dict[str, Entry]:
    return {each.name: each for each in entries}


A = entry("a")
NEEDS_A = entry("b", fallback=("a",))
RIDES_A = entry("c", base="a")


@pytest.mark.parametrize(
    ("fresh", "field"),
    [
        (entry("new", fallback=("nobody",)), "fallback"),
        (entry("new", fallback=("new",)), "fallback"),
        (entry("new", base="nobody"), "adapter.base"),
        (entry("new", base="c"), "adapter.base"),
    ],
)
def test_a_record_that_names_nobody_is_refused_by_field(fresh: Entry, field: str) -> None:
    before = world(A, RIDES_A)

    with pytest.raises(InvalidRequest) as error:
        check_change(before, {**before, "new": fresh}, "new", {})
    assert field == error.value.param


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (world(A, NEEDS_A), world(NEEDS_A), "'b' names 'a' as its fallback"),
        (world(A, RIDES_A), world(RIDES_A), "'c' names 'a' as its adapter.base"),
        (world(A, entry("d"), RIDES_A), world(entry("a", base="d"), entry("d"), RIDES_A), "'a' is the base of c"),
    ],
)
def test_what_another_expert_needs_stays(before: dict[str, Entry], after: dict[str, Entry], words: str) -> None:
    with pytest.raises(ExpertInUse) as error:
        check_change(before, after, "a", {})
    assert words in str(error.value)


def test_what_the_file_gives_a_task_to_stays() -> None:
    config = GatewayConfig.model_validate(
        {
            "experts": [A.written],
            "fusion": {"fuser": "a"},
            "routing": {"default": "b", "llm": {"expert": "c"}, "learning": {"judge": {"expert": "d"}}},
        }
    )

    assert ["a", "b", "c", "d"] == sorted(roles_of(config).values())
    with pytest.raises(ExpertInUse) as error:
        check_change(world(A, entry("b")), world(entry("b")), "a", {"fusion.fuser": "a"})
    assert "fusion.fuser" in str(error.value)


def test_what_was_broken_before_hinders_no_other_change() -> None:
    broken = world(NEEDS_A)

    check_change(broken, {**broken, "new": entry("new")}, "new", {"routing.default": "gone"})


def test_mending_drops_stand_ins_that_are_gone_and_adapters_without_a_base() -> None:
    second = entry("d", fallback=("c", "a"))
    kept, lost = mended(world(NEEDS_A, RIDES_A, second))

    assert ["b", "d"] == [*kept]
    assert [[], []] == [each.config.fallback for each in kept.values()]
    assert {("b", "a"), ("c", "a"), ("d", "c"), ("d", "a")} == {(each.by, each.name) for each in lost}
    assert [] == [each for each in references(kept) if each.name not in kept]


def test_mending_leaves_what_is_whole_as_it_is() -> None:
    whole = world(A, NEEDS_A, RIDES_A)

    assert (whole, []) == mended(whole)
