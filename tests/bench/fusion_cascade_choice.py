"""Choose a cascade on training questions: whom to ask first, how to check, how sure is sure enough; then measure it.

A way of checking has variants: how many cheap experts, whether it looks after each answer or only when all are in, and
a grid of thresholds. Chosen is the variant that costs least among those as good as the strong expert on the training
questions (by one standard error: the luckiest of many variants looks better than it is), or the most accurate one.
The gateway itself has `signs` and `agreement`; the others show what fitting on outcomes like these would add.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from router.evaluation.runs import Floats, Run
from tests.bench.fusion_cascade_team import Recorded
from tests.bench.fusion_cascade_verifiers import VERIFIERS, Look, carry_out, worth_entering

GRID = 40
SAFETY = 1.0
"""Standard errors by which a cascade must be better than the strong expert on training questions."""
BINARY = frozenset({"signs", "agreement"})
ALL_AT_ONCE = frozenset({"posterior", "fitted"})


class Variant(NamedTuple):
    """One cascade: its looks at the training and the test questions, and from when on an answer is sure."""

    name: str
    train: Sequence[Look]
    test: Sequence[Look]
    threshold: float


def variants(verifier: str, train: Recorded, test: Recorded) -> Iterator[Variant]:
    """Yield every variant of a way of checking."""
    for k in _sizes(verifier, train.scores.shape[1] - 1):
        seen, asked = VERIFIERS[verifier](train, test, k)
        ways = [("lazy", seen, asked)]
        if verifier in ALL_AT_ONCE and k > 1:
            ways.append(("all", seen[-1:], asked[-1:]))
        for way, looks, looks_at_test in ways:
            name = f"{verifier} {k}" if k == 1 or verifier in BINARY else f"{verifier} {k} {way}"
            for threshold in (0.0,) if verifier in BINARY else _grid(looks):
                yield Variant(name, looks, looks_at_test, threshold)


def _sizes(verifier: str, most: int) -> Sequence[int]:
    if verifier in ("signs", "quality"):
        return (1,)
    return range(2 if verifier == "agreement" else 1, most + 1)


def _grid(looks: Sequence[Look]) -> list[float]:
    sure = np.concatenate([look.sure for look in looks])
    return sorted({*np.quantile(sure, np.linspace(0.0, 1.0, GRID)).tolist(), 0.0})


def cheapest(found: Sequence[Variant], train: Recorded) -> Variant | None:
    """Return the cheapest variant that is as good as the strong expert on the training questions, None if none is."""
    best, least = None, float(train.costs[:, -1].mean())
    for variant in found:
        run = carry_out(variant.train, train, variant.threshold)
        if run.cost.mean() < least and _as_good(run.quality, train.scores[:, -1]):
            best, least = variant, float(run.cost.mean())
    return best


def most_accurate(found: Sequence[Variant], train: Recorded) -> Variant | None:
    """Return the variant that is right most often on the training questions."""
    return max(found, key=lambda each: carry_out(each.train, train, each.threshold).accuracy, default=None)


def _as_good(quality: Floats, strong: Floats) -> bool:
    gain = quality - strong
    return bool(gain.mean() >= SAFETY * gain.std() / np.sqrt(len(gain)))


def played(variant: Variant | None, train: Recorded, test: Recorded, *, gated: bool = False) -> Run:
    """Return the run on the test questions; without a variant the strong expert answers them all."""
    if variant is None:
        return carry_out((), test, 0.0)
    enter = worth_entering(variant.train, train, variant.threshold, test) if gated else None
    return carry_out(variant.test, test, variant.threshold, enter)


def runs_of_fold(train: Recorded, test: Recorded) -> Mapping[str, tuple[Run, str]]:
    """Return for every row of the report its run on the test questions, and the variant's name."""
    found: dict[str, tuple[Run, str]] = {}
    every: list[Variant] = []
    for verifier in VERIFIERS:
        own = list(variants(verifier, train, test))
        every += own
        if verifier in BINARY:
            found |= {each.name: (played(each, train, test), each.name) for each in own}
            continue
        for goal, variant in (("as good", cheapest(own, train)), ("best", most_accurate(own, train))):
            found[f"{verifier}, {goal}"] = played(variant, train, test), _name(variant)
        if verifier == "posterior":
            unfitted = [each for each in own if each.threshold == 0.0 and each.name.endswith("lazy")]
            for each in unfitted:
                found[f"{each.name}, at 0"] = played(each, train, test), each.name
    plain = cheapest([each for each in every if each.name.split()[0] in BINARY], train)
    found["signs or agreement"] = played(plain, train, test), _name(plain)
    chosen = cheapest(every, train)
    found["chosen"] = played(chosen, train, test), _name(chosen)
    found["chosen, gated"] = played(chosen, train, test, gated=True), _name(chosen)
    return found


def _name(variant: Variant | None) -> str:
    return "strong alone" if variant is None else variant.name
