r"""One spelling for equal answers.

    1,024 = 1024.0      1/2 = \frac{1}{2} = 0.5      3 km = 3000 m      50% = 50 percent = 50      $12 = 12 dollars
    (b) = B = "b) ..."  **Nairobi**. = nairobi

A number is exact as it was written, a fraction whose decimals do not end stays one; two numbers of which one is no
integer are also the same within RELATIVE (`alike`), which sees to 0.3333333 and 1/3. Only short answers are read as
anything but words, and no pattern here takes more than linear time.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from decimal import Context, Decimal
from fractions import Fraction

from experts.profiling.units import Quantity, converted, quantity

RELATIVE = Fraction(1, 10**6)
"""How far apart two numbers may be, of the larger, and still be the same."""
LONGEST_NUMBER = 80
LONGEST_FORMULA = 1000
LONGEST_LITERAL = 2000
DIGITS = 12
LARGEST = Fraction(10) ** 40
LARGEST_DIVISOR = 10**9

_BASES = ("m", "kg", "s", "l", "j")
_UNITLESS = frozenset({"%", "percent", "dollar", "dollars", "usd", "$", "°", "degree", "degrees", "^°", "º"})
_CHOICE = re.compile(r"\(?(?P<letter>[A-Ja-j])\)?(?:[.:)]\s.*)?", re.DOTALL)
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mathit|boxed|operatorname)\s?\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dt]?frac\s?(?:\{([^{}]*)\}\s?\{([^{}]*)\}|(\d)\s?(\d))")
_NOISE = re.compile(r"\\(?:left|right)(?![a-zA-Z])|\\[,;:! ]|\\[()\[\]]|\{,\}|(?<=\d)\\,(?=\d)")
_EXPRESSION = re.compile(r"[-+ ]")


def normalise(answer: str) -> str | None:
    """Return one spelling for equal answers: numbers by value, choices by letter, words without case or dots."""
    bare = undressed(answer)
    if (number := numeral(bare)) is not None:
        return number
    if choice := _CHOICE.fullmatch(bare):
        return choice["letter"].upper()
    return " ".join(bare.casefold().split()) or None


def undressed(answer: str) -> str:
    """Return an answer without markdown, quotes and a closing dot; a formula without what only sets its type."""
    bare = answer.strip().strip("*$` ").rstrip(".!*$` ")
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
        bare = bare[1:-1].strip()
    return _formula(bare) if "\\" in bare and len(bare) <= LONGEST_FORMULA else bare


def _formula(text: str) -> str:
    bare = _NOISE.sub("", text.replace(r"^\circ", "°").replace(r"^{\circ}", "°").replace(r"\%", "%"))
    for _ in range(3):
        bare = _FRACTION.sub(_divided, _WRAPPED.sub(r"\1", bare))
    return bare.replace("( ", "(").replace(" )", ")").strip("$ .")


def _divided(match: re.Match[str]) -> str:
    parts = [match[1], match[2]] if match[1] is not None else [match[3], match[4]]
    return "/".join(f"({part})" if _EXPRESSION.search(part.strip("-+ ")) else part.strip() for part in parts)


def numeral(bare: str) -> str | None:
    """Return the value of a number as text, in the base unit of its dimension; None where it is no number."""
    if len(bare) > LONGEST_NUMBER or not any(char.isdigit() for char in bare):
        return None
    found = quantity(bare)
    return None if found is None else spelled(found)


def spelled(found: Quantity) -> str:
    """Return a quantity as text: exact, to DIGITS digits where it has no end."""
    unit = found.unit.casefold()
    if unit in _UNITLESS or not unit:
        return _decimal(found.value)
    for base in _BASES:
        value = converted(found, base)
        if value is not None:
            return f"{_decimal(value)} {base}"
    return f"{_decimal(found.value)} {' '.join(unit.split())}"


def known_unit(name: str) -> bool:
    """Say whether a unit's name converts to others."""
    return any(converted(Quantity(Fraction(1), name, 0), base) is not None for base in _BASES)


def in_unit(bare: str, unit: str) -> str | None:
    """Return a number as asked for in a unit: converted to it, and without what was counted (apples, dollars)."""
    found = quantity(bare) if len(bare) <= LONGEST_NUMBER and any(char.isdigit() for char in bare) else None
    if found is None:
        return None
    value = converted(found, unit) if unit else None
    return _decimal(found.value if value is None else value)


def literal(value: str) -> str:
    """Return a Python literal as Python writes it; what is none is a string."""
    text = value.strip()
    for spelling in (text, text.replace("\r", r"\r").replace("\n", r"\n")) if len(text) <= LONGEST_LITERAL else ():
        try:
            return repr(ast.literal_eval(spelling))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return repr(text)


def alike(finals: Iterable[str]) -> dict[str, str]:
    """Return for each final answer the first one that is the same: itself, or a number within RELATIVE of it."""
    known: dict[str, str] = {}
    for final in finals:
        if final not in known:
            known[final] = next((first for first in set(known.values()) if _close(final, first)), final)
    return known


def _close(one: str, other: str) -> bool:
    (first, unit), (second, measure) = _value(one), _value(other)
    if first is None or second is None or unit != measure or first.denominator == second.denominator == 1:
        return False
    return abs(first - second) <= RELATIVE * max(abs(first), abs(second))


def _value(final: str) -> tuple[Fraction | None, str]:
    number, _, unit = final.partition(" ")
    try:
        return (Fraction(number) if len(number) <= LONGEST_NUMBER else None), unit
    except (ValueError, ZeroDivisionError):
        return None, unit


def _decimal(value: Fraction) -> str:
    if value.denominator == 1 and abs(value) < LARGEST:
        return str(value.numerator)
    if value.denominator < LARGEST_DIVISOR and _left(value.denominator) > 1:
        return f"{value.numerator}/{value.denominator}"
    context = Context(prec=DIGITS, Emin=-5000, Emax=5000)
    rounded = context.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize(context)
    return f"{rounded:f}" if LARGEST > abs(value) > 1 / LARGEST else str(rounded)


def _left(divisor: int) -> int:
    """Return a divisor without its factors two and five: 1 where the decimals end."""
    for factor in (2, 5):
        while divisor % factor == 0:
            divisor //= factor
    return divisor
