"""Roman numerals, written and read place by place. A sixth domain that no shipped expert was trained on.

It is there to try what happens when an expert comes later: train an adapter for it, register it, measure it.
"""

from __future__ import annotations

from random import Random

from experts.pocket.question import Phrasings, Problem, Task, worked

HIGHEST = 299
ONES, FIVES, TENS = "IXC", "VLD", "XCM"


def roman(number: int) -> str:
    """Return a number of 1 to 999 as a Roman numeral."""
    return "".join(numeral for _, numeral in places(number))


def places(number: int) -> list[tuple[int, str]]:
    """Return the value and the numeral of each place that is not zero, hundreds first."""
    digits = [(place, number // 10**place % 10) for place in (2, 1, 0)]
    return [(digit * 10**place, _numeral(digit, place)) for place, digit in digits if digit]


def _numeral(digit: int, place: int) -> str:
    one, five, ten = ONES[place], FIVES[place], TENS[place]
    if digit == 9:
        return one + ten
    if digit == 4:
        return one + five
    return (five if digit >= 5 else "") + one * (digit % 5)


def _write(random: Random) -> Problem:
    number = random.randint(1, HIGHEST)
    lines = "\n".join(f"{value} is {numeral}" for value, numeral in places(number))
    return Problem(f"{number}", {"number": str(number)}, roman(number), worked(lines, roman(number)))


def _read(random: Random) -> Problem:
    number = random.randint(1, HIGHEST)
    lines = "\n".join(f"{numeral} is {value}" for value, numeral in places(number))
    return Problem(f"{number}", {"numeral": roman(number)}, str(number), worked(lines, str(number)))


TASKS: tuple[Task, ...] = (
    Task(
        "write",
        _write,
        Phrasings(
            train=(
                "What is {number} in Roman numerals?",
                "Write {number} as a Roman numeral.",
                "Convert {number} to a Roman numeral.",
                "How do the Romans write {number}?",
            ),
            heldout=("Give {number} in Roman numerals.", "Which Roman numeral stands for {number}?"),
        ),
    ),
    Task(
        "read",
        _read,
        Phrasings(
            train=(
                "What number is the Roman numeral {numeral}?",
                "Read the Roman numeral {numeral}.",
                "What does the Roman numeral {numeral} stand for?",
                "Convert the Roman numeral {numeral} to a number.",
            ),
            heldout=(
                "Which number does the Roman numeral {numeral} mean?",
                "Write the Roman numeral {numeral} as a number.",
            ),
        ),
    ),
)
