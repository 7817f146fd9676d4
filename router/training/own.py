"""Prompts of our own wording, for what no public table covers: chat, commands, trivia, everyday questions.

The files in `own_prompts/` say, for each domain, which kinds of prompt there are. A kind has
`lines`, taken as they are, and `frames`, whose `{slots}` are filled by draws that are the same on every machine.
A slot's name with a 2 behind it draws another value of the same slot; `{a} {b} {c} {n} {m}` are numbers, `{name}`
and `{other}` are people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from random import Random
from typing import Any

import yaml

from experts.types import Domain
from router.taxonomy import OUT_OF_SCOPE, Taxonomy, default_taxonomy
from router.training.prompts import Prompt

SOURCE = "consilium"
PER_FRAME = 6
STRAYS = "strays"
"""The key of our own out-of-scope prompts: no domain, shown to the head as what it is not for."""
NAMES = ("Mia", "Omar", "Jin", "Lucia", "Ben", "Priya", "Tom", "Aisha", "Carlos", "Ella", "Kofi", "Nina", "Sam", "Yuki")
NUMBERS = {"a": (2, 12), "b": (2, 20), "c": (2, 9), "n": (24, 960), "m": (15, 400)}
_SLOT = re.compile(r"\{(\w+?)\}")


def own_prompts() -> Iterator[Prompt]:
    """Yield every prompt of our own, all for fitting; a source ends with the kind, else with file and domain."""
    for entry in default_taxonomy().entries.values():
        yield from (Prompt(text, entry.name, "train", SOURCE) for text in entry.examples)
    for path in sorted(files("router.training").joinpath("own_prompts").iterdir(), key=lambda path: path.name):
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
        slots = table.pop("slots", {})
        where = path.name.removesuffix(".yaml")
        for domain, kinds in table.items():
            label = OUT_OF_SCOPE if domain == STRAYS else domain
            for kind in kinds if isinstance(kinds, list) else [kinds]:
                yield from _of_kind({"name": f"{where}, {domain}", **kind}, label, slots)


def for_labels(prompts: Iterable[Prompt], labels: Sequence[Domain], taxonomy: Taxonomy | None = None) -> list[Prompt]:
    """Return the prompts whose domain falls under a label, as prompts of that label, and those out of scope.

    Returns nothing when fewer than half of the labels are of the taxonomy: then they are somebody's own.
    """
    meaning: dict[Domain, Domain] = (taxonomy or default_taxonomy()).meanings(labels)
    if 2 * len(set(meaning.values())) < len(set(labels)):
        return []
    meaning[OUT_OF_SCOPE] = OUT_OF_SCOPE
    return [replace(each, domain=meaning[each.domain]) for each in prompts if each.domain in meaning]


def _of_kind(kind: Mapping[str, Any], domain: Domain, slots: Mapping[str, Sequence[str]]) -> Iterator[Prompt]:
    source = f"{SOURCE}: {kind['name']}"
    for frame in kind.get("frames", ()):
        if "topics" in kind:
            texts = [frame.format(topic) for topic in kind["topics"]]
        else:
            texts = _fill(frame, slots, kind.get("per_frame", PER_FRAME))
        yield from (Prompt(text, kind.get("label", domain), "train", source) for text in texts)
    for line in kind.get("lines", ()):
        yield Prompt(line.strip(), kind.get("label", domain), "train", source)


def _fill(frame: str, slots: Mapping[str, Sequence[str]], count: int) -> list[str]:
    """Return up to `count` different fillings of a frame, the same ones every time."""
    random = Random(frame)
    names = _SLOT.findall(frame)
    drawn = [frame.format(**_draw(names, slots, random)) for _ in range(count)]
    return list(dict.fromkeys(drawn))


def _draw(names: Sequence[str], slots: Mapping[str, Sequence[str]], random: Random) -> dict[str, str]:
    people = dict(zip(("name", "other"), random.sample(NAMES, 2), strict=True))
    values = {name: str(random.randint(*NUMBERS[name])) for name in NUMBERS} | people
    for name in dict.fromkeys(name.removesuffix("2") for name in names if name not in values):
        values[name], values[f"{name}2"] = random.sample(list(slots[name]), 2)
    return values
