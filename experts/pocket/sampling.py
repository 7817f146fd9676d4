"""The experts' real answers to training questions, for the fuser to practise on; asked once and kept in a folder.

python -m experts.pocket.sampling --answers DIR [--models math code]
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from experts.pocket import weights_folder
from experts.pocket.exam import DOMAINS, generate
from experts.pocket.fusing import Answered
from experts.pocket.panels import PANELISTS
from experts.pocket.sitting import load_model, load_tokenizer, sit

log = logging.getLogger(__name__)

QUESTIONS = 400
SEED = 500

Rows = dict[str, list[Sequence[Any]]]
"""For each domain: what one model answered to each question, and whether that was right."""


def sampled(weights: Path, kept: Path, models: Sequence[str] = PANELISTS) -> list[Answered]:
    """Return the training questions with the models' answers; a model whose answers are not kept yet is asked now."""
    papers = {domain: generate(domain, "train", QUESTIONS, SEED) for domain in DOMAINS}
    rows = {model: _rows(weights, kept / f"{model}.json", model) for model in models}
    return [
        (question, {model: _pair(rows[model][domain][index]) for model in models})
        for domain in DOMAINS
        for index, question in enumerate(papers[domain])
    ]


def _rows(weights: Path, path: Path, model: str) -> Rows:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_ask(weights, model)))
        log.info("%s: answers kept in %s", model, path)
    rows: Rows = json.loads(path.read_text())
    return rows


def _pair(row: Sequence[Any]) -> tuple[str, bool]:
    answer, right = row
    return answer, right


def _ask(weights: Path, model: str) -> Rows:
    loaded, tokenizer = load_model(weights, model), load_tokenizer(weights)
    rows: Rows = {}
    for domain in DOMAINS:
        sitting = sit(loaded, tokenizer, generate(domain, "train", QUESTIONS, SEED))
        rows[domain] = list(zip(sitting.answers, sitting.right, strict=True))
    return rows


def main() -> None:
    """Ask the models that were not asked yet."""
    parser = argparse.ArgumentParser(prog="python -m experts.pocket.sampling")
    parser.add_argument("--weights", type=Path, default=weights_folder())
    parser.add_argument("--answers", type=Path, required=True, help="folder in which the answers are kept")
    parser.add_argument("--models", nargs="+", choices=PANELISTS, default=list(PANELISTS))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    sampled(arguments.weights, arguments.answers, arguments.models)


if __name__ == "__main__":
    main()
