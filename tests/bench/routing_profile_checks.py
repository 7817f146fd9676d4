"""Checks on profiles of experts: leakage (M3), size (M4), skills (M8), budgets (M9), drift (M11), overlap (M12)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.evaluation.baselines import CategoryTable
from router.evaluation.gains import error_correlation
from router.evaluation.runs import Floats
from router.evaluation.votes import code_answers, majority
from router.learning import LearningRule
from router.learning.replay import replay
from router.policies.budget import best_pool, grown_pools, worth
from tests.bench.routing_check import Check, points
from tests.bench.routing_folds import folds
from tests.bench.routing_tables import Pool

DRAWS = 50
FEW = (5, 20, 50)
SIZES = (30, 100, 200, 400, 1000)


def half_way(pool: Pool) -> tuple[Pool, Pool]:
    """Return training and test questions: all folds but the first, and the first two fifths of the rest kept out."""
    masks = list(folds(pool.outcomes.stems))
    test = masks[0] | masks[1]
    return pool.where(~test), pool.where(test)


def reached(scores: Floats, estimates: Floats) -> float:
    """Return the accuracy of asking the expert of the highest estimate."""
    return float(scores[np.arange(len(scores)), estimates.argmax(axis=1)].mean())


def leakage_check(pool: Pool) -> Check:
    """Return M3: neighbours found among the test questions themselves, against honest ones."""
    train, test = half_way(pool)

    def accuracy(index: Pool, k: int) -> float:
        nearest = np.argpartition(-(test.vectors @ index.vectors.T), k - 1, axis=1)[:, :k]
        return reached(test.outcomes.scores, index.outcomes.scores[nearest].mean(axis=1))

    leaked, honest = [[accuracy(side, k) for k in (1, 5, 20)] for side in (test, train)]
    best = float(test.outcomes.scores[:, train.outcomes.scores.mean(axis=0).argmax()].mean())
    found = f"{points(*leaked)} against {points(*honest)}; best single {points(best)}"
    asks = f"{pool.name}: 1/5/20 neighbours, test questions in the index"
    return Check("Bench-CoE (M3)", asks, found, leaked[0] > 0.75 > honest[0])


def size_check(pool: Pool, draws: int = 10) -> Check:
    """Return M4: 14 clusters, every expert profiled on n prompts; few are worse than the best single expert."""
    from sklearn.cluster import KMeans

    train, test = half_way(pool)
    model = KMeans(14, n_init=2, random_state=0).fit(train.vectors)
    names = np.array([f"c{place}" for place in range(14)])
    labels, asked = names[model.labels_], names[model.predict(test.vectors)]
    best = float(test.outcomes.scores[:, train.outcomes.scores.mean(axis=0).argmax()].mean())
    means = []
    for size in (*SIZES, len(labels)):
        found = []
        for seed in range(draws if size < len(labels) else 1):
            some = np.random.default_rng(seed).choice(len(labels), size, replace=False)
            table = CategoryTable.fit(train.outcomes.scores[some], labels[some], 5.0)
            found.append(reached(test.outcomes.scores, table.estimates(asked)))
        means.append(float(np.mean(found)))
    sizes = "/".join(str(size) for size in (*SIZES, len(labels)))
    text = f"{points(*means)}; best single {points(best)}"
    return Check("UniRoute (M4)", f"{pool.name}: profiles of {sizes} prompts", text, means[0] < best < means[-1])


def skill_check(pool: Pool, draws: int = 5) -> Check:
    """Return M8: Symbolic-MoE's recruiting by local, global, both suitabilities; three with replacement, majority."""
    train, test = half_way(pool)
    signed = 2 * train.outcomes.scores - 1
    names = np.unique(train.outcomes.categories)
    profile = np.stack([signed[train.outcomes.categories == name].sum(axis=0) for name in names])
    local = profile[np.searchsorted(names, test.outcomes.categories)]
    local, total = _positive(local), _positive(profile.sum(axis=0)) ** 2
    ways = {"local": local, "global": np.ones_like(local) * total, "both": local * total}
    found = {name: _recruited(test, weights, draws) for name, weights in ways.items()}
    table = CategoryTable.fit(train.outcomes.scores, train.outcomes.categories).estimates(test.outcomes.categories)
    fixed = _three(test, np.argsort(-table, axis=1)[:, :3])
    text = f"{points(*found.values())}; the three best, no drawing {points(fixed)}"
    good = found["local"] < found["global"] < found["both"] < fixed
    return Check("Symbolic-MoE (M8)", f"{pool.name}: local < global < both", text, good)


