"""How the promises' tests ask a gateway: bodies, events of a stream, gauges, and a client that goes away."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx

CHAT = "/v1/chat/completions"


def ask(model: str = "math", text: str = "What is 2 + 2?", **more: Any) -> dict[str, Any]:
    """Return a chat body."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def events(text: str) -> list[Any]:
    """Return the events of a stream as an SSE client reads them."""
    frames = [frame.removeprefix("data: ") for frame in text.split("\n\n") if frame.startswith("data: ")]
    return [frame if frame == "[DONE]" else json.loads(frame) for frame in frames]


def said(chunks: list[Any]) -> str:
    """Return the words of choice 0."""
    choices = (chunk["choices"][0] for chunk in chunks if isinstance(chunk, dict) and chunk.get("choices"))
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def until(true: Callable[[], object], seconds: float = 1.0) -> float:
    """Wait until something holds and return how long that took; fail when it does not in time."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, f"not within {seconds:g} s"
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


async def gauges(client: httpx.AsyncClient) -> dict[str, float]:
    """Return the gauges of what runs and waits that are not 0."""
    lines = (await client.get("/metrics")).text.splitlines()
    shown = [
        line.rsplit(" ", 1) for line in lines if line.startswith(("consilium_expert_in_", "consilium_expert_wait"))
    ]
    assert shown
    return {name: float(value) for name, value in shown if float(value)}


async def begin(client: httpx.AsyncClient, body: dict[str, Any], path: str = CHAT) -> None:
    """Read an answer slowly, until cancelled."""
    async with client.stream("POST", path, json=body) as response:
        async for _ in response.aiter_bytes():
            await asyncio.sleep(0.02)


async def leave(task: asyncio.Task[None]) -> None:
    """Close the client's connection in the middle."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
