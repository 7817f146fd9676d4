"""Fusion with pocket experts on a real vLLM: what voting, writing and comparing make of the same councils' answers.

    python -m tests.bench.pocket_fusion [--per-domain 40] [--panels councils mixed] [--json FILE]

Starts `consilium serve --config builtin:pocket`, puts held-out questions to councils of three under each strategy, and
then asks the fuser through the gateway about these councils, and about mixed panels of all experts' answers, with and
without a hostile answer planted. `--panels` does one of the two parts. Exits with 1 where the fuser falls short of what
is asked of a good one (OF_ORACLE, MISLED, the vote).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import httpx
import orjson

from experts.backends import make_client
from experts.pocket import PocketQuestion, grade
from experts.pocket.corpus import Conversation
from experts.pocket.judging import judged
from experts.pocket.panels import KNOWN_FOR, PANELISTS, Opinion, Panel, draw_panel
from gateway.cli import exam
from gateway.cli.demo import until_ready
from tests.processes import free_port, started, wait_for

SEED = 4321
STRATEGIES = ("vote", "synthesize", "rank")
OF_ORACLE = {"synthesize": 0.9, "rank": 0.85}
MISLED = 0.02
SERVED_AT_ONCE = 16
"""What vLLM runs at once on a CPU (`--max-num-seqs`); what is more waits there for its first token, 30 s at most."""
CALLS_OF_A_COUNCIL = 6
"""At once: three answers, and then every pair of them compared in both orders."""
KINDS = ("councils", "mixed")
T = TypeVar("T")


class Gateway:
    """Asks a running gateway, as many questions at a time as its one server can run."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client, self._url = client, url
        self._councils = asyncio.Semaphore(SERVED_AT_ONCE // CALLS_OF_A_COUNCIL)
        self._singles = asyncio.Semaphore(SERVED_AT_ONCE)

    async def ask(self, model: str, conversation: Conversation, **routing: Any) -> dict[str, Any]:
        """Return the whole response body.

        Raises:
            NotAnswered: the gateway answered with an error.
        """
        asked = {"model": model, "messages": conversation, "temperature": 0, "max_tokens": exam.MAX_TOKENS}
        content = orjson.dumps({**asked, "routing": routing})
        async with self._councils if model == "council" else self._singles:
            response = await self._client.post(f"{self._url}/v1/chat/completions", content=content, timeout=600)
        body: dict[str, Any] = orjson.loads(response.content)
        if not response.is_success:
            raise exam.NotAnswered(f"{response.status_code} from {model}: {body['error']['message']}")
        return body

    async def texts(self, model: str, conversations: Sequence[Conversation]) -> list[str]:
        """Return one answer to each conversation."""
        bodies = await asyncio.gather(*(self.ask(model, conversation) for conversation in conversations))
        return [_text(body) for body in bodies]


def _text(body: dict[str, Any]) -> str:
    return body["choices"][0]["message"]["content"] or ""


async def councils(gateway: Gateway, paper: Sequence[PocketQuestion]) -> tuple[dict[str, Any], list[Panel]]:
    """Return what each strategy makes of councils of three, and the panels they were."""
    found: dict[str, Any] = {}
    panels: list[Panel] = []
    for strategy in STRATEGIES:
        begun = time.monotonic()
        asked = [gateway.ask("council", _alone(each), fusion=strategy, max_experts=3) for each in paper]
        bodies = await asyncio.gather(*asked)
        seconds = round(time.monotonic() - begun, 1)
        right = [grade(question, _text(body)) for question, body in zip(paper, bodies, strict=True)]
        found[strategy] = {"accuracy": round(sum(right) / len(right), 4), "seconds": seconds}
        if strategy == "synthesize":
            panels = [_panel(question, body) for question, body in zip(paper, bodies, strict=True)]
        print(strategy, json.dumps(found[strategy]), flush=True)
    found["oracle"] = {"accuracy": round(sum(panel.best() is not None for panel in panels) / len(panels), 4)}
    return found, panels


def _alone(question: PocketQuestion) -> Conversation:
    return [{"role": "user", "content": question.prompt}]


def _panel(question: PocketQuestion, body: dict[str, Any]) -> Panel:
    """Return the panel that was fused, from the response's own account."""
    opinions = [
        Opinion(seat["expert"], seat["weight"], seat["text"], grade(question, seat["text"]), KNOWN_FOR[seat["expert"]])
        for seat in body["fusion"]["candidates"]
        if seat["error"] is None
    ]
    return Panel(question, tuple(opinions))


async def mixed(gateway: Gateway, paper: Sequence[PocketQuestion]) -> list[Panel]:
    """Return mixed panels of the experts' answers to the paper."""
    random = Random(SEED)
    prompts = [_alone(question) for question in paper]
    said = {name: await gateway.texts(name, prompts) for name in PANELISTS}
    panels = []
    for index, question in enumerate(paper):
        replies = {name: (texts[index], grade(question, texts[index])) for name, texts in said.items()}
        panels.append(draw_panel(question, replies, random))
    return panels


async def measure(url: str, per_domain: int, kinds: Sequence[str]) -> dict[str, Any]:
    """Return every figure of these kinds of panels."""
    paper = exam.questions(per_domain, SEED)
    Random(SEED).shuffle(paper)
    loop = asyncio.get_running_loop()
    async with make_client() as client:
        await until_ready(client, url)
        gateway = Gateway(client, url)

        def read(conversations: Sequence[Conversation]) -> list[str]:
            return _waited(loop, gateway.texts("fuser", conversations))

        found: dict[str, Any] = {"questions": len(paper), "seed": SEED}
        panels: dict[str, list[Panel]] = {}
        if "councils" in kinds:
            found["strategies"], panels["councils"] = await councils(gateway, paper)
        if "mixed" in kinds:
            panels["mixed"] = await mixed(gateway, paper)
        judgements = {kind: await asyncio.to_thread(judged, read, each) for kind, each in panels.items()}
    return {**found, "panels": judgements}


def _waited(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result()


def misses(found: dict[str, Any]) -> list[str]:
    """Return the thresholds that were not met, as sentences."""
    told = []
    for kind, panels in found["panels"].items():
        possible, changed = panels["of_those_with_a_right_answer"], panels["planted_changes"]
        told += [
            f"{kind}: {strategy} is right in {possible[strategy]:.3f} of what could be right, {share} is asked"
            for strategy, share in OF_ORACLE.items()
            if possible[strategy] < share
        ]
        told += [f"{kind}: a plant changes {share:.3f} of {name}" for name, share in changed.items() if share > MISLED]
        if panels["accuracy"]["synthesize"] < panels["accuracy"]["vote"]:
            told.append(f"{kind}: synthesize {panels['accuracy']['synthesize']}, vote {panels['accuracy']['vote']}")
    return told


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-domain", type=int, default=40)
    parser.add_argument("--panels", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log, port = Path(folder) / "gateway.log", free_port()
        with started("gateway", "serve", "-c", "builtin:pocket", "--port", str(port), log=log) as process:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/health/liveness", process, log, seconds=300)
            found = asyncio.run(measure(url, options.per_domain, options.panels))
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    for miss in misses(found):
        print(f"missed: {miss}", file=sys.stderr)
    return 1 if misses(found) else 0


if __name__ == "__main__":
    sys.exit(main())
