"""The input of a batch: JSON lines that OpenAI's Batch API defines, checked once, then read line by line when needed.

Of each line only its place in the file and its `custom_id` are kept in memory. `read_sheet` checks everything that
can be said without asking anybody; what an expert or the routing thinks of a body comes out when the line is run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson

CHAT = "/v1/chat/completions"
MOST_LINES = 50_000
MOST_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One request: its number in the file (from 1), where it stands there, and the name its owner gave it."""

    number: int
    offset: int
    length: int
    custom_id: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the input cannot be run; `line` is None where it is about the whole file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None

    def shown(self) -> dict[str, Any]:
        """Return OpenAI's object."""
        return {"code": self.code, "line": self.line, "message": self.message, "param": self.param}


@dataclass
class Sheet:
    """The lines of an input that was checked. Whoever read it closes it (`with`)."""

    path: Path
    lines: list[Line] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _descriptor: int = -1

    def body(self, line: Line) -> dict[str, Any]:
        """Return the request body of a line."""
        body: dict[str, Any] = orjson.loads(os.pread(self._descriptor, line.length, line.offset))["body"]
        return body

    def __enter__(self) -> Sheet:
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def read_sheet(path: Path, longest_line: int, endpoint: str = CHAT, *, most_lines: int | None = MOST_LINES) -> Sheet:
    """Read and check a whole input, one line at a time; it touches the disk, so call it in a thread.

    Args:
        path: the file.
        longest_line: most bytes a line may have.
        endpoint: what every line's `url` must be.
        most_lines: most lines it may have; None: any number.
    """
    sheet = Sheet(path)
    seen: dict[str, int] = {}
    with path.open("rb") as file:
        for number, offset, text in _lines(file, longest_line):
            found = _checked(number, text, endpoint, seen, longest_line)
            if isinstance(found, Problem):
                sheet.problems.append(found)
            else:
                seen[found] = number
                sheet.lines.append(Line(number, offset, len(text), found))
            if len(sheet.problems) >= MOST_PROBLEMS:
                return sheet
    if most_lines is not None and len(sheet.lines) > most_lines:
        sheet.problems.append(Problem("too_many_requests", f"A batch has at most {most_lines} lines."))
    if not sheet.lines and not sheet.problems:
        sheet.problems.append(Problem("empty_file", "The input file has no lines."))
    return sheet


def _lines(file: BinaryIO, longest: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield (number, offset, text) of each line that is not blank; one over `longest` comes cut there."""
    number = offset = 0
    while text := file.readline(longest + 1):
        number += 1
        begun, offset = offset, offset + len(text)
        last = text
        while len(last) == longest + 1 and not last.endswith(b"\n"):
            last = file.readline(longest + 1)
            offset += len(last)
        if text.strip():
            yield number, begun, text


def _checked(number: int, text: bytes, endpoint: str, seen: dict[str, int], longest: int) -> str | Problem:
    """Return a line's custom_id, or what is wrong with it."""

    def problem(code: str, message: str, param: str | None = None) -> Problem:
        return Problem(code, message, number, param)

    if len(text.rstrip(b"\r\n")) > longest or (len(text) > longest and not text.endswith(b"\n")):
        return problem("line_too_long", f"This line has more than {longest} bytes.")
    try:
        line = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return problem("invalid_json_line", f"This line is not parseable as valid JSON: {error}.")
    if not isinstance(line, dict):
        return problem("invalid_json_line", "This line is not a JSON object.")
    custom_id = line.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        return problem("missing_required_parameter", "This line has no custom_id, a text.", "custom_id")
    if custom_id in seen:
        told = f"The custom_id '{custom_id[:64]}' for this request is a duplicate of line {seen[custom_id]}'s."
        return problem("duplicate_custom_id", told, "custom_id")
    if line.get("method") != "POST":
        return problem("invalid_method", "This line's method must be POST.", "method")
    if line.get("url") != endpoint:
        told = f"The URL provided for this request does not match the batch endpoint {endpoint}."
        return problem("invalid_url", told, "url")
    if not isinstance(line.get("body"), dict):
        return problem("missing_required_parameter", "This line has no body, an object.", "body")
    return custom_id
