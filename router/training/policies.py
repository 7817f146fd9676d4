"""Fit routing policies on recorded outcomes, and keep them: numbers as safetensors, the rest as JSON.

A folder holds `policies.safetensors` and `policies.json`; the latter says for which encoder, experts and questions the
policies were fitted, and by which versions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from experts.errors import ConfigError
from experts.types import ExpertName
from router.conversation import window
from router.encoder import Encoder
from router.features import Features, read_features
from router.policies.base import Policy
from router.policies.fitted import ESTIMATORS, Basis, FittedPolicy
from router.policies.lesson import Estimator, by_turns, learned, relearn
from router.training.outcomes import Outcomes

FORMAT = 1
ARRAYS_FILE, NAMES_FILE = "policies.safetensors", "policies.json"
FEW = 200
"""Questions below which the estimates are mostly their priors."""

Report = Callable[[str], None]


class FittedPolicies:
    """Every policy fitted on the same outcomes, by name.

    Args:
        experts: the columns of all estimates.
        encoder: name of the encoder whose vectors they read.
        facts: what they were fitted on.
    """

    def __init__(
        self,
        experts: tuple[ExpertName, ...],
        encoder: str,
        basis: Basis,
        estimators: Mapping[str, Estimator],
        facts: Mapping[str, Any],
    ) -> None:
        self.experts, self.encoder, self.basis = experts, encoder, basis
        self.estimators, self.facts = dict(estimators), dict(facts)

    @property
    def names(self) -> tuple[str, ...]:
        """The policies there are."""
        return tuple(self.estimators)

    def featurize(self, texts: Sequence[str], encoder: Encoder) -> Features:
        """Return what the policies read of texts.

        Raises:
            ConfigError: it is another encoder's vectors that they were fitted on.
        """
        if encoder.name != self.encoder:
            raise ConfigError(f"The policies were fitted on the encoder '{self.encoder}', this is '{encoder.name}'.")
        return featurize(texts, encoder)

    def estimates(self, features: Features, names: Sequence[str] | None = None) -> dict[str, NDArray[np.float64]]:
        """Return policy -> probability that each expert is right, shape [n, m].

        Raises:
            ConfigError: a policy was not fitted.
        """
        reading = self.basis.read(features)
        return {name: self._named(name).estimate(reading) for name in names or self.names}

    def policies(self) -> dict[str, Policy]:
        """Return them as routing policies."""
        return {name: FittedPolicy(name, self.basis, each, self.experts) for name, each in self.estimators.items()}

    def save(self, folder: Path) -> None:
        """Write everything that was learned into the folder, which is made where needed."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {}
        rest: dict[str, Any] = {}
        for name, part in _parts(self.basis, self.estimators).items():
            found, rest[name] = learned(part)
            arrays |= {f"{name}/{key}": np.ascontiguousarray(value) for key, value in found.items()}
        save_file(arrays, folder / ARRAYS_FILE)
        record = {
            "format": FORMAT,
            "encoder": self.encoder,
            "experts": self.experts,
            "policies": self.names,
            "facts": self.facts,
            "versions": {name: version(name) for name in ("consilium", "numpy", "scikit-learn")},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": rest,
        }
        (folder / NAMES_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FittedPolicies:
        """Read policies.

        Raises:
            ConfigError: the folder holds none, or ones that this version cannot read.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            record = json.loads((folder / NAMES_FILE).read_text(encoding="utf-8"))
            arrays = load_file(folder / ARRAYS_FILE)
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']}, this version reads {FORMAT}")
            basis, estimators = Basis(), {name: ESTIMATORS[name]() for name in record["policies"]}
            for name, part in _parts(basis, estimators).items():
                own = {key.split("/")[-1]: value for key, value in arrays.items() if key.rpartition("/")[0] == name}
                relearn(part, own, record["settings"][name])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ConfigError(
                f"{folder} holds no usable policies ({type(error).__name__}: {error}); make them with "
                f"`consilium router train --questions ... --outcomes ... --out {folder}`."
            ) from error
        return cls(tuple(record["experts"]), record["encoder"], basis, estimators, record["facts"])

    def _named(self, name: str) -> Estimator:
        if name not in self.estimators:
            raise ConfigError(f"The policy '{name}' was not fitted; these were: {', '.join(self.names)}.")
        return self.estimators[name]


def fit_policies(
    train: Outcomes,
    *,
    encoder: Encoder,
    names: Sequence[str] | str = "all",
    progress: Report = lambda line: None,
    features: Features | None = None,
) -> FittedPolicies:
    """Fit policies on outcomes.

    Args:
        names: of ESTIMATORS, or "all".
        progress: told in words what is being done.
        features: of the questions, where they were read before.

    Raises:
        ConfigError: there is no such policy, or too little to learn from.
    """
    chosen = _chosen(names)
    if len(train.experts) < 2 or len(train) < 10:
        raise ConfigError(
            f"Fitting needs two experts and ten questions at least; there are {len(train.experts)} and {len(train)}."
        )
    if len(train) < FEW:
        progress(f"Only {len(train)} questions: below {FEW}, estimates are little more than each expert's mean.")
    if features is None:
        progress(f"Encoding {len(train)} questions.")
        features = featurize(train.texts, encoder)
    basis, estimators = Basis(), {}
    with threadpool_limits(max(1, (os.cpu_count() or 2) // 2)):
        progress("Learning to read them: design and categories.")
        lesson = basis.fit(features, train.scores, train.categories, by_turns(train.stems))
        for name in chosen:
            progress(f"Fitting {name}.")
            estimators[name] = ESTIMATORS[name]().fit(lesson)
    return FittedPolicies(train.experts, encoder.name, basis, estimators, _facts(train, basis))


def featurize(texts: Sequence[str], encoder: Encoder) -> Features:
    """Return the features of texts, cut as a request's are."""
    cut = [window(text) for text in texts]
    return read_features(cut, encoder.encode_sync(cut))


def _chosen(names: Sequence[str] | str) -> list[str]:
    if names == "all":
        return list(ESTIMATORS)
    asked = [names] if isinstance(names, str) else list(names)
    strangers = [name for name in asked if name not in ESTIMATORS]
    if strangers:
        raise ConfigError(f"There is no policy {', '.join(strangers)} to fit; choose from {', '.join(ESTIMATORS)}.")
    return asked


def _parts(basis: Basis, estimators: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that learns, by a path: the basis' parts, the estimators, and an estimator's members."""
    parts: dict[str, Any] = {"basis.design": basis.design, "basis.categories": basis.categories}
    for name, estimator in estimators.items():
        parts[name] = estimator
        parts |= {f"{name}.{member}": each for member, each in getattr(estimator, "members", {}).items()}
    return parts


def _facts(train: Outcomes, basis: Basis) -> dict[str, Any]:
    return {
        "questions": len(train),
        "categories": basis.categories.names_,
        "category_accuracy": basis.categories.accuracy_,
        "means": dict(zip(train.experts, np.nanmean(train.scores, axis=0).round(4).tolist(), strict=True)),
    }
