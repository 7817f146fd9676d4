"""Does routing pay? Every policy beside every simple router, on recorded outcomes of public models.

    python -m tests.bench.routing --data DIR [--pools a,b] [--seed N] [--json FILE] [--simple] [--no-checks]

DIR is described in tests/bench/routing_tables.py. Five folds that keep twins of a question together; every router is
fitted on four and measured on the fifth; gains are over the best single expert of those four, with paired bootstrap
intervals, and so are AIQ and the price of the best single expert's accuracy where models differ in price. Then the
effects that papers report, as far as outcome tables can show them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from router.conversation import window
from router.evaluation.planned import PlanEstimates
from router.evaluation.runs import Floats
from router.features import Features, read_features
from tests.bench.routing_acceptance import PRICED, accepted
from tests.bench.routing_baselines import BASELINES, MEANS, Fold, simple_estimates
from tests.bench.routing_check import NOT_FROM_TABLES, Check
from tests.bench.routing_folds import Crossed, Estimator, cross_validate, curve_intervals, summary
from tests.bench.routing_papers import paper_checks
from tests.bench.routing_tables import Pool, Remembered, new_encoder, read_pool, read_pools

POOLS = (
    "small6", "small14", "mid5", "equal3", "dominated5", "mixed7", "all28",
    "zeroeval_small6", "zeroeval_mixed8", "llmrouter_small6",
)  # fmt: skip
SIMPLE = (*BASELINES, *MEANS)
VOTES = ("+vote3", "+vote5", "+voteall")


class FeatureStore:
    """What fitted policies read of each question, worked out once for all pools and folds."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._all: Features | None = None

    def of(self, pool: Pool) -> Features:
        """Return the features of a pool's questions, in their order."""
        fresh = [place for place, name in enumerate(pool.outcomes.ids) if name not in self._places]
        if fresh:
            texts = [window(pool.outcomes.texts[place]) for place in fresh]
            found = read_features(texts, pool.vectors[fresh])
            self._places |= {pool.outcomes.ids[place]: len(self._places) + row for row, place in enumerate(fresh)}
            self._all = found if self._all is None else _joined(self._all, found)
        assert self._all is not None
        return self._all.where(np.array([self._places[name] for name in pool.outcomes.ids], dtype=np.intp))


def _joined(first: Features, second: Features) -> Features:
    parts = ("vectors", "words", "shapes")
    return Features(*(np.concatenate([getattr(first, part), getattr(second, part)]) for part in parts))


def estimator(encoder: Remembered, simple_only: bool, names: str | list[str]) -> Estimator:
    """Return the function that fits everything on one side of a fold and estimates the other."""
    store = FeatureStore()

    def estimate(train: Pool, test: Pool, fold: Fold) -> tuple[Mapping[str, Floats], PlanEstimates | None]:
        found = simple_estimates(fold)
        if simple_only:
            return found, None
        from router.training.policies import fit_policies

        fitted = fit_policies(train.outcomes, encoder=encoder, names=names, features=store.of(train))  # type: ignore[arg-type]
        features = store.of(test)
        planned = fitted.plan_estimates(features)
        plans = None if planned is None else PlanEstimates(fitted.experts, *planned)
        return {**found, **fitted.estimates(features)}, plans

    return estimate


