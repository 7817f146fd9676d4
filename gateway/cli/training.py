"""`consilium router`: fit domain heads on labelled prompts, policies on recorded outcomes; measure both; show it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from experts.errors import ConfigError
from gateway.cli import learning
from gateway.cli import outcomes as tables

app = typer.Typer(no_args_is_help=True, help="Train and evaluate the routing.")
app.command("compare")(learning.compare)
app.command("rollback")(learning.rollback)
console = Console()
Files = list[Path] | None
PromptsOption = Annotated[Files, typer.Option("--prompts", help="CSV, JSONL or parquet of labelled prompts.")]
QuestionsOption = Annotated[Files, typer.Option("--questions", help="Table of questions; may be given again.")]
OutcomesOption = Annotated[Files, typer.Option("--outcomes", help="Table of who answered what rightly; again too.")]
ModelsOption = Annotated[Files, typer.Option("--models", help="Table of prices and sizes.")]
ExpertsOption = Annotated[str | None, typer.Option("--experts", help="Model ids of the pool, comma-separated.")]
PolicyOption = Annotated[str, typer.Option("--policy", help="Policies, comma-separated, or `all`.")]
TextOption = Annotated[str, typer.Option("--text-column", help="Column of the prompt's text.")]
LabelOption = Annotated[str, typer.Option("--label-column", help="Column of its domain.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write every figure here.")]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Keep what `consilium router report` needs.")]


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder the artifact is written to.")],
    prompts: PromptsOption = None,
    questions: QuestionsOption = None,
    outcomes: OutcomesOption = None,
    models: ModelsOption = None,
    experts: ExpertsOption = None,
    policy: PolicyOption = "all",
    split: Annotated[str, typer.Option(help="Rows of the outcomes to fit on, comma-separated.")] = "train",
    text_column: TextOption = "text",
    label_column: LabelOption = "domain",
    description: Annotated[str, typer.Option(help="What the prompts are, for the manifest.")] = "",
    finetune: Annotated[bool, typer.Option("--finetune", help="Tune the encoder with its head.")] = False,
    own_prompts: Annotated[bool, typer.Option(help="Add prompts of our own where the labels are ours.")] = True,
) -> None:
    """Fit a domain head on --prompts, or routing policies on --questions and --outcomes.

    Fitted on are the rows of the split `train`; a head is chosen on `dev`.
    """
    if _asked(prompts, questions, outcomes):
        chosen = tables.TableFiles(questions or [], outcomes or [], models or [], tables.listed(experts))
        tables.train(chosen, out, names=tables.policy_names(policy), splits=tables.listed(split) or [], console=console)
        return
    from router.training import train_head

    manifest = train_head(
        prompts or [],
        out,
        text_column=text_column,
        label_column=label_column,
        description=description,
        own=own_prompts,
        finetune=finetune,
        command="consilium " + shlex.join(sys.argv[1:]),
    )
    for name, figures in manifest.figures.items():
        show(name, figures)
    console.print(f"Written to {out}; use it with `routing: {{artifact: {out}}}`.")


@app.command()
def evaluate(
    artifacts: Annotated[Path, typer.Option(help="Folder that `train` wrote.")],
    prompts: PromptsOption = None,
    questions: QuestionsOption = None,
    outcomes: OutcomesOption = None,
    models: ModelsOption = None,
    experts: ExpertsOption = None,
    policy: PolicyOption = "all",
    split: Annotated[str, typer.Option(help="Rows to measure on.")] = "dev",
    controls: Annotated[bool, typer.Option(help="Also fit on shuffled outcomes, which should gain nothing.")] = True,
    text_column: TextOption = "text",
    label_column: LabelOption = "domain",
    json_file: JsonOption = None,
    report: ReportOption = None,
) -> None:
    """Measure a head on --prompts, or policies on --questions and --outcomes, on rows they were not fitted on."""
    if _asked(prompts, questions, outcomes):
        chosen = tables.TableFiles(questions or [], outcomes or [], models or [], tables.listed(experts))
        figures = tables.evaluate(
            chosen, artifacts, names=tables.policy_names(policy), split=split, controls=controls, console=console
        )
        tables.keep(figures, json_file, report, "evaluation")
        return
    from router.training import evaluate_head

    figures = evaluate_head(prompts or [], artifacts, split=split, text_column=text_column, label_column=label_column)
    tables.keep(figures, json_file, report, "domains")
    show(split, figures)


@app.command()
def plan(
    questions: Annotated[list[Path], typer.Option("--questions", help="Table of questions; may be given again.")],
    outcomes: Annotated[list[Path], typer.Option("--outcomes", help="Table of who answered what rightly; again too.")],
    models: Annotated[list[Path], typer.Option("--models", help="Table of prices and sizes.")],
    budget: Annotated[float, typer.Option(help="Most that all kept experts may take together.")],
    by: Annotated[str, typer.Option(help="`parameters` (billions, active) or `cost` (USD per 1,000 questions).")] = (
        "parameters"
    ),
    experts: ExpertsOption = None,
    split: Annotated[str, typer.Option(help="Rows to plan on, comma-separated.")] = "train",
) -> None:
    """Choose the experts whose category map is worth most within a budget (Composition of Experts)."""
    chosen = tables.TableFiles(questions, outcomes, models, tables.listed(experts))
    tables.plan(chosen, budget, by, splits=tables.listed(split) or [], console=console)


@app.command("report")
def report_command(
    folder: Annotated[Path, typer.Argument(help="Folder that `evaluate --report` wrote.")],
) -> None:
    """Make one HTML file of an evaluation: curves, who is asked for what, confusion, calibration, the ladder."""
    from router.evaluation.report import write_report

    console.print(f"Written to {write_report(folder)}.", soft_wrap=True)


def show(split: str, figures: dict[str, Any]) -> None:
    """Print one split's figures."""
    table = Table("figure", split)
    for name, value in figures.items():
        if name == "by_source":
            for source, found in value.items():
                table.add_row(f"{source or 'all'} (n={found['n']})", _number(found["accuracy"]))
        elif not isinstance(value, dict | list):
            table.add_row(name, _number(value))
    console.print(table)


def _asked(prompts: Files, questions: Files, outcomes: Files) -> bool:
    """Say whether outcome tables are meant.

    Raises:
        ConfigError: neither or both kinds were given, or half of one.
    """
    if bool(prompts) == bool(questions or outcomes):
        raise ConfigError("Give either --prompts, or --questions together with --outcomes.")
    if bool(questions) != bool(outcomes):
        raise ConfigError("--questions and --outcomes belong together.")
    return bool(questions)


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
