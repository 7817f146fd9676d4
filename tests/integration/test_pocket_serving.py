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

import anthropic
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


def test_choices_log_probabilities_and_a_schema_reach_real_vllm(gateway: Gateway) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client:
        asked: Any = {"model": "math", "messages": [{"role": "user", "content": "What is 417 plus 268?"}]}
        several = client.chat.completions.create(**asked, n=2, logprobs=True, top_logprobs=2, temperature=0.01, seed=1)
        schema = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
        shape: Any = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
        formed = client.chat.completions.create(**asked, response_format=shape, max_tokens=60, temperature=0)

        assert 2 == len(several.choices)
        assert all(choice.message.content and "685" in choice.message.content for choice in several.choices)
        assert all(choice.logprobs and len(choice.logprobs.content[0].top_logprobs) == 2 for choice in several.choices)
        assert formed.choices[0].message.content
        assert formed.choices[0].message.content.lstrip().startswith("{")


def test_openais_other_endpoints_reach_real_vllm(gateway: Gateway) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client:
        text: Any = {"model": "auto", "prompt": "What is 417 plus 268?", "temperature": 0, "max_tokens": 12}
        whole = client.completions.create(**text, logprobs=2)
        pieces = list(client.completions.create(**text, stream=True, stream_options={"include_usage": True}))
        asked: Any = {"model": "auto", "input": "What is 417 plus 268?", "temperature": 0}
        response = client.responses.create(**asked)
        events = list(client.responses.create(**asked, stream=True))

        assert {"math"} == {whole.model, response.model, *(piece.model for piece in pieces)}
        assert whole.choices[0].text == "".join(piece.choices[0].text for piece in pieces if piece.choices)
        assert whole.usage == pieces[-1].usage is not None
        assert whole.choices[0].logprobs is not None
        assert "Answer: 685" in response.output_text
        assert response.output_text == "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert response.usage is not None
        assert response.usage.output_tokens > 5
        with pytest.raises(openai.NotFoundError, match="does not speak /v1/embeddings"):
            client.embeddings.create(model="math", input="417")


def test_anthropics_sdk_reaches_real_vllm(gateway: Gateway) -> None:
    with anthropic.Anthropic(base_url=gateway.url, api_key="unused", max_retries=0) as client:
        asked: Any = {"max_tokens": 100, "messages": [{"role": "user", "content": "What is the capital of Kenya?"}]}
        whole = client.messages.create(model="auto", **asked, extra_body={"temperature": 0})
        with client.messages.stream(model="auto", **asked, extra_body={"temperature": 0}) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()

        assert ("geography", "geography") == (whole.model, final.model)
        assert "Answer: Nairobi" in text
        assert [text] == [block.text for block in whole.content if block.type == "text"]
        assert ("end_turn", whole.usage.output_tokens) == (final.stop_reason, final.usage.output_tokens)
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            client.messages.create(model="math", messages=asked["messages"], max_tokens=-1)


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
