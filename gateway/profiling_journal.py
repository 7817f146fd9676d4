"""Answers already marked, in a file beside the state: a profiling that is broken off goes on where it was.

One JSON object a line, appended as each answer is marked; a line torn by a crash is left out. What the answers were
is kept only where others are to read them (`Marked.text`). The file goes when the work is done, so that the next one
asks again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from experts.config import ExpertConfig
from experts.profiling import Question
from experts.store import StoreError
from experts.types import ExpertCall

KEPT_SECONDS = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Marked:
    """One answer's mark and what it took; `text` is the answer, where others are to read it."""

    score: float
    output_tokens: int | None = None
    latency_ms: float | None = None
    cost_usd: float | None = None
    cut_off: bool = False
    text: str | None = None


class Journal:
    """The marks of one expert, by key. Use as a context manager.

    Args:
        path: the file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Marked] = {}
        self._file: IO[str] | None = None

    def __enter__(self) -> Journal:
        try:
            self._file = self.path.open("a+", encoding="utf-8")
            self.path.chmod(0o600)
            self._file.seek(0)
            text = self._file.read()
            if text and not text.endswith("\n"):
                self._file.write("\n")
        except OSError as error:
            raise StoreError(f"What was answered cannot be kept in {self.path}: {error.strerror}.") from error
        self.known = _marks(text)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, key: str, marked: Marked) -> None:
        """Keep a mark."""
        assert self._file is not None
        self.known[key] = marked
        self._file.write(json.dumps({"key": key, "at": round(time.time(), 3), **asdict(marked)}) + "\n")
        self._file.flush()

    def forget(self) -> None:
        """Remove the file: everything was put to use."""
        self.path.unlink(missing_ok=True)


def answer_key(config: ExpertConfig, question: Question, parameters: Mapping[str, Any], judge: str | None) -> str:
    """Return what names an answer: who was asked what and how, and who marks it.

    An expert is who it runs as: another model, server or adapter under the same name has answered nothing yet.
    """
    return _named(config, question.key, parameters, judge if question.kind == "judged" else None)


def call_key(config: ExpertConfig, question: Question, call: ExpertCall) -> str:
    """Return what names an answer to whatever an expert is sent because of a question, and how it is marked."""
    return _named(config, question.key, call.messages, call.parameters)


def _named(config: ExpertConfig, *told: Any) -> str:
    who = config.model_dump(mode="json", include={"name", "backend", "model", "replicas", "launch", "adapter"})
    return hashlib.sha256(json.dumps([who, *told], sort_keys=True).encode()).hexdigest()[:32]


def _marks(text: str) -> dict[str, Marked]:
    found = {}
    for line in text.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            row = dict(json.loads(line))
            key, at = row.pop("key"), row.pop("at")
            if at + KEPT_SECONDS > time.time():
                found[key] = Marked(**row)
    return found
