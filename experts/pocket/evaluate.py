"""Measure every pocket model on every domain's held-out questions; write figures.json and MODEL_CARD.md.

python -m experts.pocket.evaluate                                 # everything, 250 questions a domain
python -m experts.pocket.evaluate --models math --show-wrong 5    # some models, shown and not written
python -m experts.pocket.evaluate --fuser                         # the fuser alone, the other figures are kept
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from experts.pocket import weights_folder
from experts.pocket.card import model_card
from experts.pocket.exam import DOMAINS, generate
from experts.pocket.judging import held_out_panels, judge
from experts.pocket.panels import PANELISTS
from experts.pocket.sitting import MODELS, Sitting, load_model, load_tokenizer, sit

log = logging.getLogger(__name__)

QUESTIONS = 250
ON_PANELS = 30
"""Questions a domain that the fuser is measured on: it reads each several times."""
SEED = 20_000

Sittings = dict[str, dict[str, Sitting]]


def measure(folder: Path, models: Sequence[str], domains: Sequence[str], count: int) -> Sittings:
    """Return sittings[model][domain]."""
    tokenizer = load_tokenizer(folder)
    papers = {domain: generate(domain, "heldout", count, SEED) for domain in domains}
    sittings: Sittings = {}
    for name in models:
        started = time.monotonic()
        model = load_model(folder, name)
        sittings[name] = {domain: sit(model, tokenizer, papers[domain]) for domain in domains}
        row = "  ".join(f"{domain} {sitting.accuracy:.3f}" for domain, sitting in sittings[name].items())
        log.info("%s: %s  (%.0f s)", name, row, time.monotonic() - started)
    return sittings


def summary(sittings: Sittings, count: int) -> dict[str, Any]:
    """Return the matrix and what follows from it: the right specialist each time against the best single model."""
    matrix = {
        model: {domain: round(each.accuracy, 4) for domain, each in row.items()} for model, row in sittings.items()
    }
    mixed = {model: round(sum(row.values()) / len(row), 4) for model, row in matrix.items()}
    best = max(mixed, key=mixed.__getitem__)
    return {
        "split": "heldout",
        "seed": SEED,
        "questions_per_domain": count,
        "accuracy": matrix,
        "mixed": {
            "right_specialist": round(sum(matrix[domain][domain] for domain in DOMAINS) / len(DOMAINS), 4),
            "best_single": {"model": best, "accuracy": mixed[best]},
            "by_model": mixed,
        },
        "by_task": {domain: sittings[domain][domain].by_task() for domain in DOMAINS},
    }


def write_figures(folder: Path, sittings: Sittings, count: int) -> None:
    """Write figures.json and MODEL_CARD.md for the weights in the folder; judge the fuser if it is there."""
    figures = summary(sittings, count)
    if (folder / "fuser").exists():
        figures["fuser"] = judge(folder, held_out_panels(sittings, ON_PANELS))
    _write(folder, figures)


def write_fuser_figures(folder: Path) -> None:
    """Judge the fuser and write its figures and every stage's cost beside what was measured before."""
    sittings = measure(folder, PANELISTS, DOMAINS, ON_PANELS)
    figures = json.loads((folder / "figures.json").read_text())
    _write(folder, {**figures, "fuser": judge(folder, held_out_panels(sittings, ON_PANELS))})


def _write(folder: Path, figures: dict[str, Any]) -> None:
    stages = [name for name in (*MODELS, "fuser") if (folder / name / "training.json").exists()]
    figures["training"] = {name: json.loads((folder / name / "training.json").read_text()) for name in stages}
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    parameters, vocabulary = load_model(folder, "base").num_parameters(), len(load_tokenizer(folder))
    (folder / "MODEL_CARD.md").write_text(model_card(figures, parameters, vocabulary))


def _show(sittings: Mapping[str, Mapping[str, Sitting]], wrong_answers: int) -> None:
    for model, row in sittings.items():
        for domain, sitting in row.items():
            sys.stdout.write(f"{model} {domain} {sitting.accuracy:.3f} {sitting.by_task()}\n")
            marked = zip(sitting.questions, sitting.answers, sitting.right, strict=True)
            wrong = [(question, answer) for question, answer, right in marked if not right]
            for question, answer in wrong[:wrong_answers]:
                sys.stdout.write(f"  {question.prompt}\n    wrong {answer!r}\n    right {question.response!r}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m experts.pocket.evaluate")
    parser.add_argument("--weights", type=Path, default=weights_folder())
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=list(DOMAINS))
    parser.add_argument("--count", type=int, default=QUESTIONS, help="questions a domain")
    parser.add_argument("--fuser", action="store_true", help="measure the fuser alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show-wrong", type=int, default=0, help="show that many wrong answers a sitting")
    return parser.parse_args()


def main() -> None:
    """Measure the asked models; write the figures when no model and no domain was left out."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    if arguments.fuser:
        write_fuser_figures(arguments.weights)
        return
    sittings = measure(arguments.weights, arguments.models, arguments.domains, arguments.count)
    _show(sittings, arguments.show_wrong)
    if set(arguments.models) == set(MODELS) and set(arguments.domains) == set(DOMAINS):
        write_figures(arguments.weights, sittings, arguments.count)


if __name__ == "__main__":
    main()
