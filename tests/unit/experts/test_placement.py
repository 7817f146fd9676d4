"""Which server goes on which GPU: tables for usual boxes, and what holds for every input."""

from __future__ import annotations

import itertools
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.errors import ConfigError
from experts.placement import USUAL_SHARE, Device, Need, Plan, grown, place


def box(count: int, gib: float) -> tuple[Device, ...]:
    return tuple(Device(index, gib, gib) for index in range(count))


def need(name: str, gib: float, heads: int = 32, gpus: int | None = None) -> Need:
    """A server whose weights are all it needs."""
    return Need(server=name, weights_gib=gib, heads=heads, gpus=gpus)


def seats(plan: Plan) -> dict[str, tuple[int, ...]]:
    return {name: seat.devices for name, seat in plan.seats.items()}


@pytest.mark.parametrize(
    ("needs", "devices", "expected"),
    [
        ([need("a", 18)], box(1, 24), {"a": (0,)}),
        ([need("a", 18), need("b", 18)], box(2, 24), {"a": (0,), "b": (1,)}),
        ([need("a", 10), need("b", 5)], box(2, 24), {"a": (0,), "b": (1,)}),
        ([need("a", 10), need("b", 5), need("c", 9)], box(1, 24), {"a": (0,), "b": (0,), "c": (0,)}),
        ([need("a", 40)], box(2, 24), {"a": (0, 1)}),
        ([need("a", 40), need("b", 20), need("c", 20)], box(4, 24), {"a": (0, 1), "b": (2,), "c": (3,)}),
        ([need("a", 140)], box(4, 48), {"a": (0, 1, 2, 3)}),
        ([need("a", 140), need("b", 40)], box(8, 48), {"a": (0, 1, 2, 3), "b": (4,)}),
        ([need("a", 140)], box(2, 80), {"a": (0, 1)}),
        ([need("a", 600)], box(8, 80), {"a": tuple(range(8))}),
        ([need("a", 10, gpus=2), need("b", 10)], box(4, 24), {"a": (0, 1), "b": (2,)}),
    ],
)
def test_usual_boxes(needs: list[Need], devices: tuple[Device, ...], expected: dict[str, tuple[int, ...]]) -> None:
    assert seats(place(needs, devices)) == expected


def test_where_servers_must_share_the_largest_hole_is_left() -> None:
    plan = place([need("a", 40), need("b", 30), need("c", 20)], box(2, 80))
    assert plan.seats["a"].devices != plan.seats["b"].devices or plan.seats["a"].devices != plan.seats["c"].devices
    assert sorted(plan.left_gib.values()) == pytest.approx([10, 60])


def test_what_first_fit_cannot_pack_is_packed() -> None:
    needs = [need(str(gib), gib, heads=0) for gib in (14, 13, 11, 10)]
    plan = place(needs, box(2, 24))
    assert sorted(plan.left_gib.values()) == pytest.approx([0, 0])


def test_servers_that_take_turns_share_a_gpu() -> None:
    needs = [need(name, 20, heads=0) for name in "abcd"]
    with pytest.raises(ConfigError):
        place(needs, box(1, 24))
    plan = place(needs, box(1, 24), max_resident=1)
    assert plan.left_gib == {0: pytest.approx(4)}
    with pytest.raises(ConfigError, match="with 2 awake at once"):
        place(needs, box(1, 24), max_resident=2)


def test_the_number_of_gpus_divides_the_heads() -> None:
    assert len(place([need("a", 40, heads=12)], box(8, 24)).seats["a"].devices) == 2
    assert len(place([need("a", 80, heads=12)], box(8, 24)).seats["a"].devices) == 4
    with pytest.raises(ConfigError, match=r"'a' 40\.0 GiB\. Free: GPU 0: 24\.0 of 24\.0 GiB"):
        place([need("a", 40, heads=7)], box(8, 24))


def test_a_refusal_has_what_is_asked_and_what_is_free() -> None:
    with pytest.raises(ConfigError) as refused:
        place([need("big", 100, heads=2), need("small", 5)], [Device(0, 24, 22.5), Device(1, 48, 48)])
    assert "'big' 100.0 GiB or 50.0 GiB on each of 2, 'small' 5.0 GiB" in str(refused.value)
    assert "GPU 0: 22.5 of 24.0 GiB, GPU 1: 48.0 of 48.0 GiB" in str(refused.value)


def test_a_model_of_unknown_size_gets_a_gpu_of_its_own() -> None:
    plan = place([Need(server="hub"), need("a", 20)], box(2, 24))
    assert plan.seats["hub"].fraction == USUAL_SHARE
    assert not set(plan.seats["hub"].devices) & set(plan.seats["a"].devices)


def test_the_operators_word_on_memory_and_gpus_holds() -> None:
    fixed = Need(server="a", weights_gib=1, gpus=2, fixed_gib=12, heads=32)
    assert place([fixed], box(2, 24)).seats["a"].fraction == 0.5
    with pytest.raises(ConfigError, match="'a' 3 GPUs"):
        place([Need(server="a", weights_gib=1, gpus=3)], box(2, 24))


