"""Prompts dressed the way real ones are: misspelt, pasted with something around them, with words tacked on.

What is asked stays the same and so does the label, so a head learns which part of a text to look past. The draws are
the same on every machine. A dressed prompt keeps its source: whoever leaves a source out leaves these out with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from random import Random

import yaml

from router.training.prompts import Prompt

MOST = 3200
LONGEST = 300
"""Characters of a prompt that is dressed; a longer one drowns what is put around it."""
TYPOS_PER_LETTER = 0.05
Dress = Callable[[str, Random], str]


def dressed(prompts: Sequence[Prompt], most: int = MOST) -> list[Prompt]:
    """Return up to `most` of the short prompts, each changed in one way; in the order in which they were drawn."""
    short = [prompt for prompt in prompts if len(prompt.text) <= LONGEST]
    random = Random("dressing")
    chosen = random.sample(short, min(most, len(short)))
    ways = (misspelt, pasted_before, pasted_after, with_words_added)
    return [replace(each, text=ways[place % len(ways)](each.text, random)) for place, each in enumerate(chosen)]


def misspelt(text: str, random: Random) -> str:
    """Return the text with about one letter in twenty left out, doubled, swapped or replaced; at least one."""
    letters = list(text)
    places = [place for place, letter in enumerate(letters[:-1]) if letter.isalpha()]
    for place in random.sample(places, min(len(places), max(1, round(len(places) * TYPOS_PER_LETTER)))):
        kind = random.randrange(4)
        if kind == 0:
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
        else:
            letters[place] = ("", letters[place] * 2, random.choice("aeinorst"))[kind - 1]
    return "".join(letters)


def pasted_before(text: str, random: Random) -> str:
    """Return the text below something that has nothing to do with it."""
    return f"{random.choice(_surroundings()['pasted'])}{random.choice(_GAPS)}{text}"


def pasted_after(text: str, random: Random) -> str:
    """Return the text above something that has nothing to do with it."""
    return f"{text}{random.choice(_GAPS)}{random.choice(_surroundings()['pasted'])}"


def with_words_added(text: str, random: Random) -> str:
    """Return the text with a sentence tacked on that asks for something else, or for nothing."""
    return f"{text} {random.choice(_surroundings()['added'])}"


@cache
def _surroundings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = yaml.safe_load(files("router.training").joinpath("dressing.yaml").read_text("utf-8"))
    return found


_GAPS = ("\n\n", "\n", "\n---\n")