def _positive(scores: Floats) -> Floats:
    """Return scores shifted so that the least is 1, as the paper's code does where some are negative."""
    return np.asarray(scores - scores.min(axis=-1, keepdims=True) + 1)


def _recruited(test: Pool, weights: Floats, draws: int) -> float:
    chances = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    found = []
    for seed in range(draws):
        drawn = np.random.default_rng(seed).random((len(weights), 3))
        order = (drawn[:, :, None] > chances[:, None, :]).sum(axis=2).clip(0, weights.shape[1] - 1)
        found.append(_three(test, order))
    return float(np.mean(found))


def _three(test: Pool, order: NDArray[np.int64]) -> float:
    assert test.outcomes.answers is not None
    return majority(test.outcomes.scores, test.outcomes.costs, code_answers(test.outcomes.answers), order).accuracy


def new_expert_checks(pool: Pool) -> list[Check]:
    """Return the regret of a new expert's profile of 5, 20, 50 questions a domain, and of so few for all experts."""
    train, test = half_way(pool)
    full = CategoryTable.fit(train.outcomes.scores, train.outcomes.categories)
    best = reached(test.outcomes.scores, full.estimates(test.outcomes.categories))
    one = [np.mean([_newcomer(train, test, full, few, seed) for seed in range(DRAWS)]) for few in FEW]
    everyone = [np.mean([_from_few(train, test, few, seed) for seed in range(DRAWS)]) for few in FEW]
    newcomers, regrets = [best - float(x) for x in one], [best - float(x) for x in everyone]
    asks = "regret falls with 5, 20, 50 questions a domain (50 draws)"
    return [
        Check(f"New expert ({pool.name})", asks, points(*newcomers), newcomers == sorted(newcomers, reverse=True)),
        Check("Open Knowledge (all new)", asks, points(*regrets), regrets == sorted(regrets, reverse=True)),
        _coverage(train, test),
    ]


