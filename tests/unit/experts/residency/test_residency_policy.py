"""What the residency policy decides: tables of events and orders, and what must hold in every world."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.residency.policy import Bounds, Orders, ResidencyPolicy
from experts.residency.standing import Phase, Server
from tests.bench.residency_world import Job, Played, World


def policy_for(*names: str, **bounds: object) -> ResidencyPolicy:
    """Return a policy over servers of equal need, one place, and no dwell."""
    given_bounds = {"max_resident": 1, "max_wait_seconds": 60.0, "min_dwell_seconds": 0.0, "prefetch": False} | bounds
    return ResidencyPolicy([Server(name, load_seconds=10) for name in names], Bounds(**given_bounds))  # type: ignore[arg-type]


def awake(policy: ResidencyPolicy, name: str, now: float = 0.0) -> None:
    """Wake a server by the operator's word."""
    assert name in policy.wanted(now, name).wake
    policy.woke(now, name)


def test_the_first_request_wakes_its_server_and_begins_when_it_is_up() -> None:
    policy = policy_for("a", "b")

    assert Orders(wake=("a",)) == policy.asked(0, "a", 1)
    assert Orders() == policy.asked(1, "a", 2)
    assert Orders(begin=(1, 2)) == policy.woke(10, "a")


def test_a_request_for_an_awake_server_begins_at_once() -> None:
    policy = policy_for("a", "b")
    awake(policy, "a")

    assert Orders(begin=(1,)) == policy.asked(1, "a", 1)


def test_a_server_in_use_is_left_alone_and_serves_its_newcomers_first() -> None:
    policy = policy_for("a", "b")
    awake(policy, "a")
    policy.asked(1, "a", 1)

    assert Orders() == policy.asked(2, "b", 2)
    assert Orders(begin=(3,)) == policy.asked(3, "a", 3)
    assert Orders() == policy.ended(4, 1)
    assert Orders(sleep=("a",)) == policy.ended(5, 3)
    assert Orders(wake=("b",)) == policy.slept(6, "a")
    assert Orders(begin=(2,)) == policy.woke(16, "b")


def test_who_has_waited_too_long_drains_a_server_in_use() -> None:
    policy = policy_for("a", "b")
    awake(policy, "a")
    policy.asked(1, "a", 1)
    policy.asked(2, "b", 2)

    assert 62 == policy.alarm(3)
    assert Orders() == policy.tick(61)
    assert Orders() == policy.tick(62)
    assert Orders() == policy.asked(63, "a", 3), "newcomers wait while it drains"
    assert Orders(sleep=("a",)) == policy.ended(64, 1)
    assert Orders(wake=("b",)) == policy.slept(64, "a")


def test_a_drained_server_goes_on_when_nobody_waits_for_its_room_any_more() -> None:
    policy = policy_for("a", "b")
    awake(policy, "a")
    policy.asked(1, "a", 1)
    policy.asked(2, "b", 2)
    policy.tick(62)
    policy.asked(63, "a", 3)

    assert Orders(begin=(3,)) == policy.ended(64, 2)


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        ({"b": [0.0], "c": [0.0, 0.0]}, "c"),
        ({"b": [0.0], "c": [49.0, 49.0]}, "c"),
        ({"b": [0.0] * 3, "c": [49.0] * 4}, "b"),
    ],
    ids=["the larger group", "two new ones outweigh one old one", "three old ones outweigh four new ones"],
)
def test_the_next_group_is_chosen_by_size_and_age(waiting: dict[str, list[float]], expected: str) -> None:
    policy = policy_for("a", "b", "c")
    awake(policy, "a")
    policy.asked(0, "a", 1000)
    events = sorted((at, name) for name, times in waiting.items() for at in times)
    for number, (at, name) in enumerate(events):
        policy.asked(at, name, number)
    policy.ended(50, 1000)

    assert (expected,) == policy.slept(50, "a").wake


