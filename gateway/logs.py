"""JSON lines on standard error: one per request, none with a prompt or a key.

An error of ours is told in our own words. What another one says may repeat what was asked, so only its kind and where
it was raised are written, unless the operator switched its words on.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import orjson

FACTS = "facts"


class JsonLines(logging.Formatter):
    """One JSON object per record; what was passed as `extra={"facts": {...}}` becomes its fields.

    Args:
        texts: whether the words of exceptions are written too.
    """

    def __init__(self, *, texts: bool = False) -> None:
        super().__init__()
        self._texts = texts

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FACTS, {}),
        }
        if record.exc_info:
            error = record.exc_info[1]
            words = self._texts or error is None
            line["exception"] = self.formatException(record.exc_info) if words else "\n".join(trail(error))
        return orjson.dumps(line, default=str).decode()


def trail(error: BaseException | None) -> Iterator[str]:
    """Yield an error's kind and where it was raised, then the same of what led to it; never its words."""
    while error is not None:
        yield f"{type(error).__module__}.{type(error).__qualname__}"
        yield from (
            f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        )
        for each in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
            yield from trail(each)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def configure(level: str, *, texts: bool = False) -> None:
    """Send our records to standard error as JSON lines; other libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(texts=texts))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # What no line of ours says need not be found out for each: Python's logging how-to, "Optimization".
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for room in ("gateway", "router", "experts", "aggregator"):
        logging.getLogger(room).setLevel(level.upper())


def facts(**fields: Any) -> dict[str, Any]:
    """Return the `extra` that makes `fields` part of the line."""
    return {FACTS: fields}
