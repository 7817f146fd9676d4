"""The whole product on real vLLM: `consilium serve` with the pocket experts, asked, killed and killed again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from experts.backends import make_client
from experts.pocket import DOMAINS, weights_folder
from gateway.cli import exam
from tests.processes import free_port, started, wait_for

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

PER_DOMAIN = 20
SEED = 404


class Gateway:
    """A served gateway: where it is, its process and its log."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url, self.process, self.log = url, process, log

    def ask(self, text: str, model: str = "auto", **more: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **more}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=120)

    def states(self) -> dict[str, str]:
        experts: dict[str, str] = httpx.get(f"{self.url}/health/readiness", timeout=10).json()["experts"]
        return experts

    def wait_until_all_ready(self, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while set(self.states().values()) != {"ready"}:
            assert time.monotonic() < deadline, f"{self.states()}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.5)

    def servers(self) -> list[psutil.Process]:
        """Return every process below the gateway."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def api_server(self) -> psutil.Process:
        def runs_vllm(process: psutil.Process) -> bool:
            command = process.cmdline()
            return "vllm.entrypoints.openai.api_server" in command and "guard" not in " ".join(command[:3])

        return next(process for process in self.servers() if runs_vllm(process))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    log = tmp_path_factory.mktemp("pocket") / "gateway.log"
    port = free_port()
    arguments = ("gateway", "serve", "--config", "builtin:pocket", "--port", str(port))
    with started(*arguments, log=log) as process:
        wait_for(f"http://127.0.0.1:{port}/health/readiness", process, log, seconds=300)
        served = Gateway(f"http://127.0.0.1:{port}", process, log)
        served.wait_until_all_ready()
        yield served


def examined(gateway: Gateway, model: str) -> list[exam.Marked]:
    paper = exam.questions(PER_DOMAIN, SEED)
    random.Random(SEED).shuffle(paper)

    async def run() -> list[exam.Marked]:
        async with make_client() as client:
            return await exam.examine(client, gateway.url, model, paper)

    return asyncio.run(run())


def test_auto_answers_held_out_questions_of_every_domain(gateway: Gateway) -> None:
    marks = examined(gateway, "auto")

    assert exam.routed_rightly(marks) >= 0.95
    assert exam.accuracy(marks) >= 0.80
    assert all(share >= 0.6 for share in exam.by_domain(marks).values()), exam.by_domain(marks)


def test_the_base_alone_is_far_below_routing(gateway: Gateway) -> None:
    assert exam.accuracy(examined(gateway, "base")) <= 0.65


def test_the_openai_sdk_streams_a_real_answer_and_tools_do_not_disturb(gateway: Gateway) -> None:
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0)
    stream = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "What is 417 plus 268?"}],
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        temperature=0,
        stream=True,
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    assert {"math"} == {chunk.model for chunk in chunks}
    assert "Answer: 685" in text
    assert len(chunks) > 5


def test_a_council_of_real_experts_votes(gateway: Gateway) -> None:
    body = gateway.ask("What is the capital of Kenya?", "council", routing={"fusion": "vote", "explain": True}).json()

    assert "vote" == body["fusion"]["strategy"]
    assert "Nairobi" in body["choices"][0]["message"]["content"]
    assert "geography" == body["routing"]["experts"][0]["expert"]


def test_the_fuser_names_the_expert_whose_answer_it_adopts(gateway: Gateway) -> None:
    body = gateway.ask("What is the capital of Kenya?", "council", routing={"fusion": "synthesize"}).json()
    candidates = {each["expert"]: each for each in body["fusion"]["candidates"]}
    message = body["choices"][0]["message"]["content"]

    assert ("synthesize", "fuser", "geography") == (
        body["fusion"]["strategy"],
        body["fusion"]["fuser"],
        body["model"],
    )
    assert [None] * 3 == [each["error"] for each in candidates.values()]
    assert "Answer: Nairobi" in message
    assert message == candidates["geography"]["text"]
    assert "stop" == body["choices"][0]["finish_reason"]


def test_every_adapter_shares_the_one_server(gateway: Gateway) -> None:
    models = httpx.get(f"{gateway.url}/v1/models", timeout=10).json()["data"]

    assert {"auto", "council", "base", "generalist", "fuser", *DOMAINS} == {model["id"] for model in models}
    assert {"ready"} == {model["state"] for model in models}
    launched = [p for p in gateway.servers() if "vllm.entrypoints.openai.api_server" in p.cmdline()]
    guards = [process for process in launched if "guard" in " ".join(process.cmdline()[:4])]
    assert 1 == len(launched) - len(guards)


def test_a_killed_vllm_is_restarted_and_nobody_hangs_meanwhile(gateway: Gateway) -> None:
    victim = gateway.api_server()
    victim.kill()
    begun = time.monotonic()
    answers = []
    while time.monotonic() - begun < 5:
        asked = time.monotonic()
        answers.append(gateway.ask("What is 417 plus 268?"))
        assert time.monotonic() - asked < 35
    refused = [answer for answer in answers if answer.status_code != 200]

    assert refused, "the server was killed, yet nobody noticed"
    assert {503} == {answer.status_code for answer in refused}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert "error" in refused[0].json()
    gateway.wait_until_all_ready()
    assert "Answer: 685" in gateway.ask("What is 417 plus 268?").json()["choices"][0]["message"]["content"]


def test_a_killed_gateway_leaves_no_process_behind(gateway: Gateway) -> None:
    """Last in this file: it ends the gateway that the others share."""
    servers = gateway.servers()
    assert servers
    os.kill(gateway.process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(servers, timeout=45)

    assert [] == alive


def test_the_weights_are_small_enough_to_ship() -> None:
    size = sum(path.stat().st_size for path in weights_folder().rglob("*") if path.is_file())

    assert size <= 25 * 1024 * 1024