def test_what_loads_quickly_is_served_before_what_loads_slowly() -> None:
    servers = [Server("a"), Server("slow", load_seconds=100), Server("quick", load_seconds=5)]
    policy = ResidencyPolicy(servers, Bounds(max_resident=1, min_dwell_seconds=0))
    awake(policy, "a")
    policy.asked(0, "a", 1)
    policy.asked(1, "slow", 2)
    policy.asked(2, "quick", 3)
    policy.ended(3, 1)

    assert ("quick",) == policy.slept(3, "a").wake


def test_the_longest_wait_goes_before_the_largest_group_once_it_is_too_long() -> None:
    policy = policy_for("a", "b", "c")
    awake(policy, "a")
    policy.asked(0, "a", 1)
    policy.asked(1, "b", 2)
    for number in range(10, 40):
        policy.asked(50, "c", number)
    policy.tick(61)
    policy.ended(62, 1)

    assert ("b",) == policy.slept(62, "a").wake


def test_a_fresh_server_stays_a_while_unless_somebody_has_waited_too_long() -> None:
    policy = policy_for("a", "b", min_dwell_seconds=5.0)
    awake(policy, "a", now=0)

    assert Orders() == policy.asked(1, "b", 1)
    assert 5 == policy.alarm(1)
    assert Orders(sleep=("a",)) == policy.tick(5)


def test_a_pinned_server_is_never_put_to_sleep_for_another() -> None:
    servers = [Server("a", pinned=True), Server("b"), Server("c")]
    policy = ResidencyPolicy(servers, Bounds(max_resident=2, min_dwell_seconds=0))
    awake(policy, "a")
    awake(policy, "b")

    assert ("b",) == policy.asked(1, "c", 1).sleep


def test_what_cannot_fit_beside_the_pinned_ones_is_turned_away_at_once() -> None:
    servers = [Server("a", need_gib=10, pinned=True), Server("b", need_gib=16), Server("c", need_gib=14)]
    policy = ResidencyPolicy(servers, Bounds(memory_gib=24))

    assert frozenset({"b"}) == policy.impossible
    assert Orders(refuse=(1,)) == policy.asked(0, "b", 1)
    assert Orders(wake=("c",)) == policy.asked(0, "c", 2)


def test_as_little_as_possible_makes_room() -> None:
    servers = [Server("small", need_gib=4), Server("large", need_gib=16), Server("next", need_gib=14)]
    policy = ResidencyPolicy(servers, Bounds(memory_gib=24, min_dwell_seconds=0, prefetch=False))
    awake(policy, "small")
    awake(policy, "large")

    assert ("large",) == policy.asked(1, "next", 1).sleep


def test_each_gpu_is_shared_by_its_own_servers_only() -> None:
    servers = [
        Server("a", seats={0: 0.9}),
        Server("b", seats={0: 0.9}),
        Server("c", seats={1: 0.9}),
        Server("wide", seats={0: 0.5, 1: 0.5}),
    ]
    policy = ResidencyPolicy(servers, Bounds(max_resident=4, min_dwell_seconds=0, prefetch=False))
    awake(policy, "a")
    awake(policy, "c")

    assert ("a",) == policy.asked(1, "b", 1).sleep, "only a sits where b does"
    assert ("b",) == policy.slept(2, "a").wake
    policy.woke(3, "b")
    policy.ended(4, 1)
    assert {"b", "c"} == set(policy.asked(5, "wide", 2).sleep)


def test_what_is_asked_for_often_is_kept() -> None:
    policy = policy_for("often", "seldom", "next", max_resident=2)
    for number, name in enumerate(["often", "seldom", "often", "often", "seldom"]):
        policy.asked(number, name, number)
        policy.woke(number + 0.5, name) if number < 2 else None
        policy.ended(number + 0.5, number)

    assert ("seldom",) == policy.asked(7, "next", 7).sleep


def test_who_could_not_be_woken_rests_and_turns_requests_away_meanwhile() -> None:
    policy = policy_for("a", "b")
    policy.asked(0, "a", 1)

    assert Orders(refuse=(1,)) == policy.wake_failed(5, "a")
    assert Orders(refuse=(2,)) == policy.asked(5.5, "a", 2)
    assert Orders(wake=("a",)) == policy.asked(6, "a", 3)
    policy.wake_failed(7, "a")
    assert Orders(refuse=(4,)) == policy.asked(8.9, "a", 4)
    assert Orders(wake=("a",)) == policy.asked(9, "a", 5)
    policy.woke(10, "a")
    assert 0 == policy.standings["a"].failures


