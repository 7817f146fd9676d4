"""Read a quantity out of a short text, and compare quantities in different units.

Numbers are exact fractions, so that 0.1 + 0.2 is 0.3 and 3/4 is 0.75. Units of one dimension convert; others only
equal themselves. Temperatures are not converted: their scales have different zeros.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

_SIGN = r"[-+\u2212]?\s*"
_NUMBER = (
    rf"(?P<top>{_SIGN}(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?|{_SIGN}\.\d+)"
    r"(?:\s*/\s*(?P<bottom>\d+)|\s*(?:[x×*]|\\times)\s*10\s*\^\s*\{?(?P<power>[-+\u2212]?\d{1,3})\}?|[e](?P<exponent>[-+]?\d{1,3}))?"
)
_QUANTITY = re.compile(
    rf"(?i)(?:about|approximately|roughly|≈|~)?\s*[$€£]?\s*{_NUMBER}\s*(?P<unit>[a-zµ°%²³^/ ]*?[a-zµ°%²³]?[23]?)\s*\.?"
)
_FRACTION = re.compile(r"(?P<sign>[-\u2212]?)\\d?frac\{(?P<top>\d+)\}\{(?P<bottom>\d+)\}")
_DRESS = re.compile(r"\\(?:text|mathrm|mathbf)\{([^{}]*)\}|\\[,;:! ]|[*$]|\\(?=%)")
_EQUALS = re.compile(r".*(?:=|≈|:)\s*")

LONGEST_QUANTITY = 200
"""Characters of a text that may still be one quantity."""
Table: TypeAlias = Mapping[str, tuple[str, Fraction]]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, its unit (empty for none), and the number of decimals it was written with; None for a fraction."""

    value: Fraction
    unit: str
    decimals: int | None


def quantity(text: str) -> Quantity | None:
    """Return the one quantity that a short text states, or None when it states none or more than a number."""
    if len(text) > LONGEST_QUANTITY:
        return None
    bare = _FRACTION.sub(r"\g<sign>\g<top>/\g<bottom>", _DRESS.sub(lambda match: match[1] or "", text))
    bare = " ".join(bare.split())  # many spaces could be shared out among the parts of the pattern in very many ways
    found = _QUANTITY.fullmatch(bare) or _QUANTITY.fullmatch(_EQUALS.sub("", bare, count=1))
    if found is None or (found["bottom"] and not int(found["bottom"])):
        return None
    top = re.sub(r"[,\s]", "", found["top"].replace("\u2212", "-"))
    value = Fraction(top) / int(found["bottom"] or 1)
    power = (found["power"] or found["exponent"] or "0").replace("\u2212", "-")
    decimals = None if found["bottom"] else len(top.partition(".")[2]) - int(power)
    return Quantity(value * Fraction(10) ** int(power), found["unit"].strip(), decimals)


def converted(said: Quantity, unit: str) -> Fraction | None:
    """Return what was said in another unit; a missing unit is taken for the right one; None where none converts."""
    if not said.unit or not unit or _plain(said.unit) == _plain(unit):
        return said.value
    here, there = _UNITS.get(_plain(said.unit)), _UNITS.get(_plain(unit))
    if here is None or there is None or here[0] != there[0]:
        return None
    return said.value * here[1] / there[1]


def _plain(unit: str) -> str:
    """Return one spelling of a unit: without case, spaces and a plural's s."""
    plain = unit.casefold().replace(" ", "").replace("metre", "meter").replace("litre", "liter")
    return plain if plain in _UNITS or len(plain) < 3 else plain.removesuffix("s").replace("feet", "foot")


def _table() -> Table:
    factors = {
        "length": {
            "mm millimeter": "0.001", "cm centimeter": "0.01", "m meter": "1", "km kilometer": "1000",
            "in inch inche": "0.0254", "ft foot": "0.3048", "yd yard": "0.9144", "mi mile": "1609.344",
        },
        "mass": {
            "mg milligram": "0.000001", "g gram": "0.001", "kg kilogram": "1", "t ton tonne": "1000",
            "oz ounce": "0.028349523125", "lb pound": "0.45359237",
        },
        "time": {
            "ms millisecond": "0.001", "s sec second": "1", "min minute": "60", "h hr hour": "3600",
            "d day": "86400", "week": "604800",
        },
        "volume": {
            "ml milliliter": "0.001", "cl centiliter": "0.01", "l liter": "1", "cm³ cm3 cm^3": "0.001",
            "m³ m3 m^3": "1000",
        },
        "energy": {"j joule": "1", "kj kilojoule": "1000", "kwh": "3600000"},
        "share": {"%": "0.01", "percent": "0.01"},
    }  # fmt: skip
    return {
        name: (dimension, Fraction(factor))
        for dimension, units in factors.items()
        for names, factor in units.items()
        for name in names.split()
    }


_UNITS = _table()
