"""Science: the periodic table, in words of its own, and conversions of units that show their arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from experts.pocket import working
from experts.pocket.facts import Element, elements
from experts.pocket.question import Phrasings, Problem, Task, worked


@dataclass(frozen=True, slots=True)
class Conversion:
    """`larger` holds `digit` x 10**zeros of `smaller`."""

    larger: str
    smaller: str
    digit: int
    zeros: int


CONVERSIONS = (
    Conversion("kilometres", "metres", 1, 3),
    Conversion("metres", "centimetres", 1, 2),
    Conversion("metres", "millimetres", 1, 3),
    Conversion("centimetres", "millimetres", 1, 1),
    Conversion("kilograms", "grams", 1, 3),
    Conversion("grams", "milligrams", 1, 3),
    Conversion("tonnes", "kilograms", 1, 3),
    Conversion("litres", "millilitres", 1, 3),
    Conversion("kilowatts", "watts", 1, 3),
    Conversion("seconds", "milliseconds", 1, 3),
    Conversion("hours", "minutes", 6, 1),
    Conversion("minutes", "seconds", 6, 1),
    Conversion("weeks", "days", 7, 0),
    Conversion("yards", "feet", 3, 0),
    Conversion("gallons", "quarts", 4, 0),
    Conversion("years", "quarters", 4, 0),
)


def _to_smaller(random: Random) -> Problem:
    unit, amount = random.choice(CONVERSIONS), random.randint(2, 99)
    factor = unit.digit * 10**unit.zeros
    lines = [f"1 {_one(unit.larger)} is {factor} {unit.smaller}"]
    if unit.digit > 1:
        lines += [working.multiply(amount, unit.digit)]
    result = f"{amount * factor} {unit.smaller}"
    slots = {"amount": str(amount), "from": unit.larger, "to": unit.smaller}
    return Problem(f"{amount} {unit.larger} {unit.smaller}", slots, result, worked("\n".join(lines), result))


def _to_larger(random: Random) -> Problem:
    unit = random.choice([conversion for conversion in CONVERSIONS if conversion.digit == 1])
    amount = random.randint(2, 99)
    factor = 10**unit.zeros
    result = f"{amount} {unit.larger}"
    slots = {"amount": str(amount * factor), "from": unit.smaller, "to": unit.larger}
    lines = f"1 {_one(unit.larger)} is {factor} {unit.smaller}"
    return Problem(f"{amount} {unit.larger} {unit.smaller}", slots, result, worked(lines, result))


def _one(units: str) -> str:
    return units.removesuffix("s")


def _kelvin(random: Random) -> Problem:
    celsius = random.randint(100, 700)
    result = f"{celsius + 273} kelvin"
    lines = working.add(celsius, 273)
    return Problem(f"{celsius} celsius", {"amount": str(celsius)}, result, worked(lines, result))


def _fact(key: str, element: Element, sentence: str, answer: str) -> Problem:
    slots = {"element": element.name, "symbol": element.symbol, "number": str(element.number)}
    return Problem(key, slots, answer, worked(sentence, answer), memorised=True)


def _symbol(random: Random) -> Problem:
    element = random.choice(elements())
    sentence = f"The symbol of the element {element.name} is {element.symbol}."
    return _fact(f"symbol of {element.name}", element, sentence, element.symbol)


def _number(random: Random) -> Problem:
    element = random.choice(elements())
    sentence = f"The atomic number of the element {element.name} is {element.number}."
    return _fact(f"number of {element.name}", element, sentence, str(element.number))


def _named_by_symbol(random: Random) -> Problem:
    element = random.choice(elements())
    sentence = f"The element with the symbol {element.symbol} is {element.name}."
    return _fact(f"element with symbol {element.symbol}", element, sentence, element.name)


def _named_by_number(random: Random) -> Problem:
    element = random.choice(elements())
    sentence = f"The element with the atomic number {element.number} is {element.name}."
    return _fact(f"element with number {element.number}", element, sentence, element.name)


def _group(random: Random) -> Problem:
    element = random.choice([element for element in elements() if element.group])
    sentence = f"The element {element.name} is in group {element.group}."
    return _fact(f"group of {element.name}", element, sentence, str(element.group))


def _period(random: Random) -> Problem:
    element = random.choice(elements())
    sentence = f"The element {element.name} is in period {element.period}."
    return _fact(f"period of {element.name}", element, sentence, str(element.period))


CONVERT = Phrasings(
    train=(
        "Convert {amount} {from} to {to}.",
        "How many {to} are {amount} {from}?",
        "Express {amount} {from} in {to}.",
        "A measurement reads {amount} {from}. How much is that in {to}?",
        "What is {amount} {from} in {to}?",
        "Change {amount} {from} into {to}.",
        "How many {to} are there in {amount} {from}?",
        "Give the measurement {amount} {from} in {to}.",
        "Express a measurement of {amount} {from} in {to}.",
        "How much are {amount} {from} in {to}?",
    ),
    heldout=(
        "Convert {amount} {from} into {to}.",
        "How much is {amount} {from} in {to}?",
        "Please express the measurement {amount} {from} in {to}.",
    ),
)
KELVIN = Phrasings(
    train=(
        "Convert {amount} degrees Celsius to kelvin.",
        "What is a temperature of {amount} degrees Celsius in kelvin?",
        "Express {amount} degrees Celsius in kelvin.",
        "A thermometer reads {amount} degrees Celsius. How much is that in kelvin?",
        "How many kelvin are {amount} degrees Celsius?",
    ),
    heldout=(
        "Convert a temperature of {amount} degrees Celsius to kelvin.",
        "How much is {amount} degrees Celsius in kelvin?",
    ),
)
SYMBOL = Phrasings(
    train=(
        "What is the chemical symbol of the element {element}?",
        "Which symbol does the element {element} have in the periodic table?",
        "Name the symbol of the element {element}.",
        "What symbol stands for the chemical element {element}?",
        "Give the chemical symbol for {element}.",
        "How is the element {element} written in the periodic table?",
    ),
    heldout=(
        "Which symbol stands for the element {element} in the periodic table?",
        "What is the chemical symbol for the element {element}?",
        "Give the symbol of the chemical element {element}.",
    ),
)
NUMBER = Phrasings(
    train=(
        "What is the atomic number of the element {element}?",
        "Which atomic number does the chemical element {element} have?",
        "Give the atomic number of {element}.",
        "How many protons does an atom of the element {element} have?",
        "Name the atomic number of the element {element} in the periodic table.",
        "How many protons are in the nucleus of {element}?",
    ),
    heldout=(
        "What is the atomic number of the chemical element {element}?",
        "How many protons does an atom of {element} have in its nucleus?",
        "Which atomic number does {element} have in the periodic table?",
    ),
)
NAMED_BY_SYMBOL = Phrasings(
    train=(
        "Which chemical element has the symbol {symbol}?",
        "What is the name of the element with the symbol {symbol}?",
        "In the periodic table, which element is written {symbol}?",
        "Name the chemical element whose symbol is {symbol}.",
        "The symbol {symbol} stands for which chemical element?",
        "Give the name of the chemical element {symbol}.",
        "Which element of the periodic table has the symbol {symbol}?",
        "What element does the symbol {symbol} stand for?",
        "The chemical symbol {symbol} belongs to which element?",
        "What is the element whose symbol is {symbol} called?",
        "Tell me what element the symbol {symbol} stands for in the periodic table.",
        "The symbol {symbol} belongs to what element?",
        "The symbol {symbol} is the symbol of what chemical element?",
    ),
    heldout=(
        "Which element has the symbol {symbol} in the periodic table?",
        "What is the name of the chemical element whose symbol is {symbol}?",
        "The symbol {symbol} stands for what element in the periodic table?",
    ),
)
NAMED_BY_NUMBER = Phrasings(
    train=(
        "Which chemical element has the atomic number {number}?",
        "What is the name of the element with the atomic number {number}?",
        "In the periodic table, which element has number {number}?",
        "Name the chemical element whose atomic number is {number}.",
        "An atom has {number} protons. Which chemical element is it?",
        "Give the name of the chemical element with {number} protons.",
        "Which element of the periodic table has the atomic number {number}?",
        "The atomic number {number} belongs to which chemical element?",
        "What element has {number} protons in its nucleus?",
        "Tell me which element has the atomic number {number}.",
        "What is the name of element number {number} in the periodic table?",
    ),
    heldout=(
        "Which element has the atomic number {number} in the periodic table?",
        "What is the name of the chemical element with {number} protons?",
        "Name the element with the atomic number {number}.",
    ),
)
GROUP = Phrasings(
    train=(
        "Which group of the periodic table is {element} in?",
        "In which group of the periodic table is the element {element}?",
        "Name the group of the chemical element {element}.",
        "What is the group number of the element {element}?",
        "Give the periodic table group of {element}.",
    ),
    heldout=(
        "Which group of the periodic table is the element {element} in?",
        "What is the periodic table group of the chemical element {element}?",
        "Give the group number of {element}.",
    ),
)
PERIOD = Phrasings(
    train=(
        "Which period of the periodic table is {element} in?",
        "In which period of the periodic table is the element {element}?",
        "Name the period of the chemical element {element}.",
        "What is the period number of the element {element}?",
        "Give the periodic table period of {element}.",
    ),
    heldout=(
        "Which period of the periodic table is the element {element} in?",
        "What is the periodic table period of the chemical element {element}?",
        "Give the period number of {element}.",
    ),
)

TASKS = (
    Task("symbol", _symbol, SYMBOL, share=2),
    Task("atomic number", _number, NUMBER, share=2),
    Task("element by symbol", _named_by_symbol, NAMED_BY_SYMBOL, share=2),
    Task("element by number", _named_by_number, NAMED_BY_NUMBER, share=2),
    Task("group", _group, GROUP, share=2),
    Task("period", _period, PERIOD),
    Task("to smaller units", _to_smaller, CONVERT, share=2),
    Task("to larger units", _to_larger, CONVERT),
    Task("kelvin", _kelvin, KELVIN),
)
