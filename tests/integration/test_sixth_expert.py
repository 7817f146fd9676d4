"""A sixth specialist comes to the five pocket ones while the gateway runs: what routing makes of it.

The specialists are fakes that know all about their own domain and nothing else; `tests.bench.sixth_expert` is the same
with real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from experts.backends import make_client
from experts.pocket import DOMAINS, generate
from gateway.app import create_app
from gateway.cli.server import Server, listening_socket, running
from gateway.configuration import GatewayConfig, config_path
from gateway.settings import Settings
from tests.bench.sixth_expert import PROFILE_SEED, RECORD, SEED, SIX, SIXTH, Bench, broken
from tests.fakes.expert import FakeExpert, serving

PER_DOMAIN = 40
ANSWERS = {
    question.prompt: (domain, question.response)
    for domain in SIX
    for seed in (SEED, PROFILE_SEED)
    for question in generate(domain, "heldout", PER_DOMAIN + 20, seed)
}


def knowing(expert: str) -> Callable[[dict[str, Any]], str]:
    def reply(body: dict[str, Any]) -> str:
        domain, answer = ANSWERS[body["messages"][-1]["content"]]
        return answer if domain == expert else "Answer: I was never told about this"

    return reply


def pocket_config(fakes: dict[str, FakeExpert]) -> GatewayConfig:
    """Return the shipped configuration with fakes in the place of the experts that answer."""
    shipped = yaml.safe_load(config_path("builtin:pocket").read_text())
    records = [
        {
            **{key: value for key, value in record.items() if key not in ("launch", "adapter", "backend")},
            "replicas": [{"base_url": fakes[record["name"]].url}],
        }
        for record in shipped["experts"]
        if record["name"] in fakes
    ]
    return GatewayConfig.model_validate({"experts": records, "routing": shipped["routing"]})


@pytest.mark.slow
async def test_a_sixth_specialist_gets_its_questions_and_takes_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))
    settings = Settings(admin_key=SecretStr("bench"))
    fakes = {name: FakeExpert(models=(name,), reply=knowing(name)) for name in ("base", *SIX)}
    async with serving(*fakes.values()), make_client() as client:
        app = create_app(settings, pocket_config(fakes), tmp_path)
        async with running(Server(settings, app), listening_socket("127.0.0.1", 0)) as url:
            record = {**RECORD, "replicas": [{"base_url": fakes[SIXTH].url}]}
            found = await Bench(client, url, PER_DOMAIN, tmp_path).run(record)

    assert [] == broken(found)
    assert found["registered"]["routed"] >= 0.9
    assert found["profiled"]["routed"] >= 0.9
    assert found["profiled"]["all"] - found["before"]["all"] >= 0.15
    assert all(found["profiled"][domain] >= 0.95 for domain in DOMAINS)
