"""Replicas: who is fit, who is chosen."""

from __future__ import annotations

from experts.balancer import choose
from experts.health import HealthBoard
from experts.registry import Replica

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
