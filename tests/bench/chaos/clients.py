"""Clients that check every answer: in time, signed by whom it names, about what was asked, or an OpenAI error.

A connection that breaks without a word is excused only while its gateway was killed or starting; one that was told to
end may refuse a request, but finishes what it has begun to answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

SIGNED = re.compile(r"^\[([a-z]+)\|(Q-[0-9a-f]{12})\] word0 word1 word2 word3 word4 word5 word6 word7$")
DEADLINE_SECONDS, GRACE_SECONDS = 8.0, 1.0
HUNG_SECONDS = 30.0
"""When a client stops waiting; by then it has been noted as a hang for long."""
SUBJECTS = ("integral of the polynomial", "verse of a poem about autumn", "python function that sorts a list")
STATED = frozenset({429, 502, 503, 504})
LEAVES = 0.08
"""Of the requests, those whose client goes away before the end."""
Excused = Callable[[int, float, float, bool], bool]
"""Whether a gateway had a reason to break off between two times; the last argument: in the middle of an answer."""


@dataclass
class Tally:
    """What became of every request, and what must not have happened."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    token: str
    body: Mapping[str, Any]
    leaves_after: float | None

    @property
    def stream(self) -> bool:
        return bool(self.body["stream"])


def made_up(dice: random.Random) -> Asked:
    """Return a request: routed, named or fused, whole or streamed, patient or not."""
    token = f"Q-{dice.getrandbits(48):012x}"
    model = dice.choice(("auto", "auto", "auto", "math", "prose", "code", "council"))
    routing: dict[str, Any] = {"deadline_ms": DEADLINE_SECONDS * 1000}
    if model == "council":
        routing["fusion"] = dice.choice(("vote", "synthesize"))
    content = f"{token}: explain the {dice.choice(SUBJECTS)}, please"
    body = {"model": model, "stream": dice.random() < 0.6, "routing": routing}
    leaves = dice.uniform(0.02, 0.4) if dice.random() < LEAVES else None
    return Asked(token, {**body, "messages": [{"role": "user", "content": content}]}, leaves)


class Clients:
    """Asks until told to stop; closed loop, a pause between requests.

    Args:
        urls: of the gateways.
        excused: see `Excused`.
        tally: where it is noted.
    """

    def __init__(self, urls: list[str], excused: Excused, tally: Tally) -> None:
        self._urls, self._excused, self.tally = urls, excused, tally
        self.stopped = False

    async def run(self, count: int, seed: int, pause_seconds: float) -> None:
        """Run so many clients."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(HUNG_SECONDS)) as session:
            await asyncio.gather(*(self._one(session, random.Random(seed + n), pause_seconds) for n in range(count)))

    async def _one(self, session: aiohttp.ClientSession, dice: random.Random, pause_seconds: float) -> None:
        while not self.stopped:
            await self.ask(session, dice.randrange(len(self._urls)), made_up(dice))
            await asyncio.sleep(dice.uniform(0, 2 * pause_seconds))

    async def ask(self, session: aiohttp.ClientSession, gateway: int, asked: Asked) -> str:
        """Send one request and note its outcome, which is returned."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(asked.leaves_after):
                outcome = await self._answered(session, self._urls[gateway], asked)
        except TimeoutError:
            outcome = "client left" if asked.leaves_after else "hung"
        except (aiohttp.ClientError, ConnectionError) as error:
            midway = isinstance(error, aiohttp.ClientPayloadError)
            excused = self._excused(gateway, begun, time.monotonic(), midway)
            outcome = "gateway away" if excused else f"WRONG: broke off: {type(error).__name__} {error}"
        self._note(asked, outcome, time.monotonic() - begun, gateway)
        return outcome

    def _note(self, asked: Asked, outcome: str, seconds: float, gateway: int) -> None:
        self.tally.outcomes[outcome.partition(":")[0]] += 1
        self.tally.seconds.append(seconds)
        if outcome == "hung" or seconds > DEADLINE_SECONDS + GRACE_SECONDS:
            self.tally.violations.append(f"{asked.token} took {seconds:.1f} s at gateway {gateway}: {outcome}")
        elif outcome.startswith("WRONG"):
            self.tally.violations.append(f"{asked.token} {asked.body['model']} at gateway {gateway}: {outcome}")

    async def _answered(self, session: aiohttp.ClientSession, url: str, asked: Asked) -> str:
        async with session.post(f"{url}/v1/chat/completions", json=asked.body) as response:
            content = await response.read()
        if response.status != 200:
            return refused(response.status, content)
        return streamed(content, asked.token) if asked.stream else whole(content, asked.token)


def whole(content: bytes, token: str) -> str:
    """Return the outcome of an answer in one piece."""
    body = json.loads(content)
    return judged(body["model"], body["choices"][0]["message"]["content"] or "", token)


def streamed(content: bytes, token: str) -> str:
    """Return the outcome of a stream: an answer that is whole, or the error event it ended with."""
    events = [line[6:] for line in content.split(b"\n") if line.startswith(b"data: ")]
    bodies = [json.loads(each) for each in events if each != b"[DONE]"]
    if bodies and "error" in bodies[-1]:
        return error_of(bodies[-1], "error event") if events[-1] != b"[DONE]" else "WRONG: [DONE] after an error"
    if not events or events[-1] != b"[DONE]":
        raise aiohttp.ClientPayloadError("the stream ended without a word")
    text = "".join(choice["delta"].get("content") or "" for body in bodies for choice in body["choices"])
    return judged(bodies[-1]["model"], text, token)


def judged(model: str, text: str, token: str) -> str:
    """Say whether a text is by whom it is said to be by, and about what was asked."""
    found = SIGNED.match(text)
    if found is None:
        return f"WRONG: not whole: {text[:200]!r}"
    if (found[1], found[2]) != (model, token):
        return f"WRONG: signed {found[1]} {found[2]}, said to be {model}'s, asked {token}"
    return "answered"


def refused(status: int, content: bytes) -> str:
    """Return the outcome of a refusal."""
    if status not in STATED:
        return f"WRONG: {status}: {content[:300]!r}"
    return error_of(json.loads(content), f"refused {status}")


def error_of(body: Any, outcome: str) -> str:
    """Return the outcome, where the body has OpenAI's error object."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or not {"message", "type", "param", "code"} <= error.keys():
        return f"WRONG: no OpenAI error: {body}"
    return outcome if error["code"] != "internal_error" else f"WRONG: internal error: {error}"
