"""Every line is asked once, every server has one turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from experts.batch import Ask, plan


def servers(asks: list[Ask], **more: object) -> list[str]:
    return [group.server for group in plan(asks, **more)]  # type: ignore[arg-type]


LINES = [Ask(1, "law"), Ask(2, "math"), Ask(3, "math"), Ask(4, "code"), Ask(5, "code"), Ask(6, "code")]


def test_the_largest_group_goes_first() -> None:
    assert ["code", "math", "law"] == servers(LINES)


def test_who_is_awake_goes_before_the_largest() -> None:
    assert ["law", "code", "math"] == servers(LINES, resident={"law"})


def test_experts_on_one_server_have_one_turn() -> None:
    groups = plan(LINES, servers={"law": "base", "math": "base"})

    assert ["base", "code"] == [group.server for group in groups]
    assert {"law": [1], "math": [2, 3]} == {
        expert: [ask.line for ask in asks] for expert, asks in groups[0].by_expert().items()
    }


def test_a_fused_line_stands_in_the_group_of_each_of_its_experts() -> None:
    groups = plan([Ask(1, "math", 0), Ask(1, "law", 1), Ask(2, "math", 0)])

    assert [("math", [(1, 0), (2, 0)]), ("law", [(1, 1)])] == [
        (group.server, [(ask.line, ask.place) for ask in group.asks]) for group in groups
    ]


asks = st.lists(st.builds(Ask, st.integers(1, 99), st.sampled_from("abcdef"), st.integers(0, 2)), unique=True)


@given(asks, st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("xy")), st.sets(st.sampled_from("abcdef")))
def test_nothing_is_lost_doubled_or_split(lines: list[Ask], on: dict[str, str], resident: set[str]) -> None:
    groups = plan(lines, servers=on, resident=resident)
    planned = [ask for group in groups for ask in group.asks]

    assert sorted(map(repr, lines)) == sorted(map(repr, planned))
    assert len(groups) == len({group.server for group in groups})
    assert groups == plan(reversed(lines), servers=on, resident=resident)
