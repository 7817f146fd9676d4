"""What profiling found, as the document `measured/NAME`."""

from __future__ import annotations

from typing import Any

from experts.profiling.figures import Findings, Share

DIGITS = 4


def measured_body(found: Findings, *, source: str, measured_at: float, **more: Any) -> dict[str, Any]:
    """Return the document.

    `skills` is what routing reads: raw accuracy and count, because routing shrinks them itself. `expected` is the
    share with the expert's own mean blended in, for people to read; `fine_skills` are the questions' own labels.

    Args:
        found: the figures.
        source: where the questions came from.
        measured_at: seconds since 1970.
        more: further facts, kept as they are.
    """
    return {
        "skills": {name: _skill(share) for name, share in found.domains.items()},
        "ci95": {name: _interval(share) for name, share in found.domains.items()},
        "expected": {name: round(share.expected, DIGITS) for name, share in found.domains.items()},
        "fine_skills": {name: {**_skill(share), "ci95": _interval(share)} for name, share in found.skills.items()},
        "overall": {**_skill(found.overall), "ci95": _interval(found.overall)},
        "output_tokens": _rounded(found.output_tokens, 1) or None,
        "latency_ms": _rounded(found.latency_ms, 1) or None,
        "cost_usd_per_question": _rounded(found.cost_usd, 9),
        "measured_at": round(measured_at, 3),
        "questions": source,
        **more,
    }


def _skill(share: Share) -> dict[str, Any]:
    return {"accuracy": round(share.accuracy, DIGITS), "count": share.count}


def _interval(share: Share) -> list[float]:
    return [round(share.low, DIGITS), round(share.high, DIGITS)]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
