"""The page as files over HTTP, and the reads it needs: no browser here (tests/e2e/page has one)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.api.ui import assets
from gateway.settings import Settings
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
ADMIN = {"authorization": "Bearer boss"}
UI = Path(__file__).parents[2] / "gateway" / "ui"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    fake = FakeExpert()
    settings = Settings.model_validate({"admin_key": "boss"})
    async with serving(fake):
        experts = [
            expert_record("sums", fake, domains=["math"], examples=["What is 2 + 2?", "Solve for x."]),
            expert_record("rules", fake, domains=["law"]),
            expert_record("rest", fake),
        ]
        async with gateway_over(experts, settings=settings, routing={"default": "rest"}) as opened:
            yield opened


async def test_browsers_get_the_page_and_everybody_else_json(client: httpx.AsyncClient) -> None:
    page = await client.get("/", headers=BROWSER)
    plain = await client.get("/", headers={"accept": "*/*"})

    assert ("text/html; charset=utf-8", True) == (page.headers["content-type"], "<title>Consilium</title>" in page.text)
    assert "consilium" == plain.json()["name"]


async def test_every_file_the_page_names_is_there_and_of_its_kind(client: httpx.AsyncClient) -> None:
    named = {
        name
        for path in UI.iterdir()
        for name in re.findall(r"(?:/ui/|from \"\./|import\(\"\./)([a-z_]+\.[a-z]+)", path.read_text())
    }
    kinds = {name: (await client.get(f"/ui/{name}")).headers["content-type"].split(";")[0] for name in named}

    assert set(assets()) - {"index.html"} == named
    assert {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"} == {
        name.rpartition(".")[2]: kind for name, kind in kinds.items()
    }


async def test_the_page_may_run_only_its_own_scripts_and_speak_only_to_its_gateway(client: httpx.AsyncClient) -> None:
    headers = (await client.get("/", headers=BROWSER)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))

    assert "'none'" == policy["default-src"]
    assert "'self'" == policy["script-src"] == policy["style-src"] == policy["connect-src"]
    assert "'none'" == policy["frame-ancestors"]
    assert "nosniff" == headers["x-content-type-options"]
    assert "no-referrer" == headers["referrer-policy"]


async def test_a_file_that_has_not_changed_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/ui/app.js")
    second = await client.get("/ui/app.js", headers={"if-none-match": first.headers["etag"]})

    assert (200, 304, b"") == (first.status_code, second.status_code, second.content)


@pytest.mark.parametrize("path", ["/ui/nothing.js", "/ui/..%2fapp.py", "/ui/../app.py", "/ui/__init__.py"])
async def test_nothing_else_can_be_read_through_it(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert (404, "not_found") == (answer.status_code, answer.json()["error"]["code"])


async def test_no_file_of_the_page_names_another_host() -> None:
    texts = "\n".join(path.read_text() for path in UI.iterdir())

    assert {"http://www.w3.org/2000/svg", "http://other-box:8000/v1"} == set(re.findall(r"https?://[^\"'\s<>]+", texts))


async def test_what_routing_may_choose_from_is_listed(client: httpx.AsyncClient) -> None:
    told = (await client.get("/v1/route")).json()
    tried = {
        policy: (
            await client.post(
                "/v1/route", json={"messages": [{"role": "user", "content": "2 + 2?"}], "routing": {"policy": policy}}
            )
        ).status_code
        for policy in told["policies"]
    }

    assert {200} == set(tried.values())
    assert ("auto", "none") == tuple(told["fusion"][:2])
    assert "single" not in told["fusion"]
    assert "math" in told["domains"]
    assert {"policy": "auto", "cost_quality": 1.0} == {key: told["usual"][key] for key in ("policy", "cost_quality")}


async def test_the_map_has_what_was_asked_and_the_experts_examples(client: httpx.AsyncClient) -> None:
    for text in ("What is 3 + 4?", "Is this contract void?"):
        body = {"messages": [{"role": "user", "content": text}]}
        (await client.post("/v1/chat/completions", json=body)).raise_for_status()
    found = (await client.get("/admin/decisions/map", headers=ADMIN)).json()
    own = [each["text"] for each in found["examples"] if each["expert"] == "sums"]
    lent = [each for each in found["examples"] if each["expert"] == "rules"]

    assert 2 == len(found["queries"])
    assert all(-1 <= each[axis] <= 1 for each in [*found["queries"], *found["examples"]] for axis in "xy")
    assert ["What is 2 + 2?", "Solve for x."] == own
    assert lent
    assert not any(each["own"] for each in lent)
    assert all("prompt" not in each for each in found["queries"])
    assert 401 == (await client.get("/admin/decisions/map")).status_code


async def test_the_map_shows_prompts_where_they_are_kept() -> None:
    fake = FakeExpert()
    settings = Settings.model_validate({"admin_key": "boss"})
    routing = {"learning": {"keep_prompts": True}}
    async with serving(fake):
        experts = [expert_record("sums", fake, domains=["math"]), expert_record("rest", fake)]
        async with gateway_over(experts, settings=settings, routing={**routing, "default": "rest"}) as client:
            body = {"messages": [{"role": "user", "content": "What is 3 + 4?"}]}
            (await client.post("/v1/chat/completions", json=body)).raise_for_status()
            found = (await client.get("/admin/decisions/map", headers=ADMIN)).json()

    assert ["What is 3 + 4?"] == [each["prompt"] for each in found["queries"]]
