"""A batch gives up experts that it hardly needs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.policies.trimming import trimmed

NAMES = tuple("abcdef")
batches = st.lists(st.tuples(st.permutations(NAMES), st.integers(1, 3)), min_size=1, max_size=80)


def test_an_expert_that_few_queries_recruit_gives_its_place_to_their_next_best() -> None:
    rankings = [("a", "b", "c")] * 60 + [("b", "a", "c")] * 37 + [("c", "b", "a")] * 3

    assert [("b",)] * 3 == trimmed(rankings, [1] * 100)[-3:]
    assert [("c",)] * 3 == trimmed(rankings, [1] * 100, share=0.02)[-3:]


def test_places_stay_as_many_as_they_were() -> None:
    rankings = [("a", "b", "c")] * 96 + [("c", "b", "a")] * 4

    assert [("b", "a")] * 4 == trimmed(rankings, [2] * 100)[-4:]


def test_two_experts_stay_however_rare_the_second_is() -> None:
    rankings = [("a", "b")] * 99 + [("b", "a")]

    assert ("b",) == trimmed(rankings, [1] * 100)[-1]
    assert ("a",) == trimmed(rankings, [1] * 100, least=1)[-1]


@given(batch=batches)
def test_never_fewer_than_two_unless_asked_and_never_somebody_new(batch: list[tuple[list[str], int]]) -> None:
    rankings, counts = [ranking for ranking, _ in batch], [count for _, count in batch]
    before = {name for ranking, count in batch for name in ranking[:count]}

    after = trimmed(rankings, counts)

    used = {name for names in after for name in names}
    assert used <= before
    assert len(used) >= min(2, len(before))
    assert all(1 <= len(names) <= count for names, count in zip(after, counts, strict=True))
