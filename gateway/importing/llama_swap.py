"""llama-swap's `models`: vLLM commands become servers that we start, all others stay with llama-swap.

cmd: vllm serve M ...   launch: {model: M, args: [...]}; the gateway starts it, and puts it to sleep after ttl
any other cmd           replicas: llama-swap's own URL, which goes on starting and swapping it behind us
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from gateway.importing.source import Imported, Section, Source, expert_name

URL = "${LLAMA_SWAP_URL:-http://127.0.0.1:8080/v1}"
_MODEL = {
    "aliases": "experts have one name; register the expert again under the other, or change the client",
    "filters": "parameters of a request go to the expert untouched; set the server's own defaults",
    "checkEndpoint": "vLLM's /health is asked",
    "cmdStop": "the gateway stops what it started",
    "unlisted": "say `routed: false` to keep it out of the routing; it stays in the list of models",
    "metadata": "say tags",
}
_TOP = {
    "matrix": "which servers are awake together is `residency`: one at a time unless you say more",
    "groups": "which servers are awake together is `residency`: one at a time unless you say more",
    "hooks": "say residency.pinned for what is to stay loaded",
    "startPort": "the gateway finds free ports from 8501 up",
    "logLevel": "CONSILIUM_LOG_LEVEL",
    "logRequests": "a line a request is written anyway, never its prompt",
    "metricsMaxInMemory": "metrics are at /metrics",
    "apiKeys": "CONSILIUM_API_KEYS, or consilium keys create",
    "sendLoadingState": "a stream is kept alive by comments while a server wakes",
}
_OURS = {"--host", "--port", "--model", "--served-model-name", "--tensor-parallel-size"}


def from_llama_swap(source: Source) -> Imported:
    """Return llama-swap's file in our words; remarks hold what did not carry over."""
    top = source.top
    patience = top.take("healthCheckTimeout", int) or 120
    macros = {str(name): str(text) for name, text in (top.take("macros", dict) or {}).items()}
    ttl = top.take("globalTTL", int) or 0
    experts: dict[str, dict[str, Any]] = {}
    for model in top.sections("models"):
        own = model.take("ttl", int)
        model.data["ttl"] = ttl if own is None or own < 0 else own
        expert = _expert(model, set(experts), macros, patience)
        experts[expert["name"]] = expert
        model.leave(_MODEL)
    for peer in top.sections("peers"):
        for expert in _peer(peer, set(experts)):
            experts[expert["name"]] = expert
        peer.leave(_MODEL)
    top.leave(_TOP)
    launched = sum("launch" in expert for expert in experts.values())
    awake = {"residency": {"max_resident": 1}} if launched > 1 else {}
    return source.imported({"experts": list(experts.values()), **awake})


def _expert(model: Section, known: set[str], macros: dict[str, str], patience: int) -> dict[str, Any]:
    identity = str(model.place[-1])
    name = expert_name(identity, known)
    if name != identity:
        model.source.remark(model.place, f"becomes the expert '{name}'")
    described = [str(text) for text in (model.take("name"), model.take("description")) if text]
    expert: dict[str, Any] = {"name": name, **({"description": ". ".join(described)} if described else {})}
    command = _expanded(
        str(model.take("cmd") or ""), {**macros, **(model.take("macros", dict) or {}), "MODEL_ID": identity}
    )
    command = re.sub(r"\$\{env\.(\w+)\}", lambda match: model.source.variable(match[1]), command)
    if places := model.take("concurrencyLimit", int):
        expert["limits"] = {"max_in_flight": places}
    if (launch := _launch(command)) is not None:
        return {**expert, "backend": "vllm", "launch": {**launch, **_around(model, patience)}}
    return {**expert, **_behind(model, identity, command, expert.get("limits", {}), patience)}


