"""Routing policies that were fitted on recorded outcomes, kept in a folder: numbers as safetensors, the rest as JSON.

A folder holds `policies.safetensors` and `policies.json`; the latter says for which encoder, experts and questions the
policies were fitted, and by which versions. `router.training.policies` fits them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.errors import ConfigError
from experts.types import ExpertName
from router.conversation import window
from router.encoder import Encoder
from router.features import Features, read_features
from router.policies import POLICIES
from router.policies.base import Policy
from router.policies.fitted import ESTIMATORS, Basis, FittedPolicy
from router.policies.lesson import Estimator, learned, relearn
from router.policies.plans import Plan, Plans
from router.policies.smoothing import Floats

FORMAT = 1
ARRAYS_FILE, NAMES_FILE = "policies.safetensors", "policies.json"


class FittedPolicies:
    """Every policy fitted on the same outcomes, by name.

    Args:
        experts: the columns of all estimates.
        encoder: name of the encoder whose vectors they read.
        facts: what they were fitted on.
        plans: what asking several in turn is worth; None where answers or prices were not recorded.
    """

    def __init__(
        self,
        experts: tuple[ExpertName, ...],
        encoder: str,
        basis: Basis,
        estimators: Mapping[str, Estimator],
        facts: Mapping[str, Any],
        plans: Plans | None = None,
    ) -> None:
        self.experts, self.encoder, self.basis = experts, encoder, basis
        self.estimators, self.facts, self.plans = dict(estimators), dict(facts), plans

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

    def plan_estimates(self, features: Features) -> tuple[list[Plan], Floats, Floats] | None:
        """Return the plans with the expected score and cost (USD) of each, both [n, plans]; None without plans."""
        if self.plans is None:
            return None
        return (self.plans.plans, *self.plans.estimate(self.basis.read(features)))

    def policies(self) -> dict[str, Policy]:
        """Return them as routing policies."""
        luck = self.facts.get("agreement_by_luck")
        return {
            name: FittedPolicy(name, self.basis, each, self.experts, luck) for name, each in self.estimators.items()
        }

    def save(self, folder: Path) -> None:
        """Write everything that was learned into the folder, which is made where needed."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {}
        rest: dict[str, Any] = {}
        for name, part in _parts(self.basis, self.estimators, self.plans).items():
            found, rest[name] = learned(part)
            arrays |= {f"{name}/{key}": np.ascontiguousarray(value) for key, value in found.items()}
        save_file(arrays, folder / ARRAYS_FILE)
        record = {
            "format": FORMAT,
            "encoder": self.encoder,
            "experts": self.experts,
            "policies": self.names,
            "plans": self.plans is not None,
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
            plans = Plans() if record["plans"] else None
            for name, part in _parts(basis, estimators, plans).items():
                own = {key.split("/")[-1]: value for key, value in arrays.items() if key.rpartition("/")[0] == name}
                relearn(part, own, record["settings"][name])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ConfigError(
                f"{folder} holds no usable policies ({type(error).__name__}: {error}); make them with "
                f"`consilium router train --questions ... --outcomes ... --out {folder}`."
            ) from error
        return cls(tuple(record["experts"]), record["encoder"], basis, estimators, record["facts"], plans)

    def _named(self, name: str) -> Estimator:
        if name not in self.estimators:
            raise ConfigError(f"The policy '{name}' was not fitted; these were: {', '.join(self.names)}.")
        return self.estimators[name]


def artifact_policies(folder: Path, encoder: str) -> dict[str, Policy]:
    """Return the fitted policies of an artifact for the gateway; none where the folder holds none.

    A fitted policy does not replace a usual one of its name: `profile` goes by the experts' live profiles.

    Raises:
        ConfigError: they cannot be read, or were fitted on another encoder's vectors.
    """
    if not (folder / NAMES_FILE).is_file():
        return {}
    fitted = FittedPolicies.load(folder)
    if fitted.encoder != encoder:
        raise ConfigError(
            f"routing.artifact: the policies in {folder} were fitted on the encoder '{fitted.encoder}', but "
            f"routing.encoder.model is '{encoder}': use that encoder, or train them again."
        )
    return {name: policy for name, policy in fitted.policies().items() if name not in POLICIES}


def featurize(texts: Sequence[str], encoder: Encoder) -> Features:
    """Return the features of texts, cut as a request's are."""
    cut = [window(text) for text in texts]
    return read_features(cut, encoder.encode_sync(cut))


def _parts(basis: Basis, estimators: Mapping[str, Any], plans: Plans | None) -> dict[str, Any]:
    """Return everything that learns, by a path: the basis' parts, the estimators, and an estimator's members."""
    parts: dict[str, Any] = {"basis.design": basis.design, "basis.categories": basis.categories}
    if plans is not None:
        parts["plans"] = plans
    for name, estimator in estimators.items():
        parts[name] = estimator
        parts |= {f"{name}.{member}": each for member, each in getattr(estimator, "members", {}).items()}
    return parts
