"""Let one pocket model sit an exam: load it as it is served, ask every question, grade every answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from experts.pocket.answering import answers
from experts.pocket.exam import DOMAINS
from experts.pocket.grading import grade
from experts.pocket.model import load_adapter, load_base
from experts.pocket.question import PocketQuestion

MODELS = ("base", "generalist", *DOMAINS)
"""The models that answer questions; the fuser only judges."""


@dataclass(frozen=True, slots=True)
class Sitting:
    """One model's answers to one exam, and which were right."""

    questions: Sequence[PocketQuestion]
    answers: Sequence[str]
    right: Sequence[bool]

    @property
    def accuracy(self) -> float:
        """Return the share of right answers."""
        return sum(self.right) / len(self.right)

    def by_task(self) -> dict[str, float]:
        """Return the accuracy of each task."""
        marks: dict[str, list[bool]] = {}
        for question, right in zip(self.questions, self.right, strict=True):
            marks.setdefault(question.task, []).append(right)
        return {task: round(sum(found) / len(found), 3) for task, found in sorted(marks.items())}


def load_model(folder: Path, name: str) -> PreTrainedModel | PeftModel:
    """Return the base, or the base with the named adapter, in the precision it is served in."""
    base = load_base(folder / "base", torch.bfloat16)
    return (base if name == "base" else load_adapter(base, folder / name)).eval()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer that all pocket models share."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder / "base")
    return tokenizer


def sit(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[PocketQuestion]
) -> Sitting:
    """Let a model answer the questions, and grade them."""
    written = answers(model, tokenizer, [[{"role": "user", "content": each.prompt}] for each in questions])
    right = [grade(question, answer) for question, answer in zip(questions, written, strict=True)]
    return Sitting(questions, written, right)
