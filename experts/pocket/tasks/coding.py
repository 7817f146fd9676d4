"""Code: one-line Python functions from a description, composed of conditions, steps and parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from experts.pocket.question import CodeTest, Phrasings, Problem, Task

NAMES = ("f", "g", "solve", "compute", "process", "run", "task", "answer", "work", "apply", "func", "calc")
LETTERS = "abcdefghijklmnoprstuvwy"
LISTS = (
    [3, 8, 15, 22, 7],
    [40, 5, 12, 33, 60, 9],
    [18, 27, 2, 50],
    [71, 6, 35, 14, 90, 11, 4],
    list(range(1, 91)),
)
TEXTS = (
    "banana bread",
    "the quick brown fox",
    "hello happy world",
    "sunday evening",
    "pack my box with five dozen jugs of old liquor and vinegar",
)

Described = tuple[str, str]
"""A phrase and the Python expression that means it."""

ALWAYS: tuple[Described, ...] = (
    ("returns the largest number of a list", "max(items)"),
    ("returns the smallest number of a list", "min(items)"),
    ("returns the sum of a list of numbers", "sum(items)"),
    ("returns the average of a list of numbers", "sum(items) / len(items)"),
    ("returns the length of a list", "len(items)"),
    ("returns a list in reverse order", "items[::-1]"),
    ("returns a list sorted from smallest to largest", "sorted(items)"),
    ("returns a list sorted from largest to smallest", "sorted(items, reverse=True)"),
    ("returns the first item of a list", "items[0]"),
    ("returns the last item of a list", "items[-1]"),
    ("returns the difference between the largest and smallest number of a list", "max(items) - min(items)"),
    ("returns a list without duplicates, sorted", "sorted(set(items))"),
    ("returns the second largest number of a list", "sorted(items)[-2]"),
    ("returns every second item of a list", "items[::2]"),
    ("returns a text in reverse", "text[::-1]"),
    ("returns a text in upper case", "text.upper()"),
    ("returns a text in lower case", "text.lower()"),
    ("returns the number of words in a text", "len(text.split())"),
    ("returns the list of words in a text", "text.split()"),
    ("returns the longest word of a text", "max(text.split(), key=len)"),
    ("counts the vowels in a text", 'sum(c in "aeiou" for c in text)'),
    ("returns a text without spaces", 'text.replace(" ", "")'),
    ("returns True if a text is a palindrome", "text == text[::-1]"),
    ("returns the first letter of every word in a text", "[w[0] for w in text.split()]"),
    ("returns the words of a text in sorted order", "sorted(text.split())"),
    ("returns the set of letters in a text", "set(text)"),
)


def _condition(random: Random) -> Described:
    limit, divisor = random.randint(2, 60), random.randint(3, 12)
    return random.choice(
        (
            (f"greater than {limit}", f"n > {limit}"),
            (f"less than {limit}", f"n < {limit}"),
            (f"at least {limit}", f"n >= {limit}"),
            (f"at most {limit}", f"n <= {limit}"),
            (f"divisible by {divisor}", f"n % {divisor} == 0"),
            (f"not divisible by {divisor}", f"n % {divisor} != 0"),
            (f"not equal to {limit}", f"n != {limit}"),
            ("even", "n % 2 == 0"),
            ("odd", "n % 2 == 1"),
        )
    )


def _step(random: Random) -> Described:
    number = random.randint(2, 60)
    return random.choice(
        (
            (f"multiplied by {number}", f"n * {number}"),
            (f"increased by {number}", f"n + {number}"),
            (f"decreased by {number}", f"n - {number}"),
            (f"divided by {number}", f"n / {number}"),
            (f"modulo {number}", f"n % {number}"),
            ("squared", "n ** 2"),
            ("doubled", "n * 2"),
            ("negated", "-n"),
        )
    )


def _filtered(random: Random) -> Described:
    phrase, test = _condition(random)
    return random.choice(
        (
            (f"returns the numbers of a list that are {phrase}", f"[n for n in items if {test}]"),
            (
                f"returns the sum of the numbers of a list that are {phrase}",
                f"sum(n for n in items if {test})",
            ),
            (f"counts the numbers of a list that are {phrase}", f"sum(1 for n in items if {test})"),
            (f"returns True if any number of a list is {phrase}", f"any({test} for n in items)"),
            (f"returns True if all numbers of a list are {phrase}", f"all({test} for n in items)"),
        )
    )


def _mapped(random: Random) -> Described:
    phrase, step = _step(random)
    return random.choice(
        (
            (f"returns every number of a list {phrase}", f"[{step} for n in items]"),
            (f"returns the sum of every number of a list {phrase}", f"sum({step} for n in items)"),
        )
    )


def _composed(random: Random) -> Described:
    (change, step), (phrase, test) = _step(random), _condition(random)
    return random.choice(
        (
            (
                f"returns the numbers of a list that are {phrase}, each {change}",
                f"[{step} for n in items if {test}]",
            ),
            (
                f"returns the sum of the numbers of a list that are {phrase}, each {change}",
                f"sum({step} for n in items if {test})",
            ),
        )
    )


def _number(random: Random) -> Described:
    (change, step), (phrase, test) = _step(random), _condition(random)
    return random.choice(
        (
            (f"returns True if a number is {phrase}", test),
            (f"returns a number {change}", step),
            (
                f"returns a number {change} if it is {phrase} and the number itself if not",
                f"{step} if {test} else n",
            ),
        )
    )


def _sliced(random: Random) -> Described:
    count = random.randint(2, 40)
    return random.choice(
        (
            (f"returns the first {count} items of a list", f"items[:{count}]"),
            (f"returns the last {count} items of a list", f"items[-{count}:]"),
            (f"returns a list without its first {count} items", f"items[{count}:]"),
            (f"returns a list without its last {count} items", f"items[:-{count}]"),
            (f"returns a list repeated {count} times", f"items * {count}"),
            (f"returns the {count} largest numbers of a list", f"sorted(items)[-{count}:]"),
            (f"returns the first {count} letters of a text", f"text[:{count}]"),
            (f"returns the last {count} letters of a text", f"text[-{count}:]"),
            (f"returns a text repeated {count} times", f"text * {count}"),
            (f"returns the words of a text longer than {count} letters", _words_that(f"len(w) > {count}")),
        )
    )


def _spelled(random: Random) -> Described:
    first, second = random.sample(LETTERS, 2)
    return random.choice(
        (
            (f'counts the letter "{first}" in a text', f'text.count("{first}")'),
            (
                f'replaces the letter "{first}" in a text by "{second}"',
                f'text.replace("{first}", "{second}")',
            ),
            (f'returns a text without the letter "{first}"', f'text.replace("{first}", "")'),
            (
                f'returns the words of a text that start with "{first}"',
                _words_that(f'w.startswith("{first}")'),
            ),
            (f'returns the words of a text that end with "{first}"', _words_that(f'w.endswith("{first}")')),
            (f'returns the words of a text that contain "{first}"', _words_that(f'"{first}" in w')),
            (f'returns True if a text starts with "{first}" and ends with "{second}"', _ends(first, second)),
            (f'joins the words of a text with the letter "{first}"', f'"{first}".join(text.split())'),
        )
    )


def _words_that(test: str) -> str:
    return f"[w for w in text.split() if {test}]"


def _ends(first: str, second: str) -> str:
    return f'text.startswith("{first}") and text.endswith("{second}")'


def _always(random: Random) -> Described:
    return random.choice(ALWAYS)


def _function(describe: Callable[[Random], Described], *, memorised: bool = False) -> Callable[[Random], Problem]:
    """Return a draw that turns a described expression into a function with a random name, and its tests."""

    def draw(random: Random) -> Problem:
        phrase, expression = describe(random)
        name = random.choice(NAMES)
        parameter = next(word for word in ("items", "text", "n") if _uses(expression, word))
        solution = f"def {name}({parameter}):\n    return {expression}\n"
        tests = tuple(_test(name, parameter, expression, value) for value in _inputs(parameter))
        response = f"```python\n{solution}```"
        return Problem(phrase, {"name": name, "phrase": phrase}, solution, response, tests, memorised=memorised)

    return draw


def _uses(expression: str, word: str) -> bool:
    return word == "n" or word in expression


def _inputs(parameter: str) -> Sequence[object]:
    inputs: dict[str, Sequence[object]] = {
        "items": LISTS,
        "text": TEXTS,
        "n": (1, 12, 36, 55, 70),
    }
    return inputs[parameter]


def _test(name: str, parameter: str, expression: str, value: object) -> CodeTest:
    # The expression comes from the tables above, never from a model.
    expected = eval(expression, {parameter: value})
    return CodeTest(f"{name}({value!r})", repr(expected))


FUNCTION = Phrasings(
    train=(
        "Write a Python function named {name} that {phrase}.",
        "Write a Python function {name} that {phrase}.",
        "Define a Python function called {name} that {phrase}.",
        "In Python, write a function named {name} that {phrase}.",
        "I need a Python function called {name} that {phrase}.",
        "Please code a function {name} in Python that {phrase}.",
        "Create a Python function named {name} that {phrase}.",
        "Show me Python code for a function called {name} that {phrase}.",
        "Implement the Python function {name}: it {phrase}.",
    ),
    heldout=(
        "Please write a Python function called {name} that {phrase}.",
        "In Python, define a function named {name} that {phrase}.",
        "I need Python code for a function {name} that {phrase}.",
        "Create a function {name} in Python that {phrase}.",
    ),
)

TASKS = (
    Task("well-known function", _function(_always, memorised=True), FUNCTION),
    Task("filter", _function(_filtered), FUNCTION, share=2),
    Task("map", _function(_mapped), FUNCTION),
    Task("filter and map", _function(_composed), FUNCTION, share=6),
    Task("number", _function(_number), FUNCTION, share=3),
    Task("slice", _function(_sliced), FUNCTION, share=2),
    Task("letters", _function(_spelled), FUNCTION, share=2),
)
