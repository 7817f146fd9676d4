"""Mathematics: sums, differences, products by one digit, percentages, linear equations and short stories of them."""

from __future__ import annotations

from random import Random

from experts.pocket import working
from experts.pocket.question import Phrasings, Problem, Task, worked

PEOPLE = ("Anna", "Ben", "Clara", "David", "Eva", "Omar", "Lena", "Ravi", "Mia", "Tom")
THINGS = ("apples", "books", "coins", "pencils", "stamps", "marbles", "cards", "shells")


def _sum(random: Random) -> Problem:
    return _add(random.randint(100, 999), random.randint(100, 999), random)


def _difference(random: Random) -> Problem:
    second = random.randint(100, 899)
    return _subtract(random.randint(second + 100, 999), second, random)


def _product(random: Random) -> Problem:
    return _multiply(random.randint(100, 999), random.randint(2, 9), random)


def _sum_story(random: Random) -> Problem:
    return _add(random.randint(11, 99), random.randint(11, 99), random)


def _difference_story(random: Random) -> Problem:
    second = random.randint(11, 89)
    return _subtract(random.randint(second + 10, 99), second, random)


def _product_story(random: Random) -> Problem:
    return _multiply(random.randint(11, 99), random.randint(2, 9), random)


def _percentage(random: Random) -> Problem:
    tenth, tens = random.randint(11, 99), random.randint(2, 9)
    whole, percent, result = tenth * 10, tens * 10, str(tenth * tens)
    lines = f"10 percent of {whole} is {tenth}\n{working.multiply(tenth, tens)}"
    slots = {"percent": str(percent), "whole": str(whole)}
    return Problem(f"{percent}%{whole}", slots, result, worked(lines, result))


def _equation(random: Random) -> Problem:
    factor, root, constant = random.randint(2, 9), random.randint(2, 12), random.randint(1, 9)
    sign, inverse = random.choice((("+", "-"), ("-", "+")))
    product = factor * root
    right = product + constant if sign == "+" else product - constant
    equation = f"{factor}x {sign} {constant} = {right}"
    if right < 0:
        return _equation(random)
    lines = f"{equation}\n{factor}x = {right} {inverse} {constant} = {product}\nx = {product} / {factor} = {root}"
    slots = {"equation": equation}
    return Problem(f"{factor}x{sign}{constant}={right}", slots, str(root), worked(lines, str(root)))


def _add(first: int, second: int, random: Random) -> Problem:
    low, high = sorted((first, second))
    result = str(first + second)
    slots = _slots(first, second, random)
    return Problem(f"{low}+{high}", slots, result, worked(working.add(first, second), result))


def _subtract(first: int, second: int, random: Random) -> Problem:
    result = str(first - second)
    slots = _slots(first, second, random)
    return Problem(f"{first}-{second}", slots, result, worked(working.subtract(first, second), result))


def _multiply(number: int, digit: int, random: Random) -> Problem:
    result = str(number * digit)
    slots = _slots(number, digit, random)
    return Problem(f"{number}*{digit}", slots, result, worked(working.multiply(number, digit), result))


def _slots(first: int, second: int, random: Random) -> dict[str, str]:
    who, friend = random.sample(PEOPLE, 2)
    return {"a": str(first), "b": str(second), "who": who, "friend": friend, "things": random.choice(THINGS)}


