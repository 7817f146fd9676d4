"""What /docs says about bodies we read by hand, because unknown fields must survive."""

from __future__ import annotations

from typing import Any

from gateway.schemas import RoutingOptions

_CHAT: dict[str, Any] = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "model": {"type": "string", "default": "auto", "description": "auto, council, or an expert's name."},
        "messages": {"type": "array", "minItems": 1, "items": {"type": "object"}},
        "stream": {"type": "boolean", "default": False},
        "routing": RoutingOptions.model_json_schema(ref_template="#/components/schemas/{model}"),
    },
    "additionalProperties": True,
    "example": {"model": "auto", "messages": [{"role": "user", "content": "What is 417 plus 268?"}]},
}
CHAT_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _CHAT}}},
}
_UPLOAD: dict[str, Any] = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"type": "string", "enum": ["batch"]}},
}
UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _UPLOAD}}},
}


def _relayed(needed: str, example: Any) -> dict[str, Any]:
    """Return what is said about a body that goes on as it came: what the router reads, and ours."""
    properties = {
        "model": {"type": "string", "default": "auto", "description": "auto or an expert's name."},
        needed: {},
        "stream": {"type": "boolean", "default": False},
        "routing": _CHAT["properties"]["routing"],
    }
    schema = {
        "type": "object",
        "required": [needed],
        "properties": properties,
        "additionalProperties": True,
        "example": {"model": "auto", needed: example},
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_SAID = [{"role": "user", "content": "What is 417 plus 268?"}]
RELAYED: dict[str, dict[str, Any]] = {
    "completions": _relayed("prompt", "417 plus 268 is"),
    "embeddings": _relayed("input", ["417 plus 268"]),
    "responses": _relayed("input", "What is 417 plus 268?"),
    "messages": _relayed("messages", _SAID),
}
