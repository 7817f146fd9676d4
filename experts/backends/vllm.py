"""vLLM's own server: the OpenAI protocol, and what only vLLM has: /health, adapters, sleep, token counts.

/health because a vLLM whose model process died keeps listing its models for a while; only /health tells.
Adapters are loaded and unloaded on a server started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; sleeping needs
--enable-sleep-mode, and both sleeping and slots need VLLM_SERVER_DEV_MODE=1.
"""

from __future__ import annotations

import re
from typing import Any

import httpx
import orjson

from experts.backends.openai import (
    PROBE_TIMEOUT_SECONDS,
    OpenAIBackend,
    headers,
    listed_models,
    raise_for_status,
    translated,
)
from experts.errors import ExpertProtocolError, ExpertRejected
from experts.registry import Expert, Replica

ADMIN_TIMEOUT_SECONDS = 120.0
"""For loading weights and for waking; a large adapter on a slow disk takes seconds."""
NOT_ALLOWED = "start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
NO_SLEEP = "start it with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1"
NO_SLOTS = "start it with VLLM_SERVER_DEV_MODE=1"


class VllmBackend(OpenAIBackend):
    """Speak to a vLLM server, started by us or by somebody else."""

    async def probe(self, expert: Expert, replica: Replica) -> None:
        """Return when the model process is alive and the server lists the expert's model."""
        async with translated(expert.name):
            url = f"{root_of(replica)}/health"
            response = await self._client.short("GET", url, headers(replica), PROBE_TIMEOUT_SECONDS)
            await raise_for_status(expert.name, response)
        await super().probe(expert, replica)

    async def models(self, expert: str, replica: Replica) -> dict[str, str]:
        """Return the names the server answers to now, each with the folder it was loaded from ("": not said)."""
        response = await self._get(expert, f"{replica.base_url}/models", replica)
        listed_models(expert, response)
        return {model["id"]: str(model.get("root") or "") for model in parsed(expert, response)["data"]}

    async def load_adapter(self, expert: str, replica: Replica, name: str, folder: str) -> None:
        """Load LoRA weights from a folder the server can read, to be served as `name`. Loaded already: nothing.

        Raises:
            ExpertRejected: the server refuses these weights, or to load any; the message says why.
            ExpertError: it could not be asked.
        """
        body = {"lora_name": name, "lora_path": folder}
        try:
            await self._post(expert, f"{replica.base_url}/load_lora_adapter", replica, body, NOT_ALLOWED)
        except ExpertRejected as refusal:
            if "already been loaded" not in str(refusal):
                raise

    async def unload_adapter(self, expert: str, replica: Replica, name: str) -> None:
        """Let a server answer to `name` no longer. Not loaded: nothing. Requests that run are finished."""
        body = {"lora_name": name}
        try:
            await self._post(expert, f"{replica.base_url}/unload_lora_adapter", replica, body, NOT_ALLOWED)
        except ExpertRejected as refusal:
            if "cannot be found" not in str(refusal):
                raise

    async def adapter_ids(self, expert: str, replica: Replica) -> set[int]:
        """Return the numbers of the adapters whose weights the server holds, served by a name or not."""
        results = await self._ask_workers(expert, replica, "list_loras")
        return {int(number) for number in re.findall(r"\d+", results[0])}  # a list, or a set as Python writes it

    async def drop_adapter(self, expert: str, replica: Replica, number: int) -> None:
        """Free the slot of an adapter. vLLM's unloading forgets the name only, and keeps the weights."""
        await self._ask_workers(expert, replica, "remove_lora", number)

    async def sleep(self, expert: str, replica: Replica, level: int = 1) -> None:
        """Let the server give its GPU memory back: level 1 keeps weights in RAM, 2 drops them. Cuts what runs."""
        await self._post(expert, f"{root_of(replica)}/sleep?level={level}", replica, None, NO_SLEEP)

    async def wake(self, expert: str, replica: Replica) -> None:
        """Take the GPU memory again; returns when requests can be served."""
        await self._post(expert, f"{root_of(replica)}/wake_up", replica, None, NO_SLEEP)

    async def is_sleeping(self, expert: str, replica: Replica) -> bool:
        """Tell whether the server sleeps."""
        response = await self._get(expert, f"{root_of(replica)}/is_sleeping", replica)
        return bool(parsed(expert, response)["is_sleeping"])

    async def _ask_workers(self, expert: str, replica: Replica, method: str, *args: Any) -> list[str]:
        body = {"method": method, "args": list(args)}
        response = await self._post(expert, f"{root_of(replica)}/collective_rpc", replica, body, NO_SLOTS)
        results = parsed(expert, response).get("results")
        if not isinstance(results, list) or not results:
            raise ExpertProtocolError(expert, f"The server of '{expert}' does not say what its workers answer.")
        return [str(result) for result in results]

    async def _get(self, expert: str, url: str, replica: Replica) -> httpx.Response:
        async with translated(expert):
            response = await self._client.short("GET", url, headers(replica), PROBE_TIMEOUT_SECONDS)
            await raise_for_status(expert, response)
        return response

    async def _post(
        self, expert: str, url: str, replica: Replica, body: dict[str, Any] | None, mend: str = ""
    ) -> httpx.Response:
        """Post and return the answer. `mend` says how to start a server that has no such route."""
        content = b"" if body is None else orjson.dumps(body)
        async with translated(expert):
            response = await self._client.short("POST", url, headers(replica), ADMIN_TIMEOUT_SECONDS, content)
            if response.status_code in (404, 405) and mend and is_missing_route(response):
                route = response.request.url.path
                raise ExpertRejected(expert, f"The vLLM server of '{expert}' has no {route}: {mend}.", status=404)
            if refusal := refused_adapter(response):
                raise ExpertRejected(expert, f"vLLM does not take the adapter '{expert}': {refusal}", status=400)
            await raise_for_status(expert, response)
        return response


def root_of(replica: Replica) -> str:
    """Return the server's own root, above /v1."""
    return replica.base_url.removesuffix("/v1")


def parsed(expert: str, response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        ExpertProtocolError: there is none.
    """
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise ExpertProtocolError(expert, f"The server of '{expert}' does not answer {response.url.path} as vLLM does.")
    return body


def is_missing_route(response: httpx.Response) -> bool:
    """Tell a route that is not there (FastAPI's own words) from something that was looked for and not found."""
    return response.content.strip() in (
        b'{"detail":"Not Found"}',
        b'{"detail":"Method Not Allowed"}',
        b"Not Found",
    ) or (b'"message":"Not Found"' in response.content)


def refused_adapter(response: httpx.Response) -> str:
    """Return vLLM's reason not to load an adapter, which it gives as a server error; empty for anything else."""
    if response.status_code < 400 or not response.request.url.path.endswith("/load_lora_adapter"):
        return ""
    try:
        return str(orjson.loads(response.content)["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
