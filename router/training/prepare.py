"""Assemble the table of prompts that the shipped sixteen-domain head is fitted on, from public tables.

    python -m router.training.prepare --mmlu-pro DIR --domain-prompts DIR --out F.jsonl

`--mmlu-pro` holds `questions.parquet` (MMLU-Pro with a `category` and a `split`), `--domain-prompts` holds
`prompts.parquet` (`domain`, `text`, `source`, `role`). Questions appear with and without their options, because
people ask both ways. Coarse labels are used where one domain is meant; rows that could be either are left out.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from router.taxonomy import OUT_OF_SCOPE
from router.training.prompts import Prompt, read_rows, with_options

MMLU_PRO_OTHER = {
    "ori_mmlu-professional_accounting": "business",
    "ori_mmlu-public_relations": "business",
    "ori_mmlu-human_sexuality": "health",
    "ori_mmlu-miscellaneous": "general chat",
    "ori_mmlu-global_facts": "general chat",
}
"""What the rows of MMLU-Pro's category `other` are, by their source; the rest of it is left out."""

COARSE = {
    ("math_hendrycks", "math"): "math",
    ("mmlu", "math"): "math",
    ("mmlu", "law"): "law",
    ("mmlu", "health"): "health",
    ("mmlu", "coding"): "computer science",
    ("mbpp", "coding"): "code",
    ("self_instruct_user", "coding"): "code",
    ("medquad", "health"): "health",
    ("clinc150", "finance"): "business",
    ("clinc150", "general"): "general chat",
}
"""(source, coarse label) of the domain prompts that mean one domain of ours."""

_WRITING = re.compile(
    r"\b(write|rewrite|draft|compose|summar|translate|paraphrase|correct|poem|story|essay|email|letter|tweet|title)",
    re.IGNORECASE,
)


def prepare(mmlu_pro: Path, domain_prompts: Path) -> Iterator[Prompt]:
    """Yield the prompts of the splits `train` and `dev`, then the coarse `ood_dev` and `oos_dev` ones to measure on.

    Our own are not among them: `consilium router train` adds those.
    """
    yield from mmlu_pro_prompts(read_rows(mmlu_pro / "questions.parquet"))
    yield from public_prompts(read_rows(domain_prompts / "prompts.parquet"))


def mmlu_pro_prompts(rows: Iterator[Mapping[str, Any]]) -> Iterator[Prompt]:
    """Yield MMLU-Pro's questions: with their options to choose on; to fit, without, and every second one with too."""
    for place, row in enumerate(rows):
        category = row["category"]
        domain = MMLU_PRO_OTHER.get(row["src"]) if category == "other" else category
        if domain is None or row["split"] not in ("train", "dev"):
            continue
        if row["split"] == "dev" or place % 2:
            yield Prompt(with_options(row["question"], row["options"]), domain, row["split"], "mmlu_pro")
        if row["split"] == "train":
            yield Prompt(row["question"], domain, "train", "mmlu_pro")


def public_prompts(rows: Iterator[Mapping[str, Any]]) -> Iterator[Prompt]:
    """Yield the domain prompts whose label means one of our domains, and the ones only measured on."""
    for row in rows:
        source, label, role = row["source"], row["domain"], row["role"]
        if role in ("train", "dev"):
            domain = _self_instruct(row) if (source, label) == ("self_instruct_user", "general") else None
            domain = domain or COARSE.get((source, label))
            if domain is not None:
                yield Prompt(row["text"], domain, role, source)
        elif role == "ood_dev" or label == OUT_OF_SCOPE:
            yield Prompt(row["text"], label, role, source)


def _self_instruct(row: Mapping[str, Any]) -> str:
    return "writing" if _WRITING.search(row["text"]) else "general chat"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table, one JSON object a line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mmlu-pro", type=Path, required=True)
    parser.add_argument("--domain-prompts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    lines = (json.dumps(asdict(prompt)) for prompt in prepare(chosen.mmlu_pro, chosen.domain_prompts))
    chosen.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
