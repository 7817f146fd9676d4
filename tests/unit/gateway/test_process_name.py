"""A process on this machine is known to be gone; of another machine's nothing is known."""

from __future__ import annotations

import subprocess
import sys

from gateway.process_name import own_name, surely_gone


def test_we_are_here() -> None:
    assert not surely_gone(own_name())
    assert own_name() != own_name()


def test_a_process_that_ended_is_gone() -> None:
    told = [sys.executable, "-c", "from gateway.process_name import own_name; print(own_name())"]
    name = subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()

    assert surely_gone(name)


def test_a_number_used_again_is_not_the_same_process() -> None:
    machine, number, _, chance = own_name().rsplit("/", 3)

    assert surely_gone(f"{machine}/{number}/1.00/{chance}")


def test_of_other_machines_and_other_names_nothing_is_known() -> None:
    _, rest = own_name().split("/", 1)

    for name in (f"elsewhere/{rest}", "0123456789abcdef", "", "a/b/c/d"):
        assert not surely_gone(name)
