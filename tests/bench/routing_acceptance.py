"""What is asked of the default policy on each pool, as checks on the figures of one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.bench.routing_check import Check, points
from tests.bench.routing_folds import Crossed

PEERS = ("small6", "small14", "mid5", "equal3")
PRICED = ("mixed7", "all28", "zeroeval_mixed8")
SAVINGS = {"mixed7": 0.60, "zeroeval_mixed8": 0.80}
GAINS = {"zeroeval_small6": 0.017, "llmrouter_small6": 0.059}
Rows = Mapping[str, Mapping[str, Any]]


def accepted(name: str, crossed: Crossed, rows: Rows, simple: Iterable[str]) -> list[Check]:
    """Return the checks of a pool; none where `auto` was not measured."""
    if "auto" not in rows:
        return []
    single = [each for each in simple if each in rows]
    found = [_best_of_simple(name, rows, single)]
    found += _peers(name, crossed, rows, single) if name in PEERS else []
    found += _dominated(name, crossed, rows) if name == "dominated5" else []
    found += _priced(name, rows, single) if name in PRICED else []
    found += _others(name, rows) if name in GAINS else []
    return found


def _best(rows: Rows, names: Iterable[str], figure: str = "accuracy") -> tuple[str, float]:
    known = [name for name in names if rows[name].get(figure) is not None]
    best = max(known, key=lambda name: float(rows[name][figure]))
    return best, float(rows[best][figure])


def _best_of_simple(name: str, rows: Rows, single: list[str]) -> Check:
    best, accuracy = _best(rows, single)
    lead = rows["auto"]["accuracy"] - accuracy
    return Check(
        name, "one expert: auto at least the best simple router", f"{points(lead, sign=True)} over {best}", lead >= 0
    )


def _peers(name: str, crossed: Crossed, rows: Rows, single: list[str]) -> list[Check]:
    low, high = rows["auto"]["gain_ci95"]
    gained = f"{points(rows['auto']['gain'], sign=True)} [{points(low, sign=True)}, {points(high, sign=True)}]"
    votes = [
        each
        for each in rows
        if each.split("+")[0] in (*single, "best_single") and each.endswith(("majority3", "weighted3"))
    ]
    best, accuracy = _best(rows, votes)
    own = rows["auto+vote3"]
    always = rows["auto+weighted3"]["accuracy"]
    found = f"{points(own['gain'], sign=True)} ({points(own['accuracy'] - accuracy, sign=True)} over {best})"
    lost = max(always, rows["auto+majority3"]["accuracy"]) - own["accuracy"]
    return [
        Check(name, "gain over the best single expert above 0", gained, low > 0),
        Check(name, "up to three with a vote: at least the best simple vote", found, own["accuracy"] >= accuracy),
        Check(name, "mean calls <= 2.6, at most 0.2 lost against always three",
              f"{own['mean_experts']:.2f} calls, {points(lost)} lost", own["mean_experts"] <= 2.6 and lost <= 0.002),
        *([Check(name, "up to five with a vote (+7.3 expected)", points(rows["auto+vote5"]["gain"], sign=True))]
          if name == "mid5" else []),
    ]  # fmt: skip


def _dominated(name: str, crossed: Crossed, rows: Rows) -> list[Check]:
    auto, best = rows["auto"], rows["best_single"]
    refused = all(crossed.refusals["auto+vote3"])
    return [
        Check(name, "loss at most 0.1 point", points(auto["gain"], sign=True), auto["gain"] >= -0.001),
        Check(name, "cost not higher", f"{auto['cost_per_1k']:.4f} against {best['cost_per_1k']:.4f}",
              auto["cost_per_1k"] <= best["cost_per_1k"] * 1.001),
        Check(name, "votes refused in every fold", str(refused), refused),
        Check(name, "the interval touches zero: the single model is recommended", points(*auto["gain_ci95"], sign=True),
              auto["gain_ci95"][0] <= 0),
    ]  # fmt: skip


def _priced(name: str, rows: Rows, single: list[str]) -> list[Check]:
    best, aiq = _best(rows, single, "aiq")
    own = rows["auto"]["aiq"]
    found = [Check(name, "AIQ above every simple router", f"{points(own)}; {best} {points(aiq)}", own > aiq)]
    if name in SAVINGS:
        ratio = rows["auto"]["cost_ratio"]
        text = "never" if ratio is None else f"{ratio:.2f} (on the hull {rows['auto']['qnc']:.2f})"
        asks = f"the best single expert's accuracy for <= {SAVINGS[name]:.2f} of its cost"
        found.append(Check(name, asks, text, ratio is not None and ratio <= SAVINGS[name]))
    return found


def _others(name: str, rows: Rows) -> list[Check]:
    gain, table = rows["auto"]["gain"], rows["true category"]["gain"]
    text = f"{points(gain, sign=True)}; table {points(table, sign=True)}"
    found = [Check(name, "one expert: the true-category table's gain", text, gain >= table)]
    if "auto+vote5" in rows:
        votes = {each: rows[each]["gain"] for each in ("auto+vote3", "auto+vote5", "auto+voteall")}
        told = ", ".join(f"{each} {points(value, sign=True)}" for each, value in votes.items())
        found.append(Check(name, "votes at least +6.0", told, max(votes.values()) >= 0.06))
    return found
