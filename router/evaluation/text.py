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
    parts = [_opening(figures), table(figures["rows"]), _judged(figures), _controls(figures)]
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


def _judged(figures: Figures) -> str:
    """Return what is known of `auto` beyond its row; nothing where it was not measured."""
    row = next((row for row in figures["rows"] if row["policy"] == "auto"), None)
    if row is None:
        return ""
    closed = [f"{share:.0%} of the way to {name}" for name, share in row["gap_closed"].items() if share is not None]
    any_right = ", ".join(f"{k}: {points(share)}" for k, share in row["any_of_k"].items())
    lines = [
        f"auto closes {', '.join(closed)}." if closed else "",
        f"auto asks {figures['baselines']['best_single']} in {row['fallback_rate']:.0%} of the questions.",
        f"Any of the experts it thinks best is right: {any_right}." if any_right else "",
        _strong_calls(row),
    ]
    return "\n".join(line for line in lines if line)


def _strong_calls(row: Figures) -> str:
    if row["pair"] is None or row["apgr"] is None:
        return ""
    shares = [f"{share:.0%}" if share is not None else "never" for share in (row["cpt50"], row["cpt80"])]
    weak, strong = row["pair"]
    return f"Between {weak} and {strong}: CPT50 {shares[0]}, CPT80 {shares[1]} of calls, APGR {row['apgr']:.3f}."


def _controls(figures: Figures) -> str:
    found = [(name, control) for name, control in figures["controls"].items() if control is not None]
    told = [f"{name.replace('_', ' ')} {points(each['gain'], sign=True)} {_verdict(each)}" for name, each in found]
    return f"Controls, which should gain nothing: {'; '.join(told)}." if told else ""


def _verdict(control: Figures) -> str:
    return f"{interval(control['gain_ci95'], sign=True)} ({'fine' if control['passed'] else 'A LEAK'})"
