"""Who is probed, and what a probe changes."""

from __future__ import annotations

from experts.config import ExpertConfig
from experts.errors import ExpertUnavailable
from experts.health import HealthBoard, Prober
from experts.registry import Expert, Registry, Replica, static_replicas

URL = "http://127.0.0.1:1/v1"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Counts probes, and fails them while it is down."""

    def __init__(self) -> None:
        self.probes, self.down = 0, False

    async def probe(self, expert: Expert, replica: Replica) -> None:
        self.probes += 1
        if self.down:
            raise ExpertUnavailable(expert.name, "cannot be reached")


def world() -> tuple[Server, HealthBoard, Clock, Prober]:
    config = ExpertConfig.model_validate({"name": "math", "replicas": [{"base_url": URL}]})
    server, clock = Server(), Clock()
    board = HealthBoard(clock)
    return (
        server,
        board,
        clock,
        Prober(Registry([Expert(config, config.profile(), static_replicas(config))]), server, board),
    )


async def test_a_replica_that_answers_calls_is_not_probed_and_one_that_nobody_asks_is() -> None:
    server, board, clock, prober = world()
    await prober.probe_doubtful()
    await prober.probe_doubtful()
    asked_at_first = server.probes
    clock.now += 11
    board.served(URL)
    await prober.probe_doubtful()
    busy = server.probes
    clock.now += 11
    await prober.probe_doubtful()

    assert (1, 1, 2) == (asked_at_first, busy, server.probes)


async def test_a_server_that_died_unasked_is_no_longer_ready_and_comes_back_by_itself() -> None:
    server, board, clock, prober = world()
    await prober.probe_doubtful()
    server.down = True
    clock.now += 11
    await prober.probe_doubtful()
    gone = board.of(URL).proven, board.of(URL).last_error, board.breaker(URL)
    server.down = False
    await prober.probe_doubtful()

    assert (False, "cannot be reached", "closed") == gone
    assert board.of(URL).proven


async def test_a_server_that_is_too_busy_writing_to_be_probed_is_left_alone() -> None:
    server, board, clock, prober = world()
    board.served(URL)
    board.of(URL).in_flight = 1
    clock.now += 60
    await prober.probe_doubtful()

    assert 0 == server.probes
