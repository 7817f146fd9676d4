"""Batches as people run them: the OpenAI SDK and `consilium batch run`, against processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.processes import ROOT, consilium, free_port, hears_interrupts, started, wait_for

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class World:
    """A gateway with two stand-in experts, and a configuration file of the same experts."""

    url: str
    config: Path
    state: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("batches")
    ports = {name: free_port() for name in ("math", "law", "gateway")}
    experts = [
        {"name": name, "domains": [name], "replicas": [{"base_url": f"http://127.0.0.1:{ports[name]}/v1"}]}
        for name in ("math", "law")
    ]
    config = folder / "consilium.json"
    config.write_text(json.dumps({"experts": experts, "routing": {"budget_ms": 10_000}}))
    math, law = (
        started("tests.fakes.expert", str(ports[name]), name, log=folder / f"{name}.log") for name in ("math", "law")
    )
    state = {"CONSILIUM_STATE_DIR": str(folder), "CONSILIUM_STORE": str(folder / "consilium.db")}
    serve = ("tests.integration.one_gateway", str(config), str(ports["gateway"]))
    with math, law, started(*serve, log=folder / "gateway.log", **state) as gateway:
        url = f"http://127.0.0.1:{ports['gateway']}"
        wait_for(f"{url}/health/readiness", gateway, folder / "gateway.log")
        yield World(url, config, folder)


def full_line(number: int, model: str) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": f"question {number}"}]}
    return {"custom_id": f"q-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def written(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def said(line: dict[str, Any]) -> str:
    return str(line["response"]["body"]["choices"][0]["message"]["content"])


def test_the_openai_sdk_makes_the_whole_round_trip(world: World, tmp_path: Path) -> None:
    client = openai.OpenAI(base_url=f"{world.url}/v1", api_key="unused", max_retries=0)
    lines = [full_line(number, ("math", "law", "nobody")[number % 3]) for number in range(30)]
    with written(tmp_path / "in.jsonl", lines).open("rb") as content:
        file = client.files.create(file=content, purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"project": "round trip"},
    )
    while batch.status not in ("completed", "failed"):
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)

    assert ("completed", {"project": "round trip"}) == (batch.status, batch.metadata)
    assert batch.request_counts is not None
    assert (30, 20, 10) == (
        batch.request_counts.total,
        batch.request_counts.completed,
        batch.request_counts.failed,
    )
    assert batch.output_file_id is not None
    assert batch.error_file_id is not None
    out = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    errors = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    assert [f"q-{number}" for number in range(30)] == [line["custom_id"] for line in out]
    assert "you said: question 4" == said(out[4])
    assert ["model_not_found"] * 10 == [line["response"]["body"]["error"]["code"] for line in errors]
    assert ("in.jsonl", "batch") == ((known := client.files.retrieve(file.id)).filename, known.purpose)
    assert {file.id, batch.output_file_id, batch.error_file_id} == {each.id for each in client.files.list()}
    assert batch.id in [each.id for each in client.batches.list(limit=1)]
    assert client.files.delete(file.id).deleted


def test_the_openai_sdk_reads_why_an_input_failed_and_cancels(world: World, tmp_path: Path) -> None:
    client = openai.OpenAI(base_url=f"{world.url}/v1", api_key="unused", max_retries=0)
    lines = [full_line(1, "math"), full_line(1, "math")]
    with written(tmp_path / "in.jsonl", lines).open("rb") as content:
        file = client.files.create(file=content, purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    while batch.status == "validating":
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)

    assert "failed" == batch.status
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [("duplicate_custom_id", 2)] == [(error.code, error.line) for error in batch.errors.data]
    assert "failed" == client.batches.cancel(batch.id).status
    with pytest.raises(openai.NotFoundError, match="There is no batch"):
        client.batches.retrieve("batch_none")


SHORT: list[dict[str, Any]] = [
    {"prompt": "first"},
    {"messages": [{"role": "user", "content": "second"}], "model": "law", "custom_id": "mine"},
    full_line(3, "math"),
]


def test_a_file_is_answered_through_a_running_gateway(world: World, tmp_path: Path) -> None:
    source, out = written(tmp_path / "in.jsonl", SHORT), tmp_path / "out.jsonl"
    done = consilium("batch", "run", str(source), str(out), "--url", world.url, "--model", "math")

    assert 0 == done.code, done.err
    assert "3 of 3 lines answered" in done.err
    assert ["line-1", "mine", "q-3"] == [line["custom_id"] for line in read(out)]
    assert ["math", "law", "math"] == [line["response"]["body"]["model"] for line in read(out)]
    assert ["in.jsonl", "out.jsonl"] == sorted(path.name for path in tmp_path.iterdir())


def test_a_file_is_answered_in_process(world: World, tmp_path: Path) -> None:
    source, out = written(tmp_path / "in.jsonl", SHORT), tmp_path / "out.jsonl"
    done = consilium("batch", "run", str(source), str(out), "--config", str(world.config), "--model", "math")

    assert 0 == done.code, done.err
    assert ["you said: first", "you said: second", "you said: question 3"] == [said(line) for line in read(out)]
    assert ["in.jsonl", "out.jsonl"] == sorted(path.name for path in tmp_path.iterdir())


def test_lines_that_fail_are_counted_and_the_exit_code_says_so(world: World, tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", [{"prompt": "a"}, {"prompt": "b", "model": "nobody"}])
    done = consilium("batch", "run", str(source), str(tmp_path / "out"), "--url", world.url)

    assert 1 == done.code
    assert "1 of 2 lines failed" in done.err
    assert [200, 404] == [line["response"]["status_code"] for line in read(tmp_path / "out")]


def test_an_input_that_is_none_is_one_sentence_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", [{"prompt": "a"}, {"question": "b"}])
    done = consilium("batch", "run", str(source), str(tmp_path / "out"), "--url", world.url)

    assert 2 == done.code
    assert "in.jsonl:2: has neither messages nor prompt nor body" in done.err
    assert ["in.jsonl"] == [path.name for path in tmp_path.iterdir()]


def test_interrupted_it_goes_on_where_it_was(world: World, tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", [{"prompt": f"q {i}", "model": "math"} for i in range(4000)])
    out, journal = tmp_path / "out", tmp_path / "out.unfinished" / "journal"
    command = [sys.executable, "-m", "gateway", "batch", "run", str(source), str(out), "--config", str(world.config)]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, env=dict(os.environ), text=True, preexec_fn=hears_interrupts
    )
    while not journal.exists() or journal.read_bytes().count(b'"done"') < 200:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    before = journal.read_bytes().count(b'"done"')
    rest = consilium("batch", "run", str(source), str(out), "--config", str(world.config))

    assert (130, True) == (process.returncode, "call it again to go on" in told)
    assert 200 <= before < 4000
    assert 0 == rest.code, rest.err
    assert [f"you said: q {i}" for i in range(4000)] == [said(line) for line in read(out)]
