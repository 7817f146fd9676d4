"""The memorised facts, read from small tables beside this file: countries, elements and words."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Country:
    """A country, named with its article where English wants one."""

    name: str
    capital: str
    currency: str
    continent: str


@dataclass(frozen=True, slots=True)
class Element:
    """A chemical element; `group` is None in the f-block, which has no group number."""

    number: int
    symbol: str
    name: str
    group: int | None
    period: int


@dataclass(frozen=True, slots=True)
class Word:
    """One word and one of its forms, as `relation` (plural, past, ...); irregular forms can only be memorised."""

    relation: str
    word: str
    form: str


@cache
def countries() -> tuple[Country, ...]:
    """Return every country of the table."""
    return tuple(
        Country(row["country"], row["capital"], row["currency"], row["continent"]) for row in _rows("countries.tsv")
    )


@cache
def elements() -> tuple[Element, ...]:
    """Return the periodic table in order of atomic number."""
    return tuple(
        Element(
            number=int(row["number"]),
            symbol=row["symbol"],
            name=row["name"],
            group=None if row["group"] == "-" else int(row["group"]),
            period=int(row["period"]),
        )
        for row in _rows("elements.tsv")
    )


@cache
def irregular_words(relation: str) -> tuple[Word, ...]:
    """Return the words whose form in this relation follows no rule."""
    rows = _rows("irregular.tsv")
    return tuple(Word(relation, row["word"], row["form"]) for row in rows if row["relation"] == relation)


@cache
def regular_words(kind: str) -> tuple[str, ...]:
    """Return the words of a kind (noun, verb, adjective) whose forms follow the rules."""
    return tuple(row["word"] for row in _rows("regular.tsv") if row["kind"] == kind)


@cache
def known_words() -> frozenset[str]:
    """Return every listed word and form, so that a made-up word can avoid them."""
    listed = {row["word"] for row in _rows("regular.tsv")}
    for row in _rows("irregular.tsv"):
        listed |= {row["word"], row["form"]}
    return frozenset(listed)


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
