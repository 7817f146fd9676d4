"""JSON lines on standard error: one per request, none with a prompt or a key unless switched on."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import orjson

FACTS = "facts"


class JsonLines(logging.Formatter):
    """One JSON object per record; what was passed as `extra={"facts": {...}}` becomes its fields."""

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
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure(level: str) -> None:
    """Send our records to standard error as JSON lines; other libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for room in ("gateway", "router", "experts", "aggregator"):
        logging.getLogger(room).setLevel(level.upper())


def facts(**fields: Any) -> dict[str, Any]:
    """Return the `extra` that makes `fields` part of the line."""
    return {FACTS: fields}
