"""Keys over real sockets: who comes in, for how long, and which experts a key may use, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.settings import Settings
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving

BOSS = {"authorization": "Bearer boss"}
MATH = {"domains": ["math"], "examples": ["What is 2 + 2?", "Calculate 10 - 3.", "Solve for x."]}
LAW = {"domains": ["law"], "examples": ["Is this contract valid?", "What does the law say about theft?"]}


def ask(text: str = "What is 2 + 2?", model: str = "auto", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def bearer(made: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {made['key']}"}


async def made(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/admin/keys", json={"name": "ann", **body}, headers=BOSS)
    assert 201 == answer.status_code, answer.text
    return dict(answer.json())


async def chat(client: httpx.AsyncClient, key: dict[str, Any], **body: Any) -> httpx.Response:
    return await client.post("/v1/chat/completions", json=ask(**body), headers=bearer(key))


class Team:
    """A mathematician, a lawyer and a generalist who must not be asked; they stand in for each other."""

    def __init__(self) -> None:
        self.math, self.law, self.base = FakeExpert(), FakeExpert(), FakeExpert()

    @asynccontextmanager
    async def gateway(self, **sections: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with serving(self.math, self.law, self.base):
            records = [
                expert_record("math", self.math, tags=["data:public", "site:a"], fallback=["base"], **MATH),
                expert_record("law", self.law, tags=["data:public"], fallback=["base"], **LAW),
                expert_record("base", self.base),
            ]
            settings = Settings(keep_alive_seconds=0.5, admin_key=SecretStr("boss"))
            async with gateway_over(records, settings=settings, **sections) as client:
                yield client

    @property
    def asked(self) -> tuple[int, int, int]:
        return len(self.math.requests), len(self.law.requests), len(self.base.requests)


@pytest.fixture
def team() -> Team:
    return Team()


async def test_a_gateway_is_open_until_the_first_key_and_never_again(team: Team) -> None:
    async with team.gateway() as client:
        before = await client.get("/v1/models")
        key = await made(client)
        without = await client.get("/v1/models")
        with_key = await client.get("/v1/models", headers=bearer(key))
        gone = await client.delete(f"/admin/keys/{key['id']}", headers=BOSS)
        revoked = await client.get("/v1/models", headers=bearer(key))
        after = await client.get("/v1/models")

    assert [200, 401, 200] == [each.status_code for each in (before, without, with_key)]
    assert (True, "revoked") == (gone.json()["deleted"], gone.json()["state"])
    assert [401, 401] == [revoked.status_code, after.status_code]
    assert "revoked" in revoked.json()["error"]["message"]


async def test_a_key_is_shown_once_and_kept_as_a_hash_only(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSILIUM_STORE", str(tmp_path / "kept.db"))
    async with team.gateway() as client:
        key = await made(client)
        listed = await client.get("/admin/keys", headers=BOSS)
    kept = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))  # noqa: ASYNC240

    assert key["key"].startswith("sk-")
    assert len(key["key"]) >= 46
    assert [key["id"]] == [each["id"] for each in listed.json()["data"]]
    assert key["key"] not in listed.text
    assert "hash" not in listed.text
    assert key["id"].encode() in kept
    assert key["key"].removeprefix("sk-").encode() not in kept


async def test_a_key_holds_until_it_expires(team: Team) -> None:
    async with team.gateway() as client:
        key = await made(client, expires_at=time.time() + 1.0)
        before = await chat(client, key)
        await asyncio.sleep(1.1)
        after = await chat(client, key)
        late = await client.post("/admin/keys", json={"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, headers=BOSS)

    assert [200, 401, 400] == [each.status_code for each in (before, after, late)]
    assert "expired" in after.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x", "experts": ["nobody"]},
        {"name": "x", "requests_per_minute": 0},
        {"name": "x", "budget_usd": -1},
        {"name": "x", "budget_period": "week"},
        {"name": "x", "rpm": 3},
        [],
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(team: Team, body: Any) -> None:
    async with team.gateway() as client:
        answer = await client.post("/admin/keys", json=body, headers=BOSS)
        listed = await client.get("/admin/keys", headers=BOSS)

    assert 400 == answer.status_code
    assert [] == listed.json()["data"]


async def test_a_key_changes_while_it_is_used_and_its_secret_stays(team: Team) -> None:
    async with team.gateway() as client:
        key = await made(client, experts=["math"], requests_per_minute=1000, budget_usd=5)
        path = f"/admin/keys/{key['id']}"
        before = (await chat(client, key, model="law")).status_code
        changed = await client.patch(path, json={"experts": ["law"], "budget_usd": None}, headers=BOSS)
        after = [(await chat(client, key, model=model)).status_code for model in ("law", "math")]

    assert 403 == before
    assert 200 == changed.status_code
    assert (["law"], None, 1000) == tuple(changed.json()[f] for f in ("experts", "budget_usd", "requests_per_minute"))
    assert "key" not in changed.json()
    assert [200, 403] == after


@pytest.mark.parametrize(
    ("patch", "param"),
    [
        ({"colour": "red"}, "colour"),
        ({"experts": ["nobody"]}, "experts"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"name": None}, "name"),
        ({"expires_at": 1.0}, "expires_at"),
        ([], None),
    ],
)
async def test_a_change_that_makes_no_sense_changes_nothing(team: Team, patch: Any, param: str | None) -> None:
    async with team.gateway() as client:
        key = await made(client)
        refused = await client.patch(f"/admin/keys/{key['id']}", json=patch, headers=BOSS)
        after = (await client.get(f"/admin/keys/{key['id']}", headers=BOSS)).json()

    assert (400, param) == (refused.status_code, refused.json()["error"]["param"])
    assert {**after, "key": key["key"]} == key


async def test_a_revoked_key_stays_revoked(team: Team) -> None:
    async with team.gateway() as client:
        key = await made(client)
        await client.delete(f"/admin/keys/{key['id']}", headers=BOSS)
        refused = await client.patch(f"/admin/keys/{key['id']}", json={"name": "bob"}, headers=BOSS)
        nobody = await client.patch("/admin/keys/key_none", json={"name": "bob"}, headers=BOSS)

    assert (400, 404) == (refused.status_code, nobody.status_code)


async def test_keys_are_the_administrators_business(team: Team) -> None:
    async with team.gateway() as client:
        key = await made(client)
        answers = [
            await client.get("/admin/keys", headers=bearer(key)),
            await client.post("/admin/keys", json={"name": "more"}, headers=bearer(key)),
            await client.get("/admin/usage", headers=bearer(key)),
            await client.get("/admin/keys"),
        ]
        unknown = await client.delete("/admin/keys/key_0", headers=BOSS)
        shown = await client.get(f"/admin/keys/{key['id']}", headers=BOSS)

    assert [403, 403, 403, 401] == [each.status_code for each in answers]
    assert ("ann", "active") == (shown.json()["name"], shown.json()["state"])
    assert (404, "key_not_found") == (unknown.status_code, unknown.json()["error"]["code"])


async def test_an_expert_that_a_key_may_not_use_is_named_in_vain_and_not_spoken_of(team: Team) -> None:
    async with team.gateway() as client:
        key = await made(client, experts=["math"])
        named = await chat(client, key, model="law")
        unknown = await chat(client, key, model="nobody")
        models = await client.get("/v1/models", headers=bearer(key))
        hidden = await client.get("/v1/models/law", headers=bearer(key))
        question = ask("What does the law say about theft?")
        routed = await client.post("/v1/route", json=question, headers=bearer(key))
        wanted = await client.post(
            "/v1/route", json={**question, "routing": {"experts": {"allow": ["law"]}}}, headers=bearer(key)
        )

    assert (403, "permission_denied") == (named.status_code, named.json()["error"]["code"])
    assert "law" in named.json()["error"]["message"]
    assert "law" not in unknown.json()["error"]["message"].replace("'nobody'", "")
    assert ["auto", "council", "math"] == [each["id"] for each in models.json()["data"]]
    assert 404 == hidden.status_code
    assert ["math"] == [each["expert"] for each in routed.json()["experts"]]
    assert "law" not in routed.text
    assert "base" not in routed.text
    assert 404 == wanted.status_code
    assert (0, 0, 0) == team.asked


@pytest.mark.parametrize(
    ("model", "routing"),
    [
        ("math", {}),
        ("auto", {}),
        ("council", {"fusion": "vote"}),
        ("council", {"fusion": "synthesize"}),
        ("council", {"fusion": "rank"}),
        ("auto", {"fusion": "cascade"}),
        ("auto", {"fusion": "decompose"}),
        ("auto", {"policy": "fixed"}),
    ],
)
@pytest.mark.parametrize("failing", [False, True])
async def test_whatever_is_asked_and_whatever_fails_a_forbidden_expert_is_never_called(
    team: Team, model: str, routing: dict[str, Any], failing: bool
) -> None:
    team.math.status = 500 if failing else 200
    async with team.gateway(routing={"default": "base"}, fusion={"fuser": "base"}) as client:
        key = await made(client, tags=["data:public"])
        for text in ("What is 2 + 2?", "What does the law say about theft, and what is 3 + 4?"):
            await chat(client, key, text=text, model=model, routing=routing)

    assert 0 == len(team.base.requests)
    assert len(team.math.requests) + len(team.law.requests) > 0


async def test_tags_of_a_key_are_all_required(team: Team) -> None:
    async with team.gateway() as client:
        key = await made(client, tags=["data:public", "site:a"])
        answer = await chat(client, key, text="What does the law say about theft?")
        models = await client.get("/v1/models", headers=bearer(key))

    assert "math" == answer.json()["model"]
    assert ["auto", "council", "math"] == [each["id"] for each in models.json()["data"]]


async def test_neither_a_judge_nor_a_reader_sees_what_a_key_keeps_from_them(team: Team) -> None:
    sections = {
        "routing": {
            "default": "law",
            "llm": {"expert": "base", "below": 1.0},
            "learning": {"judge": {"expert": "base", "share": 1.0}},
        }
    }
    async with team.gateway(**sections) as client:
        confined, free = await made(client, experts=["math", "law"]), await made(client)
        await chat(client, confined, text="Something about nothing in particular")
        await asyncio.sleep(0.3)
        kept_from = len(team.base.requests)
        await chat(client, free, text="Something about nothing in particular, again")
        await asyncio.sleep(0.3)

    assert 0 == kept_from
    assert len(team.base.requests) >= 2


async def test_a_key_has_its_priority_and_may_ask_for_less_only(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.pipeline import Pipeline

    seen: list[int] = []
    answer = Pipeline.answer

    async def watched(self: Pipeline, request: Any, client: str = "") -> Any:
        seen.append(request.options.priority)
        return await answer(self, request, client)

    monkeypatch.setattr(Pipeline, "answer", watched)
    async with team.gateway() as client:
        key, free = await made(client, priority=-2), await made(client)
        for holder, routing in ((key, {}), (key, {"priority": 9}), (key, {"priority": -7}), (free, {"priority": 9})):
            await chat(client, holder, routing=routing)

    assert [-2, -2, -7, 9] == seen


async def test_keys_of_the_environment_stay_and_are_not_limited(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_API_KEYS", "old")
    async with team.gateway() as client:
        key = await made(client, requests_per_minute=1)
        old = [await client.post("/v1/chat/completions", json=ask(), headers={"x-api-key": "old"}) for _ in range(3)]
        new = [await chat(client, key) for _ in range(2)]

    assert [200, 200, 200] == [each.status_code for each in old]
    assert [200, 429] == [each.status_code for each in new]
    assert not [name for name in old[0].headers if name.startswith("x-ratelimit")]


async def test_the_command_line_gives_out_lists_changes_and_revokes(team: Team) -> None:
    async with team.gateway() as client:
        environment = {"CONSILIUM_ADMIN_KEY": "boss", "CONSILIUM_URL": str(client.base_url), "COLUMNS": "200"}

        async def run(*words: str) -> Result:
            return await asyncio.to_thread(CliRunner().invoke, app, ["keys", *words], env=environment)

        limits = ("--requests-per-minute", "2", "--tag", "data:public", "--expires-days", "1", "--budget-usd", "3")
        secret = (await run("create", "bob", *limits)).stdout.strip()
        answer = await client.get("/v1/models", headers={"x-api-key": secret})
        (kept,) = json.loads((await run("list", "--json")).stdout)
        table = (await run("list")).stdout
        changed = await run("change", kept["id"], "requests_per_minute=", "experts=math, law", "budget_usd=7.5")
        (after,) = json.loads((await run("list", "--json")).stdout)
        revoked = await run("revoke", kept["id"])
        refused = await client.get("/v1/models", headers={"x-api-key": secret})
        wrong = await run("create", "bob", "--expert", "nobody")

    assert [200, 401] == [answer.status_code, refused.status_code]
    assert ("bob", 2, ["data:public"], 3.0) == tuple(
        kept[each] for each in ("name", "requests_per_minute", "tags", "budget_usd")
    )
    assert (0, None, ["math", "law"], 7.5) == (
        changed.exit_code,
        *(after[each] for each in ("requests_per_minute", "experts", "budget_usd")),
    )
    assert kept["id"] in table
    assert secret not in table
    assert (0, 1) == (revoked.exit_code, wrong.exit_code)
