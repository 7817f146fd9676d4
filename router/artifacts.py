"""Keep what was fitted: numbers as safetensors, everything else as a JSON manifest, never a pickle.

A folder holds `head.safetensors` and `manifest.json`, and `adapter.safetensors` where the encoder was tuned with the
head (`router.adapters`). The manifest says for which encoder the head was fitted, on what, with which figures, by which
command and versions; loading checks the part that can be wrong.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.errors import ConfigError
from experts.types import Domain
from router.classifiers.blend import BlendHead
from router.classifiers.linear import LinearHead
from router.classifiers.memory import Memory
from router.taxonomy import OUT_OF_SCOPE

SHIPPED = Path(__file__).parent / "heads" / "default"
FORMAT = 3


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a fitted head is, and where it comes from.

    Args:
        encoder: name of the encoder whose vectors it reads.
        dimension: their length.
        domains: its labels, in the order of its columns.
        data: what it was fitted on: description, hash, number of texts a domain and source.
        figures: how well it does, by the name of the split.
        command: what to run to fit it again.
        adapter: `scale` of the encoder's adapter and how it was tuned; empty where there is none.
    """

    encoder: str
    dimension: int
    domains: tuple[Domain, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: Mapping[str, str] = field(default_factory=lambda: _versions())
    kind: str = "blend"
    format: int = FORMAT
    adapter: Mapping[str, Any] = field(default_factory=dict)


def save_head(head: BlendHead, manifest: Manifest, folder: Path) -> None:
    """Write the head and its manifest into the folder, which is made where needed."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(_arrays(head), folder / "head.safetensors")
    record = {**asdict(manifest), "calibration": {"temperature_": head.temperature_}}
    (folder / "manifest.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def load_head(folder: Path, *, encoder: str) -> tuple[BlendHead, Manifest]:
    """Read a head and its manifest.

    Raises:
        ConfigError: the folder is no artifact, is damaged, or was fitted on another encoder's vectors.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        record = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        calibration = record.pop("calibration")
        manifest = Manifest(**{**record, "domains": tuple(record["domains"])})
        arrays = load_file(folder / "head.safetensors")
        head = _assemble(manifest, arrays, calibration)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ConfigError(
            f"routing.artifact: {folder} holds no usable head ({type(error).__name__}: {error})."
        ) from error
    if manifest.encoder != encoder:
        raise ConfigError(
            f"routing.artifact: the head in {folder} was fitted on the encoder '{manifest.encoder}', but "
            f"routing.encoder.model is '{encoder}': use that encoder, or train the head again."
        )
    return head, manifest


def parameters(head: BlendHead) -> dict[str, Any]:
    """Return the hyper-parameters of a head, as its constructor takes them."""
    return {name: getattr(head, name) for name in ("C", "words", "balance", "share")}


def _arrays(head: BlendHead) -> dict[str, NDArray[Any]]:
    """Return everything that was fitted; the projection and the words' coefficients lose nothing as half floats."""
    linear, memory = head.linear_, head.memory_
    arrays = {
        "coef": linear.coef_,
        "intercept": linear.intercept_,
        "words": linear.words_,
        "projection": memory.projection.astype(np.float16),
        "rows": memory.rows,
        "labels": memory.labels.astype(np.int16),
        "scope": head.scope_,
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _assemble(manifest: Manifest, arrays: Mapping[str, NDArray[Any]], calibration: Mapping[str, float]) -> BlendHead:
    """Put a head together again, and refuse parts whose shapes disagree with the manifest."""
    if manifest.format != FORMAT:
        raise ValueError(f"format {manifest.format}, this version reads {FORMAT}")
    head = BlendHead(**manifest.parameters)
    outside = len(arrays["intercept"]) - len(manifest.domains)
    classes = tuple(sorted([*manifest.domains, *[OUT_OF_SCOPE] * outside]))
    if outside not in (0, 1) or arrays["coef"].shape != (len(classes), manifest.dimension):
        raise ValueError(f"weights of shape {arrays['coef'].shape} for {len(manifest.domains)} domains")
    head.linear_ = LinearHead(C=head.C, words=head.words, balance=head.balance)
    head.linear_.classes_ = classes
    head.linear_.coef_, head.linear_.intercept_ = arrays["coef"], arrays["intercept"]
    head.linear_.words_ = arrays["words"]
    head.memory_ = Memory(
        arrays["projection"].astype(np.float32),
        arrays["rows"],
        arrays["labels"].astype(np.intp),
        classes=len(classes),
        elsewhere=classes.index(OUT_OF_SCOPE) if outside else None,
    )
    head.domains_, head.scope_ = manifest.domains, arrays["scope"]
    head.temperature_ = float(calibration["temperature_"])
    return head


def _versions() -> dict[str, str]:
    names = ("consilium", "numpy", "safetensors", "scikit-learn", "sentence-transformers")
    found = {name: version(name) for name in names}
    return {**found, "python": platform.python_version()}
