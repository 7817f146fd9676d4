"""Ask a vLLM server on this machine whether it can serve. Every question is answered yes or no, never raised."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from experts.launch.vllm import ServerSpec

_FIRST_TOKEN_TIMEOUT_SECONDS = 300.0


class ServerProbe:
    """Questions to one server. Closed by who made it (`async with`)."""

    def __init__(self, spec: ServerSpec) -> None:
        self._spec = spec
        # A proxy from the environment must not stand between us and loopback, and vLLM closes idle
        # connections after five seconds, which is when we would use ours again.
        self._client = httpx.AsyncClient(
            base_url=spec.address,
            headers={"authorization": f"Bearer {spec.api_key}"} if spec.api_key else {},
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def is_healthy(self, timeout_seconds: float) -> bool:
        """Tell whether GET /health answers 200 in time."""
        try:
            answer = await self._client.get("/health", timeout=timeout_seconds)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    async def serves_its_models(self, timeout_seconds: float) -> bool:
        """Tell whether /v1/models lists the base model and every adapter it loads at its start."""
        wanted = {self._spec.served_name, *(adapter.served_name for adapter in self._spec.loaded_at_start)}
        try:
            answer = await self._client.get("/v1/models", timeout=timeout_seconds)
            listed = {model["id"] for model in answer.json()["data"]}
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return False
        return wanted <= listed

    async def writes_a_token(self) -> bool:
        """Tell whether one token comes out, which also does the work the first request would wait for.

        A server that refuses completions as such (4xx: an embedding model) counts as able to serve.
        """
        body = {"model": self._spec.served_name, "prompt": "Hello", "max_tokens": 1}
        try:
            answer = await self._client.post("/v1/completions", json=body, timeout=_FIRST_TOKEN_TIMEOUT_SECONDS)
        except httpx.HTTPError:
            return False
        return answer.status_code < 500

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()
