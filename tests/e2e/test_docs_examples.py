"""Every shell and Python example of the pages runs, against a gateway with fake experts in a process of its own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from gateway.configuration import GatewayConfig
from tests.e2e.docs_blocks import PAGES, ROOT, RUN, Block, blocks
from tests.processes import free_port, started, wait_for

ADMIN = "the-administrators-key"
EXPERTS = ("general", "math", "law")
MODELS = (*EXPERTS, "chess", "my-chess-model", "bridge")
COMMANDS = ("cp ", "curl ", "consilium ", "docker ", "git ", "kubectl ", "make ", "pip ", "python ", "ray ")
CURL = 'curl() { command curl -sS --fail-with-body "$@"; }\n'
RUNNABLE = [page for page in PAGES if any(block.runs for block in blocks(page))]


@dataclass(frozen=True, slots=True)
class World:
    """A gateway, the server of an expert that is not registered yet, and the folder examples run in."""

    url: str
    spare: str
    folder: Path

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Run one example as a reader would, at this gateway's address."""
        text = block.text.replace("http://127.0.0.1:8400", self.url)
        for place in ("http://127.0.0.1:8000/v1", "http://vllm-chess:8000/v1"):
            text = text.replace(place, self.spare)
        command = (
            [sys.executable, "-c", text] if block.kind == "python" else ["bash", "-euo", "pipefail", "-c", CURL + text]
        )
        tools = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        keys = {"CONSILIUM_URL": self.url, "CONSILIUM_ADMIN_KEY": ADMIN, "OPENAI_API_KEY": "unused"}
        environment = {**os.environ, **tools, **keys, "HF_HUB_OFFLINE": "1"}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server of every model that the pages speak of."""
    port, log = free_port(), tmp_path_factory.mktemp("fake") / "log"
    with started("tests.fakes.expert", str(port), ",".join(MODELS), log=log) as process:
        wait_for(f"http://127.0.0.1:{port}/v1/models", process, log)
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture
def world(tmp_path: Path, served: str) -> Iterator[World]:
    port = free_port()
    experts = [{"name": name, "replicas": [{"base_url": served}]} for name in EXPERTS]
    config = tmp_path / "gateway.json"
    config.write_text(json.dumps({"experts": experts, "routing": {"budget_ms": 10_000}}))
    told = {"CONSILIUM_ADMIN_KEY": ADMIN, "CHESS_KEY": "sk-chess", "CONSILIUM_STORE": str(tmp_path / "store.db")}
    gateway, log = ("tests.integration.one_gateway", str(config), str(port)), tmp_path / "gateway.log"
    with started(*gateway, log=log, **told) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health/readiness", process, log)
        yield World(url, served, reader_folder(tmp_path / "reader", served))


def reader_folder(folder: Path, spare: str) -> Path:
    """Make the folder with the files that examples speak of."""
    folder.mkdir()
    record = {"name": "bridge", "examples": ["What is a finesse?"], "replicas": [{"base_url": spare}]}
    (folder / "bridge.yaml").write_text(yaml.safe_dump(record))
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "Hi"}]},
    }
    (folder / "requests.jsonl").write_text(json.dumps(line) + "\n")
    other = {"model_name": "law", "litellm_params": {"model": "openai/law", "api_base": spare}}
    (folder / "litellm.yaml").write_text(yaml.safe_dump({"model_list": [other]}))
    topics = {"cooking": "boil the pasta with salt", "sailing": "trim the jib in a breeze"}
    prompts = [f"{topic},How do I {text} number {i}?" for i in range(40) for topic, text in topics.items()]
    (folder / "mine.csv").write_text("topic,question\n" + "\n".join(prompts) + "\n")
    write_tables(folder, random.Random(7))
    return folder


def write_tables(folder: Path, draw: random.Random) -> None:
    """Write tables of outcomes: two experts, each good at one of two categories."""
    questions, outcomes = ["question_id,question,category"], ["question_id,model_id,correct"]
    for i in range(400):
        category = ("math", "law")[i % 2]
        questions.append(
            f"q{i},{'How much is' if category == 'math' else 'Is it a tort to steal'} {draw.random():.6f}?,{category}"
        )
        outcomes += [
            f"q{i},{expert},{int(draw.random() < (0.9 if expert == category else 0.4))}" for expert in ("math", "law")
        ]
    (folder / "questions.csv").write_text("\n".join(questions) + "\n")
    (folder / "outcomes.csv").write_text("\n".join(outcomes) + "\n")
    (folder / "models.csv").write_text("model_id\nmath\nlaw\n")


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page: Path, world: World) -> None:
    done = [(block, world.run(block)) for block in blocks(page) if block.runs]
    failed = [
        f"{block.name} ended with {each.returncode}:\n{each.stdout[-1500:]}\n{each.stderr[-1500:]}"
        for block, each in done
        if each.returncode
    ]

    assert [] == failed, "\n\n".join(failed)


def test_what_looks_like_a_command_is_marked_as_one() -> None:
    unmarked = [
        block.name
        for page in PAGES
        for block in blocks(page)
        if block.kind not in RUN and block.text.startswith(COMMANDS)
    ]

    assert [] == unmarked


def test_most_examples_are_run() -> None:
    shown = [block for page in PAGES for block in blocks(page) if block.kind in RUN]

    assert len(shown) >= 25
    assert len([block for block in shown if block.runs]) >= 14


@pytest.mark.parametrize("block", [b for page in PAGES for b in blocks(page) if b.kind == "yaml"], ids=lambda b: b.name)
def test_the_yaml_of_a_page_is_a_configuration(block: Block) -> None:
    told = yaml.safe_load(block.text)
    if isinstance(told, list):
        told = {"experts": told}
    experts = told.pop("experts", [{"name": "general-8b", "replicas": [{"base_url": "http://127.0.0.1:8000/v1"}]}])

    assert GatewayConfig.model_validate({"experts": experts, **told}).experts
