"""The input of `consilium batch run`: lines of the Batch API, or shorter ones that become such."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

from experts.errors import ConfigError
from gateway.batches.sheet import CHAT

SHOWN_PROBLEMS = 5


def write_full_lines(source: Path, target: Path, model: str) -> str:
    """Write every request of `source` as a line of the Batch API, and return what tells this input from another.

    Args:
        source: JSON lines: whole ones, or `{"messages": ...}` or `{"prompt": ...}` with other fields of a request.
        target: the file to write.
        model: for lines that name none.

    Raises:
        ConfigError: the file cannot be read, or lines are none of these; the sentence names the first of them.
    """
    told = hashlib.sha256(model.encode())
    problems: list[str] = []
    try:
        with source.open("rb") as lines, target.open("wb") as out:
            for number, text in enumerate(lines, 1):
                told.update(text)
                if not text.strip():
                    out.write(b"\n")  # so that later lines keep their numbers
                    continue
                try:
                    line = full_line(orjson.loads(text), number, model)
                    out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                except ValueError as error:
                    problems.append(f"{source}:{number}: {error}")
    except OSError as error:
        raise ConfigError(f"{error.filename or source}: {error.strerror}") from error
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        rest = [f"... and {more} more lines"] if more > 0 else []
        raise ConfigError("\n".join([*problems[:SHOWN_PROBLEMS], *rest]))
    return told.hexdigest()


def full_line(line: Any, number: int, model: str) -> dict[str, Any]:
    """Return a line as the Batch API wants it; `line-N` is the name of one without.

    Raises:
        ValueError: it is no request; says why.
    """
    if not isinstance(line, dict):
        raise ValueError("not a JSON object")
    rest = dict(line)
    custom_id = rest.pop("custom_id", f"line-{number}")
    if "body" in rest:
        body, method, url = rest["body"], rest.get("method", "POST"), rest.get("url", CHAT)
        if not isinstance(body, dict):
            raise ValueError("body is not an object")
    else:
        method, url, body = "POST", CHAT, rest
        if "messages" not in body and "prompt" not in body:
            raise ValueError("has neither messages nor prompt nor body")
        if "messages" not in body:
            body = {**body, "messages": [{"role": "user", "content": body["prompt"]}]}
            del body["prompt"]
    return {"custom_id": custom_id, "method": method, "url": url, "body": {"model": model, **body}}
