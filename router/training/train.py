"""Fit a domain head on labelled prompts: choose on `dev`, calibrate on `dev`, keep with a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from experts.errors import ConfigError
from router.artifacts import Manifest, save_head
from router.classifiers.linear import LinearHead
from router.config import EncoderConfig
from router.encoder import Encoder, Vectors
from router.training.evaluate import embed, figures
from router.training.prompts import OUT_OF_SCOPE, Prompt, of_split, out_of_scope, read_prompts

STRENGTHS = (1.0, 3.0, 10.0)
FEW = 10


def train_head(
    prompts: Sequence[Path],
    out: Path,
    *,
    text_column: str = "text",
    label_column: str = "domain",
    encoder: Encoder | None = None,
    description: str = "",
    command: str = "",
) -> Manifest:
    """Fit a head on the prompts of the split `train` and write it with its manifest into `out`.

    The penalty and the temperature are chosen on `dev`; every other split is only measured. Without `encoder`
    the default one is loaded.

    Raises:
        ConfigError: unreadable tables, no training prompts, or fewer than two domains.
    """
    encoder = encoder or Encoder(EncoderConfig(threads=2))
    rows = read_prompts(prompts, text_column=text_column, label_column=label_column)
    train = of_split(rows, "train")
    if len({prompt.domain for prompt in train}) < 2:
        raise ConfigError("Training needs prompts of two domains at least.")
    train, dev = _with_dev(train, rows)
    vectors, dev_vectors = embed(encoder, train), embed(encoder, dev)
    head = fit_head(vectors, train, dev_vectors, dev)
    manifest = Manifest(
        encoder=encoder.name,
        dimension=vectors.shape[1],
        domains=head.domains,
        data=describe(train, description),
        parameters={"C": head.C, "balanced": head.balanced, "anchors": head.anchors, "seed": head.seed},
        figures=_all_figures(head, encoder, rows, dev, dev_vectors),
        command=command,
    )
    save_head(head, manifest, out)
    return manifest


def fit_head(vectors: Vectors, train: Sequence[Prompt], dev_vectors: Vectors, dev: Sequence[Prompt]) -> LinearHead:
    """Return the head whose strength of penalty is most accurate on `dev`, calibrated there."""
    labels, sources = [prompt.domain for prompt in train], [prompt.source for prompt in train]
    calibration = (dev_vectors, [prompt.domain for prompt in dev])
    heads = [
        LinearHead(C=strength).fit(vectors, labels, sources=sources, calibration=calibration) for strength in STRENGTHS
    ]
    return max(heads, key=lambda head: figures(head, dev_vectors, dev)["accuracy"])


def describe(train: Sequence[Prompt], description: str) -> dict[str, Any]:
    """Return what a head was fitted on: counts, a hash of every text and label, and domains with too little."""
    domains = Counter(prompt.domain for prompt in train)
    digest = sha256("\n".join(sorted(f"{each.domain}\t{each.text}" for each in train)).encode())
    return {
        "description": description,
        "sha256": digest.hexdigest(),
        "n": len(train),
        "by_domain": dict(sorted(domains.items())),
        "by_source": dict(sorted(Counter(prompt.source for prompt in train).items())),
        "too_few": sorted(domain for domain, count in domains.items() if count < FEW),
    }


def _with_dev(train: list[Prompt], rows: Sequence[Prompt]) -> tuple[list[Prompt], list[Prompt]]:
    """Return training and dev prompts; a table without `dev` gives up every fifth training prompt for it."""
    dev = [row for row in rows if row.split == "dev" and row.domain != OUT_OF_SCOPE]
    if dev:
        return train, dev
    return [row for place, row in enumerate(train) if place % 5], train[::5]


def _all_figures(
    head: LinearHead, encoder: Encoder, rows: Sequence[Prompt], dev: Sequence[Prompt], dev_vectors: Vectors
) -> dict[str, Any]:
    strays = out_of_scope(rows, "dev")
    strange = embed(encoder, strays) if strays else None
    found = {"dev": figures(head, dev_vectors, dev, strange)}
    others = {row.split for row in rows if row.domain != OUT_OF_SCOPE} - {"train", "dev"}
    for split in sorted(others):
        known = of_split(rows, split)
        found[split] = figures(head, embed(encoder, known), known, strange)
    return found
