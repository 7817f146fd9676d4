"""Checks on asking several experts, judging answers and escalating: M6, M7, DMoERM, TradExpert, Mixture of Thoughts."""

from __future__ import annotations

import numpy as np

from router.evaluation.baselines import ranked
from router.evaluation.gains import average_pgr, call_performance_threshold
from router.evaluation.runs import Floats, Indices
from router.evaluation.votes import code_answers
from tests.bench.routing_baselines import PENALTY
from tests.bench.routing_check import Check, points
from tests.bench.routing_folds import Crossed, folds
from tests.bench.routing_tables import Pool

SMALL, LARGE = "llama-3.1-8b-instruct", "llama-3.1-70b-instruct"


def column(pool: Pool, expert: str) -> Floats:
    """Return one expert's scores (n,)."""
    found: Floats = pool.outcomes.scores[:, pool.experts.index(expert)]
    return found


def cascade(small: Floats, large: Floats, error: float) -> float:
    """Return the expected accuracy of asking the small expert and, where a judge doubts it, the large one.

    The judge errs with probability `error` either way: it keeps a wrong answer or doubts a right one.
    """
    kept = small * (1 - error)
    doubted = small * error + (1 - small) * (1 - error)
    return float((kept + doubted * large).mean())


def break_even(small: Floats, large: Floats) -> float:
    """Return the judge error at which the cascade is as good as always asking the large expert.

    Linear in the error: s(1-e) + (se + (1-s)(1-e)) l = l.
    """
    at_zero, at_one = cascade(small, large, 0.0), cascade(small, large, 1.0)
    return (at_zero - float(large.mean())) / (at_zero - at_one)


def cascade_checks(pool: Pool, seed: int = 0) -> list[Check]:
    """Return M6: judge errors, the closed form against draws, two small experts as the judge."""
    small, large = column(pool, SMALL), column(pool, LARGE)
    by_error = {error: cascade(small, large, error) for error in (0.0, 0.1, 0.2, 0.3, 0.5)}
    even = break_even(small, large)
    rng = np.random.default_rng(seed)
    wrong = rng.random((200, len(small))) < 0.1
    drawn = float(np.where((small > 0) != wrong, small, large).mean())
    figures = ", ".join(f"{error:.1f}: {points(value)}" for error, value in by_error.items())
    good = by_error[0.1] > large.mean() > by_error[0.3]
    return [
        Check("HDFlow, FrugalGPT (M6)", "judge error 0.1 beats the large expert, 0.3 loses", figures, bool(good)),
        Check(
            "HDFlow (M6)",
            f"break-even just above 0.2 (large alone {points(float(large.mean()))})",
            f"{even:.3f}",
            0.2 < even < 0.3,
        ),
        Check(
            "AutoMix (M6)",
            "closed form equals simulation",
            points(by_error[0.1], drawn),
            abs(by_error[0.1] - drawn) < 0.002,
        ),
        _agreement(pool, small, large),
    ]


def _agreement(pool: Pool, small: Floats, large: Floats) -> Check:
    assert pool.outcomes.answers is not None
    second = "mathstral-7b" if "mathstral-7b" in pool.experts else pool.experts[0]
    places = [pool.experts.index(SMALL), pool.experts.index(second)]
    codes = code_answers(pool.outcomes.answers[:, places])
    agree = (codes[:, 0] == codes[:, 1]) & (codes[:, 0] >= 0)
    reached = float(np.where(agree, small, large).mean())
    at_random = float(small.mean() + (1 - agree.mean()) * (large.mean() - small.mean()))
    ibc = (reached - small.mean()) / (1 - agree.mean())
    lift = ibc / float(large.mean() - small.mean()) - 1
    found = f"{points(reached)} against {points(at_random)} at {1 - agree.mean():.0%} escalated, IBC lift {lift:+.0%}"
    return Check(
        "AutoMix, Mowst (M6)", f"agreement with {second} as the judge beats chance", found, reached > at_random
    )


