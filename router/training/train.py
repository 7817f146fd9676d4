"""Fit a domain head on labelled prompts, calibrate it on texts nobody fitted on, keep it with a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from experts.errors import ConfigError
from experts.types import Domain
from router.adapters import FILE as ADAPTER_FILE
from router.adapters import save_adapter
from router.artifacts import Manifest, parameters, save_head
from router.classifiers.blend import Blend, BlendHead
from router.config import EncoderConfig
from router.encoder import Encoder, Vectors
from router.taxonomy import OUT_OF_SCOPE
from router.training.dressing import MOST as MOST_DRESSED
from router.training.dressing import dressed
from router.training.evaluate import adapted, embed, figures, judged, read
from router.training.finetune import load_model, tune_encoder
from router.training.own import SOURCE, for_labels, own_prompts
from router.training.prompts import Prompt, of_split, out_of_scope, read_prompts

FEW = 10
FOLDS = 4
LEAST_LEFT_OUT = 20
MOST_LEFT_OUT = 0.3
"""Share of the texts beyond which a head without a source says nothing about the head with it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A head, the encoder it was fitted on, and how well it does."""

    head: BlendHead
    encoder: str
    figures: dict[str, Any]

    @property
    def verdict(self) -> float:
        """The accuracy that decides between candidates."""
        return float(self.figures.get("ood_dev", self.figures["dev"])["accuracy"])


@dataclass(frozen=True, slots=True)
class Encoded:
    """Prompts and their vectors, shape [n, dimension], in the same order."""

    prompts: Sequence[Prompt]
    vectors: Vectors

    @property
    def labels(self) -> list[Domain]:
        return [prompt.domain for prompt in self.prompts]

    def where(self, chosen: Iterable[bool]) -> Encoded:
        """Return the prompts for which `chosen` is true."""
        kept = [place for place, wanted in enumerate(chosen) if wanted]
        return Encoded([self.prompts[place] for place in kept], self.vectors[kept])


def train_head(
    prompts: Sequence[Path],
    out: Path,
    *,
    text_column: str = "text",
    label_column: str = "domain",
    encoder: Encoder | None = None,
    own: bool = True,
    finetune: bool = False,
    description: str = "",
    command: str = "",
) -> Manifest:
    """Fit a head on the prompts of the split `train` and write it with its manifest into `out`.

    The temperature is fitted on `dev` and on sources left out in turn, familiarity on those, on kinds of our own
    prompts and on whole domains left out in turn; every other split is only measured. Without `encoder` the default one
    is loaded.

    Args:
        own: add our own prompts where the labels are of the taxonomy (`router.training.own`).
        finetune: also tune the encoder (`router.training.finetune`), and keep whichever is more accurate on the split
            `ood_dev` where there is one, else on `dev`.

    Raises:
        ConfigError: unreadable tables, no training prompts, or fewer than two domains.
    """
    encoder = encoder or Encoder(EncoderConfig(threads=2))
    rows = read_prompts(prompts, text_column=text_column, label_column=label_column)
    train, dev = splits(rows, own=own)
    (out / ADAPTER_FILE).unlink(missing_ok=True)
    fitting = with_dressed(train)
    found = candidate(encoder, rows, fitting, dev)
    about: dict[str, Any] = {}
    if finetune:
        found, about = tuned_or_not(encoder, found, out, rows, fitting, dev)
    manifest = Manifest(
        encoder=found.encoder,
        dimension=found.head.linear_.coef_.shape[1],
        domains=found.head.domains,
        data=describe(train, description),
        parameters=parameters(found.head),
        figures=found.figures,
        command=command,
        adapter=about,
    )
    save_head(found.head, manifest, out)
    return manifest


def candidate(encoder: Encoder, rows: Sequence[Prompt], train: Sequence[Prompt], dev: Sequence[Prompt]) -> Candidate:
    """Return a head fitted on the encoder's vectors, with its figures."""
    known = _encoded(encoder, dev)
    head = fit_head(_encoded(encoder, train), known)
    return Candidate(head, encoder.name, all_figures(head, encoder, rows, known))


def tuned_or_not(
    encoder: Encoder,
    frozen: Candidate,
    out: Path,
    rows: Sequence[Prompt],
    train: Sequence[Prompt],
    dev: Sequence[Prompt],
) -> tuple[Candidate, dict[str, Any]]:
    """Tune the encoder, and return whichever head is better with what the manifest says about it.

    The adapter is kept in `out` where the tuned head is.
    """
    sources = [prompt.source.partition(":")[0] for prompt in train]
    adapter = tune_encoder(load_model(encoder.config), read(train), [prompt.domain for prompt in train], sources)
    save_adapter(adapter, out)
    tuned = candidate(adapted(encoder, out), rows, train, dev)
    about = {"frozen": frozen.verdict, "tuned": tuned.verdict}
    if tuned.verdict > frozen.verdict:
        return tuned, {"scale": adapter.scale, **about}
    (out / ADAPTER_FILE).unlink()
    return frozen, about


def splits(rows: Sequence[Prompt], *, own: bool) -> tuple[list[Prompt], list[Prompt]]:
    """Return the prompts to fit on, ours among them where wanted, and those to calibrate on.

    A table without `dev` gives up every fifth training prompt for it.

    Raises:
        ConfigError: no training prompts, or fewer than two domains.
    """
    train = of_split(rows, "train")
    labels = sorted({prompt.domain for prompt in train})
    if len(labels) < 2:
        raise ConfigError("Training needs prompts of two domains at least.")
    dev = [row for row in rows if row.split == "dev" and row.domain != OUT_OF_SCOPE]
    if not dev:
        train, dev = [row for place, row in enumerate(train) if place % 5], train[::5]
    return [*train, *(for_labels(own_prompts(), labels) if own else ())], dev


