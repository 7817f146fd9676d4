"""Does a cascade pay? Its closed form against the strategy itself, then verifiers on recorded answers of public models.

    python -m tests.bench.fusion_cascade --data DIR [--sample N] [--seed N] [--json FILE]

DIR is described in tests/bench/routing_tables.py; its tables mmlu_pro and zeroeval are read, answers.parquet too.
Everything fitted or chosen is so on four of five folds (twins of a question together) and measured on the fifth;
intervals are paired bootstraps over questions. Self-consistency, log probabilities and a judge cannot be had from the
tables: they hold one sample of each model, without probabilities, and nobody's opinion of it. The judge is simulated,
and the error is told below which it would pay.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from router.evaluation.intervals import Bootstrap, percentile_interval
from router.evaluation.runs import Floats, Run
from router.policies.cascade import break_even
from tests.bench.fusion_cascade_choice import runs_of_fold
from tests.bench.fusion_cascade_closed import Pair, closed_form_checks
from tests.bench.fusion_cascade_team import Table, Team
from tests.bench.routing_check import Check
from tests.bench.routing_folds import joined
from tests.bench.routing_tables import new_encoder, read_pool

SMALL, LARGE = "llama-3.1-8b-instruct", "llama-3.1-70b-instruct"
TEAMS = (
    Team("mmlu_pro", (SMALL,), LARGE),
    Team("mmlu_pro", ("phi-3-mini-4k-instruct", "mathstral-7b", SMALL), LARGE),
    Team("mmlu_pro", ("phi-3-mini-4k-instruct", "mathstral-7b", SMALL), "gemini-1.5-pro-002"),
    Team("mmlu_pro", ("gemini-1.5-flash-002", "phi-3-mini-4k-instruct", SMALL), "gemini-1.5-pro-002"),
    Team("mmlu_pro", ("gemini-1.5-flash-002", LARGE), "gemini-1.5-pro-002"),
    Team("zeroeval", ("gemma-2-9b-it", SMALL, "qwen2-7b-instruct"), LARGE),
    Team("zeroeval", ("gemma-2-9b-it", SMALL), "gpt-4o-mini-2024-07-18"),
    Team("zeroeval", ("gemma-2-9b-it", SMALL, "qwen2-7b-instruct"), "gpt-4o-2024-08-06"),
    Team("zeroeval", ("gemini-1.5-flash", "gpt-4o-mini-2024-07-18", LARGE), "gpt-4o-2024-08-06"),
    Team("zeroeval", ("gemini-1.5-flash", "gpt-4o-mini-2024-07-18", LARGE), "claude-3-5-sonnet-20241022"),
)
TOLERANCE = 0.002
"""How far below the strong expert's accuracy still counts as reaching it."""


def measure_team(table: Table, team: Team) -> dict[str, dict[str, Any]]:
    """Return every row of one team, over all questions."""
    parts: dict[str, list[Run]] = defaultdict(list)
    names: dict[str, Counter[str]] = defaultdict(Counter)
    strong: list[Floats] = []
    order = []
    for test, train, asked in table.known(team):
        order.append(np.flatnonzero(test))
        strong.append(np.stack([asked.scores[:, -1], asked.costs[:, -1]], axis=1))
        for row, (run, name) in runs_of_fold(train, asked).items():
            parts[row].append(run)
            names[row][name] += 1
    bootstrap = Bootstrap(table.stems[np.concatenate(order)])
    alone = np.concatenate(strong)
    return {row: _figures(joined(runs), alone, bootstrap, names[row]) for row, runs in parts.items()}


def _figures(run: Run, alone: Floats, bootstrap: Bootstrap, names: Counter[str]) -> dict[str, Any]:
    spent = bootstrap.means(np.stack([run.cost, alone[:, 1]], axis=1))
    return {
        "accuracy": run.accuracy,
        "gain": float((run.quality - alone[:, 0]).mean()),
        "gain_ci95": bootstrap.interval(run.quality - alone[:, 0]),
        "cost_ratio": float(run.cost.mean() / alone[:, 1].mean()),
        "cost_ratio_ci95": percentile_interval(spent[:, 0] / spent[:, 1]),
        "calls": run.mean_experts,
        "escalated": float((run.first > 0).mean()),
        "variant": names.most_common(1)[0][0],
    }


