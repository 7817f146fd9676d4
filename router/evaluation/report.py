"""One HTML file that shows an evaluation: advice, ladder, what money buys, who is asked for what, calibration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from experts.errors import ConfigError
from router.evaluation import frontier, plots
from router.evaluation.text import HEADINGS, table_cells

Figures = Mapping[str, Any]
REPORT_FILE, EVALUATION_FILE, DOMAINS_FILE = "report.html", "evaluation.json", "domains.json"
DRAWN = 6
MOST_LABELS = 10


def write_report(folder: Path) -> Path:
    """Read what `evaluate --report` left in a folder, write `report.html` beside it, and return its path.

    Raises:
        ConfigError: the folder holds no figures.
    """
    parts = [(EVALUATION_FILE, evaluation_sections), (DOMAINS_FILE, domain_sections)]
    found = [(folder / name, sections) for name, sections in parts if (folder / name).is_file()]
    if not found:
        raise ConfigError(f"{folder} holds no figures: run `consilium router evaluate ... --report {folder}` first.")
    body = "\n".join(sections(json.loads(path.read_text(encoding="utf-8"))) for path, sections in found)
    target = folder / REPORT_FILE
    target.write_text(page(body), encoding="utf-8")
    return target


def page(body: str) -> str:
    """Return the whole HTML file around some sections."""
    frame = files("router.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    return frame.replace("<!-- sections -->", body)


def evaluation_sections(figures: Figures) -> str:
    """Return the sections of an evaluation on outcomes."""
    rows = figures["rows"]
    return "\n".join(
        [
            _section("Advice", _advice(figures)),
            _section(
                "The ladder",
                plots.bar_chart(ladder(rows)),
                "Accuracy with 95 % intervals. What can be gained "
                "lies between the best single expert and the oracle; the true category shows how much is easy.",
            ),
            _curves(figures),
            _categories(figures),
            _calibration(rows),
            _section("All figures", _table(rows), "In points; gain: over the best single expert, paired."),
        ]
    )


def domain_sections(figures: Figures) -> str:
    """Return the sections of a domain classifier's evaluation: its figures and, where kept, its confusion."""
    plain = [(name, value) for name, value in figures.items() if isinstance(value, int | float)]
    lines = "".join(f"<tr><td>{escape(name)}</td><td>{value:.4g}</td></tr>" for name, value in plain)
    parts = [_section("Domains", f"<table>{lines}</table>")]
    if confusion := figures.get("confusion"):
        shares = [[count / (sum(line) or 1) for count in line] for line in confusion["counts"]]
        chart = plots.heat_map(confusion["labels"], confusion["labels"], shares, title="Confusion of domains")
        parts.append(
            _section("Confusion of domains", chart, "Rows: the true domain; columns: what it was taken for; %.")
        )
    return "\n".join(parts)


def ladder(rows: Sequence[Figures]) -> list[plots.Bar]:
    """Return the rows as bars by rising accuracy: baselines in one colour, policies and votes in others."""
    shown = [row for row in rows if not row.get("refused") and "best_single+" not in row["policy"]]
    bars = [
        plots.Bar(row["policy"], row["accuracy"], row["ci95"][0], row["ci95"][1], _tone(row["policy"])) for row in shown
    ]
    return sorted(bars, key=lambda bar: bar.value)


def _tone(policy: str) -> int:
    if policy in ("random", "best_single", "true_domain", "oracle"):
        return 5
    return 1 if "+vote" in policy else 0


def _advice(figures: Figures) -> str:
    alarms = "".join(f'<p class="alarm">{escape(alarm["text"])}</p>' for alarm in figures["alarms"])
    pool = f"{figures['n']} questions, {len(figures['pool'])} experts: {', '.join(figures['pool'])}."
    return f'<p class="advice">{escape(figures["recommendation"]["text"])}</p>{alarms}<p>{escape(pool)}</p>'


def _curves(figures: Figures) -> str:
    curves = {row["policy"]: row["curve"] for row in figures["rows"] if row.get("curve") and row["policy"] != "oracle"}
    if not curves:
        return ""
    order = sorted(curves, key=lambda name: (name != "auto", name == "best_single"))
    lines = {name: _undominated(curves[name]) for name in order[:DRAWN]}
    experts = figures["baselines"]["experts"]
    best = sorted(experts, key=lambda name: -experts[name]["accuracy"])[:MOST_LABELS]
    points = {name: (experts[name]["cost_per_1k"], experts[name]["accuracy"]) for name in best}
    votes = {row["policy"]: (row["cost_per_1k"], row["accuracy"]) for row in figures["rows"] if _own_vote(row)}
    chart = plots.curve_chart(lines, {**points, **votes}, x_label="USD per 1,000 questions (log)", y_label="accuracy")
    return _section(
        "What money buys",
        chart,
        "Each line joins those settings of a router that no other of it beats; dots are single experts and votes. "
        "Left and up is better.",
    )


def _undominated(curve: Sequence[Figures]) -> list[plots.Point]:
    """Return the (cost, accuracy) of the settings that are dearer than others only where they are better."""
    costs = np.array([at["cost_per_1k"] for at in curve])
    accuracies = np.array([at["accuracy"] for at in curve])
    kept = frontier.undominated(costs, accuracies)
    return list(zip(costs[kept].tolist(), accuracies[kept].tolist(), strict=True))


def _own_vote(row: Figures) -> bool:
    return str(row["policy"]).startswith("auto+vote") and not row.get("refused")


def _categories(figures: Figures) -> str:
    found = figures["by_category"]
    if not found:
        return ""
    names = list(found)
    used = [name for name in figures["pool"] if max(found[each]["asked"][name] for each in names) > 0.02]
    asked = [[found[each]["asked"][name] for name in used] for each in names]
    level = {name: facts["accuracy"] for name, facts in figures["baselines"]["experts"].items()}
    known = [*used, *sorted((name for name in level if name not in used), key=lambda name: -level[name])][:MOST_LABELS]
    skill = [[found[each]["experts"][name] for name in known] for each in names]
    return _section(
        "Who is asked for what",
        plots.heat_map(names, used, asked, title="Share of each category sent to each expert")
        + plots.heat_map(names, known, skill, title="Accuracy of each expert in each category"),
        "Above: of a category's questions, the share (%) sent to each expert. Below: how often an expert is right (%).",
    )


def _calibration(rows: Sequence[Figures]) -> str:
    judged = next((row for row in rows if row["policy"] == "auto"), None)
    if judged is None or not judged.get("reliability"):
        return ""
    note = f"Estimates of `auto` for every expert, in bins; ECE {judged['ece']:.3f}. On the line they can be believed."
    return _section("Calibration", plots.reliability_chart(judged["reliability"]), note)


def _table(rows: Sequence[Figures]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADINGS)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in table_cells(row)) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _section(title: str, content: str, note: str = "") -> str:
    told = f"<p>{escape(note)}</p>" if note else ""
    return f"<section><h2>{escape(title)}</h2>{told}{content}</section>"
