"""Written arithmetic, column by column from the right, as the specialists are taught to show it.

Each line holds one small step, which is what lets a very small model be right about numbers it never saw.
"""

from __future__ import annotations

from itertools import zip_longest


def add(first: int, second: int) -> str:
    """Return the working of `first + second`, one column a line."""
    lines, carry = [], 0
    columns = list(zip_longest(_digits(first), _digits(second), fillvalue=0))
    for place, (top, bottom) in enumerate(columns):
        total = top + bottom + carry
        line = f"{top} + {bottom} + {carry} = {total}"
        lines.append(_written(line, total, last=place == len(columns) - 1))
        carry = total // 10
    return "\n".join(lines)


def subtract(first: int, second: int) -> str:
    """Return the working of `first - second` for `first >= second`, one column a line."""
    lines, borrow = [], 0
    for top, bottom in zip_longest(_digits(first), _digits(second), fillvalue=0):
        taken = bottom + borrow
        borrow = int(top < taken)
        have = top + 10 * borrow
        lines.append(f"from {top} take {taken}: {have} - {taken} = {have - taken}, borrow {borrow}")
    return "\n".join(lines)


def multiply(number: int, digit: int) -> str:
    """Return the working of `number x digit` for a one-digit factor, one column a line."""
    lines, carry = [], 0
    columns = _digits(number)
    for place, top in enumerate(columns):
        total = top * digit + carry
        line = f"{top} x {digit} = {top * digit}, plus {carry} = {total}"
        lines.append(_written(line, total, last=place == len(columns) - 1))
        carry = total // 10
    return "\n".join(lines)


def _digits(number: int) -> list[int]:
    return [int(digit) for digit in reversed(str(number))]


def _written(line: str, total: int, *, last: bool) -> str:
    return line if last else f"{line}, write {total % 10}, carry {total // 10}"