def with_dressed(train: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts and, behind them, dressed copies of at most a fifth as many."""
    return [*train, *dressed(train, min(MOST_DRESSED, len(train) // 5))]


def fit_head(train: Encoded, dev: Encoded) -> BlendHead:
    """Return a head fitted on all of `train`, calibrated on `dev` and on each source, seen by a head without it.

    `dev` counts as much for the temperature as the sources together: it stands for what is known, they for the rest.
    """
    head = _fitted(train)
    held_out = [(head.blend(dev.vectors, read(dev.prompts)), dev.labels), *_sources_left_out(train, head.domains)]
    together = reduce(lambda left, right: left + right, (blend for blend, _ in held_out))
    labels = [label for _, part in held_out for label in part]
    elsewhere = max(1, len(labels) - len(dev.labels))
    weights = [1 / len(dev.labels)] * len(dev.labels) + [1 / elsewhere] * (len(labels) - len(dev.labels))
    head.calibrate(together, labels, weights)
    strangers = [*_kinds_left_out(train, head.domains), *_domains_left_out(train, head.domains)]
    signs = np.concatenate([together.signs, *(blend.signs for blend, _ in strangers)])
    return head.learn_scope(signs, [*labels, *(label for _, part in strangers for label in part)])


def _sources_left_out(train: Encoded, domains: Sequence[Domain]) -> list[tuple[Blend, list[Domain]]]:
    """Return what heads say of each source they were not fitted on; a source that much or a domain rests on stays."""
    found = []
    most = MOST_LEFT_OUT * len(train.prompts)
    for source in sorted({prompt.source for prompt in train.prompts if not prompt.source.startswith(SOURCE)}):
        rest = train.where(prompt.source != source for prompt in train.prompts)
        out = train.where(prompt.source == source for prompt in train.prompts)
        if not LEAST_LEFT_OUT <= len(out.prompts) <= most or not set(domains) <= set(rest.labels):
            continue
        found.append((_fitted(rest).blend(out.vectors, read(out.prompts)), out.labels))
    return found


def _kinds_left_out(train: Encoded, domains: Sequence[Domain]) -> list[tuple[Blend, list[Domain]]]:
    """Return what heads say of kinds of our own prompts, out of scope ones among them, that they were not fitted on."""
    if OUT_OF_SCOPE not in train.labels:
        return []
    folds = [crc32(each.source.encode()) % FOLDS if each.source.startswith(SOURCE) else None for each in train.prompts]
    found = []
    for fold in range(FOLDS):
        rest = train.where(place != fold for place in folds)
        out = train.where(place == fold for place in folds)
        if out.prompts and {*domains, OUT_OF_SCOPE} <= set(rest.labels):
            found.append((_fitted(rest).blend(out.vectors, read(out.prompts)), out.labels))
    return found


def _domains_left_out(train: Encoded, domains: Sequence[Domain]) -> list[tuple[Blend, list[Domain]]]:
    """Return what heads say of domains that they were not fitted on, which to them are out of scope.

    Two texts for each five of our own out of scope, since most of what no expert is for is small talk.
    """
    most = 2 * train.labels.count(OUT_OF_SCOPE) // (5 * FOLDS)
    found = []
    for gone in (set(domains[fold::FOLDS]) for fold in range(FOLDS)):
        if not most or not gone or len(domains) - len(gone) < 2:
            continue
        rest = train.where(label not in gone for label in train.labels)
        places = [place for place, label in enumerate(train.labels) if label in gone]
        sampled = set(places[:: max(1, len(places) // most)][:most])
        out = train.where(place in sampled for place in range(len(train.prompts)))
        blend = _fitted(rest).blend(out.vectors, read(out.prompts))
        found.append((blend, [OUT_OF_SCOPE] * len(out.prompts)))
    return found


def _fitted(data: Encoded) -> BlendHead:
    sources = [prompt.source.partition(":")[0] for prompt in data.prompts]
    return BlendHead().fit(data.vectors, read(data.prompts), data.labels, sources)


def describe(train: Sequence[Prompt], description: str) -> dict[str, Any]:
    """Return what a head was fitted on: counts, a hash of every text and label, and domains with too little."""
    domains = Counter(prompt.domain for prompt in train)
    digest = sha256("\n".join(sorted(f"{each.domain}\t{each.text}" for each in train)).encode())
    return {
        "description": description,
        "sha256": digest.hexdigest(),
        "n": len(train),
        "by_domain": dict(sorted(domains.items())),
        "by_source": dict(sorted(Counter(prompt.source.partition(":")[0] for prompt in train).items())),
        "too_few": sorted(domain for domain, count in domains.items() if count < FEW),
    }


def all_figures(head: BlendHead, encoder: Encoder, rows: Sequence[Prompt], dev: Encoded) -> dict[str, Any]:
    """Return the figures of `dev` and of every split that was not fitted on."""
    strays = out_of_scope(rows, "dev")
    strange = embed(encoder, strays) if strays else np.empty((0, 0), dtype=np.float32)
    others = {row.split for row in rows if row.domain != OUT_OF_SCOPE} - {"train", "dev"}
    found = {}
    for split in ["dev", *sorted(others)]:
        known = dev if split == "dev" else _encoded(encoder, of_split(rows, split))
        labels = sorted(set(known.labels))
        far = judged(head, strange, strays, labels) if strays else None
        found[split] = figures(judged(head, known.vectors, known.prompts, labels), far)
    return found


def _encoded(encoder: Encoder, prompts: Sequence[Prompt]) -> Encoded:
    return Encoded(prompts, embed(encoder, prompts))