def test_nobody_asked_for_so_long_and_it_sleeps() -> None:
    policy = ResidencyPolicy([Server("a", sleep_after_seconds=300)], Bounds())
    policy.asked(0, "a", 1)
    policy.woke(10, "a")
    policy.ended(20, 1)

    assert 320 == policy.alarm(30)
    assert Orders() == policy.tick(319)
    assert Orders(sleep=("a",)) == policy.tick(320)
    assert math.inf == policy.alarm(320)


def test_the_operator_puts_a_server_to_sleep_once_it_is_done_and_the_next_request_wakes_it() -> None:
    policy = policy_for("a", "b")
    awake(policy, "a")
    policy.asked(1, "a", 1)

    assert Orders() == policy.dismiss(2, "a")
    assert Orders() == policy.asked(3, "a", 2), "newcomers wait"
    assert Orders(sleep=("a",)) == policy.ended(4, 1)
    assert Orders(wake=("a",)) == policy.slept(5, "a")
    assert Orders(begin=(2,)) == policy.woke(6, "a")
    assert Orders() == policy.tick(100), "told once, it sleeps once"


def test_what_was_asked_for_lately_is_woken_ahead_when_there_is_room() -> None:
    servers = [Server("a", need_gib=10), Server("b", need_gib=14), Server("c", need_gib=10)]
    policy = ResidencyPolicy(servers, Bounds(memory_gib=20, min_dwell_seconds=0))
    policy.asked(0, "a", 1)
    policy.woke(1, "a")
    policy.ended(1, 1)
    policy.asked(2, "c", 2)
    policy.woke(3, "c")
    policy.ended(3, 2)
    policy.asked(4, "b", 3)
    policy.slept(5, "a")
    policy.slept(5, "c")
    policy.woke(6, "b")
    policy.ended(6, 3)

    assert Orders() == policy.tick(10), "no room beside b"
    assert Orders(sleep=("b",)) == policy.dismiss(11, "b")
    assert 1 == len(policy.slept(12, "b").wake)


def test_a_request_whose_client_left_is_forgotten() -> None:
    policy = policy_for("a", "b")
    awake(policy, "a")
    policy.asked(1, "a", 1)
    policy.asked(1, "b", 2)
    policy.ended(2, 2)

    assert Orders() == policy.ended(3, 1)
    assert Phase.RESIDENT == policy.standings["a"].phase


def test_background_requests_wait_for_the_others_but_not_for_ever() -> None:
    policy = policy_for("a", "b", "c")
    awake(policy, "a")
    policy.asked(0, "a", 1)
    for number in range(10, 15):
        policy.asked(1, "b", number, background=True)
    policy.asked(2, "c", 2)

    assert 62 == policy.alarm(3), "c's bound; b's is at 601"
    policy.ended(4, 1)
    assert ("c",) == policy.slept(4, "a").wake


def test_a_server_that_left_turns_its_waiting_away_and_a_new_one_sleeps() -> None:
    policy = policy_for("a", "b")
    awake(policy, "a")
    policy.asked(1, "a", 1)
    policy.asked(1, "b", 2)

    assert Orders(refuse=(2,)) == policy.settle(2, [Server("a"), Server("c")])
    assert Phase.ASLEEP == policy.standings["c"].phase


# Any world: some servers of some sizes, requests at any time, loads and answers of any length.

NAMES = "abcdef"


