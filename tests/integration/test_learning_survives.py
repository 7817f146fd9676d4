"""What feedback taught is on the disk when its call returns: the gateway may be killed the moment after."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.processes import Finished, consilium, free_port, started, wait_for

SKILLS = {"first": 0.62, "second": 0.6}


def ask(text: str) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}]}


async def qualities(client: httpx.AsyncClient) -> dict[str, float]:
    shown = (await client.post("/v1/route", json=ask("Solve for x."))).json()["candidates"]
    return {each["expert"]: each["quality"] for each in shown}


async def said(*words: str, url: str, key: str = "boss") -> Finished:
    """Run `consilium router ...` as the administrator."""

    def command() -> Finished:
        return consilium("router", *words, CONSILIUM_URL=url, CONSILIUM_ADMIN_KEY=key)

    return await asyncio.to_thread(command)


async def test_lessons_survive_kill_nine_and_change_the_next_decision(tmp_path: Path) -> None:
    fake, port = FakeExpert(), free_port()
    url, environment = (
        f"http://127.0.0.1:{port}",
        {"CONSILIUM_STORE": str(tmp_path / "kept.db"), "CONSILIUM_ADMIN_KEY": "boss"},
    )
    async with serving(fake), httpx.AsyncClient(base_url=url, timeout=30) as client:
        records = [
            expert_record(
                name,
                fake,
                domains=["math"],
                examples=["What is 2 + 2?", "Solve for x."],
                skills={"math": {"accuracy": accuracy, "count": 500}},
            )
            for name, accuracy in SKILLS.items()
        ]
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"experts": records, "routing": {"learning": {"step": 0.2, "daily_shift": 5}}}))
        command, log = ("tests.integration.one_gateway", str(config), str(port)), tmp_path / "log"
        with started(*command, log=log, **environment) as process:
            await asyncio.to_thread(wait_for, f"{url}/health", process, log)
            before = await qualities(client)
            for number in range(4):
                chat = await client.post("/v1/chat/completions", json=ask(f"Solve for x. {number}"))
                body = {
                    "request_id": chat.headers["x-request-id"],
                    "score": 0.0 if chat.json()["model"] == "first" else 1.0,
                }
                assert "learned" == (await client.post("/v1/feedback", json=body)).json()["outcome"]
            taught = await qualities(client)
            process.kill()
        with started(*command, log=log, **environment) as process:
            await asyncio.to_thread(wait_for, f"{url}/health", process, log)
            after = await qualities(client)
            compared = await said("compare", "--json", url=url)
            back = await said("rollback", "--version", "0", url=url)
            stranger = await said("compare", url=url, key="x")
            forgotten = await qualities(client)

    assert "first" == max(before, key=lambda name: before[name])
    assert "second" == max(taught, key=lambda name: taught[name])
    assert taught == after
    assert (0, "no split: every conversation is in arm a") == (compared.code, json.loads(compared.out)["verdict"])
    assert (0, before) == (back.code, forgotten), back.err
    assert (1, True) == (stranger.code, "Send the admin key" in stranger.err)
