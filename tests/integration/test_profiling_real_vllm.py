"""Two pocket experts on real vLLM are measured on twenty questions a domain, and the specialist comes out first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.processes import free_port, started, wait_for

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

PER_DOMAIN = 20


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("profiling")
    port, log = free_port(), folder / "gateway.log"
    secrets = {"CONSILIUM_ADMIN_KEY": "admin", "CONSILIUM_STORE": str(folder / "store.db")}
    with started("gateway", "serve", "--config", "builtin:pocket", "--port", str(port), log=log, **secrets) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health/readiness", process, log, seconds=300)
        with httpx.Client(base_url=url, timeout=60, headers={"authorization": "Bearer admin"}) as client:
            yield client


def measured(gateway: httpx.Client, expert: str) -> dict[str, Any]:
    body = {"per_domain": PER_DOMAIN, "run_code": True}
    job = gateway.post(f"/admin/experts/{expert}/profile", json=body).json()
    while job["state"] in ("queued", "running"):
        time.sleep(0.5)
        job = gateway.get(f"/admin/jobs/{job['id']}").json()
    assert "done" == job["state"], job
    result: dict[str, Any] = job["result"]
    return result


def test_the_specialist_ranks_first_in_its_domain_and_only_there(gateway: httpx.Client) -> None:
    found = {name: measured(gateway, name) for name in ("math", "geography")}
    skills = {name: {d: s["accuracy"] for d, s in result["skills"].items()} for name, result in found.items()}
    decision = gateway.post(
        "/v1/route", json={"messages": [{"role": "user", "content": "What is 431 plus 268?"}], "model": "auto"}
    ).json()

    assert {PER_DOMAIN} == {s["count"] for result in found.values() for s in result["skills"].values()}
    assert skills["math"]["math"] >= 0.8 > 0.5 >= skills["geography"]["math"], skills
    assert skills["geography"]["geography"] >= 0.8 > 0.5 >= skills["math"]["geography"], skills
    assert [] == found["math"]["unknown_domains"]
    assert 0 < found["math"]["latency_ms"] < 60_000
    assert found["math"]["cost_usd_per_question"] > 0
    assert "math" == decision["experts"][0]["expert"]
    assert f"n={PER_DOMAIN}" in decision["candidates"][0]["reason"]