def table(crossed: Crossed, figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a pool's rows: everything asked alone, then the votes worth reading."""
    alone = ["random", "best_single", *(name for name in crossed.curves if name != "best_single"), "oracle"]
    simple = [name for name in figures if name.endswith(("+majority3", "+weighted3", "+majority5", "+weighted5"))]
    best = sorted(simple, key=lambda name: -figures[name]["accuracy"])[:3]
    own = [name for name in figures if name.startswith("auto+") and name.endswith(VOTES)]
    lines = [_line(name, figures[name]) for name in (*alone, *best, *own)]
    return "\n".join([*lines, *([told_more(crossed)] if "auto" in crossed.runs else [])])


def told_more(crossed: Crossed, most: int = 4) -> str:
    """Return the categories in which the table that is told them gains most over `auto`, in points of all questions."""
    categories = crossed.pool.outcomes.categories[crossed.order]
    lead = crossed.run("true category").quality - crossed.run("auto").quality
    sums = {str(name): 100 * float(lead[categories == name].sum()) / len(lead) for name in np.unique(categories)}
    largest = sorted(sums, key=lambda name: -sums[name])[:most]
    return "  told more than auto, by category: " + ", ".join(f"{name} {sums[name]:+.2f}" for name in largest)


def _line(name: str, row: Mapping[str, Any]) -> str:
    low, high = row["gain_ci95"]
    parts = [
        f"  {name:32} {100 * row['accuracy']:6.2f}  {100 * row['gain']:+6.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    ]
    if row["cost_per_1k"] is not None:
        parts.append(f"${row['cost_per_1k']:.4f}/1k")
    parts.append(f"{row['mean_experts']:.2f} calls")
    if row.get("aiq") is not None:
        ratio = "never" if row["cost_ratio"] is None else f"{row['cost_ratio']:.2f}"
        parts.append(f"AIQ {100 * row['aiq']:.2f}, best single's accuracy for {ratio} of its cost")
    return "  ".join([*parts, *_curve_intervals(row)])


def _curve_intervals(row: Mapping[str, Any]) -> list[str]:
    """Return a row's intervals in words, those of the bootstrap over questions."""
    if "aiq_ci95" not in row:
        return []
    (low, high), ratio = row["aiq_ci95"], "-".join(f"{value:.2f}" for value in row["cost_ratio_ci95"])
    found = [f"AIQ [{100 * low:.2f}, {100 * high:.2f}], cost [{ratio}]"]
    if "auto_aiq_lead_ci95" in row:
        low, high = row["auto_aiq_lead_ci95"]
        found.append(f"auto's AIQ over it [{100 * low:+.2f}, {100 * high:+.2f}]")
    return found


def measure(data: Path, names: list[str], options: argparse.Namespace) -> tuple[dict[str, Any], list[Check]]:
    """Run every pool, print its table and what is asked of it; return all figures and checks."""
    encoder = new_encoder()
    pools, figures, checks, crossings = read_pools(data), {}, [], {}
    fits = estimator(encoder, options.simple, "all" if options.policies == "all" else options.policies.split(","))
    for name in names:
        begun = time.perf_counter()
        pool = read_pool(data, name, pools[name], encoder)
        crossed = cross_validate(pool, fits, seed=options.seed)
        crossings[name] = crossed
        figures[name] = summary(crossed)
        if name in PRICED:
            for label, found in curve_intervals(
                crossed, [each for each in crossed.curves if each != "best_single"]
            ).items():
                figures[name][label] |= found
        print(f"\n{name}: {len(pool.experts)} experts, {len(pool.outcomes)} questions, "
              f"{time.perf_counter() - begun:.0f} s\n{table(crossed, figures[name])}", flush=True)  # fmt: skip
        asked = accepted(name, crossed, figures[name], SIMPLE)
        print("\n".join(check.line() for check in asked))
        checks += asked
    if options.checks:
        checks += paper_checks(data, pools, encoder, crossings)
    return figures, checks


def main() -> None:
    """Run the benchmark, print it, and write every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pools", default=",".join(POOLS))
    parser.add_argument("--policies", default="all")
    parser.add_argument("--seed", type=int, default=0, help="of the folds")
    parser.add_argument("--json", type=Path, default=Path("routing.json"))
    parser.add_argument("--simple", action="store_true", help="simple routers only")
    parser.add_argument("--no-checks", dest="checks", action="store_false")
    options = parser.parse_args()
    figures, checks = measure(options.data, options.pools.split(","), options)
    print("\nAll checks\n" + "\n".join(check.line() for check in checks))
    print("\nNot from outcome tables\n" + "\n".join(f"     {paper:26} {why}" for paper, why in NOT_FROM_TABLES))
    rows = [{"paper": each.paper, "asks": each.asks, "found": each.found, "passed": each.passed} for each in checks]
    options.json.write_text(json.dumps({"pools": figures, "checks": rows}, indent=1, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else list(value)


if __name__ == "__main__":
    main()