def test_a_newcomer_is_placed_beside_those_that_run() -> None:
    first = place([need("a", 20)], box(2, 24))
    both = place([need("a", 20), need("b", 20)], box(2, 24), kept=first.seats)
    assert (both.seats["a"], both.seats["b"].devices) == (first.seats["a"], (1,))
    with pytest.raises(ConfigError, match=r"GPU 0: 4\.0 of 24\.0 GiB"):
        place([need("a", 20), need("c", 30, heads=0)], box(1, 24), kept=first.seats)


def test_what_is_left_grows_the_servers_that_may_grow() -> None:
    plan = place([need("a", 20), need("b", 10)], box(1, 80))
    both = grown(plan, box(1, 80), frozenset({"a", "b"}))
    assert both.seats["a"].fraction * 80 == pytest.approx(20 + 21)
    assert both.seats["b"].fraction * 80 == pytest.approx(10 + 21)
    one = grown(plan, box(1, 80), frozenset({"a"}))
    assert one.seats["a"].fraction * 80 == pytest.approx(20 + 42)
    assert one.seats["b"] == plan.seats["b"]


def test_a_dozen_servers_on_eight_gpus_are_placed_in_seconds() -> None:
    needs = [need(f"e{number}", 9 + 3.7 * number) for number in range(12)]
    begun = time.perf_counter()
    plan = place(needs, box(8, 80))
    assert time.perf_counter() - begun < 20
    assert set(plan.seats) == {each.server for each in needs}


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[list[Need], list[Device], int | None]:
    devices = [
        Device(index, total, total * draw(st.sampled_from([1.0, 0.9, 0.5])))
        for index, total in enumerate(draw(st.lists(st.sampled_from([24.0, 48.0, 80.0]), min_size=1, max_size=4)))
    ]
    needs = [
        Need(
            server=f"e{number}",
            weights_gib=draw(st.one_of(st.none(), st.floats(0.5, 90))),
            kv_gib=draw(st.floats(0, 10)),
            overhead_gib=2,
            heads=draw(st.sampled_from([0, 6, 12, 32])),
            kv_heads=draw(st.sampled_from([0, 1, 4])),
            gpus=draw(st.sampled_from([None, None, 1, 2])),
            fixed_gib=draw(st.sampled_from([None, None, 10.0])),
        )
        for number in range(draw(st.integers(1, 5)))
    ]
    return needs, devices, draw(st.sampled_from([None, 1, 2]))


@settings(max_examples=150, deadline=None)
@given(_worlds())
def test_no_device_ever_holds_more_than_it_has(world: tuple[list[Need], list[Device], int | None]) -> None:
    needs, devices, most = world
    try:
        plan = place(needs, devices, max_resident=most)
    except ConfigError:
        return
    growing = frozenset(each.server for each in needs if each.fixed_gib is None)
    for found in (plan, grown(plan, devices, growing, most)):
        assert set(found.seats) == {each.server for each in needs}
        for awake in itertools.combinations(found.seats.values(), min(most or len(needs), len(needs))):
            for device in devices:
                load = sum(seat.fraction * device.total_gib for seat in awake if device.index in seat.devices)
                assert load <= device.free_gib + 1e-4
        for each in needs:
            seat = found.seats[each.server]
            count = len(seat.devices)
            asked = each.each_gib(count)
            assert count in each.choices(len(devices))
            for device in devices:
                if device.index in seat.devices and asked is not None:
                    assert seat.fraction * device.total_gib >= asked - 1e-4


@settings(max_examples=80, deadline=None)
@given(_worlds(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    world: tuple[list[Need], list[Device], int | None], random: Random
) -> None:
    needs, devices, most = world
    try:
        expected = place(needs, devices, max_resident=most)
    except ConfigError:
        expected = None
    random.shuffle(needs)
    random.shuffle(devices)
    if expected is None:
        with pytest.raises(ConfigError):
            place(needs, devices, max_resident=most)
    else:
        assert place(needs, devices, max_resident=most) == expected


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(4, 24), min_size=1, max_size=6), st.integers(1, 3))
def test_whatever_can_be_packed_is_packed(sizes: list[int], count: int) -> None:
    """Against trying every seating, for servers of one GPU each."""
    needs = [need(f"e{number}", size, heads=0) for number, size in enumerate(sizes)]

    def fits(seating: tuple[int, ...]) -> bool:
        return all(
            sum(size for size, on in zip(sizes, seating, strict=True) if on == gpu) <= 24 for gpu in range(count)
        )

    possible = any(fits(seating) for seating in itertools.product(range(count), repeat=len(sizes)))
    try:
        place(needs, box(count, 24))
    except ConfigError:
        assert not possible
    else:
        assert possible
