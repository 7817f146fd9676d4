"""Measure every pocket model on every domain's held-out questions and write figures.json and MODEL_CARD.md.

python -m experts.pocket.evaluate                      # the whole matrix, 250 questions a domain
python -m experts.pocket.evaluate --models math base   # a few models, printed and not written
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from experts.pocket import weights_folder
from experts.pocket.answering import answers
from experts.pocket.exam import DOMAINS, generate
from experts.pocket.grading import grade
from experts.pocket.model import load_adapter, load_base
from experts.pocket.question import PocketQuestion

log = logging.getLogger(__name__)

QUESTIONS = 250
SEED = 20_000
MODELS = ("base", *DOMAINS)


@dataclass(frozen=True, slots=True)
class Sitting:
    """One model's answers to one domain's exam, and which were right."""

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
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[PocketQuestion],
) -> Sitting:
    """Let a model answer the questions, and grade them."""
    written = answers(model, tokenizer, [[{"role": "user", "content": each.prompt}] for each in questions])
    right = [grade(question, answer) for question, answer in zip(questions, written, strict=True)]
    return Sitting(questions, written, right)


def exams(count: int, seed: int = SEED) -> dict[str, list[PocketQuestion]]:
    """Return the held-out exam of every domain."""
    return {domain: generate(domain, "heldout", count, seed) for domain in DOMAINS}


def measure(folder: Path, models: Sequence[str], domains: Sequence[str], count: int) -> dict[str, dict[str, Sitting]]:
    """Return sittings[model][domain]."""
    tokenizer, papers = load_tokenizer(folder), exams(count)
    sittings: dict[str, dict[str, Sitting]] = {}
    for name in models:
        started = time.monotonic()
        model = load_model(folder, name)
        sittings[name] = {domain: sit(model, tokenizer, papers[domain]) for domain in domains}
        row = "  ".join(f"{domain} {sitting.accuracy:.3f}" for domain, sitting in sittings[name].items())
        log.info("%s: %s  (%.0f s)", name, row, time.monotonic() - started)
    return sittings


def figures(sittings: Mapping[str, Mapping[str, Sitting]], count: int) -> dict[str, object]:
    """Return the matrix and what follows from it: the right specialist each time against the best single model."""
    matrix = {
        model: {domain: round(sitting.accuracy, 4) for domain, sitting in row.items()}
        for model, row in sittings.items()
    }
    mixed = {model: round(sum(row.values()) / len(row), 4) for model, row in matrix.items()}
    best = max(mixed, key=mixed.__getitem__)
    routed = sum(matrix[domain][domain] for domain in DOMAINS) / len(DOMAINS)
    return {
        "split": "heldout",
        "seed": SEED,
        "questions_per_domain": count,
        "accuracy": matrix,
        "mixed": {
            "right_specialist": round(routed, 4),
            "best_single": {"model": best, "accuracy": mixed[best]},
            "by_model": mixed,
        },
        "by_task": {domain: sittings[domain][domain].by_task() for domain in DOMAINS},
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m experts.pocket.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=weights_folder())
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=list(DOMAINS))
    parser.add_argument("--count", type=int, default=QUESTIONS, help="questions a domain")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--show-wrong", type=int, default=0, help="print that many wrong answers a sitting")
    return parser.parse_args()


def main() -> None:
    """Measure the asked models; write the figures when nothing was left out."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    sittings = measure(arguments.weights, arguments.models, arguments.domains, arguments.count)
    _show_wrong(sittings, arguments.show_wrong)
    if set(arguments.models) == set(MODELS) and set(arguments.domains) == set(DOMAINS):
        path = arguments.weights / "figures.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, **figures(sittings, arguments.count)}, indent=2) + "\n")


def _show_wrong(sittings: Mapping[str, Mapping[str, Sitting]], count: int) -> None:
    for model, row in sittings.items():
        for domain, sitting in row.items():
            marked = zip(sitting.questions, sitting.answers, sitting.right, strict=True)
            wrong = [(question, answer) for question, answer, right in marked if not right]
            if count:
                sys.stdout.write(f"{model} {domain} {sitting.by_task()}\n")
            for question, answer in wrong[:count]:
                sys.stdout.write(f"  {question.prompt}\n    wrong {answer!r}\n    right {question.response!r}\n")


if __name__ == "__main__":
    main()
