"""LiteLLM's `model_list`: deployments of one name become one expert's replicas.

    model_name                 the expert; entries that share it and their model are its replicas
    litellm_params.model       provider/model: the provider says where, the rest is what the server calls it
    fallbacks                  fallback, expert by expert
    costs, limits, abilities   price, limits, capabilities

A key that is written out is not copied: our file names a variable in its place.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.importing.source import Imported, Section, Source, expert_name

PROVIDERS = {
    "openai": "https://api.openai.com/v1",
    "groq": "https://api.groq.com/openai/v1",
    "together_ai": "https://api.together.xyz/v1",
    "mistral": "https://api.mistral.ai/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "fireworks_ai": "https://api.fireworks.ai/inference/v1",
}
"""Where a provider speaks OpenAI's protocol, when no `api_base` is given."""
KEYS = {name: f"{name.upper()}_API_KEY" for name in PROVIDERS} | {"together_ai": "TOGETHERAI_API_KEY"}
"""The variable that LiteLLM reads a provider's key from, when none is given."""
OWN_SERVERS = {"hosted_vllm", "custom_openai", "openai_like", "lm_studio", "llamafile", "ollama", "ollama_chat"}
NO_KEYS = {"", "none", "empty", "fake", "fake-key", "dummy", "anything", "sk-1234", "not-needed", "na", "n/a"}
_PER_KEY = "limits are per key here: consilium keys create --requests-per-minute, --tokens-per-minute"
_PARAMS = {
    "rpm": _PER_KEY,
    "tpm": _PER_KEY,
    "max_retries": "a call is tried on other replicas and stand-ins by itself",
    "num_retries": "a call is tried on other replicas and stand-ins by itself",
    "stream_timeout": "say limits.first_token_timeout_seconds and idle_timeout_seconds",
    "temperature": "parameters of a request ride along from the client; defaults belong to the server",
    "max_tokens": "parameters of a request ride along from the client; defaults belong to the server",
}
_TOP = {
    "general_settings": "master_key is CONSILIUM_ADMIN_KEY, the database is a SQLite file or CONSILIUM_REDIS_URL",
    "environment_variables": "set them where the gateway runs",
    "callbacks": "metrics are at /metrics, decisions at /admin/decisions",
}
_SETTINGS = {
    "routing_strategy": "experts are chosen by content; replicas of one by their load",
    "redis_host": "CONSILIUM_REDIS_URL",
    "redis_port": "CONSILIUM_REDIS_URL",
    "redis_password": "CONSILIUM_REDIS_URL",
    "redis_url": "CONSILIUM_REDIS_URL",
    "num_retries": "a call is tried on other replicas and stand-ins by itself",
    "context_window_fallbacks": "not needed: a request that is too long is not routed there (context_window)",
    "model_group_alias": "experts have one name; register the expert again under the other, or change the client",
    "request_timeout": "say limits.timeout_seconds of each expert",
    "drop_params": "what an expert cannot do is left out and said in x-consilium-ignored",
}


def from_litellm(source: Source) -> Imported:
    """Return LiteLLM's file in our words; remarks hold what did not carry over."""
    top = source.top
    experts: dict[str, dict[str, Any]] = {}
    names: dict[tuple[str, str], str] = {}
    for entry in top.sections("model_list"):
        _add(entry, experts, names)
    routing = _fallbacks(top, experts)
    top.leave(_TOP)
    written = [{key: value for key, value in expert.items() if value != []} for expert in experts.values()]
    return source.imported({"experts": written, **({"routing": routing} if routing else {})})


def _add(entry: Section, experts: dict[str, dict[str, Any]], names: dict[tuple[str, str], str]) -> None:
    """Make one deployment a new expert, or a replica of one that is there."""
    wanted = str(entry.take("model_name") or "")
    params, info = entry.section("litellm_params"), entry.section("model_info")
    mode = info.take("mode") or "chat"
    if "*" in wanted or not wanted:
        return entry.remark("model_name", "a pattern is no expert: name each model that is to be one")
    if mode != "chat":
        return entry.remark("model_info", f"mode {mode} is no chat; experts answer chats")
    provider, model = _provider(str(params.take("model") or ""))
    base_url = _base_url(params, provider)
    if base_url is None:
        return None
    name = names.get((wanted, model))
    if name is None:
        name = names[wanted, model] = expert_name(wanted, set(experts))
        if name != wanted:
            entry.remark("model_name", f"becomes the expert '{name}'")
        experts[name] = {"name": name, "model": model, "replicas": [], **_abilities(info, params), "fallback": []}
    experts[name]["replicas"].append(_replica(params, base_url, name))
    params.leave(_PARAMS)
    info.taken |= {"id", "base_model", "db_model"}
    info.leave({})
    entry.leave({})
    return None


