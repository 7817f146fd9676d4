"""An evaluation as text for a terminal: one line a row, the advice, whatever is wrong, how the pool looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]
HEADINGS = ("", "accuracy", "95 % interval", "gain", "95 % interval", "$/1,000", "experts", "AIQ", "same for", "ECE")
NOTE = "points; gain: over the best single expert, paired; AIQ: mean height of the cost curve; same for: share of the \
best expert's cost that buys its accuracy"


def describe(figures: Figures) -> str:
    """Return everything a reader at a terminal should see of what `evaluate_routing` returned."""
    parts = [_opening(figures), table(figures["rows"]), _gaps(figures), _controls(figures)]
    parts += [f"! {alarm['text']}" for alarm in figures["alarms"]]
    return "\n\n".join(part for part in (*parts, figures["recommendation"]["text"]) if part)


def table(rows: Sequence[Figures]) -> str:
    """Return the rows in columns, accuracies in points."""
    cells = [HEADINGS, *(table_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(_aligned(line, widths)).rstrip() for line in cells) + f"\n({NOTE})"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = [(cell, width) for cell, width in zip(line, widths, strict=True)]
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]


def table_cells(row: Figures) -> tuple[str, ...]:
    """Return what HEADINGS head, of one row."""
    ratio = row.get("cost_ratio_at_best_single")
    return (
        row["policy"] + (" (refused)" if row.get("refused") else ""),
        points(row["accuracy"]),
        interval(row["ci95"]),
        points(row["gain"], sign=True),
        interval(row["gain_ci95"], sign=True),
        number(row["cost_per_1k"], 4),
        number(row["mean_experts"], 2),
        points(row.get("aiq")),
        "" if ratio is None else f"{ratio:.2f}",
        number(row.get("ece"), 3),
    )


def points(share: float | None, *, sign: bool = False) -> str:
    """Return a fraction in points with two decimals, nothing for None."""
    return "" if share is None else f"{100 * share:{'+' if sign else ''}.2f}"


def interval(bounds: Sequence[float], *, sign: bool = False) -> str:
    """Return both ends in points."""
    return f"[{points(bounds[0], sign=sign)}, {points(bounds[1], sign=sign)}]"


def number(value: float | None, decimals: int) -> str:
    """Return a number, nothing for None."""
    return "" if value is None else f"{value:.{decimals}f}"


def _opening(figures: Figures) -> str:
    facts = figures["baselines"]
    lines = [f"{len(figures['pool'])} experts, {figures['n']} questions, fitted on {facts['train_n']}."]
    lines.append(f"Best single expert on the training questions: {facts['best_single']}.")
    if facts["hindsight_best"] != facts["best_single"]:
        lines.append(f"(On these questions {facts['hindsight_best']} was better; nobody could know.)")
    overlap = facts["error_correlation"]["mean"]
    if overlap is not None:
        lines.append(
            f"Experts' errors correlate by {overlap:.2f}; {facts['solved_by_none']:.1%} of the questions no one solves."
        )
    return "\n".join(lines)


def _gaps(figures: Figures) -> str:
    closed = [row for row in figures["rows"] if row["policy"] == "auto"]
    if not closed:
        return ""
    gaps = closed[0]["gap_closed"]
    told = [f"{share:.0%} of the way to {name}" for name, share in gaps.items() if share is not None]
    return f"auto closes {', '.join(told)}." if told else ""


def _controls(figures: Figures) -> str:
    found = [(name, control) for name, control in figures["controls"].items() if control is not None]
    told = [f"{name.replace('_', ' ')} {points(each['gain'], sign=True)} {_verdict(each)}" for name, each in found]
    return f"Controls, which should gain nothing: {'; '.join(told)}." if told else ""


def _verdict(control: Figures) -> str:
    return f"{interval(control['gain_ci95'], sign=True)} ({'fine' if control['passed'] else 'A LEAK'})"
