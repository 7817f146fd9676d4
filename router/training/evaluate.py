"""Measure a head on labelled prompts: accuracy, macro-F1, calibration, and whether it knows what it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.types import Domain
from router.adapters import load_adapter
from router.artifacts import load_head
from router.classifiers.base import Head
from router.config import EncoderConfig
from router.conversation import window
from router.encoder import Encoder, Vectors
from router.taxonomy import Taxonomy, default_taxonomy
from router.training.prompts import Prompt, of_split, out_of_scope, read_prompts

CALIBRATION_BINS = 15
DOUBT = 0.5
"""Probability below which the expert of the most probable domain is likelier wrong than right."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Prompts, the labels in play, and what a head says of each prompt: shapes [n, labels] and [n]."""

    prompts: Sequence[Prompt]
    names: NDArray[np.str_]
    probabilities: NDArray[np.float64]
    familiarity: NDArray[np.float64]

    @property
    def confidence(self) -> NDArray[np.float64]:
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def falls_back(self) -> NDArray[np.bool_]:
        return np.asarray(self.confidence * self.familiarity < DOUBT)


def evaluate_head(
    prompts: Sequence[Path],
    artifact: Path,
    *,
    split: str = "dev",
    text_column: str = "text",
    label_column: str = "domain",
    encoder: Encoder | None = None,
) -> dict[str, Any]:
    """Return the figures of a fitted head on one split, and the confusion of its domains.

    Figures are `n, accuracy, macro_f1, ece, out_of_scope_auroc, routed_rightly, by_source, confusion`. Labels may be
    coarser than the head's domains: a group's name stands for its domains. Without `encoder` the default one is
    loaded.

    Raises:
        ConfigError: no rows of that split, or an artifact that does not fit the encoder.
    """
    encoder = encoder or Encoder(EncoderConfig(threads=2))
    if load_adapter(artifact) is not None:
        encoder = adapted(encoder, artifact)
    head, _ = load_head(artifact, encoder=encoder.name)
    rows = read_prompts(prompts, text_column=text_column, label_column=label_column)
    return measure(head, encoder, of_split(rows, split), out_of_scope(rows, split))


def adapted(encoder: Encoder, artifact: Path) -> Encoder:
    """Return the same encoder with the artifact's adapter merged into it."""
    return Encoder(encoder.config.model_copy(update={"adapter": str(artifact)}))


def measure(head: Head, encoder: Encoder, known: Sequence[Prompt], strays: Sequence[Prompt]) -> dict[str, Any]:
    """Return the figures of a head on prompts of known domains, against out-of-scope ones where there are any."""
    labels = sorted({prompt.domain for prompt in known})
    strange = judged(head, embed(encoder, strays), strays, labels) if strays else None
    found = judged(head, embed(encoder, known), known, labels)
    return {**figures(found, strange), "confusion": confusion(found)}


def judged(head: Head, vectors: Vectors, prompts: Sequence[Prompt], labels: Sequence[Domain]) -> Judged:
    """Return what a head says about encoded prompts, in terms of the labels."""
    found = head.judge(vectors, read(prompts))
    names, probabilities = merged(head.domains, found.probabilities, labels)
    return Judged(prompts, names, probabilities, found.familiarity)


def figures(known: Judged, strange: Judged | None = None) -> dict[str, Any]:
    """Return the figures of prompts that were judged."""
    from sklearn.metrics import f1_score

    labels = np.array([prompt.domain for prompt in known.prompts])
    predicted = known.names[known.probabilities.argmax(axis=1)]
    right = predicted == labels
    return {
        "n": len(labels),
        "accuracy": float(right.mean()),
        "macro_f1": float(f1_score(labels, predicted, average="macro", labels=sorted(set(labels)))),
        "ece": expected_calibration_error(known.confidence, right),
        "out_of_scope_auroc": None if strange is None else out_of_scope_auroc(known, strange),
        "routed_rightly": routed_rightly(known, right, strange),
        "by_source": _by_source([prompt.source for prompt in known.prompts], right),
    }


def confusion(known: Judged) -> dict[str, Any]:
    """Return `labels`, and `counts`: a row a true label, a column what it was taken for, both in their order."""
    true = np.array([prompt.domain for prompt in known.prompts])
    predicted = known.names[known.probabilities.argmax(axis=1)]
    labels = sorted({*true.tolist(), *predicted.tolist()})
    counts = [[int(((true == row) & (predicted == column)).sum()) for column in labels] for row in labels]
    return {"labels": labels, "counts": counts}


def _by_source(sources: Sequence[str], right: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
    names = np.array(sources)
    return {
        str(name): {"n": int((names == name).sum()), "accuracy": float(right[names == name].mean())}
        for name in np.unique(names)
    }


def embed(encoder: Encoder, prompts: Sequence[Prompt]) -> Vectors:
    """Encode prompts exactly as a request's text is: windowed, one vector each."""
    return encoder.encode_sync(read(prompts))


def read(prompts: Sequence[Prompt]) -> list[str]:
    """Return what is read of each prompt: its window."""
    return [window(prompt.text) for prompt in prompts]


def merged(
    domains: Sequence[Domain],
    probabilities: NDArray[np.float64],
    labels: Sequence[Domain],
    taxonomy: Taxonomy | None = None,
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Return label names and their probabilities, the head's own or those of the groups that `labels` name.

    When every label is a domain they are the head's own. Otherwise the domains that a label means are added up,
    and domains that no label means are out of play.
    """
    if set(labels) <= set(domains):
        return np.array(domains), probabilities
    taxonomy = taxonomy or default_taxonomy()
    meaning = taxonomy.meanings(labels)
    belongs = np.array([[meaning.get(domain) == label for label in labels] for domain in domains], dtype=float)
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


def out_of_scope_auroc(known: Judged, strange: Judged) -> float:
    """Return how well familiarity, and confidence where it is equal, tells known prompts from out-of-scope ones."""
    from sklearn.metrics import roc_auc_score

    sure = [each.familiarity + 1e-3 * each.confidence for each in (known, strange)]
    return float(roc_auc_score([1] * len(known.prompts) + [0] * len(strange.prompts), np.concatenate(sure)))


def routed_rightly(known: Judged, right: NDArray[np.bool_], strange: Judged | None) -> float:
    """Return the share of prompts that reach the expert of their domain, or the fallback where that is better.

    A prompt falls back when confidence times familiarity, the probability that its top domain is right, is below
    `DOUBT`: routing's own rule at a `fallback_confidence` of as much. A prompt of a known domain is routed rightly when
    its domain was found and it did not fall back, or when it fell back and would have gone wrong; an out-of-scope
    prompt when it fell back.
    """
    good = right != known.falls_back
    if strange is not None:
        good = np.concatenate([good, strange.falls_back])
    return float(good.mean())
