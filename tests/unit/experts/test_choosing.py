"""Replicas: who is fit, who is chosen."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from experts.balancer import LEAN, affinity_key, choose
from experts.health import HealthBoard
from experts.registry import Replica
from experts.types import ExpertCall

ONE, TWO = Replica("http://one/v1"), Replica("http://two/v1")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_replica_with_least_outstanding_calls_is_chosen() -> None:
    board = HealthBoard()
    board.of(ONE.base_url).in_flight = 2
    board.of(TWO.base_url).in_flight = 1

    assert TWO == choose([ONE, TWO], board)


def test_outstanding_calls_count_per_weight() -> None:
    board = HealthBoard()
    heavy = Replica("http://heavy/v1", weight=4)
    board.of(heavy.base_url).in_flight = 3
    board.of(ONE.base_url).in_flight = 1

    assert heavy == choose([ONE, heavy], board)


def test_a_failed_replica_rests_longer_each_time_and_at_most_eight_seconds() -> None:
    clock = Clock()
    board = HealthBoard(clock)
    rests = []
    for _ in range(7):
        board.failed(ONE.base_url, "boom")
        rests.append(board.of(ONE.base_url).rests_until - clock.now)

    assert [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0] == rests
    board.served(ONE.base_url)
    assert not board.rests(ONE.base_url)


def test_overload_rests_a_replica_without_counting_as_a_fault() -> None:
    clock = Clock()
    board = HealthBoard(clock)
    board.overloaded(ONE.base_url, 3.0)

    assert TWO == choose([ONE, TWO], board)
    assert 0 == board.of(ONE.base_url).faults_in_a_row
    clock.now += 3.1
    assert not board.rests(ONE.base_url)


def test_when_all_rest_the_first_to_be_back_is_still_tried() -> None:
    board = HealthBoard(Clock())
    board.overloaded(ONE.base_url, 9.0)
    board.overloaded(TWO.base_url, 5.0)

    assert TWO == choose([ONE, TWO], board)
    assert ONE == choose([ONE, TWO], board, tried={TWO.base_url})
    assert None is choose([ONE, TWO], board, tried={ONE.base_url, TWO.base_url})


def test_idle_replicas_take_turns_at_random_and_the_heavier_comes_first() -> None:
    board, draw = HealthBoard(), Random(7).random
    heavy = Replica("http://heavy/v1", weight=2)

    assert {ONE, TWO} == {choose([ONE, TWO], board, draw=draw) for _ in range(20)}
    assert {heavy} == {choose([ONE, heavy], board, draw=draw) for _ in range(20)}


def test_three_faults_open_a_breaker_and_only_an_answered_call_closes_it() -> None:
    clock = Clock()
    board, url = HealthBoard(clock), ONE.base_url
    states = []
    for _ in range(3):
        states.append((board.breaker(url), board.shut_off(url)))
        board.failed(url, "boom")
    clock.now += 1.9
    states.append((board.breaker(url), board.shut_off(url)))
    board.found(url)
    states.append((board.breaker(url), board.shut_off(url)))
    board.of(url).trying += 1
    states.append((board.breaker(url), board.shut_off(url)))
    board.served(url)

    closed, opened, half = ("closed", False), ("open", True), ("half_open", False)
    assert [closed, closed, closed, opened, half, ("half_open", True)] == states
    assert "closed" == board.breaker(url)


def test_overload_never_opens_a_breaker_and_a_probe_does_not_end_its_pause() -> None:
    board = HealthBoard(Clock())
    for _ in range(10):
        board.overloaded(ONE.base_url, 30)
    board.found(ONE.base_url)

    assert ("closed", True) == (board.breaker(ONE.base_url), board.rests(ONE.base_url))


def test_a_replica_may_be_away_for_weeks() -> None:
    clock = Clock()
    board = HealthBoard(clock)
    for _ in range(5000):
        board.failed(ONE.base_url, "boom")

    assert 8.0 == board.of(ONE.base_url).rests_until - clock.now


FOUR = [Replica(f"http://{name}/v1") for name in "abcd"]


def test_a_key_keeps_its_replica_and_moves_only_when_that_one_goes() -> None:
    board = HealthBoard()
    homes = {str(key): choose(FOUR, board, key=str(key)) for key in range(200)}
    left = {key: choose(FOUR[1:], board, key=key) for key in homes}

    assert all(30 <= count <= 70 for count in Counter(homes.values()).values())
    assert all(left[key] == home for key, home in homes.items() if home != FOUR[0])


def test_a_replica_twice_as_heavy_is_home_to_twice_as_many_keys() -> None:
    board, heavy = HealthBoard(), Replica("http://heavy/v1", weight=2)
    homes = Counter(choose([ONE, heavy], board, key=str(key)) for key in range(900))

    assert 540 <= homes[heavy] <= 660


def test_one_busy_key_spills_over_before_its_replica_has_much_more_than_its_share() -> None:
    board = HealthBoard()
    for _ in range(40):
        chosen = choose(FOUR, board, key="everybody's system prompt")
        assert chosen
        board.of(chosen.base_url).in_flight += 1
    most = max(board.of(replica.base_url).in_flight for replica in FOUR)

    assert 10 < most <= LEAN * 10 + 1


def test_a_replica_that_rests_is_nobodys_home() -> None:
    board = HealthBoard()
    home = choose(FOUR, board, key="mine")
    assert home
    board.failed(home.base_url, "boom")

    assert home != choose(FOUR, board, key="mine")


def messages(*said: str) -> tuple[dict[str, str], ...]:
    return tuple({"role": said[i], "content": said[i + 1]} for i in range(0, len(said), 2))


def test_a_conversation_keeps_its_key_as_it_grows() -> None:
    begun = messages("system", "Be brief.", "user", "Hello")
    grown = (*begun, *messages("assistant", "Hi", "user", "What is 2 + 2?"))
    other = messages("system", "Be brief.", "user", "Good day")

    keys = [affinity_key("prefix", ExpertCall("math", said)) for said in (begun, grown, other)]
    assert keys[0] == keys[1] != keys[2]


def test_a_long_system_prompt_alone_decides() -> None:
    rules = "Rule. " * 400
    calls = [ExpertCall("math", messages("system", rules, "user", question)) for question in ("One?", "Two?")]

    assert 1 == len({affinity_key("prefix", call) for call in calls})


@pytest.mark.parametrize(("session", "key"), [("", None), ("chat-1", "ann\nchat-1")])
def test_a_session_is_its_clients_own(session: str, key: str | None) -> None:
    call = ExpertCall("math", messages("user", "Hello"), client="ann", session=session)

    assert (key, None) == (affinity_key("session", call), affinity_key("none", call))
