"""English spelling rules for regular word forms, each with the sentence that explains it."""

from __future__ import annotations

import re
from dataclasses import dataclass

VOWELS = "aeiou"


@dataclass(frozen=True, slots=True)
class Inflected:
    """A regular form and why it is spelled so."""

    form: str
    reason: str


def with_s(word: str) -> Inflected:
    """Return the plural of a noun or the third person of a verb."""
    if _ends_in_consonant_and_y(word):
        return Inflected(word[:-1] + "ies", "it ends in a consonant and y, so y becomes ies")
    if re.search("(s|x|z|ch|sh)$", word):
        return Inflected(word + "es", "it ends in a hissing sound, so add es")
    return Inflected(word + "s", "just add s")


def with_ending(word: str, ending: str) -> Inflected:
    """Return the word with an ending that begins with e: ed, er or est."""
    if word.endswith("e"):
        return Inflected(word + ending[1:], f"it ends in e, so add {ending[1:]}")
    if _ends_in_consonant_and_y(word):
        return Inflected(word[:-1] + "i" + ending, f"it ends in a consonant and y, so y becomes i and add {ending}")
    return _doubled_or_plain(word, ending)


def with_ing(word: str) -> Inflected:
    """Return the -ing form of a verb."""
    if word.endswith("ie"):
        return Inflected(word[:-2] + "ying", "it ends in ie, so ie becomes y and add ing")
    if re.search("[^eoy]e$", word):
        return Inflected(word[:-1] + "ing", "it ends in e, so drop e and add ing")
    return _doubled_or_plain(word, "ing")


def _doubled_or_plain(word: str, ending: str) -> Inflected:
    if _is_short_and_closed(word):
        return Inflected(word + word[-1] + ending, f"it is short and closed, so double {word[-1]} and add {ending}")
    return Inflected(word + ending, f"just add {ending}")


def _ends_in_consonant_and_y(word: str) -> bool:
    return word.endswith("y") and word[-2] not in VOWELS


def _is_short_and_closed(word: str) -> bool:
    return re.fullmatch("([^aeiou]|qu)*[aeiou][^aeiouwxy]", word) is not None
