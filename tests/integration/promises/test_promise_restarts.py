"""Promise 14: a gateway that is told to stop finishes what runs; gateways restarted one by one lose no request."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx
import pytest

from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert, serving
from tests.integration.promises.asking import CHAT, ask, events, said, until
from tests.processes import free_port, started, wait_for

STORE = {"CONSILIUM_STORE": ":memory:"}


@dataclass
class Gateway:
    """A gateway process on a port that it keeps when it is started again."""

    config: Path
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, stack: AsyncExitStack) -> subprocess.Popen[bytes]:
        """Start it and wait until it can answer; the stack stops it."""
        command = ("tests.integration.one_gateway", str(self.config), str(self.port))
        process = await asyncio.to_thread(stack.enter_context, started(*command, log=self.log, **STORE))
        await asyncio.to_thread(wait_for, f"{self.url}/health", process, self.log)
        return process


def gateway(folder: Path, fake: FakeExpert, name: str = "gateway") -> Gateway:
    config = folder / f"{name}.json"
    config.write_text(json.dumps({"experts": [expert_record("math", fake)]}))
    return Gateway(config, free_port(), folder / f"{name}.log")


async def test_14_sigterm_lets_streams_and_whole_answers_finish_and_takes_nobody_new(tmp_path: Path) -> None:
    fake = FakeExpert(reply=lambda _: " ".join(["word"] * 60), word_delay=0.05)
    async with serving(fake), AsyncExitStack() as stack:
        one = gateway(tmp_path, fake)
        process = await one.start(stack)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=one.url, timeout=30))
        tasks = [asyncio.create_task(client.post(CHAT, json=body)) for body in (ask(stream=True), ask())]
        await until(lambda: fake.running == 2, 10)
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.4)
        writer.write(b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")  # it had connected before
        heard = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", one.port)
        stream, whole = await asyncio.gather(*tasks)
        code = await asyncio.to_thread(process.wait, 20)

    assert heard.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in heard
    assert 60 == len(said(events(stream.text)).split()) == len(whole.json()["choices"][0]["message"]["content"].split())
    assert "[DONE]" == events(stream.text)[-1]
    assert 0 == code


class Balancer:
    """What stands before gateways: a request goes to any that listens; one that was sent is not sent again."""

    def __init__(self, gateways: list[Gateway]) -> None:
        self._gateways = gateways
        self.outcomes: Counter[str] = Counter()

    async def ask(self, session: aiohttp.ClientSession) -> None:
        """Send one request, on a connection of its own."""
        for one in random.sample(self._gateways, len(self._gateways)):
            try:
                async with session.post(f"{one.url}{CHAT}", json=ask()) as answer:
                    await answer.read()
                    self.outcomes[str(answer.status)] += 1
                    return
            except aiohttp.ClientConnectorError:
                continue
            except aiohttp.ClientError as error:
                self.outcomes[f"lost: {error!r}"] += 1
                return
        self.outcomes["nobody listens"] += 1

    async def press(self, per_second: float, stop: asyncio.Event) -> None:
        """Send requests at a steady rate until told to stop, then wait for the answers."""
        tasks = set[asyncio.Task[None]]()
        due = time.monotonic()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
            while not stop.is_set():
                tasks.add(asyncio.create_task(self.ask(session)))
                due += 1 / per_second
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await asyncio.gather(*tasks)


async def test_14_gateways_restarted_one_after_the_other_lose_no_request(tmp_path: Path) -> None:
    fake, stop = FakeExpert(reply=lambda _: "one two three", word_delay=0.1), asyncio.Event()
    async with serving(fake), AsyncExitStack() as stack:
        gateways = [gateway(tmp_path, fake, name) for name in ("left", "right")]
        processes = [await one.start(stack) for one in gateways]
        balancer = Balancer(gateways)
        pressing = asyncio.create_task(balancer.press(40, stop))
        for process, one in zip(processes, gateways, strict=True):
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert 0 == await asyncio.to_thread(process.wait, 20)
            await one.start(stack)
        await asyncio.sleep(0.5)
        stop.set()
        await pressing

    assert {"200"} == set(balancer.outcomes), balancer.outcomes
    assert balancer.outcomes["200"] >= 60
