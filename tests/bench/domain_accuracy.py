"""How well are domains found, with what, and does the head know what it does not know?

    python -m tests.bench.domain_accuracy --prompts F.parquet [--prompts ...] [--json F]

`F` has `domain`, `text`, `source`, `role`, and the splits `train`, `dev`, `ood_dev` and out-of-scope prompts. Prints
what each part of the head adds; then, for each domain left out of the fitting, how well its prompts are told from the
known ones (leave-one-category-out, as density-based routers are judged; at least 0.80); then the accuracy with MoDEM's
five domains (maths, health, science, coding, other; 2410.07490) on the prompts of MMLU-Pro (at least 0.88).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from router.classifiers.blend import BlendHead
from router.config import EncoderConfig
from router.encoder import Encoder
from router.training.evaluate import embed, figures, judged, read
from router.training.own import SOURCE
from router.training.prompts import Prompt, of_split, out_of_scope, read_prompts
from router.training.train import Encoded, fit_head, splits, with_dressed

FIVE = {"math": "math", "health": "health", "science": "science", "coding": "coding"}
LEFT_OUT = ("law", "health", "math", "science", "coding")
SPLITS = ("dev", "ood_dev")


class Bench:
    """The table, encoded once."""

    def __init__(self, paths: Sequence[Path]) -> None:
        rows = read_prompts(paths)
        encoder = Encoder(EncoderConfig())
        train, dev = splits(rows, own=True)
        parts = {
            "train": with_dressed(train),
            "dev": dev,
            "ood_dev": of_split(rows, "ood_dev"),
            "oos": out_of_scope(rows, "dev"),
        }
        self.parts = {name: Encoded(prompts, embed(encoder, prompts)) for name, prompts in parts.items()}
        self.public = self.parts["train"].where(not each.source.startswith(SOURCE) for each in train)

    def measured(self, head: BlendHead, split: str) -> dict[str, Any]:
        """Return the figures of a head on a split against the out-of-scope prompts."""
        known, far = self.parts[split], self.parts["oos"]
        labels = sorted(set(known.labels))
        return figures(
            judged(head, known.vectors, known.prompts, labels), judged(head, far.vectors, far.prompts, labels)
        )

    def variants(self) -> Iterator[tuple[str, BlendHead]]:
        """Yield what to compare, the plain linear head on public prompts first and the shipped recipe last."""
        ours = self.parts["train"]
        yield "regression on vectors, public prompts", _fitted(self.public, BlendHead(words=0.0, share=1.0))
        yield "neighbours, public prompts", _fitted(self.public, BlendHead(words=0.0, share=0.0))
        yield "the same head, public prompts", _fitted(self.public, BlendHead())
        yield "regression on vectors, ours added", _fitted(ours, BlendHead(words=0.0, share=1.0))
        yield "regression on vectors and words, ours added", _fitted(ours, BlendHead(share=1.0))
        yield "neighbours, ours added", _fitted(ours, BlendHead(words=0.0, share=0.0))
        yield "all of it, calibrated (`train`)", fit_head(ours, self.parts["dev"])

    def left_out(self, domain: str, whole: BlendHead) -> tuple[float, float]:
        """Return how well the domain's dev prompts are told from known ones by the familiarity of a whole
        head, and by confidence."""
        from sklearn.metrics import roc_auc_score

        head = _fitted(self.parts["train"].where(label != domain for label in self.parts["train"].labels), BlendHead())
        head.scope_ = whole.scope_
        dev = self.parts["dev"]
        found = head.blend(dev.vectors, read(dev.prompts))
        known = [label != domain for label in dev.labels]
        return float(roc_auc_score(known, head.evidence(found))), float(
            roc_auc_score(known, found.averages.max(axis=1))
        )

    def five(self, head: BlendHead) -> float:
        """Return the accuracy with MoDEM's five domains on dev prompts of MMLU-Pro."""
        dev = self.parts["dev"].where(prompt.source == "mmlu_pro" for prompt in self.parts["dev"].prompts)
        found = head.judge(dev.vectors, read(dev.prompts)).probabilities
        names = sorted({FIVE.get(domain, "other") for domain in head.domains})
        belongs = np.array([[FIVE.get(domain, "other") == name for name in names] for domain in head.domains])
        best = (found @ belongs).argmax(axis=1)
        right = [names[place] == FIVE.get(label, "other") for place, label in zip(best, dev.labels, strict=True)]
        return float(np.mean(right))


def _fitted(data: Encoded, head: BlendHead) -> BlendHead:
    return head.fit(data.vectors, read(data.prompts), data.labels, [_family(prompt) for prompt in data.prompts])


def _family(prompt: Prompt) -> str:
    return prompt.source.partition(":")[0]


def main() -> None:
    """Print the tables, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--prompts", type=Path, action="append", required=True)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    bench = Bench(chosen.prompts)
    kept: dict[str, Any] = {}
    print("| head | split | accuracy | macro-F1 | ECE | AUROC | routed rightly |\n|---|---|---|---|---|---|---|")
    for name, head in bench.variants():
        for split in SPLITS:
            found = bench.measured(head, split)
            kept[f"{name}, {split}"] = found
            keys = ("accuracy", "macro_f1", "ece", "out_of_scope_auroc", "routed_rightly")
            print(f"| {name} | {split} |", " | ".join(f"{found[key]:.3f}" for key in keys), "|", flush=True)
    print("\n| left out | AUROC by familiarity | by confidence |\n|---|---|---|")
    for domain in LEFT_OUT:
        familiar, sure = bench.left_out(domain, head)
        kept[f"left out {domain}"] = {"familiarity": familiar, "confidence": sure}
        print(f"| {domain} | {familiar:.3f} | {sure:.3f} |", flush=True)
    kept["five"] = bench.five(head)
    print(f"\nMoDEM's five domains on MMLU-Pro: {kept['five']:.3f}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
