"""Questions of two domains for the pocket experts, with their truth, and a planner that splits them by rule.

The parts are held-out questions of the pocket domains: held-out wordings, and operands from the held-out share wherever
a rule works the part out. The planner reads the question's text and nothing else, and stands in for a trained one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from experts.pocket.facts import Element, elements
from experts.pocket.inflection import with_s
from experts.pocket.question import CodeTest, Phrasings, PocketQuestion, Problem, Task, split_of
from experts.pocket.tasks import arithmetic, coding, language, science

Slots = dict[str, str]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a family draws: the words for its slots, the final answer, and for code what it must pass."""

    slots: Slots
    answer: str
    tests: tuple[CodeTest, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A sub-question: held-out wordings, and what stands in their slots (`{{1}}` for an earlier answer)."""

    phrasings: Phrasings
    slots: Slots


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of two-domain question.

    `learnt` is False where a part is outside of what its expert was trained on: bare sums of two digits, and the plural
    of words built unlike any that `language` has seen (the names of elements).
    """

    name: str
    domains: str
    phrasings: tuple[str, ...]
    draw: Callable[[Random], Drawn]
    parts: tuple[Part, ...]
    learnt: bool = True


def questions(family: Family, count: int, seed: int) -> list[PocketQuestion]:
    """Return distinct questions of a family, the same for the same seed."""
    random, found = Random(f"{family.name}/{seed}"), dict[str, PocketQuestion]()
    while len(found) < count:
        drawn = family.draw(random)
        prompt = random.choice(family.phrasings).format_map(drawn.slots)
        found.setdefault(prompt, PocketQuestion(family.domains, family.name, prompt, drawn.answer, "", drawn.tests))
    return list(found.values())


def plan(question: str) -> str:
    """Return the plan for a question of one of the families, as a planner writes it."""
    random = Random(question)
    for family in FAMILIES:
        for phrasing in family.phrasings:
            if slots := _pattern(phrasing).fullmatch(question):
                lines = [_worded(part, slots.groupdict(), random) for part in family.parts]
                return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
    return "I cannot split this."


def planner(body: dict[str, Any]) -> str:
    """Answer a planning request, as the reply of a fake expert."""
    asked = str(body["messages"][-1]["content"])
    return plan(asked.rpartition("Question:\n")[2].removeprefix("|").strip())


def _worded(part: Part, slots: Slots, random: Random) -> str:
    filled = {name: value.format_map(slots) for name, value in part.slots.items()}
    return random.choice(part.phrasings.heldout).format_map(filled)


@cache
def _pattern(phrasing: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", phrasing)
    named = (f"(?P<{piece}>.+?)" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces))
    return re.compile("".join(named))


def _held_out(random: Random, draw: Callable[[Random], tuple[str, Drawn]]) -> Drawn:
    """Draw until the operands' key belongs to the held-out share."""
    key, drawn = draw(random)
    return drawn if split_of(key) == "heldout" else _held_out(random, draw)


def _task(tasks: tuple[Task, ...], name: str) -> Task:
    return next(task for task in tasks if task.name == name)


def _element(random: Random, fits: Callable[[Element], bool]) -> Element:
    return random.choice([element for element in elements() if fits(element)])


def _sum(first: int, second: int) -> str:
    low, high = sorted((first, second))
    return f"{low}+{high}"


def _heavy_plus(random: Random) -> tuple[str, Drawn]:
    element, added = _element(random, lambda e: e.number >= 100), random.randint(100, 999)
    slots = {"element": element.name, "b": str(added)}
    return _sum(element.number, added), Drawn(slots, str(element.number + added))


def _heavy_pair(random: Random) -> tuple[str, Drawn]:
    one, other = random.sample([element for element in elements() if element.number >= 100], 2)
    slots = {"one": one.name, "other": other.name}
    return _sum(one.number, other.number), Drawn(slots, str(one.number + other.number))


def _light_plus(random: Random) -> tuple[str, Drawn]:
    element, added = _element(random, lambda e: 11 <= e.number <= 99), random.randint(11, 99)
    slots = {"element": element.name, "b": str(added)}
    return _sum(element.number, added), Drawn(slots, str(element.number + added))


def _times_period(random: Random) -> tuple[str, Drawn]:
    element, number = _element(random, lambda e: e.period >= 2), random.randint(100, 999)
    slots = {"element": element.name, "a": str(number)}
    return f"{number}*{element.period}", Drawn(slots, str(number * element.period))


def _times_group(random: Random) -> tuple[str, Drawn]:
    element, number = _element(random, lambda e: e.group in range(2, 10)), random.randint(100, 999)
    slots, group = {"element": element.name, "a": str(number)}, element.group or 0
    return f"{number}*{group}", Drawn(slots, str(number * group))


def _percent_of(random: Random) -> tuple[str, Drawn]:
    element, tenth = _element(random, lambda e: e.number in range(20, 100, 10)), random.randint(11, 99)
    slots = {"element": element.name, "whole": str(10 * tenth)}
    return f"{element.number}%{10 * tenth}", Drawn(slots, str(element.number * tenth // 10))


def _percent_protons(random: Random) -> tuple[str, Drawn]:
    problem = _task(arithmetic.TASKS, "percentage").draw(random)
    if int(problem.answer) > len(elements()):
        return _percent_protons(random)
    return problem.key, _with_protons(problem)


def _root_protons(random: Random) -> tuple[str, Drawn]:
    problem = _task(arithmetic.TASKS, "equation").draw(random)
    return problem.key, _with_protons(problem)


def _with_protons(problem: Problem) -> Drawn:
    return Drawn(dict(problem.slots), elements()[int(problem.answer) - 1].name)


CONDITIONS = {"greater than": ">", "less than": "<", "at least": ">=", "at most": "<="}
FUNCTIONS = {
    "returns the numbers of a list that are": "[n for n in items if {test}]",
    "returns the sum of the numbers of a list that are": "sum(n for n in items if {test})",
    "counts the numbers of a list that are": "sum(1 for n in items if {test})",
}


def _function(random: Random) -> tuple[str, Drawn]:
    element, name = _element(random, lambda e: 2 <= e.number <= 60), random.choice(coding.NAMES)
    (phrase, expression), (words, sign) = (
        random.choice(sorted(FUNCTIONS.items())),
        random.choice(sorted(CONDITIONS.items())),
    )
    source = expression.format(test=f"n {sign} {element.number}")
    # The expression comes from the tables above, never from a model.
    tests = tuple(CodeTest(f"{name}({items!r})", repr(eval(source, {"items": items}))) for items in coding.LISTS)
    slots = {"name": name, "phrase": f"{phrase} {words}", "element": element.name}
    return f"{phrase} {words} {element.number}", Drawn(slots, source, tests)


def _plural(random: Random) -> tuple[str, Drawn]:
    element = _element(random, lambda e: e.number <= 99)
    return element.name, Drawn({"symbol": element.symbol}, with_s(element.name).form)


def _family(
    name: str,
    domains: str,
    phrasings: tuple[str, ...],
    draw: Callable[[Random], tuple[str, Drawn]],
    *parts: Part,
    learnt: bool = True,
) -> Family:
    return Family(name, domains, phrasings, lambda random: _held_out(random, draw), parts, learnt)


NUMBER = Part(science.NUMBER, {"element": "{element}"})
ADDED = Part(arithmetic.SUM, {"a": "{{1}}", "b": "{b}"})
NAMED = Part(science.NAMED_BY_NUMBER, {"number": "{{1}}"})
STORY = {"who": "Anna", "friend": "Ben", "things": "apples", "a": "{{1}}", "b": "{b}"}
FAMILIES: tuple[Family, ...] = (
    _family(
        "heavy element plus a number",
        "science, math",
        ("What is the atomic number of {element} plus {b}?", "Add {b} to the atomic number of {element}."),
        _heavy_plus,
        NUMBER,
        ADDED,
    ),
    _family(
        "two heavy elements",
        "science, math",
        (
            "What do the atomic numbers of {one} and {other} add up to?",
            "How many protons do an atom of {one} and an atom of {other} have together?",
        ),
        _heavy_pair,
        Part(science.NUMBER, {"element": "{one}"}),
        Part(science.NUMBER, {"element": "{other}"}),
        Part(arithmetic.SUM, {"a": "{{1}}", "b": "{{2}}"}),
    ),
    _family(
        "a number times a period",
        "science, math",
        (
            "What is {a} times the period number of {element}?",
            "Multiply {a} by the period of the periodic table that {element} is in.",
        ),
        _times_period,
        Part(science.PERIOD, {"element": "{element}"}),
        Part(arithmetic.PRODUCT, {"a": "{a}", "b": "{{1}}"}),
    ),
    _family(
        "a number times a group",
        "science, math",
        (
            "What is {a} times the group number of {element}?",
            "Multiply {a} by the group of the periodic table that {element} is in.",
        ),
        _times_group,
        Part(science.GROUP, {"element": "{element}"}),
        Part(arithmetic.PRODUCT, {"a": "{a}", "b": "{{1}}"}),
    ),
    _family(
        "as many percent as protons",
        "science, math",
        (
            "How much is as many percent of {whole} as {element} has protons?",
            "Take the atomic number of {element} as a percentage. How much is that of {whole}?",
        ),
        _percent_of,
        NUMBER,
        Part(arithmetic.PERCENTAGE, {"percent": "{{1}}", "whole": "{whole}"}),
    ),
    _family(
        "the element of a percentage",
        "math, science",
        (
            "Which element has an atomic number of {percent} percent of {whole}?",
            "Name the element whose atom has {percent}% of {whole} protons.",
        ),
        _percent_protons,
        Part(arithmetic.PERCENTAGE, {"percent": "{percent}", "whole": "{whole}"}),
        NAMED,
    ),
    _family(
        "the element of an equation",
        "math, science",
        ("Which element has x protons if {equation}?", "Name the element with the atomic number x, where {equation}."),
        _root_protons,
        Part(arithmetic.EQUATION, {"equation": "{equation}"}),
        NAMED,
    ),
    _family(
        "a function with an atomic number",
        "science, code",
        (
            "Write a Python function named {name} that {phrase} the atomic number of {element}.",
            "I need a function {name} in Python that {phrase} the number of protons of {element}.",
        ),
        _function,
        NUMBER,
        Part(coding.FUNCTION, {"name": "{name}", "phrase": "{phrase} {{1}}"}),
    ),
    _family(
        "the plural of an element's name",
        "science, language",
        (
            "What is the plural of the name of the element with the symbol {symbol}?",
            "How do you write the name of the element {symbol} in the plural?",
        ),
        _plural,
        Part(science.NAMED_BY_SYMBOL, {"symbol": "{symbol}"}),
        Part(language.PLURAL, {"kind": "noun", "word": "{{1}}"}),
        learnt=False,
    ),
    _family(
        "light element plus two digits",
        "science, math",
        ("What is {b} plus the atomic number of {element}?",),
        _light_plus,
        NUMBER,
        ADDED,
        learnt=False,
    ),
    _family(
        "the same, told as a story",
        "science, math",
        ("To the atomic number of {element}, add {b}.",),
        _light_plus,
        NUMBER,
        Part(arithmetic.SUM_STORY, STORY),
    ),
)