@st.composite
def worlds(draw: st.DrawFn) -> tuple[ResidencyPolicy, list[Job], dict[str, float], float, dict[str, int]]:
    servers = [
        Server(
            name,
            need_gib=draw(st.integers(1, 12)),
            pinned=name == "a" and draw(st.booleans()),
            seats=draw(st.dictionaries(st.integers(0, 2), st.sampled_from([0.3, 0.5]), max_size=2)),
        )
        for name in NAMES[: draw(st.integers(2, 6))]
    ]
    places = draw(st.one_of(st.none(), st.integers(2, 3)))
    memory = draw(st.integers(24, 30)) if places is None else draw(st.one_of(st.none(), st.integers(24, 30)))
    bounds = Bounds(places, memory, draw(st.sampled_from([5.0, 60.0])), draw(st.sampled_from([0.0, 4.0])))
    names = st.sampled_from([server.name for server in servers])
    job = st.builds(Job, st.floats(0, 200), names, st.floats(0.01, 20), st.booleans())
    jobs = draw(st.lists(job, max_size=40))
    loads = {server.name: draw(st.floats(0.1, 30)) for server in servers}
    failing = draw(st.dictionaries(names, st.integers(0, 2), max_size=1))
    return ResidencyPolicy(servers, bounds), jobs, loads, draw(st.floats(0, 5)), failing


@given(worlds())
def test_memory_is_never_exceeded_and_everybody_is_answered(
    world: tuple[ResidencyPolicy, list[Job], dict[str, float], float, dict[str, int]],
) -> None:
    policy, jobs, loads, sleep_seconds, failing = world
    bounds = policy.bounds

    def watch(now: float, played: Played) -> None:
        needs = [policy.standings[name].server.need_gib for name in played.awake]
        assert bounds.max_resident is None or len(needs) <= bounds.max_resident
        assert bounds.memory_gib is None or sum(needs) <= bounds.memory_gib
        for gpu in range(3):
            assert sum(policy.standings[name].server.seats.get(gpu, 0) for name in played.awake) <= 1 + 1e-6

    played = World(policy, loads, sleep_seconds=sleep_seconds, failing=failing, watch=watch).play(jobs)

    assert len(jobs) == len(played.done) + len(played.refused)
    assert {jobs[number].server for number in played.refused} <= set(failing), "only failures turn anybody away"


@given(
    jobs=st.lists(
        st.builds(Job, st.floats(0, 300), st.sampled_from(NAMES), st.floats(0.01, 25)), min_size=1, max_size=60
    ),
    load_seconds=st.floats(0.1, 40),
    sleep_seconds=st.floats(0, 5),
    max_wait_seconds=st.sampled_from([5.0, 30.0, 120.0]),
    max_resident=st.integers(1, 3),
    min_dwell_seconds=st.sampled_from([0.0, 10.0]),
)
def test_nobody_waits_longer_than_the_stated_bound(
    jobs: list[Job],
    load_seconds: float,
    sleep_seconds: float,
    max_wait_seconds: float,
    max_resident: int,
    min_dwell_seconds: float,
) -> None:
    bounds = Bounds(max_resident, None, max_wait_seconds, min_dwell_seconds)
    policy = ResidencyPolicy([Server(name) for name in NAMES], bounds)
    loads = dict.fromkeys(NAMES, load_seconds)
    played = World(policy, loads, sleep_seconds=sleep_seconds).play(jobs)

    turn = max(job.service_seconds for job in jobs) + load_seconds + sleep_seconds
    for number, job in enumerate(jobs):
        older = {
            other.server
            for n, other in enumerate(jobs)
            if other.server != job.server and other.at <= job.at and played.begun[n] > job.at
        }
        waited = played.begun[number] - job.at
        assert waited <= max_wait_seconds + (len(older) + 2) * turn + 1e-6


@given(
    groups=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    max_resident=st.integers(1, 3),
    max_wait_seconds=st.sampled_from([1.0, 60.0, 1000.0]),
    service_seconds=st.floats(0.1, 20),
    places=st.integers(1, 8),
)
def test_a_batch_loads_each_model_once(
    groups: list[int], max_resident: int, max_wait_seconds: float, service_seconds: float, places: int
) -> None:
    names = NAMES[: len(groups)]
    policy = ResidencyPolicy([Server(name) for name in names], Bounds(max_resident, None, max_wait_seconds))
    jobs = [
        Job(0, name, service_seconds, background=True)
        for position in range(max(groups))
        for name, size in zip(names, groups, strict=True)
        if position < size
    ]
    played = World(policy, dict.fromkeys(names, 30.0), places=places).play(jobs)

    assert Counter(names) == played.loads
    assert len(jobs) == len(played.done)
