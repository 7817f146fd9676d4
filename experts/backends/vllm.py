"""vLLM's own server: the OpenAI protocol, and /health to ask whether its scheduler really runs.

Apart from `openai` because a vLLM whose model process died keeps listing its models for a while; only
/health tells. Loading adapters and sleeping come through the same class.
"""

from __future__ import annotations

from experts.backends.openai import (
    PROBE_TIMEOUT_SECONDS,
    OpenAIBackend,
    headers,
    raise_for_status,
    translated,
)
from experts.registry import Expert, Replica


class VllmBackend(OpenAIBackend):
    """Speak to a vLLM server, started by us or by somebody else."""

    async def probe(self, expert: Expert, replica: Replica) -> None:
        """Return when the model process is alive and the server lists the expert's model."""
        root = replica.base_url.removesuffix("/v1")
        async with translated(expert.name):
            response = await self._client.get(f"{root}/health", headers=headers(replica), timeout=PROBE_TIMEOUT_SECONDS)
            await raise_for_status(expert.name, response)
        await super().probe(expert, replica)
