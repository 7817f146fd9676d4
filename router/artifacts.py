"""Keep what was fitted: numbers as safetensors, everything else as a JSON manifest, never a pickle.

A folder holds `head.safetensors` and `manifest.json`. The manifest says for which encoder the head was
fitted, on what, with which figures, by which command and versions; loading checks the part that can be wrong.
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

from experts.errors import ConfigError
from experts.types import Domain
from router.classifiers.linear import LinearHead

SHIPPED = Path(__file__).parent / "heads" / "default"
FORMAT = 1
ARRAYS = ("coef_", "intercept_", "anchors_")


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
    kind: str = "linear"
    format: int = FORMAT


def save_head(head: LinearHead, manifest: Manifest, folder: Path) -> None:
    """Write the head and its manifest into the folder, which is made where needed."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(getattr(head, name), dtype=np.float32) for name in ARRAYS}
    save_file(arrays, folder / "head.safetensors")
    settings = {name: getattr(head, name) for name in ("temperature_", "strange_", "familiar_")}
    record = {**asdict(manifest), "calibration": settings}
    (folder / "manifest.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def load_head(folder: Path, *, encoder: str) -> tuple[LinearHead, Manifest]:
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


def _assemble(manifest: Manifest, arrays: Mapping[str, Any], calibration: Mapping[str, float]) -> LinearHead:
    """Put a head together again, and refuse parts whose shapes disagree with the manifest."""
    if manifest.format != FORMAT:
        raise ValueError(f"format {manifest.format}, this version reads {FORMAT}")
    head = LinearHead(**manifest.parameters)
    head.classes_ = manifest.domains
    head.coef_, head.intercept_, head.anchors_ = (arrays[name] for name in ARRAYS)
    head.temperature_, head.strange_, head.familiar_ = (
        float(calibration[name]) for name in ("temperature_", "strange_", "familiar_")
    )
    if head.coef_.shape != (len(manifest.domains), manifest.dimension):
        raise ValueError(f"weights of shape {head.coef_.shape} for {len(manifest.domains)} domains")
    return head


def _versions() -> dict[str, str]:
    names = ("consilium", "numpy", "safetensors", "scikit-learn", "sentence-transformers")
    found = {name: version(name) for name in names}
    return {**found, "python": platform.python_version()}
