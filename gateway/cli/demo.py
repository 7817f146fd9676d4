"""`consilium demo`: start real experts and the gateway here, ask, fuse, mark the answers, and clean up."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.table import Table

from experts.backends import make_client
from experts.errors import LaunchError
from experts.pocket import DOMAINS, PocketQuestion
from gateway.app import create_app
from gateway.cli import exam
from gateway.cli.doctor import install_vllm
from gateway.cli.options import configured, settings_with
from gateway.cli.progress import FleetProgress
from gateway.cli.server import Server, listening_socket, running
from gateway.logs import configure

SEED = 20
SHOWN_PER_DOMAIN = 2
START_TIMEOUT_SECONDS = 600
COUNCIL = ({"fusion": "vote"}, {"fusion": "synthesize"})
console = Console()


def demo(
    examined: Annotated[int, typer.Option(help="Held-out questions per domain in the exam.", min=1)] = 40,
    config: Annotated[str, typer.Option("--config", "-c", help="Configuration with the pocket experts.")] = (
        "builtin:pocket"
    ),
) -> None:
    """Start everything on this machine and show routed and fused answers, checked, in a table."""
    configure("warning")
    install_vllm()
    if not asyncio.run(shown(config, examined)):
        raise typer.Exit(1)


async def shown(config: str, examined: int) -> bool:
    """Run the demonstration; True when routing beat every single model."""
    settings = settings_with(config=config, log_level="warning", api_keys="")
    read, root = configured(settings)
    async with AsyncExitStack() as stack:
        with FleetProgress(console) as progress:
            server = Server(settings, create_app(settings, read, root, progress=progress))
            url = await stack.enter_async_context(running(server, listening_socket("127.0.0.1", 0)))
            client = await stack.enter_async_context(make_client())
            await until_ready(client, url)
        console.print(f"\nThe gateway answers at {url}/v1. Some questions, routed and fused:\n")
        await show_questions(client, url)
        return await show_exam(client, url, examined)


async def until_ready(client: httpx.AsyncClient, url: str) -> None:
    """Wait until every expert can answer.

    Raises:
        LaunchError: they could not within ten minutes.
    """
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        states = (await client.get(f"{url}/health/readiness")).json()["experts"]
        if set(states.values()) == {"ready"}:
            return
        if "failed" in states.values():
            raise LaunchError("pocket", "The experts could not be started; `consilium doctor` may say why.")
        await asyncio.sleep(0.5)
    raise LaunchError("pocket", f"The experts were not ready within {START_TIMEOUT_SECONDS} s.")


def chosen_questions() -> tuple[list[PocketQuestion], list[PocketQuestion]]:
    """Return the questions shown: some of every domain for `auto`, and two for `council`."""
    drawn = exam.questions(SHOWN_PER_DOMAIN + 1, SEED)
    step = SHOWN_PER_DOMAIN + 1
    routed = [question for index, question in enumerate(drawn) if index % step < SHOWN_PER_DOMAIN]
    spare = {question.domain: question for index, question in enumerate(drawn) if index % step == SHOWN_PER_DOMAIN}
    return routed, [spare["math"], spare["geography"]]


async def show_questions(client: httpx.AsyncClient, url: str) -> None:
    """Ask the questions one after the other and print the table."""
    table = Table("question", "model", "domain", "conf.", "expert(s)", "answer", "", "ms")
    routed, for_council = chosen_questions()
    marks = [await exam.put(client, url, "auto", question) for question in routed]
    for question, how in zip(for_council, COUNCIL, strict=True):
        marks.append(await exam.put(client, url, "council", question, how))
    for mark in marks:
        model = mark.model if mark.fusion == "none" else f"{mark.model}\n{mark.fusion}"
        verdict = "[green]right[/green]" if mark.right else "[red]wrong[/red]"
        experts = mark.experts.replace(",", "\n")
        row = (mark.question.prompt, model, mark.domain, f"{mark.confidence:.2f}", experts, _final(mark.text), verdict)
        table.add_row(*row, f"{mark.seconds * 1000:.0f}")
    console.print(table)


def _final(text: str) -> str:
    """Return what is worth showing of an answer: its final line, or its code without the fence."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("```")]
    stated = [line for line in lines if line.startswith("Answer:")]
    return stated[-1].removeprefix("Answer:").strip() if stated else "\n".join(lines)[:120]


async def show_exam(client: httpx.AsyncClient, url: str, per_domain: int) -> bool:
    """Put the same held-out questions to `auto` and to every single model; True when `auto` is best."""
    paper = exam.questions(per_domain, SEED + 1)
    random.Random(SEED).shuffle(paper)
    console.print(f"\nExam: {len(paper)} held-out questions, {per_domain} of each domain, to every model.\n")
    table = Table("model", *DOMAINS, "all")
    scores: dict[str, float] = {}
    for model in (*exam.SINGLE_MODELS, "auto"):
        marks = await exam.examine(client, url, model, paper)
        scores[model] = exam.accuracy(marks)
        each = (f"{share:.2f}" for share in exam.by_domain(marks).values())
        style = "bold" if model == "auto" else None
        table.add_row(model, *each, f"{scores[model]:.3f}", style=style)
    console.print(table)
    auto = scores.pop("auto")
    best = max(scores, key=lambda model: scores[model])
    console.print(
        f"auto {auto:.3f} against the best single model, {best} {scores[best]:.3f}: "
        f"{auto - scores[best]:+.3f}. Domains named rightly: {exam.routed_rightly(marks):.3f}."
    )
    return auto > scores[best]
