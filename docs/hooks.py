"""What mkdocs generates when the site is built: every key of the configuration, and the HTTP API, from the code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from gateway.app import create_app
from gateway.configuration import GatewayConfig, config_path, load_config
from gateway.settings import Settings

INNER = "$ref"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    files.append(File.generated(config, "reference/keys.md", content=keys_page(GatewayConfig)))
    files.append(File.generated(config, "reference/http.md", content=http_page(openapi())))
    return files


def keys_page(model: type[BaseModel]) -> str:
    """Return a table of every key of the YAML file: its path, type and default."""
    schema = model.model_json_schema()
    rows = [f"| `{path}` | {kind} | {default} |" for path, kind, default in keys(schema, schema.get("$defs", {}))]
    head = "# Every key\n\nGenerated from the code. What they mean: [Configuration](../configuration.md).\n\n"
    return head + "| key | type | default |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def keys(schema: Mapping[str, Any], defs: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (path, type, default) of every key below a schema, parents first."""
    for name, each in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        inner, many = nested(each, defs)
        yield path, typed(each, defs), shown(each)
        if inner is not None:
            yield from keys(inner, defs, f"{path}[]." if many else f"{path}.")


def nested(each: Mapping[str, Any], defs: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, bool]:
    """Return the section a key holds, and whether it holds a list of them."""
    many = each.get("type") == "array"
    holder = each.get("items", {}) if many else each
    choices = [holder, *holder.get("anyOf", [])]
    found = next((choice[INNER] for choice in choices if INNER in choice), None)
    return (None if found is None else defs[found.rsplit("/", 1)[-1]]), many


def typed(each: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Return a key's type in words."""
    if "enum" in each:
        return " or ".join(f"`{value}`" for value in each["enum"])
    if "anyOf" in each:
        return " or ".join(typed(choice, defs) for choice in each["anyOf"] if choice.get("type") != "null")
    if INNER in each:
        return "section"
    if each.get("type") == "array":
        return f"list of {typed(each.get('items', {}), defs)}"
    kind = str(each.get("type", "any value"))
    return {"object": "mapping"}.get(kind, kind) + bounds(each)


def bounds(each: Mapping[str, Any]) -> str:
    """Return a number's bounds."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    told = [f"{sign} {each[name]:g}" for name, sign in signs.items() if isinstance(each.get(name), int | float)]
    return f" {', '.join(told)}" if told else ""


def shown(each: Mapping[str, Any]) -> str:
    """Return a key's default."""
    default = each.get("default", "")
    return "" if isinstance(default, dict) or default in ("", None) else f"`{default}`"


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of a gateway with the experts that ship with it."""
    path = config_path("builtin:pocket")
    return create_app(Settings(), load_config(path), Path()).openapi()


def http_page(document: Mapping[str, Any]) -> str:
    """Return every call of the HTTP API with its parameters, from the OpenAPI document."""
    head = "# Every call\n\nGenerated from the code. How to use them: [API](../api.md).\n"
    calls = [
        call(method.upper(), path, told)
        for path, methods in sorted(document["paths"].items())
        for method, told in methods.items()
    ]
    return head + "".join(calls)


def call(method: str, path: str, told: Mapping[str, Any]) -> str:
    """Return one call's section."""
    parameters = [
        f"- `{each['name']}` ({each['in']}{', required' if each.get('required') else ''}): {typed(each['schema'], {})}"
        for each in told.get("parameters", [])
    ]
    text = told.get("description") or told.get("summary", "")
    return "\n".join([f"\n## {method} {path}\n", text, "", *parameters, ""])
