"""`consilium route` and `consilium chat`: ask a running gateway from the terminal."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import orjson
import typer
from rich.console import Console
from rich.table import Table

from experts import sse
from experts.errors import LaunchError, ServiceError
from gateway.cli.options import DEFAULT_URL, JsonOption, UrlOption

QuestionArgument = Annotated[str, typer.Argument(help="The question.")]
ModelOption = Annotated[str, typer.Option("--model", "-m", help="auto, council, or an expert.")]
console = Console()


class Refused(ServiceError):
    """The gateway answered with an error; its own words are the message."""


def route(
    question: QuestionArgument,
    model: ModelOption = "auto",
    policy: Annotated[str | None, typer.Option(help="Routing policy.")] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Show who would answer a question, and why; nothing is generated."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": question}]}
    if policy:
        body["routing"] = {"policy": policy}
    with gateway(url) as client, reachable(url):
        decision = answered(client.post("/v1/route", json=body))
    if as_json:
        typer.echo(json.dumps(decision, indent=2))
    else:
        show_decision(decision)


def gateway(url: str) -> httpx.Client:
    """Return a client of the gateway."""
    return httpx.Client(base_url=url, timeout=600, headers=own_key())


def own_key() -> dict[str, str]:
    """Return the header that carries CONSILIUM_API_KEY, if it is set."""
    key = os.environ.get("CONSILIUM_API_KEY", "")
    return {"authorization": f"Bearer {key}"} if key else {}


@contextmanager
def reachable(url: str) -> Iterator[None]:
    """Turn a refused connection into a sentence.

    Raises:
        LaunchError: no gateway listens there.
    """
    try:
        yield
    except httpx.ConnectError as error:
        raise LaunchError("gateway", f"No gateway answers at {url}: start one with `consilium serve`.") from error


def answered(response: httpx.Response) -> dict[str, Any]:
    """Return the body of a good response.

    Raises:
        Refused: it is an error.
    """
    body: dict[str, Any] = orjson.loads(response.content)
    if response.status_code >= 400:
        raise Refused(body["error"]["message"])
    return body


def show_decision(decision: dict[str, Any]) -> None:
    """Print a decision as a table."""
    domains = ", ".join(f"{name} {p:.2f}" for name, p in list(decision["domains"].items())[:4])
    chosen = ", ".join(each["expert"] for each in decision["experts"])
    console.print(f"[bold]{chosen}[/bold]  by {decision['policy']}, confidence {decision['confidence']:.2f}")
    console.print(f"domains: {domains or 'not asked'}\n{decision['reason']}")
    table = Table("expert", "score", "quality", "USD", "ms", "why")
    for candidate in decision["candidates"]:
        quality = "" if candidate["quality"] is None else f"{candidate['quality']:.2f}"
        name = f"[bold]{candidate['expert']}[/bold]" if candidate["chosen"] else candidate["expert"]
        cost = "" if candidate["cost_usd"] is None else f"{candidate['cost_usd']:.2g}"
        wait = "" if candidate["latency_ms"] is None else f"{candidate['latency_ms']:.0f}"
        table.add_row(name, f"{candidate['score']:.2f}", quality, cost, wait, candidate["reason"])
    for out in decision["excluded"]:
        table.add_row(f"[dim]{out['expert']}[/dim]", "", "", "", "", f"[dim]excluded: {out['reason']}[/dim]")
    if table.row_count:
        console.print(table)


def chat(
    question: Annotated[str | None, typer.Argument(help="Ask this and leave; without it, talk.")] = None,
    model: ModelOption = "auto",
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Talk with the experts, seeing who answers."""
    messages: list[dict[str, str]] = []
    if question is not None:
        asyncio.run(turn(url, model, messages, question))
        return
    console.print(f"[dim]Talking to {model} at {url}. An empty line or Ctrl-D ends it.[/dim]")
    while said := _read_line():
        asyncio.run(turn(url, model, messages, said))


def _read_line() -> str:
    try:
        return console.input("[bold]you[/bold]  ").strip()
    except EOFError:
        return ""


async def turn(url: str, model: str, messages: list[dict[str, str]], said: str) -> None:
    """Ask one question of the conversation and print the answer as it comes."""
    messages.append({"role": "user", "content": said})
    body = {"model": model, "messages": messages, "stream": True}
    answer, speaker = "", ""
    with reachable(url):
        async for chunk in chunks(url, body):
            if not speaker:
                speaker = chunk["model"]
                console.print(f"[bold green]{speaker}[/bold green]  ", end="")
            text = "".join((choice["delta"].get("content") or "") for choice in chunk["choices"])
            console.print(text, end="", markup=False, highlight=False)
            answer += text
    console.print()
    messages.append({"role": "assistant", "content": answer})


async def chunks(url: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Yield the chunks of a streamed answer.

    Raises:
        Refused: the gateway answered with an error, at once or in mid-stream.
    """
    async with (
        httpx.AsyncClient(base_url=url, timeout=600, headers=own_key()) as client,
        client.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        if response.status_code >= 400:
            await response.aread()
            answered(response)
        async for data in sse.events(response.aiter_bytes()):
            if data == b"[DONE]":
                return
            yield _checked(orjson.loads(data))


def _checked(chunk: dict[str, Any]) -> dict[str, Any]:
    if "error" in chunk:
        raise Refused(chunk["error"]["message"])
    return chunk
