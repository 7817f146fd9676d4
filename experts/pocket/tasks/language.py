"""Language: forms of English words.

Rules are held out by word, real or made up; exceptions and opposites, which are facts, by wording.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from experts.pocket.facts import irregular_words, known_words, regular_words
from experts.pocket.inflection import Inflected, with_ending, with_ing, with_s
from experts.pocket.question import Phrasings, Problem, Task, worked

ONSETS = (
    "b",
    "bl",
    "br",
    "ch",
    "cl",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gl",
    "gr",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "pr",
    "r",
    "s",
    "sk",
    "sm",
    "sn",
    "sp",
    "st",
    "t",
    "tr",
    "v",
    "w",
    "z",
    "thr",
    "scr",
)
NUCLEI = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "oa", "oo", "ou")
CODAS = (
    "b",
    "d",
    "g",
    "m",
    "n",
    "p",
    "t",
    "nd",
    "nk",
    "mp",
    "st",
    "rk",
    "rm",
    "lt",
    "ll",
    "x",
    "sh",
    "ch",
    "be",
    "de",
    "ke",
    "le",
    "me",
    "ne",
    "te",
    "ve",
    "ze",
    "ddy",
    "mmy",
    "nty",
    "rry",
)

LINKS = ("", "l", "n", "r", "s", "m")

Rule = Callable[[str], Inflected]


def _made_up(random: Random) -> str:
    syllables = [random.choice(ONSETS) + random.choice(NUCLEI) for _ in range(random.randint(1, 2))]
    word = random.choice(LINKS).join(syllables) + random.choice(CODAS)
    return _made_up(random) if word in known_words() else word


def _form(kind: str, relation: str, rule: Rule) -> Callable[[Random], Problem]:
    """Return a draw of exceptions, regular words and made-up words in turn."""

    def draw(random: Random) -> Problem:
        exceptions = irregular_words(relation)
        if random.random() < min(0.4, len(exceptions) / 100):
            chosen = random.choice(exceptions)
            return _exception(kind, relation, chosen.word, chosen.form)
        if random.random() < 0.5:
            return _regular(kind, relation, random.choice(regular_words(kind)), rule)
        return _regular(f"made-up {kind}", relation, _made_up(random), rule)

    return draw


def _exception(kind: str, relation: str, word: str, form: str) -> Problem:
    sentence = f'The {kind} "{word}" is an exception: its {relation} form is "{form}".'
    slots = {"kind": kind, "word": word}
    return Problem(f"{relation} of {word}", slots, form, worked(sentence, form), memorised=True)


def _regular(kind: str, relation: str, word: str, rule: Rule) -> Problem:
    inflected = rule(word)
    sentence = f'The {relation} form of the {kind} "{word}": {inflected.reason}.'
    return Problem(word, {"kind": kind, "word": word}, inflected.form, worked(sentence, inflected.form))


def _opposite(random: Random) -> Problem:
    chosen = random.choice(irregular_words("opposite"))
    sentence = f'The opposite of "{chosen.word}" is "{chosen.form}".'
    slots = {"word": chosen.word}
    return Problem(f"opposite of {chosen.word}", slots, chosen.form, worked(sentence, chosen.form), memorised=True)


PLURAL = Phrasings(
    train=(
        'What is the plural of the {kind} "{word}"?',
        'Give the plural form of the {kind} "{word}".',
        'How do you write the plural of the {kind} "{word}"?',
        'Write the {kind} "{word}" in the plural.',
        'Which word is the plural of the {kind} "{word}"?',
        'In English, what is the plural form of the {kind} "{word}"?',
    ),
    heldout=(
        'In English, how do you write the plural of the {kind} "{word}"?',
        'What is the plural form of the {kind} "{word}"?',
        'Give the plural of the {kind} "{word}".',
    ),
)
PAST = Phrasings(
    train=(
        'What is the past tense of the {kind} "{word}"?',
        'Give the simple past form of the {kind} "{word}".',
        'How do you write the {kind} "{word}" in the past tense?',
        'Write the past tense of the {kind} "{word}".',
        'Put the {kind} "{word}" into the past tense.',
        'Which word is the past form of the {kind} "{word}"?',
    ),
    heldout=(
        'How do you write the past tense of the {kind} "{word}"?',
        'Give the past tense of the {kind} "{word}".',
        'What is the simple past form of the {kind} "{word}"?',
    ),
)
ING = Phrasings(
    train=(
        'What is the -ing form of the {kind} "{word}"?',
        'Give the -ing form of the {kind} "{word}".',
        'How do you write the present participle of the {kind} "{word}"?',
        'Write the {kind} "{word}" with the ending -ing.',
        'What is the present participle of the {kind} "{word}"?',
    ),
    heldout=(
        'How do you write the -ing form of the {kind} "{word}"?',
        'Give the present participle of the {kind} "{word}".',
        'Write the -ing form of the {kind} "{word}".',
    ),
)
THIRD = Phrasings(
    train=(
        'What is the third person singular of the {kind} "{word}"?',
        'Write the {kind} "{word}" in the third person singular.',
        'Which form of the {kind} "{word}" goes with he or she?',
        'Give the third person form of the {kind} "{word}".',
        'How do you write the {kind} "{word}" after he or she?',
    ),
    heldout=(
        'What is the third person form of the {kind} "{word}"?',
        'Give the third person singular of the {kind} "{word}".',
        'How do you write the {kind} "{word}" in the third person singular?',
    ),
)
COMPARATIVE = Phrasings(
    train=(
        'What is the comparative of the {kind} "{word}"?',
        'Give the comparative form of the {kind} "{word}".',
        'How do you write the comparative of the {kind} "{word}"?',
        'Write the {kind} "{word}" in the comparative.',
        'Which word is the comparative of the {kind} "{word}"?',
    ),
    heldout=(
        'What is the comparative form of the {kind} "{word}"?',
        'Give the comparative of the {kind} "{word}".',
        'Which word is the comparative form of the {kind} "{word}"?',
    ),
)
SUPERLATIVE = Phrasings(
    train=(
        'What is the superlative of the {kind} "{word}"?',
        'Give the superlative form of the {kind} "{word}".',
        'How do you write the superlative of the {kind} "{word}"?',
        'Write the {kind} "{word}" in the superlative.',
        'Which word is the superlative of the {kind} "{word}"?',
    ),
    heldout=(
        'What is the superlative form of the {kind} "{word}"?',
        'Give the superlative of the {kind} "{word}".',
        'Which word is the superlative form of the {kind} "{word}"?',
    ),
)
OPPOSITE = Phrasings(
    train=(
        'What is the opposite of the word "{word}"?',
        'Which word means the opposite of "{word}"?',
        'Name the opposite of "{word}".',
        'Give a word that is the opposite of "{word}".',
        'Give an antonym of the word "{word}".',
        'What is an antonym of "{word}"?',
        'Which English word is the opposite of "{word}"?',
    ),
    heldout=(
        'What is an antonym of the word "{word}"?',
        'Give the opposite of the word "{word}".',
        'Which word is the opposite of "{word}"?',
    ),
)


def _past(word: str) -> Inflected:
    return with_ending(word, "ed")


def _comparative(word: str) -> Inflected:
    return with_ending(word, "er")


def _superlative(word: str) -> Inflected:
    return with_ending(word, "est")


TASKS = (
    Task("plural", _form("noun", "plural", with_s), PLURAL, share=2),
    Task("past tense", _form("verb", "past", _past), PAST, share=3),
    Task("ing form", _form("verb", "ing", with_ing), ING),
    Task("third person", _form("verb", "third person", with_s), THIRD),
    Task("comparative", _form("adjective", "comparative", _comparative), COMPARATIVE),
    Task("superlative", _form("adjective", "superlative", _superlative), SUPERLATIVE),
    Task("opposite", _opposite, OPPOSITE, share=3),
)
