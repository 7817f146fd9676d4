"""The log of a gateway as an operator has it: JSON lines with the request's id, and never a prompt or a key.

A word that stands in every prompt, answer, key and upstream error is looked for in everything the process wrote, at
the level that writes most.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.logs import JsonLines
from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.integration.test_keys import LAW, MATH, ask
from tests.processes import free_port, started, wait_for

CANARY = "canary7f3a91"
KEYS = {"CONSILIUM_API_KEYS": f"sk-{CANARY}-client", "CONSILIUM_ADMIN_KEY": f"sk-{CANARY}-admin"}
CLIENT = {"authorization": f"Bearer {KEYS['CONSILIUM_API_KEYS']}"}
ADMIN = {"authorization": f"Bearer {KEYS['CONSILIUM_ADMIN_KEY']}"}


class Echoing(FakeExpert):
    """An expert whose refusals repeat what it was asked, as vLLM's do."""

    async def _chat(self, request: Request) -> Response:
        if self.status == 200:
            return await super()._chat(request)
        said = (await request.json())["messages"][-1]["content"]
        return JSONResponse({"error": {"message": f"cannot answer '{said}'"}}, status_code=self.status)


class Gateway:
    """A gateway process, and what it wrote."""

    def __init__(self, folder: Path) -> None:
        self.log, self.folder = folder / "log", folder
        self.math, self.law = Echoing(), Echoing()

    @asynccontextmanager
    async def running(self, level: str) -> AsyncIterator[httpx.AsyncClient]:
        config, port = self.folder / "consilium.json", free_port()
        async with serving(self.math, self.law):
            records = [
                expert_record("math", self.math, **MATH, fallback=["law"]),
                expert_record("law", self.law, **LAW),
            ]
            for record in records:
                record["replicas"][0]["api_key"] = f"sk-{CANARY}-upstream"
            judge = {"judge": {"expert": "law", "share": 1}}
            config.write_text(json.dumps({"experts": records, "routing": {"learning": judge}}))
            command = ("gateway", "serve", "--config", str(config), "--port", str(port))
            with started(*command, log=self.log, CONSILIUM_LOG_LEVEL=level, **KEYS) as process:
                url = f"http://127.0.0.1:{port}"
                await asyncio.to_thread(wait_for, f"{url}/health/readiness", process, self.log)
                async with httpx.AsyncClient(base_url=url, timeout=30) as client:
                    yield client

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


async def conversations(client: httpx.AsyncClient, gateway: Gateway) -> list[int]:
    """Ask in every way that ends differently; returns the statuses."""
    statuses = []

    async def post(path: str = "/v1/chat/completions", headers: dict[str, str] = CLIENT, **body: Any) -> None:
        statuses.append((await client.post(path, json=body, headers=headers)).status_code)

    said = f"What is 2 + 2? {CANARY}"
    await post(**ask(said))
    await post(**ask(said, stream=True))
    await post(**ask(said, model="council", routing={"fusion": "vote", "max_experts": 2}))
    await post(**ask(said, model="council", routing={"fusion": "synthesize", "max_experts": 2}, stream=True))
    await post(headers={**CLIENT, "x-consilium-cache": "on", "x-consilium-session": CANARY}, **ask(said))
    await post("/v1/route", **ask(said))
    await post("/v1/feedback", request_id=CANARY, score=0, comment=CANARY)
    await post(**ask(said, model=CANARY))
    await post(**ask(said, routing={CANARY: CANARY}))
    await post(headers={"authorization": f"Bearer {CANARY}"}, **ask(said))
    await post("/admin/keys", headers=ADMIN, name=CANARY)
    gateway.law.status = 400
    for _ in range(3):  # what comes while the judge is busy is dropped
        await post(**ask(said, model="math"))  # the judge, law, refuses to read the answer
        await asyncio.sleep(0.1)
    for status in (400, 429, 500):
        gateway.math.status = gateway.law.status = status
        await post(**ask(said, model="math"))
        await post(**ask(said, model="council", routing={"fusion": "vote", "max_experts": 2}))
    gateway.math.status = gateway.law.status = 200
    gateway.math.chunks = [{"error": {"message": CANARY}}]
    await post(**ask(said, model="math", stream=True))
    gateway.math.chunks, gateway.math.hang_up_after = None, 2
    await post(**ask(said, model="math", stream=True))
    statuses.append((await client.post("/v1/chat/completions", content=f"{{{CANARY}", headers=CLIENT)).status_code)
    return statuses


async def test_no_prompt_and_no_key_is_ever_written(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    async with gateway.running("debug") as client:
        statuses = await conversations(client, gateway)
        await asyncio.sleep(0.5)

    assert {200, 201, 400, 401, 404} <= set(statuses)
    assert {429, 503} & set(statuses)
    assert len([line for line in gateway.lines if line["message"] == "request"]) >= len(statuses)
    assert "a judge could not be asked" in {line["message"] for line in gateway.lines}
    assert CANARY not in gateway.log.read_text()


async def test_every_request_has_a_line_with_its_id_and_what_became_of_it(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    async with gateway.running("info") as client:
        whole = await client.post("/v1/chat/completions", json=ask(), headers={**CLIENT, "x-request-id": "mine-1"})
        made = await client.post("/v1/chat/completions", json=ask(model="nobody"), headers=CLIENT)

    lines = {line["request_id"]: line for line in gateway.lines if line["message"] == "request"}
    first, second = lines["mine-1"], lines[made.headers["x-request-id"]]
    assert 200 == whole.status_code
    assert ("info", 200, "auto", "profile", "math") == tuple(
        first[name] for name in ("level", "status", "model", "policy", "answered_by")
    )
    assert (404, "unknown") == (second["status"], second["model"])
    assert {"time", "logger", "method", "path", "seconds", "prompt_tokens", "completion_tokens"} <= first.keys()


@pytest.mark.parametrize(("texts", "told"), [(False, False), (True, True)])
def test_a_bug_is_told_by_its_kind_and_place_and_in_words_only_where_that_is_switched_on(
    texts: bool, told: bool
) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines(texts=texts))
    log = logging.Logger("test")
    log.addHandler(handler)
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as error:
            raise ExceptionGroup(CANARY, [ValueError(CANARY)]) from error
    except ExceptionGroup as group:
        log.error("bug", exc_info=group)

    line = json.loads(out.getvalue())
    assert told == (CANARY in line["exception"])
    for kind in ("ExceptionGroup", "ValueError", "KeyError"):
        assert kind in line["exception"]
    assert "test_logs.py" in line["exception"]