def _peer(peer: Section, known: set[str]) -> list[dict[str, Any]]:
    """Return the models of another server; a key that is written out is not copied."""
    replica = {"base_url": f"{str(peer.take('proxy') or '').rstrip('/')}/v1"}
    key, variable = str(peer.take("apiKey") or ""), re.compile(r"\$\{env\.(\w+)\}")
    if key and (named := variable.fullmatch(key)):
        replica["api_key"] = peer.source.variable(named[1])
    elif key:
        name = re.sub(r"\W+", "_", f"{peer.place[-1]}_key").upper()
        replica["api_key"] = peer.source.variable(name)
        peer.remark("apiKey", f"is not copied: set {name}")
    experts: list[dict[str, Any]] = []
    for model in peer.take("models", list) or []:
        name = expert_name(str(model), known | {expert["name"] for expert in experts})
        experts.append({"name": name, "model": str(model), "replicas": [dict(replica)]})
    return experts


def _expanded(text: str, macros: dict[str, str]) -> str:
    """Return a command without its comment lines and with macros in place; macros may name macros."""
    lines = (line.split(" #")[0].rstrip("\\ ") for line in text.splitlines() if not line.lstrip().startswith("#"))
    command = " ".join(lines)
    for _ in range(10):
        filled = re.sub(r"\$\{([\w-]+)\}", lambda match: str(macros.get(match[1], match[0])), command)
        if filled == command:
            break
        command = filled
    return command


def _launch(command: str) -> dict[str, Any] | None:
    """Return what vLLM is started with; None for a command that is not plainly vLLM."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    start = _after_vllm(words)
    if start is None:
        return None
    spread = [part for word in words[start:] for part in (word.split("=", 1) if word.startswith("--") else [word])]
    model = spread[0] if spread and not spread[0].startswith("-") else ""
    kept, ours = _parted(spread[1:] if model else spread)
    model = ours.get("--model", model)
    gpus = {"gpus": int(count)} if (count := ours.get("--tensor-parallel-size", "1")).isdigit() and count != "1" else {}
    return {"model": model, **gpus, **({"args": kept} if kept else {})} if model else None


def _parted(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the arguments that stay as they are, and those that the gateway sets itself, by name."""
    kept: list[str] = []
    ours: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        long = {"-tp": "--tensor-parallel-size"}.get(word, word)
        if long in _OURS:
            ours[long] = next(rest, "")
        else:
            kept.append(word)
    return kept, ours


def _after_vllm(words: list[str]) -> int | None:
    """Return where vLLM's own arguments begin."""
    for index, word in enumerate(words[:4]):
        if word.rpartition("/")[2] == "vllm" and words[index + 1 : index + 2] == ["serve"]:
            return index + 2
        if word == "vllm.entrypoints.openai.api_server":
            return index + 1
    return None


def _around(model: Section, patience: int) -> dict[str, Any]:
    """Return what belongs to a server we start, beside its model and arguments."""
    found: dict[str, Any] = {"start_timeout_seconds": max(patience, 600)}
    pairs = dict(str(pair).partition("=")[::2] for pair in model.take("env", list) or [])
    if (gpus := pairs.pop("CUDA_VISIBLE_DEVICES", None)) is not None:
        model.remark("env", f"CUDA_VISIBLE_DEVICES={gpus}: the gateway chooses the GPUs; say launch.gpus how many")
    if pairs:
        found["env"] = pairs
    if seconds := model.take("ttl", int):
        found["sleep_after_seconds"] = seconds
    model.taken |= {"proxy", "useModelName"}
    return found


def _behind(model: Section, identity: str, command: str, limits: dict[str, Any], patience: int) -> dict[str, Any]:
    """Return the expert as a model of llama-swap, which goes on running."""
    program = next(iter(command.split()), "nothing")
    model.remark("cmd", f"{program} is not started by the gateway: llama-swap goes on doing it, at LLAMA_SWAP_URL")
    model.taken |= {"proxy", "ttl", "env", "useModelName", "checkEndpoint", "cmdStop", "filters"}
    waiting = {"first_token_timeout_seconds": float(patience), "timeout_seconds": float(max(300, 2 * patience))}
    return {"model": identity, "replicas": [{"base_url": URL}], "limits": {**limits, **waiting}}
