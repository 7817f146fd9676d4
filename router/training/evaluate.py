"""Measure a head on labelled prompts: accuracy, macro-F1, calibration, and whether it knows what it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.types import Domain
from router.artifacts import load_head
from router.classifiers.base import Head
from router.config import EncoderConfig
from router.conversation import window
from router.encoder import Encoder, Vectors
from router.taxonomy import Taxonomy, default_taxonomy
from router.training.prompts import Prompt, of_split, out_of_scope, read_prompts

CALIBRATION_BINS = 15


def evaluate_head(
    prompts: Sequence[Path],
    artifact: Path,
    *,
    split: str = "dev",
    text_column: str = "text",
    label_column: str = "domain",
    encoder: Encoder | None = None,
) -> dict[str, Any]:
    """Return `n, accuracy, macro_f1, ece, out_of_scope_auroc, by_source` of a fitted head on one split.

    Labels may be coarser than the head's domains: a group's name stands for its domains. Without `encoder`
    the default one is loaded.

    Raises:
        ConfigError: no rows of that split, or an artifact that does not fit the encoder.
    """
    encoder = encoder or Encoder(EncoderConfig(threads=2))
    head, _ = load_head(artifact, encoder=encoder.name)
    rows = read_prompts(prompts, text_column=text_column, label_column=label_column)
    return measure(head, encoder, of_split(rows, split), out_of_scope(rows, split))


def measure(head: Head, encoder: Encoder, known: Sequence[Prompt], strays: Sequence[Prompt]) -> dict[str, Any]:
    """Return the figures of a head on prompts of known domains, against out-of-scope ones where there are any."""
    vectors = embed(encoder, known)
    strange = embed(encoder, strays) if strays else None
    return figures(head, vectors, known, strange)


def figures(head: Head, vectors: Vectors, known: Sequence[Prompt], strange: Vectors | None = None) -> dict[str, Any]:
    """Return the figures of a head on encoded prompts."""
    from sklearn.metrics import f1_score

    labels = np.array([prompt.domain for prompt in known])
    names, probabilities = merged(head, vectors, sorted(set(labels)))
    predicted = names[probabilities.argmax(axis=1)]
    right = predicted == labels
    sources = np.array([prompt.source for prompt in known])
    return {
        "n": len(known),
        "accuracy": float(right.mean()),
        "macro_f1": float(f1_score(labels, predicted, average="macro", labels=sorted(set(labels)))),
        "ece": expected_calibration_error(probabilities.max(axis=1), right),
        "out_of_scope_auroc": None if strange is None else out_of_scope_auroc(head, vectors, strange),
        "by_source": {
            str(source): {
                "n": int((sources == source).sum()),
                "accuracy": float(right[sources == source].mean()),
            }
            for source in np.unique(sources)
        },
    }


def embed(encoder: Encoder, prompts: Sequence[Prompt]) -> Vectors:
    """Encode prompts exactly as a request's text is: windowed, one vector each."""
    return encoder.encode_sync([window(prompt.text) for prompt in prompts])


def merged(
    head: Head, vectors: Vectors, labels: Sequence[Domain], taxonomy: Taxonomy | None = None
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Return label names and their probabilities, the head's own or those of the groups that `labels` name.

    When the head knows every label they are its own. Otherwise the domains that a label means are added up,
    and domains that no label means are out of play.
    """
    probabilities = head.predict_proba(vectors)
    if set(labels) <= set(head.domains):
        return np.array(head.domains), probabilities
    taxonomy = taxonomy or default_taxonomy()
    members = {label: set(taxonomy.expand([label])) for label in labels}
    belongs = np.array([[domain in members[label] for label in labels] for domain in head.domains], dtype=float)
    together = probabilities @ belongs
    return np.array(labels), together / np.maximum(together.sum(axis=1, keepdims=True), 1e-12)


def expected_calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return sum over bins of |accuracy - confidence| * share, 15 equal widths (Guo et al. 2017, equation 3)."""
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [
        abs(right[bins == place].mean() - confidence[bins == place].mean()) * (bins == place).mean()
        for place in np.unique(bins)
    ]
    return float(sum(gaps))


def out_of_scope_auroc(head: Head, known: Vectors, strange: Vectors) -> float:
    """Return how well confidence times familiarity tells known prompts from out-of-scope ones (0.5: not at all)."""
    from sklearn.metrics import roc_auc_score

    both = np.concatenate([known, strange])
    sure = head.predict_proba(both).max(axis=1) * head.familiarity(both)
    return float(roc_auc_score([1] * len(known) + [0] * len(strange), sure))
