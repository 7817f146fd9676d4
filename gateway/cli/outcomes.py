"""Fitting and measuring routing on tables of outcomes, as `consilium router train` and `evaluate` do it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from router.training.outcomes import Outcomes


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of one table of outcomes, and which of its models are experts (None: all)."""

    questions: Sequence[Path]
    outcomes: Sequence[Path]
    models: Sequence[Path]
    experts: Sequence[str] | None

    def read(self) -> Outcomes:
        """Read them.

        Raises:
            ConfigError: a file cannot be read or does not fit the others.
        """
        from router.training.outcomes import read_outcomes

        return read_outcomes(self.questions, self.outcomes, self.models, self.experts)


def listed(names: str | None) -> list[str] | None:
    """Return the parts of a comma-separated option, None where it was not given."""
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]


def policy_names(names: str) -> str | list[str]:
    """Return `all`, or the policies named."""
    return names if names == "all" else listed(names) or "all"


def train(
    tables: TableFiles, out: Path, *, names: str | Sequence[str], splits: Sequence[str], console: Console
) -> None:
    """Fit policies on the rows of some splits and write them, with what an evaluation needs to remember, to `out`.

    Raises:
        ConfigError: the tables cannot be read, or have no such rows.
    """
    from router.encoder import Encoder
    from router.evaluation import Reference
    from router.training.policies import fit_policies

    train = tables.read().of_split(*splits)
    console.print(f"Fitting on {len(train)} questions and {len(train.experts)} experts.")
    fitted = fit_policies(train, encoder=Encoder(), names=names, progress=console.print)
    out.mkdir(parents=True, exist_ok=True)
    fitted.save(out)
    Reference.of(train).save(out)
    console.print(
        f"Written to {out}; measure it with `consilium router evaluate --artifacts {out} ...`.", soft_wrap=True
    )


def evaluate(
    tables: TableFiles,
    artifacts: Path,
    *,
    names: str | Sequence[str],
    split: str,
    controls: bool,
    console: Console,
) -> dict[str, Any]:
    """Measure what was fitted on the rows of a split, print it, and return every figure.

    Raises:
        ConfigError: there is no artifact, no such split, or an expert that is unknown to either side.
    """
    from router.encoder import Encoder
    from router.evaluation import Reference
    from router.evaluation.measuring import measure_policies, pool_of, shuffled_control, training_rows
    from router.evaluation.text import describe
    from router.training.policies import FittedPolicies, fit_policies

    reference, fitted, encoder = Reference.load(artifacts), FittedPolicies.load(artifacts), Encoder()
    table = tables.read()
    test = table.of_split(split)
    wanted = fitted.names if names == "all" else list(names)
    console.print(f"Reading {len(test)} questions.")
    features = fitted.featurize(test.texts, encoder)
    console.print(f"Measuring {', '.join(wanted)}.")
    figures = measure_policies(fitted, reference, test, features, wanted, experts=tables.experts)
    seen = training_rows(table, reference) if controls else None
    if seen is not None:
        judged, pool = "auto" if "auto" in wanted else wanted[0], pool_of(fitted, test, tables.experts)
        console.print(f"Control: {judged} on shuffled outcomes.")
        figures["controls"][f"shuffled_{judged}"] = shuffled_control(
            lambda rows: fit_policies(rows, encoder=encoder, names=[judged]), seen, test, features, judged, pool
        )
    console.print(describe(figures), highlight=False, markup=False, soft_wrap=True)
    return figures


def plan(tables: TableFiles, budget: float, by: str, *, splits: Sequence[str], console: Console) -> None:
    """Print which experts to keep within a budget, and who answers what.

    Raises:
        ConfigError: the tables cannot be read, or do not allow a plan.
    """
    from router.training.pool import UNITS, plan_pool

    found = plan_pool(tables.read().of_split(*splits), budget, by)
    way = "every pool was tried" if found.exact else "grown greedily"
    console.print(f"Keep {', '.join(found.experts)}: {found.size:g} {UNITS[by]} of {budget:g} ({way}).")
    console.print(f"Expected accuracy {found.accuracy:.3f}, asking {found.asked:.2f} on average;", end=" ")
    console.print(f"alone, {found.alone[0]} reaches {found.alone[1]:.3f}. Both on the questions planned on.")
    for category, expert in found.answers.items():
        console.print(f"  {category or 'unlabelled'}: {expert}")


def keep(figures: dict[str, Any], json_file: Path | None, report: Path | None, name: str) -> None:
    """Write figures where they were asked for: one file, and a part of a report's folder."""
    text = json.dumps(figures, indent=2, allow_nan=False) + "\n"
    if json_file is not None:
        json_file.write_text(text, encoding="utf-8")
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
        (report / f"{name}.json").write_text(text, encoding="utf-8")
