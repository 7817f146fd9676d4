"""Two real vLLM servers where memory is for one: both answer, and there are never two server processes at once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.processes import free_port, started, wait_for

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

QUESTIONS = {
    "math": [("What is 417 plus 268?", "Answer: 685"), ("Calculate 933 - 586.", "Answer: 347")],
    "geography": [("What is the capital of Kenya?", "Answer: Nairobi"), ("On which continent is Norway?", "Europe")],
}


def configuration() -> dict[str, Any]:
    """Return two specialists, each on a server of its own, of which one may be awake."""
    launch = {"model": "builtin:pocket/base", "args": ["--max-model-len", "1024"]}
    experts = []
    for name in QUESTIONS:
        experts.append({"name": f"{name}-base", "backend": "vllm", "launch": launch})
        experts.append(
            {"name": name, "backend": "vllm", "adapter": {"base": f"{name}-base", "path": f"builtin:pocket/{name}"}}
        )
    return {
        "experts": experts,
        "residency": {"max_resident": 1, "min_dwell_seconds": 0},
        "routing": {"default": "math"},
    }


class Watch:
    """Counts the vLLM servers below a process, over and over."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._gateway, self._over = psutil.Process(pid), threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._over.wait(0.2):
            servers = [child for child in self._gateway.children(recursive=True) if serves(child)]
            self.most = max(self.most, len(servers))

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()


def serves(process: psutil.Process) -> bool:
    """Say whether a process is a vLLM server, and not the guard before it."""
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return "vllm.entrypoints.openai.api_server" in command and "guard" not in " ".join(command[:3])


def test_interleaved_requests_for_two_servers_are_answered_with_one_awake(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(json.dumps(configuration()))
    log, port = tmp_path / "gateway.log", free_port()
    url, watch = f"http://127.0.0.1:{port}", None
    with started("gateway", "serve", "-c", str(tmp_path / "c.yaml"), "--port", str(port), log=log) as process:
        wait_for(f"{url}/health/liveness", process, log, seconds=120)
        watch = Watch(process.pid)
        with watch.watching():
            answers = asyncio.run(interleaved(url))
        loads = [line for line in log.read_text().splitlines() if '"load_seconds"' in line]

    wrong = [(text, right) for text, right in answers if right not in text]
    assert [] == wrong
    assert 1 == watch.most
    assert 2 == len(loads), "each is loaded once, whatever the order of the requests"


async def interleaved(url: str) -> list[tuple[str, str]]:
    """Ask both in turn, all at once; return what came and what should have."""
    turns = [(model, *pair) for pairs in zip(*_by_model(), strict=True) for model, pair in pairs]

    async def ask(client: httpx.AsyncClient, model: str, text: str) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 128}
        answer = await client.post(f"{url}/v1/chat/completions", json=body, timeout=280)
        assert 200 == answer.status_code, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    async with httpx.AsyncClient() as client:
        texts = await asyncio.gather(*(ask(client, model, text) for model, text, _ in turns))
    return [(text, right) for text, (_, _, right) in zip(texts, turns, strict=True)]


def _by_model() -> list[list[tuple[str, tuple[str, str]]]]:
    return [[(model, pair) for pair in pairs * 3] for model, pairs in QUESTIONS.items()]