def _provider(model: str) -> tuple[str, str]:
    """Return the provider and what is behind the slash; a bare name is OpenAI's, as with LiteLLM."""
    first, slash, rest = model.partition("/")
    return (
        (first, rest)
        if slash and first in PROVIDERS.keys() | OWN_SERVERS
        else ("openai" if not slash else first, model)
    )


def _base_url(params: Section, provider: str) -> str | None:
    """Return where it is served, or None with a remark when that does not speak OpenAI's protocol."""
    given = params.take("api_base") or params.take("base_url")
    params.taken |= {"base_url", "custom_llm_provider"}
    if given is None and provider in PROVIDERS:
        params.data.setdefault("api_key", f"os.environ/{KEYS[provider]}")
        return PROVIDERS[provider]
    if provider not in PROVIDERS.keys() | OWN_SERVERS:
        params.remark(
            "model",
            f"{provider} does not speak OpenAI's protocol at a plain URL; put a server that does in front of it",
        )
        return None
    if given is None:
        params.remark("model", f"{provider} without api_base: nobody can tell where it is")
        return None
    url = _environment(params, str(given)).rstrip("/")
    if re.search(r"/v\d+$|/openai$", url) or "$" in url:
        return url
    params.remark("api_base", f"becomes {url}/v1")
    return f"{url}/v1"


def _replica(params: Section, base_url: str, expert: str) -> dict[str, Any]:
    replica: dict[str, Any] = {"base_url": base_url}
    key = str(params.take("api_key") or "")
    if key.startswith("os.environ/"):
        replica["api_key"] = _environment(params, key)
    elif key.lower() not in NO_KEYS:
        name = re.sub(r"\W+", "_", f"{expert}_key").upper()
        replica["api_key"] = params.source.variable(name)
        params.remark("api_key", f"is not copied: set {name}")
    if (weight := params.take("weight", (int, float))) is not None:
        replica["weight"] = weight
    return replica


def _environment(params: Section, text: str) -> str:
    """Return `os.environ/NAME` as our ${NAME}."""
    return params.source.variable(text.removeprefix("os.environ/")) if text.startswith("os.environ/") else text


def _abilities(info: Section, params: Section) -> dict[str, Any]:
    """Return what the model can do, takes and costs, where the entry says so."""
    costs = [
        info.take(f"{side}_cost_per_token") or params.take(f"{side}_cost_per_token") for side in ("input", "output")
    ]
    params.taken |= {"input_cost_per_token", "output_cost_per_token"}
    flags = {"tools": "supports_function_calling", "json_schema": "supports_response_schema"}
    capabilities = [ours for ours, theirs in flags.items() if info.take(theirs)]
    limits = {
        "timeout_seconds": params.take("timeout", (int, float)),
        "max_in_flight": params.take("max_parallel_requests", int),
    }
    found = {
        "context_window": info.take("max_input_tokens", int) or info.take("max_tokens", int),
        "modalities": ["text", "image"] if info.take("supports_vision") else None,
        "capabilities": capabilities or None,
        "price": None
        if None in costs
        else {
            "input_per_million": round(costs[0] * 1e6, 6),
            "output_per_million": round(costs[1] * 1e6, 6),
        },
        "limits": {key: value for key, value in limits.items() if value is not None} or None,
    }
    info.taken.add("max_tokens")
    return {key: value for key, value in found.items() if value is not None}


def _fallbacks(top: Section, experts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Write fallbacks into the experts; returns our routing section."""
    routing: dict[str, Any] = {}
    for where in ("litellm_settings", "router_settings"):
        settings = top.section(where)
        for pair in settings.take("fallbacks", list) or []:
            for name, others in pair.items() if isinstance(pair, dict) else ():
                if name in experts:
                    experts[name]["fallback"] += [other for other in others if other in experts and other != name]
                for other in {name, *others} - experts.keys():
                    settings.remark("fallbacks", f"speaks of '{other}', which is no expert here")
        if default := [name for name in settings.take("default_fallbacks", list) or [] if name in experts]:
            routing["default"] = default[0]
        settings.leave(_SETTINGS)
    return routing
