"""Join the chunks of a streamed chat completion into the whole one.

Apart because it knows OpenAI's delta rules and nothing else: strings of a message grow, tool calls
merge by their index, log-probability lists extend, everything else is replaced by the newest value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

GROWING = frozenset({"content", "reasoning_content", "reasoning", "refusal", "arguments"})


def assemble(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one `chat.completion` body from `chat.completion.chunk` bodies, oldest first."""
    body: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        body.update({k: v for k, v in chunk.items() if k not in ("choices", "usage")})
        if chunk.get("usage"):
            body["usage"] = chunk["usage"]
        for part in chunk.get("choices") or ():
            _grow_choice(choices.setdefault(part.get("index", 0), _empty_choice(part)), part)
    body["object"] = "chat.completion"
    body["choices"] = [choices[index] for index in sorted(choices)]
    return body


def _empty_choice(part: Mapping[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    return {"index": part.get("index", 0), "message": message, "logprobs": None, "finish_reason": None}


def _grow_choice(choice: dict[str, Any], part: Mapping[str, Any]) -> None:
    _grow_message(choice["message"], part.get("delta") or {})
    if part.get("logprobs"):
        choice["logprobs"] = _joined_logprobs(choice["logprobs"], part["logprobs"])
    read_above = ("index", "delta", "logprobs")
    choice.update({k: v for k, v in part.items() if k not in read_above and v is not None})


def _grow_message(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for key, value in delta.items():
        if key == "tool_calls":
            _grow_tool_calls(message.setdefault("tool_calls", []), value or ())
        elif key in GROWING and isinstance(value, str):
            message[key] = (message.get(key) or "") + value
        elif value is not None:
            message[key] = value


def _grow_tool_calls(calls: list[dict[str, Any]], deltas: Iterable[Mapping[str, Any]]) -> None:
    for delta in deltas:
        position = delta.get("index", len(calls))
        while len(calls) <= position:
            calls.append({"type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[position]
        for key, value in delta.items():
            if key == "function":
                function = value or {}
                call["function"]["name"] = function.get("name") or call["function"]["name"]
                call["function"]["arguments"] += function.get("arguments") or ""
            elif key != "index" and value is not None:
                call[key] = value


def _joined_logprobs(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(old or {})
    for key, value in new.items():
        if isinstance(value, list):
            joined[key] = [*(joined.get(key) or []), *value]
        else:
            joined[key] = value
    return joined
