"""What was learnt, as JSON and back again, exactly: floats keep every bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

from router.learning.drift import Detector
from router.learning.state import Learning

FORMAT = 1


def to_body(state: Learning) -> dict[str, Any]:
    """Return the state as JSON values."""
    detectors = {
        expert: {domain: list(astuple(detector)) for domain, detector in row.items()}
        for expert, row in state.detectors.items()
    }
    return {
        "format": FORMAT,
        "version": state.version,
        "epoch": state.epoch,
        "offsets": {expert: dict(row) for expert, row in state.offsets.items()},
        "detectors": detectors,
        "day": state.day,
        "accounts": {
            source: {expert: dict(row) for expert, row in account.items()} for source, account in state.accounts.items()
        },
    }


def from_body(body: Mapping[str, Any]) -> Learning:
    """Return the state that `to_body` wrote.

    Raises:
        ValueError: it is of another format.
    """
    if body.get("format") != FORMAT:
        raise ValueError(f"what was learnt is in format {body.get('format')}, this version reads {FORMAT}")
    detectors = {
        expert: {domain: Detector(*values) for domain, values in row.items()}
        for expert, row in body["detectors"].items()
    }
    return Learning(
        version=body["version"],
        epoch=body["epoch"],
        offsets=body["offsets"],
        detectors=detectors,
        day=body["day"],
        accounts=body["accounts"],
    )