def verdict(team: Team, figures: dict[str, dict[str, Any]]) -> list[Check]:
    """Return whether cascades chosen on training questions reach the strong expert's accuracy at lower cost."""
    found = []
    for name in ("signs or agreement", "chosen, gated"):
        row = figures[name]
        reached = row["gain"] >= -TOLERANCE and row["cost_ratio_ci95"][1] < 1.0
        text = f"{_gain(row)} at {_ratio(row)} of its cost: {row['variant']}"
        found.append(Check(name, team.name, text, reached))
    return found


def _gain(row: dict[str, Any]) -> str:
    low, high = row["gain_ci95"]
    return f"{100 * row['gain']:+5.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def _ratio(row: dict[str, Any]) -> str:
    low, high = row["cost_ratio_ci95"]
    return f"{row['cost_ratio']:.2f} [{low:.2f}, {high:.2f}]"


def told(table: Table, team: Team, figures: dict[str, dict[str, Any]]) -> str:
    """Return a team's part of the report."""
    columns = [table.pool.experts.index(expert) for expert in team.members]
    scores, costs = table.pool.outcomes.scores[:, columns], 1000 * table.pool.outcomes.costs[:, columns]
    lines = [f"\n{team.name}, {len(scores)} questions"]
    for place, expert in enumerate(team.members):
        alone = f"  {expert:30} {100 * scores[:, place].mean():5.2f}  ${costs[:, place].mean():.4f}/1k"
        if place < len(team.cheap):
            alone += f"  a judge of it may err in {_break_even(scores[:, place], scores[:, -1]):.3f}"
            alone += "" if expert in table.with_texts else ", no texts"
        lines.append(alone)
    for name, row in figures.items():
        lines.append(
            f"    {name:24} {100 * row['accuracy']:5.2f} {_gain(row):24} cost {_ratio(row):18} "
            f"{row['calls']:.2f} calls, {row['escalated']:5.1%} escalated  {row['variant']}"
        )
    return "\n".join(lines)


def _break_even(weak: Floats, strong: Floats) -> float:
    return break_even(float(weak.mean()), float(strong.mean()), float((weak * strong).mean()))


def simulated(data: Path, sample: int, seed: int) -> list[Check]:
    """Return the checks of the closed form, on the pair of M6."""
    outcomes = read_pool(data, "mmlu_pro", [SMALL, LARGE], new_encoder(1)).outcomes
    assert outcomes.answers is not None
    pair = Pair(outcomes.scores[:, 0], outcomes.scores[:, 1], outcomes.answers, outcomes.stems)
    return closed_form_checks(pair, sample, seed)


def measure(data: Path, teams: Sequence[Team]) -> tuple[dict[str, Any], list[Check]]:
    """Measure every team, print it as it comes; return all figures and the verdicts."""
    encoder, figures, checks = new_encoder(1), {}, []
    for name in dict.fromkeys(team.table for team in teams):
        begun = time.perf_counter()
        own = [team for team in teams if team.table == name]
        table = Table(data, name, own, encoder)
        print(f"\n{name}: read and fitted in {time.perf_counter() - begun:.0f} s", flush=True)
        for team in own:
            figures[team.name] = measure_team(table, team)
            print(told(table, team, figures[team.name]), flush=True)
            checks += verdict(team, figures[team.name])
    return figures, checks


def main() -> None:
    """Run the benchmark, print it, and write every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=300, help="questions that go through the strategy itself")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated judge")
    parser.add_argument("--json", type=Path, default=Path("fusion_cascade.json"))
    options = parser.parse_args()
    simulation = simulated(options.data, options.sample, options.seed)
    print(f"Simulated judge: {SMALL} -> {LARGE}\n" + "\n".join(check.line() for check in simulation), flush=True)
    figures, checks = measure(options.data, TEAMS)
    print("\nAs good as the strong one (to 0.2 points) at lower cost? MISS: it does not pay, or falls short")
    print("\n".join(check.line() for check in checks))
    rows = [{"paper": c.paper, "asks": c.asks, "found": c.found, "passed": c.passed} for c in [*simulation, *checks]]
    options.json.write_text(json.dumps({"teams": figures, "checks": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
