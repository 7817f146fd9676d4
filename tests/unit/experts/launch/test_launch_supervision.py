"""Restart decisions: delays, starting over after health, giving up, hung servers."""

from __future__ import annotations

import pytest

from experts.launch.supervision import Ended, Instruction, Patience, Tally, after_end, after_probe

PATIENCE = Patience()


def _run_through(*ended: Ended) -> list[Instruction]:
    tally, instructions = Tally(), []
    for end in ended:
        tally, instruction = after_end(tally, end, PATIENCE)
        instructions.append(instruction)
    return instructions


def test_delays_double_up_to_a_minute() -> None:
    delays = [i.delay_seconds for i in _run_through(*[Ended("crash", 5.0)] * 8)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_minute_of_health_starts_the_delays_over() -> None:
    delays = [i.delay_seconds for i in _run_through(Ended("a", 1), Ended("b", 1), Ended("c", 60), Ended("d", 1))]
    assert delays == [1, 2, 1, 2]


def test_five_failed_starts_in_a_row_are_enough() -> None:
    assert [i.restart for i in _run_through(*[Ended("no weights")] * 5)] == [True] * 4 + [False]


def test_a_server_that_comes_up_is_restarted_for_ever() -> None:
    assert all(i.restart for i in _run_through(*[Ended("crash", 0.5)] * 50))


def test_coming_up_once_forgives_failed_starts() -> None:
    ends = [Ended("x")] * 4 + [Ended("y", 1)] + [Ended("x")] * 4
    assert all(i.restart for i in _run_through(*ends))


@pytest.mark.parametrize(
    ("misses", "answered", "expected"),
    [
        (0, True, (0, False)),
        (0, False, (1, False)),
        (1, False, (2, False)),
        (2, False, (3, True)),
        (2, True, (0, False)),
    ],
)
def test_three_missed_probes_in_a_row_make_a_hung_server(
    misses: int, answered: bool, expected: tuple[int, bool]
) -> None:
    assert after_probe(misses, answered, PATIENCE) == expected


def test_a_cpu_is_given_more_time_to_answer() -> None:
    gpu, cpu = Patience.on("gpu"), Patience.on("cpu")
    assert cpu.probe_timeout_seconds > gpu.probe_timeout_seconds
    assert cpu.most_misses > gpu.most_misses
