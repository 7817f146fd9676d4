"""`consilium router`: fit a domain head on labelled prompts, and measure it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True)
console = Console()
PromptsOption = Annotated[list[Path], typer.Option("--prompts", help="CSV, JSONL or parquet of labelled prompts.")]
TextOption = Annotated[str, typer.Option("--text-column", help="Column of the prompt's text.")]
LabelOption = Annotated[str, typer.Option("--label-column", help="Column of its domain.")]


@app.command()
def train(
    prompts: PromptsOption,
    out: Annotated[Path, typer.Option(help="Folder the head is written to.")],
    text_column: TextOption = "text",
    label_column: LabelOption = "domain",
    description: Annotated[str, typer.Option(help="What the prompts are, for the manifest.")] = "",
) -> None:
    """Fit a head on the rows of the split `train`, choose on `dev`, and write it with its manifest."""
    from router.training import train_head

    manifest = train_head(
        prompts,
        out,
        text_column=text_column,
        label_column=label_column,
        description=description,
        command="consilium " + shlex.join(sys.argv[1:]),
    )
    for split, figures in manifest.figures.items():
        show(split, figures)
    console.print(f"Written to {out}; use it with `routing: {{artifact: {out}}}`.")


@app.command()
def evaluate(
    prompts: PromptsOption,
    artifacts: Annotated[Path, typer.Option(help="Folder of the head.")],
    split: Annotated[str, typer.Option(help="Rows to measure on.")] = "dev",
    text_column: TextOption = "text",
    label_column: LabelOption = "domain",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure here.")] = None,
) -> None:
    """Measure a head: accuracy, macro-F1, calibration error, out-of-scope AUROC, accuracy by source."""
    from router.training import evaluate_head

    figures = evaluate_head(prompts, artifacts, split=split, text_column=text_column, label_column=label_column)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
    show(split, figures)


def show(split: str, figures: dict[str, Any]) -> None:
    """Print one split's figures."""
    table = Table("figure", split)
    for name, value in figures.items():
        if name == "by_source":
            for source, found in value.items():
                table.add_row(f"{source or 'all'} (n={found['n']})", _number(found["accuracy"]))
        else:
            table.add_row(name, _number(value))
    console.print(table)


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
