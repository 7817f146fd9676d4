"""A pocket question and the task that draws it, with training and held-out questions kept apart by construction.

Two fences stand between the splits. Phrasings: every task lists its training and its held-out templates, and shares
none. Operands: whatever a rule can compute (numbers, words, parameters of a function) is hashed, and one key in five
belongs to the held-out split alone. Only memorised facts (a capital, a symbol) appear in both, in other words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal

Split = Literal["train", "heldout"]

HELDOUT_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class CodeTest:
    """One executed check: the expression, with the function's own name, must equal the expected Python literal."""

    expression: str
    expected: str


@dataclass(frozen=True, slots=True)
class PocketQuestion:
    """One question with its canonical final answer.

    `response` is the whole answer a specialist is taught to write, working included. For code, `answer` is a reference
    solution and `tests` what any other solution must pass; elsewhere `tests` is empty.
    """

    domain: str
    task: str
    prompt: str
    answer: str
    response: str
    tests: tuple[CodeTest, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """What a task draws before it is put into words.

    `key` names the operands and decides the split; `memorised` problems are facts that no rule could work out, so they
    belong to both splits and only their phrasing is held out.
    """

    key: str
    slots: Mapping[str, str]
    answer: str
    response: str
    tests: tuple[CodeTest, ...] = ()
    memorised: bool = False


@dataclass(frozen=True, slots=True)
class Phrasings:
    """Disjoint templates for the two splits."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]

    def __post_init__(self) -> None:
        shared = set(self.train) & set(self.heldout)
        if shared:
            raise ValueError(f"phrasings in both splits: {sorted(shared)}")

    def of(self, split: Split) -> tuple[str, ...]:
        """Return one split's templates."""
        return self.train if split == "train" else self.heldout


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of question: a way to draw problems and the words to ask them in. `share` is its relative frequency."""

    name: str
    draw: Callable[[Random], Problem]
    phrasings: Phrasings
    share: int = field(default=1, kw_only=True)


def split_of(key: str) -> Split:
    """Return the only split in which problems with these operands may appear."""
    digest = hashlib.sha256(key.encode()).digest()
    return "heldout" if digest[0] < HELDOUT_SHARE * 256 else "train"


def ask(domain: str, task: Task, split: Split, random: Random) -> PocketQuestion:
    """Draw one question that belongs to the split, both in operands and in wording."""
    problem = task.draw(random)
    while not problem.memorised and split_of(problem.key) != split:
        problem = task.draw(random)
    template = random.choice(task.phrasings.of(split))
    prompt = template.format_map(problem.slots)
    return PocketQuestion(domain, task.name, prompt, problem.answer, problem.response, problem.tests)


def worked(working: str, answer: str) -> str:
    """Return a full answer: the working, then the final line that is graded."""
    return f"{working}\nAnswer: {answer}"