def several_checks(crossed: Crossed, name: str) -> list[Check]:
    """Return M7 and the papers on how many experts, for one router's votes on a pool."""
    runs = {label: crossed.run(name + label) for label in ("", "+majority3", "+vote3", "+weighted5", "+majority5")}
    fixed, early = runs["+majority3"], runs["+vote3"]
    saved = 1 - early.mean_experts / fixed.mean_experts
    found = f"{points(early.accuracy, fixed.accuracy)} with {early.mean_experts:.2f} calls, {saved:.0%} saved"
    gain = fixed.accuracy - runs[""].accuracy
    uniform = float((runs["+weighted5"].quality - runs["+majority5"].quality).mean())
    return [
        Check(
            "Harder Tasks (M7)",
            "two, a third if need be: as good as three, 15 % fewer calls",
            found,
            saved >= 0.15 and early.accuracy >= fixed.accuracy - 0.002,
        ),
        Check(
            "Symbolic-MoE", "three and a vote at least +1 over one, among peers", points(gain, sign=True), gain >= 0.01
        ),
        Check(
            "On Giant's Shoulders",
            "weighted votes no worse than uniform ones (five)",
            points(uniform, sign=True),
            uniform > -0.002,
        ),
        _harder(crossed, name),
        _target(crossed, name),
        _advisers(crossed, name),
    ]


def _harder(crossed: Crossed, name: str) -> Check:
    categories = crossed.pool.outcomes.categories[crossed.order]
    early, alone = crossed.run(f"{name}+two,third"), crossed.run(name)
    names = np.unique(categories)
    asked = np.array([early.experts[categories == each].mean() for each in names])
    wrong = np.array([1 - alone.quality[categories == each].mean() for each in names])
    rank = float(np.corrcoef(asked.argsort().argsort(), wrong.argsort().argsort())[0, 1])
    return Check("Harder Tasks", "harder categories get more experts (Spearman > 0)", f"{rank:.2f}", rank > 0)


def _target(crossed: Crossed, name: str, wanted: float = 2.0) -> Check:
    """Ask three below a quantile of the top estimate, else one, to ask two on average: set on half, held on half."""
    top = np.concatenate(crossed.estimates[name]).max(axis=1)
    half = np.random.default_rng(0).random(len(top)) < 0.5
    threshold = np.quantile(top[half], (wanted - 1) / 2)
    reached = 1 + 2 * float((top[~half] < threshold).mean())
    return Check(
        "AdaMoE",
        "mean number of experts within 0.05 of the target 2.00",
        f"{reached:.3f}",
        abs(reached - wanted) <= 0.05,
    )


def _advisers(crossed: Crossed, name: str) -> Check:
    """The primary answers unless both advisers say the same other thing."""
    outcomes, order = crossed.pool.outcomes, crossed.order
    assert outcomes.answers is not None
    codes, scores = code_answers(outcomes.answers)[order], outcomes.scores[order]
    three = ranked(np.concatenate(crossed.estimates[name]))[:, :3]
    said, worth = np.take_along_axis(codes, three, axis=1), np.take_along_axis(scores, three, axis=1)
    overruled = (said[:, 1] == said[:, 2]) & (said[:, 1] != said[:, 0]) & (said[:, 1] >= 0)
    gain = float((np.where(overruled, worth[:, 1], worth[:, 0]) - worth[:, 0]).mean())
    return Check(
        "Mixture of Thoughts",
        "two advisers who agree overrule the primary: never worse",
        points(gain, sign=True),
        gain > -0.002,
    )


def judge_checks(pool: Pool, seed: int = 0) -> list[Check]:
    """Return DMoERM and TradExpert: choosing among answers with a judge, and ranking with a noisy comparator."""
    rng = np.random.default_rng(seed)
    three = pool.outcomes.scores[:, np.argsort(-pool.outcomes.scores.mean(axis=0))[:3]]
    return [_best_of(three, rng), _ranking(three, rng)]