def few_of_each(categories: NDArray[np.str_], few: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return places of `few` questions of each category, all where there are fewer."""
    kept = [rng.permutation(np.flatnonzero(categories == name))[:few] for name in np.unique(categories)]
    return np.concatenate(kept)


def _newcomer(train: Pool, test: Pool, full: CategoryTable, few: int, seed: int) -> float:
    """Return the accuracy when each expert in turn is new, the mean over them."""
    rng = np.random.default_rng(seed)
    some = few_of_each(train.outcomes.categories, few, rng)
    sparse = CategoryTable.fit(train.outcomes.scores[some], train.outcomes.categories[some])
    known, fresh = (table.estimates(test.outcomes.categories) for table in (full, sparse))
    found = []
    for column in range(len(train.experts)):
        estimates = known.copy()
        estimates[:, column] = fresh[:, column]
        found.append(reached(test.outcomes.scores, estimates))
    return float(np.mean(found))


def _from_few(train: Pool, test: Pool, few: int, seed: int) -> float:
    some = few_of_each(train.outcomes.categories, few, np.random.default_rng(seed))
    table = CategoryTable.fit(train.outcomes.scores[some], train.outcomes.categories[some])
    return reached(test.outcomes.scores, table.estimates(test.outcomes.categories))


def _coverage(train: Pool, test: Pool) -> Check:
    """Pick two experts a category: the two most accurate, or the best and whoever solves most of what it cannot."""
    hits = np.zeros(2)
    for name in np.unique(test.outcomes.categories):
        known = train.outcomes.scores[train.outcomes.categories == name]
        asked = test.outcomes.scores[test.outcomes.categories == name]
        first, second = np.argsort(-known.mean(axis=0), kind="stable")[:2]
        complement = (known * (1 - known[:, [first]])).mean(axis=0).argmax()
        hits += [asked[:, [first, second]].max(axis=1).sum(), asked[:, [first, complement]].max(axis=1).sum()]
    two, covering = hits / len(test.outcomes)
    return Check(
        "Open Knowledge",
        "a covering second expert >= the second best in any-right",
        points(covering, two),
        bool(covering >= two),
    )


def budget_checks(pool: Pool, data: Path, budgets: Sequence[float] = (8, 15, 25)) -> list[Check]:
    """Return M9: the best pool under a budget of parameters, exact against greedy, judged on test questions."""
    sizes = total_parameters(data)
    train, test = half_way(pool)
    table = CategoryTable.fit(train.outcomes.scores, train.outcomes.categories)
    share = np.array([(train.outcomes.categories == name).mean() for name in table.names])
    size = np.array([sizes[name] for name in pool.experts])
    asked, found, exact_values = table.estimates(test.outcomes.categories), [], []
    for budget in budgets:
        pool_of_budget = best_pool(table.rows, share, size, budget)
        chosen, value = list(pool_of_budget.columns), pool_of_budget.worth
        fitting = np.flatnonzero(size <= budget).tolist()
        greedy = max(worth(table.rows, share, grown) for grown in grown_pools(fitting, table.rows, share, size, budget))
        single = int(np.where(size <= budget, train.outcomes.scores.mean(axis=0), -1).argmax())
        places = np.array(chosen)[asked[:, chosen].argmax(axis=1)]
        accuracy = float(test.outcomes.scores[np.arange(len(places)), places].mean())
        alone = float(test.outcomes.scores[:, single].mean())
        found.append((budget, accuracy, alone, float(size[places].mean()), value, greedy))
        exact_values.append(value)
    text = ", ".join(
        f"{budget:g}B: {points(accuracy)} (single {points(alone)}, {active:.1f}B asked)"
        for budget, accuracy, alone, active, *_ in found
    )
    last = found[-1]
    return [
        Check(
            "Composition of Experts (M9)",
            "25B: +1.5 over the best single expert that fits",
            text,
            last[1] - last[2] >= 0.015,
        ),
        Check(
            "Composition of Experts",
            "on train: exact >= greedy, never falling with the budget",
            points(*exact_values),
            exact_values == sorted(exact_values) and all(row[4] >= row[5] - 1e-12 for row in found),
        ),
    ]


def total_parameters(data: Path) -> Mapping[str, float]:
    """Return each model's parameters in billions, infinite where unknown."""
    with (data / "models.csv").open(encoding="utf-8", newline="") as file:
        return {row["model_id"]: float(row["params_total_b"] or "inf") for row in csv.DictReader(file)}


def overlap_check(pool: Pool) -> Check:
    """Return M12: how alike the experts' errors are, and what nobody, or next to nobody, solves."""
    mean, largest = error_correlation(pool.outcomes.scores)
    right = pool.outcomes.scores.sum(axis=1)
    rare = ((right >= 1) & (right <= 3)).mean()
    text = f"mean {mean:.3f}, largest {largest:.3f}; solved by none {(right == 0).mean():.1%}, by 1-3 {rare:.1%}"
    return Check("M12", f"{pool.name}: 0.356, 0.652; 6.1 %, 16.3 % in the notes", text, abs(mean - 0.356) < 0.02)


def drift_check(pool: Pool, queries: int = 5000) -> Check:
    """Return M11: strongest and weakest of six peers swap half-way; what each kind of feedback regains afterwards."""
    some = np.random.default_rng(0).permutation(len(pool.outcomes))[:queries]
    scores, half = pool.outcomes.scores[some].copy(), queries // 2
    categories = pool.outcomes.categories[some]
    estimates = CategoryTable.fit(scores[:half], categories[:half]).estimates(categories)
    posteriors = (categories[:, None] == np.unique(categories)).astype(np.float64)
    order = scores.mean(axis=0).argsort()
    scores[half:, [order[0], order[-1]]] = scores[half:, [order[-1], order[0]]]
    found = {}
    for target in ("frozen", "multi_hot", "one_right", "first_right", "chosen_only"):
        explored = 0.05 if target == "chosen_only" else 0.0
        chosen = replay(
            scores, posteriors, rule=LearningRule(), estimates=estimates, target=target, exploration=explored
        )
        found[target] = float(scores[np.arange(len(scores)), chosen][half:].mean())
    text = ", ".join(f"{name.replace('_', ' ')} {points(value)}" for name, value in found.items())
    good = found["multi_hot"] - found["frozen"] >= 0.03 and found["multi_hot"] >= found["one_right"]
    return Check("DriftMoE (M11)", "six peers: multi-hot +3 over frozen, no worse than one label", text, good)


def mask_checks(pool: Pool, estimates: Floats, order: NDArray[np.int64], draws: int = 40) -> list[Check]:
    """Return FlexOlmo and MoE2: experts are taken away at random; what is left decides as it would have."""
    scores, rng = pool.outcomes.scores[order], np.random.default_rng(0)
    m = scores.shape[1]
    means = []
    for kept in range(m, 0, -max(1, m // 5)):
        masks = [rng.permutation(m)[:kept] for _ in range(draws)]
        means.append(float(np.mean([reached(scores[:, mask], estimates[:, mask]) for mask in masks])))
    asked = np.zeros(m, dtype=np.int64)
    mask = rng.permutation(m)[: m // 2]
    hidden = np.full_like(estimates, -np.inf)
    hidden[:, mask] = estimates[:, mask]
    np.add.at(asked, hidden.argmax(axis=1), 1)
    excluded = int(asked.sum() - asked[mask].sum())
    return [
        Check(
            "FlexOlmo",
            f"{pool.name}: fewer experts, smoothly less accuracy",
            points(*means),
            means == sorted(means, reverse=True),
        ),
        Check("FlexOlmo, MoE2", "excluded experts are never asked", f"{excluded} of {len(scores)}", excluded == 0),
    ]


def taxonomy_check(pool: Pool, leaves: NDArray[np.str_]) -> Check:
    """Return SuperGPQA: where a leaf of the taxonomy has few questions, it borrows from its parent."""
    found = np.zeros(3)
    for mask in folds(pool.outcomes.stems):
        train, test = pool.where(~mask), pool.where(mask)
        parents = CategoryTable.fit(train.outcomes.scores, train.outcomes.categories)
        names, counts = np.unique(leaves[~mask], return_counts=True)
        rare = np.isin(leaves[mask], names[counts < 40])
        flat = CategoryTable.fit(train.outcomes.scores, leaves[~mask]).estimates(leaves[mask])
        tree = _tree(train, parents, leaves[~mask], leaves[mask], test.outcomes.categories)
        ways = (flat, tree, parents.estimates(test.outcomes.categories))
        found += [reached(test.outcomes.scores[rare], way[rare]) * rare.sum() for way in ways] if rare.any() else 0
    total = sum((counts[counts < 40 * 1.25]).sum() for counts in [np.unique(leaves, return_counts=True)[1]])
    shares = found / max(total, 1)
    return Check(
        "SuperGPQA",
        "rare leaves: shrinking to the parent >= to the mean",
        points(shares[1], shares[0]),
        bool(shares[1] >= shares[0]),
    )


def _tree(
    train: Pool, parents: CategoryTable, known: NDArray[np.str_], asked: NDArray[np.str_], above: NDArray[np.str_]
) -> Floats:
    """Return (right + 10 * parent's estimate) / (n + 10) of each leaf."""
    prior = parents.estimates(above)
    sums, counts = np.zeros_like(prior), np.zeros((len(prior), 1))
    for name in np.unique(asked):
        cell = train.outcomes.scores[known == name]
        sums[asked == name], counts[asked == name] = cell.sum(axis=0), len(cell)
    return np.asarray((sums + 10 * prior) / (counts + 10))


def strange_check(pool: Pool, neighbours: int = 10) -> Check:
    """Return M10: questions of a category never seen, told from known ones by distance to their nearest neighbours."""
    from sklearn.metrics import roc_auc_score

    train, test = half_way(pool)
    found = {}
    for name in ("law", "health"):
        index = train.vectors[train.outcomes.categories != name]
        near = np.sort(test.vectors @ index.T, axis=1)[:, -neighbours:].mean(axis=1)
        found[name] = float(roc_auc_score(test.outcomes.categories == name, -near))
    text = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    return Check(
        "Input Domain Aware (M10)",
        "held-out category by 10 neighbours: AUROC >= 0.75",
        text,
        min(found.values()) >= 0.75,
    )
