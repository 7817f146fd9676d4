"""Written arithmetic, column by column from the right, as the specialists are taught to show it.

Each line holds one small step, which is what lets a very small model be right about numbers it never saw.
"""

from __future__ import annotations

from itertools import zip_longest


def add(first: int, second: int) -> str:
    """Return the working of `first + second`: the problem again, then one column a line, total written with two digits.

    The tens digit of a line's total is the carry of the next.
    """
    lines, carry = [f"{first} + {second}"], 0
    for top, bottom in zip_longest(_digits(first), _digits(second), fillvalue=0):
        total = top + bottom + carry
        lines.append(f"{top} + {bottom} + {carry} = {total:02}")
        carry = total // 10
    return "\n".join(lines)


def subtract(first: int, second: int) -> str:
    """Return the working of `first - second` for `first >= second`, one column a line."""
    lines, borrow = [f"{first} - {second}"], 0
    for top, bottom in zip_longest(_digits(first), _digits(second), fillvalue=0):
        left, taken = top - bottom - borrow, borrow
        borrow = int(left < 0)
        lines.append(f"{top} - {bottom} - {taken} = {left % 10}, borrow {borrow}")
    return "\n".join(lines)


def multiply(number: int, digit: int) -> str:
    """Return the working of `number x digit` for a one-digit factor, one column a line, products with two digits."""
    lines, carry = [f"{number} x {digit}"], 0
    for top in _digits(number):
        total = top * digit + carry
        lines.append(f"{top} x {digit} = {top * digit:02}, plus {carry} = {total:02}")
        carry = total // 10
    return "\n".join(lines)


def _digits(number: int) -> list[int]:
    return [int(digit) for digit in reversed(str(number))]