def _best_of(scores: Floats, rng: np.random.Generator, draws: int = 40) -> Check:
    """A judge says `right` of each answer, truly with accuracy a; one of those so called is taken, else any."""
    found, simulated = [], []
    for accuracy in (0.5, 0.6, 0.75, 0.9):
        said = (rng.random((draws, *scores.shape)) < accuracy) == (scores > 0.5)
        liked = np.where(said.any(axis=2, keepdims=True), said, True)
        simulated.append(float(((liked * scores).sum(axis=2) / liked.sum(axis=2)).mean()))
        found.append(_best_of_expected(scores, accuracy))
    first = float(scores[:, 0].mean())
    gap = max(abs(one - other) for one, other in zip(found, simulated, strict=True))
    text = f"{points(*found)} for judges 0.5/0.6/0.75/0.9, first alone {points(first)}, gap {100 * gap:.2f}"
    return Check(
        "DMoERM",
        "best of three by a judge: closed form = simulation; a coin is worse than the first",
        text,
        gap < 0.003 and found[0] < first,
    )


def _best_of_expected(scores: Floats, accuracy: float) -> float:
    """Return the closed form: sum over what the judge may say of its probability times the mean score it leaves."""
    total = np.zeros(len(scores))
    for code in range(2 ** scores.shape[1]):
        said = np.array([(code >> place) & 1 for place in range(scores.shape[1])], dtype=bool)
        chance = np.where((scores > 0.5) == said, accuracy, 1 - accuracy).prod(axis=1)
        total += chance * (scores[:, said].mean(axis=1) if said.any() else scores.mean(axis=1))
    return float(total.mean())


def _ranking(scores: Floats, rng: np.random.Generator, flips: float = 0.2) -> Check:
    """Compare answers in pairs, one comparison in five wrong: all pairs (Copeland), one bubble pass, chance."""
    n, m = scores.shape
    noise = rng.normal(0, 1e-6, (n, m))
    better = (scores + noise)[:, :, None] > (scores + noise)[:, None, :]
    wrong = np.triu(rng.random((n, m, m)) < flips, 1)
    said = better ^ (wrong | wrong.transpose(0, 2, 1))
    wins = said.sum(axis=2) + rng.random((n, m)) * 0.1
    leader = np.zeros(n, dtype=np.int64)
    for challenger in range(1, m):
        leader = np.where(said[np.arange(n), challenger, leader], challenger, leader)
    rows = np.arange(n)
    copeland, bubble = float(scores[rows, wins.argmax(axis=1)].mean()), float(scores[rows, leader].mean())
    chance = float(scores.mean())
    return Check(
        "TradExpert",
        "all pairs >= one pass >= chance, 20 % of comparisons flipped",
        points(copeland, bubble, chance),
        copeland >= bubble - 0.003 and bubble >= chance,
    )


def pair_check(pool: Pool, weak: str, strong: str, estimates: Floats, order: Indices) -> Check:
    """Return RouteLLM's figures for two experts of a pool by cross-validated estimates."""
    places = pool.experts.index(weak), pool.experts.index(strong)
    preference = estimates[:, places[1]] - estimates[:, places[0]]
    sides = pool.outcomes.scores[order][:, places[0]], pool.outcomes.scores[order][:, places[1]]
    apgr = average_pgr(preference, *sides) or 0.0
    cpt = [call_performance_threshold(preference, *sides, share) or 1.0 for share in (0.5, 0.8)]
    found = f"APGR {apgr:.3f}, CPT50 {cpt[0]:.1%}, CPT80 {cpt[1]:.1%}"
    return Check("RouteLLM (M9)", f"{weak} against {strong}: above the 0.5 of chance", found, apgr > 0.5)


def hybrid_check(pool: Pool, fast: str, slow: str) -> Check:
    """Return Hybrid Accuracy: the faster of two experts where it is no worse, against always the commoner choice."""
    from sklearn.linear_model import LogisticRegression

    needed = column(pool, fast) < column(pool, slow)
    right = np.zeros(len(needed), dtype=bool)
    for test in folds(pool.outcomes.stems):
        model = LogisticRegression(C=PENALTY, max_iter=300).fit(pool.vectors[~test], needed[~test])
        right[test] = model.predict(pool.vectors[test]) == needed[test]
    reached, commoner = float(right.mean()), max(float(needed.mean()), 1 - float(needed.mean()))
    asks = f"hybrid accuracy, {fast} or {slow}: above the commoner"
    return Check("Think Only When You Need", asks, points(reached, commoner), reached > commoner)
