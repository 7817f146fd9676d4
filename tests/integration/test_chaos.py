"""A minute of chaos: nothing hangs, no answer is another's, everything ends in words, and all recovers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import aiohttp
import pytest

from tests.bench.chaos.clients import SIGNED, Asked, Clients, Tally, judged, made_up, refused, streamed
from tests.bench.chaos.run import run
from tests.bench.chaos.schedule import CALM_AT_END_SECONDS, schedule

TOKEN = "Q-0123456789ab"
SAID = f"[math|{TOKEN}] " + " ".join(f"word{n}" for n in range(8))


@pytest.mark.long
@pytest.mark.redis
@pytest.mark.timeout(300)
async def test_a_minute_of_chaos_leaves_nothing_hanging_nothing_mistaken_and_nothing_behind(tmp_path: Path) -> None:
    outcome = await run(tmp_path, seconds=60, seed=7)

    assert [] == outcome.wrong
    assert outcome.tally.outcomes["answered"] > 200
    assert outcome.faults.total() > 15


def test_a_schedule_is_the_same_for_the_same_seed_and_ends_before_the_last_check() -> None:
    faults = schedule(600, 1, replicas=6, gateways=2)

    assert faults == schedule(600, 1, replicas=6, gateways=2)
    assert faults != schedule(600, 2, replicas=6, gateways=2)
    assert max(fault.at + fault.seconds for fault in faults) <= 600 - CALM_AT_END_SECONDS
    assert {"replica", "redis", "gateway"} == {fault.place for fault in faults}
    assert {"SIGKILL", "SIGTERM"} == {fault.kind for fault in faults if fault.place == "gateway"}


@pytest.mark.parametrize(
    ("model", "text", "outcome"),
    [
        ("math", SAID, "answered"),
        ("prose", SAID, "WRONG: signed"),
        ("math", SAID.replace("ab]", "ac]"), "WRONG: signed"),
        ("math", SAID[:-6], "WRONG: not whole"),
        ("math", SAID + SAID, "WRONG: not whole"),
        ("math", "", "WRONG: not whole"),
    ],
)
def test_an_answer_of_anothers_or_cut_or_doubled_is_noticed(model: str, text: str, outcome: str) -> None:
    assert judged(model, text, TOKEN).startswith(outcome)


def test_an_end_without_words_is_noticed() -> None:
    chunk = b'data: {"model":"math","choices":[{"delta":{"content":"x"}}]}\n\n'
    with pytest.raises(aiohttp.ClientPayloadError):
        streamed(chunk, TOKEN)
    error = b'data: {"error":{"message":"m","type":"t","param":null,"code":"c"}}\n\n'

    assert "error event" == streamed(chunk + error, TOKEN)
    assert streamed(chunk + error + b"data: [DONE]\n\n", TOKEN).startswith("WRONG")


def test_a_refusal_in_another_shape_or_of_another_kind_is_noticed() -> None:
    error = {"message": "m", "type": "t", "param": None, "code": "c"}

    assert "refused 503" == refused(503, json.dumps({"error": error}).encode())
    assert refused(503, b'{"detail":"no"}').startswith("WRONG")
    assert refused(500, json.dumps({"error": error}).encode()).startswith("WRONG")


def test_a_late_end_is_noticed_whatever_it_was() -> None:
    tally = Tally()
    clients = Clients([], lambda *_: False, tally)
    asked = made_up(random.Random(1))
    clients._note(asked, "answered", 8.9, 0)
    assert [] == tally.violations

    clients._note(asked, "answered", 9.1, 0)
    clients._note(asked, "hung", 3.0, 0)
    assert 2 == len(tally.violations)
    assert isinstance(asked, Asked)
    assert SIGNED.match(SAID)
