"""The configuration file is read again while the gateway runs: on change, and when told to by SIGHUP."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gateway.app import create_app
from gateway.cli.server import Server, listening_socket, running
from gateway.configuration import load_config
from gateway.settings import Settings
from tests.conftest import expert_record
from tests.fakes.encoder import FakeEncoder
from tests.fakes.expert import FakeExpert, serving


def write(path: Path, experts: list[dict[str, Any]], **sections: Any) -> None:
    """Write in one step, as an editor does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(yaml.safe_dump({"experts": experts, **sections}))
    fresh.replace(path)


@asynccontextmanager
async def gateway(path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings.model_validate({"admin_key": "boss", "store": ":memory:"})
    app = create_app(settings, load_config(path), path.parent, encoder=FakeEncoder())
    async with (
        running(Server(settings, app), listening_socket("127.0.0.1", 0)) as url,
        httpx.AsyncClient(base_url=url, timeout=30, headers={"authorization": "Bearer boss"}) as client,
    ):
        yield client


async def names(client: httpx.AsyncClient) -> list[str]:
    return [each["name"] for each in (await client.get("/admin/experts")).json()["data"]]


async def until(client: httpx.AsyncClient, wanted: list[str]) -> None:
    async with asyncio.timeout(10):
        while await names(client) != wanted:
            await asyncio.sleep(0.05)


async def refusal(caplog: pytest.LogCaptureFixture) -> str:
    async with asyncio.timeout(10):
        while True:
            told = [r for r in caplog.records if "stays as it was" in r.message]
            if told:
                return str(vars(told[-1])["facts"]["error"])
            await asyncio.sleep(0.05)


async def test_experts_added_changed_and_taken_out_in_the_file_are_so_in_the_gateway(tmp_path: Path) -> None:
    path = tmp_path / "consilium.yaml"
    general, chess = FakeExpert(), FakeExpert()
    async with serving(general, chess):
        first, second = expert_record("general", general), expert_record("chess", chess)
        write(path, [first])
        async with gateway(path) as client:
            before = await names(client)
            write(path, [{**first, "description": "Everything."}, second])
            await until(client, ["general", "chess"])
            asked = {"model": "chess", "messages": [{"role": "user", "content": "hello"}]}
            answer = await client.post("/v1/chat/completions", json=asked)
            described = (await client.get("/admin/experts/general")).json()["description"]
            write(path, [first])
            await until(client, ["general"])

    assert (["general"], 200, "chess", "Everything.") == (
        before,
        answer.status_code,
        answer.json()["model"],
        described,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("experts: [", "is not valid YAML"),
        ("experts:\n- {name: general, nonsense: 1}\n", "unknown key"),
        ("experts: []\n", "experts"),
    ],
)
async def test_a_file_that_cannot_be_used_changes_nothing_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    caplog.set_level(logging.WARNING)
    path, general = tmp_path / "consilium.yaml", FakeExpert()
    async with serving(general):
        write(path, [expert_record("general", general)])
        async with gateway(path) as client:
            path.write_text(text)
            told = await refusal(caplog)
            left = await names(client)

    assert (["general"], True) == (left, said in told)


async def test_the_default_expert_cannot_be_taken_out_by_an_edit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    path, general, chess = tmp_path / "consilium.yaml", FakeExpert(), FakeExpert()
    async with serving(general, chess):
        write(path, [expert_record("general", general), expert_record("chess", chess)])
        async with gateway(path) as client:
            write(path, [expert_record("chess", chess)])
            told = await refusal(caplog)
            left = await names(client)

    assert (["general", "chess"], True) == (left, "'general'" in told)


async def test_other_sections_wait_for_a_restart_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path, general, chess = tmp_path / "consilium.yaml", FakeExpert(), FakeExpert()
    async with serving(general, chess):
        write(path, [expert_record("general", general)])
        async with gateway(path) as client:
            both = [expert_record("general", general), expert_record("chess", chess)]
            write(path, both, fusion={"quorum": 2})
            await until(client, ["general", "chess"])

    told = [vars(r)["facts"] for r in caplog.records if "restart" in r.message]
    assert [["fusion"]] == [facts["sections"] for facts in told]


async def test_what_the_store_holds_goes_on_holding_when_the_file_changes(tmp_path: Path) -> None:
    path, general, chess = tmp_path / "consilium.yaml", FakeExpert(), FakeExpert()
    async with serving(general, chess):
        record = expert_record("general", general)
        write(path, [record])
        async with gateway(path) as client:
            patched = await client.patch("/admin/experts/general", json={"description": "by hand"})
            await client.post("/admin/experts", json=expert_record("registered", chess))
            write(path, [{**record, "description": "by the file"}, expert_record("chess", chess)])
            await until(client, ["general", "chess", "registered"])
            shown = (await client.get("/admin/experts/general")).json()

    assert (200, "by hand") == (patched.status_code, shown["description"])


async def test_sighup_reads_the_file_at_once(tmp_path: Path) -> None:
    path, general, chess = tmp_path / "consilium.yaml", FakeExpert(), FakeExpert()
    async with serving(general, chess):
        registry = {"watch_file": False}
        write(path, [expert_record("general", general)], registry=registry)
        settings = Settings.model_validate({"admin_key": "boss", "store": ":memory:"})
        server = Server(settings, create_app(settings, load_config(path), tmp_path, encoder=FakeEncoder()))
        listener = listening_socket("127.0.0.1", 0)
        port = listener.getsockname()[1]
        serving_task = asyncio.create_task(server.run_until_signal(listener))
        await server.up(serving_task)
        headers = {"authorization": "Bearer boss"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            write(path, [expert_record("general", general), expert_record("chess", chess)], registry=registry)
            await asyncio.sleep(1.5)
            unwatched = await names(client)
            os.kill(os.getpid(), signal.SIGHUP)
            await until(client, ["general", "chess"])
        server.stop()
        await serving_task

    assert ["general"] == unwatched