SUM = Phrasings(
    train=(
        "What is {a} plus {b}?",
        "Add {a} and {b}.",
        "Calculate {a} + {b}.",
        "What is the sum of {a} and {b}?",
        "How much is {a} plus {b}?",
        "Please add the numbers {a} and {b}.",
        "Work out {a} + {b}.",
        "Find the sum of {a} and {b}.",
        "Compute {a} plus {b}.",
        "What is {a} + {b}?",
    ),
    heldout=(
        "How much is {a} + {b}?",
        "Please work out the sum of {a} and {b}.",
        "Calculate {a} plus {b}.",
        "Please compute the sum of {a} and {b}.",
    ),
)
DIFFERENCE = Phrasings(
    train=(
        "What is {a} minus {b}?",
        "Calculate {a} - {b}.",
        "How much is {a} minus {b}?",
        "Subtract the number {b} from {a}.",
        "Work out {a} - {b}.",
        "Find the difference between {a} and {b}.",
        "Compute {a} minus {b}.",
        "What is {a} - {b}?",
        "What is the difference between {a} and {b}?",
        "Please subtract {b} from {a}.",
    ),
    heldout=(
        "How much is {a} - {b}?",
        "Please work out the difference between {a} and {b}.",
        "Calculate {a} minus {b}.",
        "Subtract {b} from {a}.",
    ),
)
PRODUCT = Phrasings(
    train=(
        "What is {a} times {b}?",
        "Multiply {a} by {b}.",
        "Calculate {a} x {b}.",
        "How much is {a} times {b}?",
        "What is the product of {a} and {b}?",
        "Work out {a} x {b}.",
        "Compute {a} times {b}.",
        "Please multiply the number {a} by {b}.",
        "Find the product of {a} and {b}.",
        "What is {a} x {b}?",
    ),
    heldout=(
        "How much is {a} x {b}?",
        "Please work out the product of {a} and {b}.",
        "Calculate {a} times {b}.",
        "Please compute the product of {a} and {b}.",
    ),
)
PERCENTAGE = Phrasings(
    train=(
        "What is {percent} percent of {whole}?",
        "Calculate {percent} percent of {whole}.",
        "How much is {percent}% of {whole}?",
        "Find {percent} percent of {whole}.",
        "Work out {percent}% of {whole}.",
        "What is {percent}% of {whole}?",
        "A price of {whole} is cut by {percent} percent. How much is the cut?",
    ),
    heldout=(
        "How much is {percent} percent of {whole}?",
        "Calculate {percent}% of {whole}.",
        "Please work out {percent} percent of {whole}.",
    ),
)
EQUATION = Phrasings(
    train=(
        "Solve {equation} for x.",
        "What is x if {equation}?",
        "Find x when {equation}.",
        "Solve the equation {equation}.",
        "If {equation}, what is x?",
        "Please solve for x: {equation}.",
        "Work out the value of x in the equation {equation}.",
        "Here is an equation: {equation}. What is x?",
        "For which x is {equation} true?",
        "I have the equation {equation}. Please find x.",
        "Please find the value of x: {equation}.",
        "Given {equation}, find x.",
        "Please solve this linear equation for x: {equation}.",
        "Please work out x in the equation {equation} for me.",
        "Please solve {equation} for x.",
    ),
    heldout=(
        "Find x if {equation}.",
        "Please solve the equation {equation} for x.",
        "What is the value of x when {equation}?",
    ),
)
SUM_STORY = Phrasings(
    train=(
        "{who} has {a} {things} and buys {b} more. How many {things} does {who} have now?",
        "{who} has {a} {things} and {friend} has {b} {things}. How many {things} do they have together?",
        "{who} finds {a} {things} and then finds {b} more. How many {things} is that in total?",
        "There are {a} {things} on a table and {b} {things} in a box. How many {things} are there in total?",
        "{who} buys {a} {things} on Monday and {b} on Tuesday. How many {things} does {who} have in total?",
        "{who} had {a} {things} and found {b} more. How many {things} does {who} have?",
        "{friend} has {a} {things}. {who} gives {friend} {b} more. How many {things} does {friend} have now?",
        "{who} finds {a} {things} and {friend} finds {b}. How many {things} do they find together?",
    ),
    heldout=(
        "{who} has {a} {things} and finds {b} more. How many {things} does {who} have in total?",
        "{who} buys {a} {things} and {friend} buys {b} {things}. How many {things} do they have together?",
    ),
)
DIFFERENCE_STORY = Phrasings(
    train=(
        "{who} has {a} {things} and gives {b} of them to {friend}. How many {things} are left?",
        "{who} had {a} {things} and lost {b} of them. How many {things} does {who} have now?",
        "There are {a} {things} in a box. {who} takes {b} of them away. How many {things} are left in the box?",
        "{who} has {a} {things} and sells {b} of them. How many {things} does {who} have left?",
        "{who} had {a} {things} and sold {b} of them. How many {things} are left?",
        "{who} buys {a} {things} and loses {b} of them. How many {things} does {who} still have?",
        "Of the {a} {things} in a bag, {who} takes {b}. How many {things} are left?",
        "{who} had {a} {things} and gave {b} of them to {friend}. How many {things} does {who} have left?",
    ),
    heldout=(
        "{who} has {a} {things} and loses {b} of them. How many {things} are left?",
        "{who} had {a} {things} and sells {b} of them to {friend}. How many {things} does {who} have now?",
    ),
)
PRODUCT_STORY = Phrasings(
    train=(
        "Each box holds {a} {things}. How many {things} are in {b} boxes?",
        "{who} buys {b} boxes with {a} {things} each. How many {things} does {who} buy?",
        "{who} collects {a} {things} every day. How many {things} does {who} collect in {b} days?",
        "There are {b} bags with {a} {things} in each bag. How many {things} are there in total?",
        "{who} has {b} boxes. Each box holds {a} {things}. How many {things} is that in total?",
        "There are {b} boxes with {a} {things} each. How many {things} are there?",
        "Each bag holds {a} {things}. {who} buys {b} bags. How many {things} does {who} have?",
        "{who} has {b} boxes with {a} {things} each. How many {things} does {who} have?",
        "{who} has {b} baskets with {a} {things} each. How many {things} is that in total?",
        "{friend} has {b} bags. There are {a} {things} in each. How many {things} does {friend} have in total?",
        "{who} finds {b} bags of {a} {things} each. How many {things} is that?",
        "A shop has {b} shelves with {a} {things} each. How many {things} are in the shop in total?",
        "{who} buys {b} bags with {a} {things} each. How many {things} does {who} have in total?",
    ),
    heldout=(
        "{who} has {b} bags with {a} {things} each. How many {things} does {who} have in total?",
        "There are {a} {things} in each box. How many {things} are in {b} boxes?",
    ),
)

TASKS = (
    Task("sum", _sum, SUM, share=3),
    Task("difference", _difference, DIFFERENCE, share=3),
    Task("product", _product, PRODUCT, share=3),
    Task("percentage", _percentage, PERCENTAGE, share=2),
    Task("equation", _equation, EQUATION, share=4),
    Task("sum story", _sum_story, SUM_STORY),
    Task("difference story", _difference_story, DIFFERENCE_STORY),
    Task("product story", _product_story, PRODUCT_STORY, share=2),
)
