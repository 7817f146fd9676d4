"""Labelled prompts from a table: parquet, CSV or JSON lines, with the same columns and rules for each."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from experts.errors import ConfigError
from experts.types import Domain
from router.taxonomy import OUT_OF_SCOPE

DEV_SHARE = 5


@dataclass(frozen=True, slots=True)
class Prompt:
    """One labelled prompt: the text an expert would be sent, and where it comes from."""

    text: str
    domain: Domain
    split: str
    source: str = ""


def read_prompts(paths: Iterable[Path], *, text_column: str = "text", label_column: str = "domain") -> list[Prompt]:
    """Read every row that has a text and a label.

    The column `split`, or `role`, says what a row is for; without one, a fifth is set aside as `dev` by a hash
    of the text. Where a row has `options`, they follow the text, as an expert would be sent them.

    Raises:
        ConfigError: a file cannot be read, or lacks the columns.
    """
    prompts = []
    for path in paths:
        rows = list(read_rows(path))
        if rows and not {text_column, label_column} <= rows[0].keys():
            found = ", ".join(sorted(rows[0]))
            raise ConfigError(f"{path} lacks the columns '{text_column}' and '{label_column}' (it has {found}).")
        prompts += [_prompt(row, text_column, label_column) for row in rows if row[text_column] and row[label_column]]
    return prompts


def read_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Return the rows of a .parquet, .csv or .jsonl file.

    Raises:
        ConfigError: there is no such file, or it is of another kind.
    """
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.")
    if path.suffix not in READERS:
        raise ConfigError(f"{path} is none of {', '.join(READERS)}.")
    return iter(READERS[path.suffix](path))


def with_options(text: str, options: Sequence[str]) -> str:
    """Return the question followed by its options, lettered."""
    return "\n".join([text, *(f"{chr(65 + place)}. {option}" for place, option in enumerate(options))])


def of_split(prompts: Iterable[Prompt], split: str) -> list[Prompt]:
    """Return the prompts of a split that belong to a domain.

    Raises:
        ConfigError: there are none; the message names the splits that exist.
    """
    known = list(prompts)
    chosen = [each for each in known if each.split == split and each.domain != OUT_OF_SCOPE]
    if not chosen:
        names = ", ".join(sorted({each.split for each in known if each.domain != OUT_OF_SCOPE})) or "none"
        raise ConfigError(f"No prompt is of the split '{split}'; there are: {names}.")
    return chosen


def out_of_scope(prompts: Iterable[Prompt], split: str) -> list[Prompt]:
    """Return the out-of-scope prompts that go with a split: `oos_dev` with `dev` and `ood_dev`; else all."""
    strays = [each for each in prompts if each.domain == OUT_OF_SCOPE]
    own = [each for each in strays if each.split == split or each.split.removeprefix("oos_") in split]
    return own or strays


def _prompt(row: Mapping[str, Any], text_column: str, label_column: str) -> Prompt:
    text, options = str(row[text_column]), row.get("options")
    split = row.get("split") or row.get("role") or _split_by_hash(text)
    return Prompt(
        text=with_options(text, options) if isinstance(options, list) else text,
        domain=str(row[label_column]),
        split=str(split),
        source=str(row.get("source") or ""),
    )


def _split_by_hash(text: str) -> str:
    return "train" if int.from_bytes(sha256(text.encode()).digest()[:4]) % DEV_SHARE else "dev"


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError("Reading parquet needs pyarrow: install consilium[train].") from error
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def _read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


READERS = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
