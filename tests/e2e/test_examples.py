"""Every example runs as its head says, against a gateway with experts that know one subject each."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway.settings import Settings
from tests.conftest import FakeExpert, expert_record, gateway_over, serving
from tests.deploy.compose_file import ROOT
from tests.deploy.test_compose import compose_schema

pytestmark = [pytest.mark.slow]
EXAMPLES = ROOT / "examples"
QUESTIONS = list(csv.DictReader((EXAMPLES / "questions.csv").read_text().splitlines()))
ANSWERS = {row["question"]: row for row in QUESTIONS}


def knowing(subject: str) -> FakeExpert:
    """Return an expert that answers its own subject rightly and all else with a shrug."""

    def reply(body: dict[str, Any]) -> str:
        row = ANSWERS.get(str(body["messages"][-1]["content"]), {})
        return f"It is {row['answer']}." if row.get("category") == subject else "I do not know."

    return FakeExpert(reply=reply)


class World:
    """A gateway in this process, and how an example is run against it."""

    def __init__(self, url: str, spare: str) -> None:
        self.url, self.spare = url, spare

    async def run(self, *command: str, code: int = 0) -> str:
        """Run an example to its end; return what it printed."""
        environment = {"CONSILIUM_URL": self.url, "CONSILIUM_ADMIN_KEY": "admin", "CONSILIUM_API_KEY": "sk-client"}
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 110)
        assert code == process.returncode, out.decode()
        return out.decode()

    async def python(self, name: str, *arguments: str, code: int = 0) -> str:
        """Run an example in Python."""
        return await self.run(sys.executable, str(EXAMPLES / name), *arguments, code=code)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    subjects = ["math", "geography", "language"]
    fakes, spare = [knowing(subject) for subject in subjects], FakeExpert(models=("chess",))
    settings = Settings(api_keys="sk-client", admin_key="admin")  # type: ignore[arg-type]
    async with serving(*fakes, spare):
        examples = {s: [row["question"] for row in QUESTIONS if row["category"] == s][:4] for s in subjects}
        records = [
            expert_record(subject, fake, domains=[subject], examples=examples[subject])
            for subject, fake in zip(subjects, fakes, strict=True)
        ]
        async with gateway_over(records, settings=settings, routing={"classifier": "centroid"}) as client:
            yield World(str(client.base_url).rstrip("/"), spare.url)


async def test_chatting_with_the_openai_sdk(world: World) -> None:
    said = await world.python("chat_openai_sdk.py", "What is the capital of Kenya?")

    assert [
        "routed to geography: It is Nairobi.",
        "streamed: It is Nairobi.",
        "asked geography by name: It is Nairobi.",
    ] == said.splitlines()[:3]
    assert re.search(r"fused from \w+, \w+: ", said)


async def test_registering_an_expert_and_taking_it_out(world: World) -> None:
    said = await world.python(
        "register_expert.py", "chess", world.spare, "--example", "How does the knight move?", "--remove"
    )

    assert "registered: chess" in said
    assert "'How does the knight move?' is answered by chess: you said: How does the knight move?" in said
    assert said.endswith("removed: chess\n")


async def test_registering_what_does_not_answer_ends_with_the_gateways_sentence(world: World) -> None:
    said = await world.python("register_expert.py", "bad name", world.spare, "--example", "Hello?", code=1)

    assert re.match(r"4\d\d \w+: .*name", said)


async def test_registering_an_expert_with_curl(world: World) -> None:
    said = await world.run(str(EXAMPLES / "register_expert.sh"), "chess", world.spare)

    assert "chess" == json.loads(said.splitlines()[0])["model"]


async def test_a_batch_of_questions(world: World, tmp_path: Path) -> None:
    questions, answers = tmp_path / "questions.txt", tmp_path / "answers.jsonl"
    questions.write_text("".join(f"{row['question']}\n" for row in QUESTIONS[:9]))

    said = await world.python("batch.py", str(questions), str(answers))
    rows = [json.loads(line) for line in answers.read_text().splitlines()]

    assert "completed: 9 of 9 answered" in said
    assert [(row["category"], f"It is {row['answer']}.") for row in QUESTIONS[:9]] == [
        (row["expert"], row["answer"]) for row in rows
    ]


async def test_training_the_routing_on_a_table_of_ones_own(world: World, tmp_path: Path) -> None:
    said = await world.python("train_routing.py", str(EXAMPLES / "questions.csv"), str(tmp_path / "trained"))

    for subject in ("math", "geography", "language"):
        assert f"{subject}: 24 of 72 right" in said
    assert (tmp_path / "trained/policies/policies.json").is_file()
    assert 3 * 72 + 1 == len((tmp_path / "trained/outcomes.csv").read_text().splitlines())
    assert "Route: auto gains" in said


async def test_langchain(world: World) -> None:
    said = await world.python("langchain_client.py", "What is the capital of Kenya?")

    assert "geography: It is Nairobi.\nstreamed: It is Nairobi.\n" == said


def test_the_overlay_for_open_webui_is_a_compose_file_without_a_secret() -> None:
    text = (EXAMPLES / "open-webui.yaml").read_text()
    overlay = yaml.safe_load(text)

    assert [] == [error.message for error in jsonschema.Draft7Validator(compose_schema()).iter_errors(overlay)]
    assert overlay["services"]["open-webui"]["image"].startswith("${OPEN_WEBUI_IMAGE:?")
    assert overlay["services"]["open-webui"]["environment"]["OPENAI_API_KEY"].startswith("${")


def test_every_example_is_in_the_table_and_is_run() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    table = (EXAMPLES / "README.md").read_text()
    tests = Path(__file__).read_text()

    assert [] == [name for name in names if f"]({name})" not in table]
    assert [] == [name for name in names if name.endswith((".py", ".sh")) and f'"{name}"' not in tests]
