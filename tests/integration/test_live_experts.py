"""Experts come, change, drain and go on a running gateway, over real sockets; nothing that runs is cut."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from experts.store import SqliteStore
from gateway.cli import app
from gateway.settings import Settings
from router.encoder import Vectors
from tests.conftest import expert_record, gateway_over
from tests.fakes.encoder import FakeEncoder
from tests.fakes.expert import FakeExpert, serving

ADMIN = {"authorization": "Bearer boss"}
MATH = {"domains": ["math"], "examples": ["What is 2 + 2?", "Calculate 10 - 3.", "Solve for x."]}
CHESS = {"examples": ["Which opening begins with the queen's gambit?", "How does the knight move in chess?"]}


@asynccontextmanager
async def gateway(
    experts: list[dict[str, Any]], store: Path | str = ":memory:", encoder: FakeEncoder | None = None, **sections: Any
) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings.model_validate({"keep_alive_seconds": 0.5, "admin_key": "boss", "store": str(store)})
    async with gateway_over(experts, settings=settings, encoder=encoder, **sections) as client:
        client.headers.update(ADMIN)
        yield client


def ask(text: str, model: str = "auto", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def answered_by(client: httpx.AsyncClient, text: str, model: str = "auto") -> str:
    response = await client.post("/v1/chat/completions", json=ask(text, model))
    assert 200 == response.status_code, response.text
    name: str = response.json()["model"]
    return name


async def test_a_registered_expert_gets_its_questions_at_once() -> None:
    general, chess = FakeExpert(), FakeExpert()
    async with serving(general, chess), gateway([expert_record("general", general)]) as client:
        before = await answered_by(client, "How does the bishop move in chess?")
        made = await client.post("/admin/experts", json=expert_record("chess", chess, **CHESS))
        after = await answered_by(client, "How does the bishop move in chess?")
        listed = (await client.get("/v1/models")).json()["data"]

    assert (201, "/admin/experts/chess") == (made.status_code, made.headers["location"])
    assert ("registered", "ready", f'"{made.json()["version"]}"') == (
        made.json()["source"],
        made.json()["state"],
        made.headers["etag"],
    )
    assert ("general", "chess") == (before, after)
    assert ["auto", "council", "general", "chess"] == [each["id"] for each in listed]


async def test_the_same_name_again_is_refused_whether_registered_or_in_the_file() -> None:
    general, chess = FakeExpert(), FakeExpert()
    async with serving(general, chess), gateway([expert_record("general", general)]) as client:
        await client.post("/admin/experts", json=expert_record("chess", chess))
        again = await client.post("/admin/experts", json=expert_record("chess", chess))
        in_file = await client.post("/admin/experts", json=expert_record("general", chess))

    assert [(409, "expert_exists")] * 2 == [(r.status_code, r.json()["error"]["code"]) for r in (again, in_file)]


async def test_a_dry_run_says_who_is_reachable_and_what_would_be_routed_there_and_registers_nothing() -> None:
    general, chess = FakeExpert(), FakeExpert()
    async with serving(general, chess), gateway([expert_record("general", general)]) as client:
        url = "/admin/experts?dry_run=true"
        good = (await client.post(url, json=expert_record("chess", chess, **CHESS))).json()
        dead = {"name": "dead", "replicas": [{"base_url": "http://127.0.0.1:9/v1"}], **CHESS}
        bad = (await client.post(url, json=dead)).json()
        names = [each["name"] for each in (await client.get("/admin/experts")).json()["data"]]

    assert (True, 2, ["chess", "chess"]) == (
        good["reachable"],
        good["routed_here"],
        [e["expert"] for e in good["routing"]],
    )
    assert (False, True) == (bad["reachable"], "could not be reached" in bad["replicas"][0]["error"])
    assert ["general"] == names


async def test_what_is_wrong_with_a_record_is_said_by_field() -> None:
    general = FakeExpert()
    async with serving(general), gateway([expert_record("general", general)]) as client:

        async def refused(**record: Any) -> tuple[int, str]:
            body = {"name": "new", "replicas": [{"base_url": general.url}], **record}
            response = await client.post("/admin/experts", json=body)
            return response.status_code, response.json()["error"]["param"]

        assert (400, "limits.max_in_flight") == await refused(limits={"max_in_flight": 0})
        assert (400, "speciality") == await refused(speciality="chess")
        assert (400, "fallback") == await refused(fallback=["nobody"])
        assert (400, "name") == await refused(name="a b")
        assert (400, "replicas.0.base_url") == await refused(replicas=[{"base_url": "http://169.254.169.254/v1"}])
        assert (400, "replicas.0.api_key") == await refused(
            replicas=[{"base_url": general.url, "api_key": "${NOT_SET_ANYWHERE}"}]
        )
        assert 400 == (await client.post("/admin/experts", content=b"{")).status_code
        assert 401 == (await client.get("/admin/experts", headers={"authorization": ""})).status_code


async def test_a_change_needs_the_version_that_if_match_names() -> None:
    general, chess = FakeExpert(), FakeExpert()
    async with serving(general, chess), gateway([expert_record("general", general)]) as client:
        made = await client.post("/admin/experts", json=expert_record("chess", chess, **CHESS))
        url, etag = "/admin/experts/chess", made.headers["etag"]
        changed = await client.patch(url, json={"description": "Chess.", "domains": None}, headers={"if-match": etag})
        stale = await client.put(url, json=expert_record("chess", chess), headers={"if-match": f"W/{etag}"})
        free = await client.patch(url, json={"tags": ["board"]})
        shown = (await client.get(url)).json()
        again = await client.put(url, json=shown)

    assert (200, "Chess.") == (changed.status_code, changed.json()["description"])
    assert changed.json()["version"] > made.json()["version"]
    assert (412, "version_mismatch") == (stale.status_code, stale.json()["error"]["code"])
    assert (200, ["board"], "Chess.") == (free.status_code, shown["tags"], shown["description"])
    assert (200, shown["description"], shown["examples"]) == (
        again.status_code,
        again.json()["description"],
        again.json()["examples"],
    )


async def test_keys_are_never_shown_and_survive_being_sent_back(monkeypatch: Any) -> None:
    monkeypatch.setenv("CHESS_KEY", "sesame")
    general, chess = FakeExpert(models=("general",)), FakeExpert(models=("chess",))
    async with (
        serving(general, chess),
        gateway([{"name": "general", "replicas": [{"base_url": general.url}]}]) as client,
    ):
        replicas = [{"base_url": chess.url, "api_key": "${CHESS_KEY}"}]
        named = (await client.post("/admin/experts", json={"name": "chess", "replicas": replicas})).json()
        await answered_by(client, "Hello", "chess")
        plain = [{"base_url": chess.url, "api_key": "hunter2"}]
        hidden = (await client.patch("/admin/experts/chess", json={"replicas": plain})).json()
        kept = await client.put("/admin/experts/chess", json={**hidden, "description": "Chess."})
        await answered_by(client, "Hello", "chess")
        elsewhere = [{"base_url": general.url, "api_key": "***"}]
        stolen = await client.patch("/admin/experts/chess", json={"replicas": elsewhere})
        texts = [(await client.get(path)).text for path in ("/admin/experts", "/admin/experts/chess", "/v1/models")]

    assert "${CHESS_KEY}" == named["replicas"][0]["api_key"]
    assert ("***", 200) == (hidden["replicas"][0]["api_key"], kept.status_code)
    assert ["Bearer sesame", "Bearer hunter2"] == [each["authorization"] for each in chess.request_headers]
    assert (400, "replicas.0.api_key") == (stolen.status_code, stolen.json()["error"]["param"])
    assert not any(secret in text for text in texts for secret in ("sesame", "hunter2"))


async def test_a_record_wins_over_the_file_until_it_is_deleted() -> None:
    general, math = FakeExpert(), FakeExpert()
    async with serving(general, math):
        records = [expert_record("general", general), expert_record("math", math, **MATH)]
        async with gateway(records) as client:
            url = "/admin/experts/math"
            first = await client.get(url)
            refused = await client.delete(url)
            changed = await client.patch(url, json={"description": "New."}, headers={"if-match": first.headers["etag"]})
            deleted = await client.delete(url)
            back = (await client.get(url)).json()

    assert ("file", "") == (first.json()["source"], first.json()["description"])
    assert (409, "expert_in_file") == (refused.status_code, refused.json()["error"]["code"])
    assert ("file, changed", "New.") == (changed.json()["source"], changed.json()["description"])
    assert (True, "file") == (deleted.json()["deleted"], deleted.json()["file"]["source"])
    assert ("file", "", 0) == (back["source"], back["description"], back["version"])


async def test_a_drained_expert_is_not_routed_to_and_named_gives_way_to_its_fallback() -> None:
    general, math = FakeExpert(), FakeExpert()
    async with serving(general, math):
        records = [expert_record("general", general), expert_record("math", math, **MATH)]
        async with gateway(records) as client:
            before = await answered_by(client, "What is 2 + 2?")
            drained = (await client.post("/admin/experts/math/drain")).json()
            after = await answered_by(client, "What is 2 + 2?")
            decision = (await client.post("/v1/route", json=ask("What is 2 + 2?"))).json()
            named = await client.post("/v1/chat/completions", json=ask("What is 2 + 2?", "math"))
            await client.patch("/admin/experts/math", json={"fallback": ["general"]})
            stand_in = await answered_by(client, "What is 2 + 2?", "math")
            probe = (await client.post("/admin/experts/math/probe")).json()
            await client.patch("/admin/experts/math", json={"fallback": []})
            resumed = (await client.post("/admin/experts/math/resume")).json()
            again = await answered_by(client, "What is 2 + 2?")

    assert ("math", "general", "math") == (before, after, again)
    assert ("drained", "file, changed") == (drained["state"], drained["source"])
    assert {"expert": "math", "reason": "draining"} in decision["excluded"]
    assert (503, "expert_draining") == (named.status_code, named.json()["error"]["code"])
    assert "retry-after" in named.headers
    assert "general" == stand_in
    assert (True, True) == (probe["ok"], probe["text"].startswith("you said"))
    assert "ready" == resumed["state"]


async def test_when_the_generalist_is_drained_others_answer_and_when_all_are_nobody_does() -> None:
    general, math = FakeExpert(), FakeExpert()
    async with serving(general, math):
        records = [expert_record("general", general), expert_record("math", math, **MATH)]
        async with gateway(records) as client:
            before = await answered_by(client, "Tell me something.")
            await client.post("/admin/experts/general/drain")
            after = await answered_by(client, "Tell me something.")
            council = await answered_by(client, "Tell me something.", "council")
            await client.post("/admin/experts/math/drain")
            nobody = await client.post("/v1/chat/completions", json=ask("Tell me something."))
            health = await client.get("/health")

    assert ("general", "math", "math") == (before, after, council)
    assert (404, "no_eligible_expert") == (nobody.status_code, nobody.json()["error"]["code"])
    assert (503, {"general": "drained", "math": "drained"}) == (health.status_code, health.json()["experts"])


async def test_draining_and_resuming_leaves_no_record_behind() -> None:
    fake = FakeExpert()
    async with serving(fake), gateway([expert_record(name, fake) for name in ("general", "math")]) as client:
        await client.post("/admin/experts/math/drain")
        resumed = (await client.post("/admin/experts/math/resume")).json()

    assert ("file", 0) == (resumed["source"], resumed["version"])


async def until_draining(client: httpx.AsyncClient) -> str:
    """Return the state of `slow` once it is draining, or what it still is after a second."""
    for _ in range(50):
        if (state := str((await client.get("/admin/experts/slow")).json()["state"])) == "draining":
            return state
        await asyncio.sleep(0.02)
    return state


async def test_a_stream_survives_the_removal_of_its_expert() -> None:
    general = FakeExpert()
    slow = FakeExpert(reply=lambda _: "one two three four five six seven eight nine ten", word_delay=0.25)
    async with serving(general, slow), gateway([expert_record("general", general)]) as client:
        await client.post("/admin/experts", json=expert_record("slow", slow))
        async with client.stream("POST", "/v1/chat/completions", json=ask("Go", "slow", stream=True)) as response:
            lines = response.aiter_lines()
            await anext(lines)
            begun = time.monotonic()
            removal = asyncio.create_task(client.delete("/admin/experts/slow?drain_seconds=20"))
            during = await until_draining(client)
            text = "\n".join([line async for line in lines])
        removed = (await removal).json()
        seconds = time.monotonic() - begun
        gone = await client.get("/admin/experts/slow")

    assert "draining" == during
    assert ("ten" in text, "[DONE]" in text) == (True, True)
    assert (True, 0) == (removed["deleted"], removed["in_flight"])
    assert 1.5 < seconds < 15
    assert (404, "expert_not_found") == (gone.status_code, gone.json()["error"]["code"])


async def test_a_stream_goes_on_when_the_drain_was_too_short() -> None:
    general = FakeExpert()
    slow = FakeExpert(reply=lambda _: "one two three four five six", word_delay=0.3)
    async with serving(general, slow), gateway([expert_record("general", general)]) as client:
        await client.post("/admin/experts", json=expert_record("slow", slow))
        async with client.stream("POST", "/v1/chat/completions", json=ask("Go", "slow", stream=True)) as response:
            lines = response.aiter_lines()
            await anext(lines)
            removed = (await client.delete("/admin/experts/slow?drain_seconds=0")).json()
            text = "\n".join([line async for line in lines])

    assert (True, 1) == (removed["deleted"], removed["in_flight"])
    assert ("six" in text, "[DONE]" in text) == (True, True)


class Held(FakeEncoder):
    """An encoder that waits, once told to, so that something can happen while a request is being routed."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.reached = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def encode(self, texts: Sequence[str]) -> Vectors:
        self.reached.set()
        await self.go.wait()
        return await super().encode(texts)


async def test_an_expert_that_goes_while_a_request_is_routed_still_answers_it() -> None:
    general, math, encoder = FakeExpert(), FakeExpert(), Held()
    async with serving(general, math):
        record = expert_record("math", math, **MATH)
        patient = {"budget_ms": 20_000}
        async with gateway([expert_record("general", general)], encoder=encoder, routing=patient) as client:
            await client.post("/admin/experts", json=record)
            encoder.go.clear()
            encoder.reached.clear()
            asking = asyncio.create_task(answered_by(client, "What is 2 + 2, if you please?"))
            await encoder.reached.wait()
            removed = await client.delete("/admin/experts/math?drain_seconds=0")
            encoder.go.set()
            answer = await asking

    assert (200, "math") == (removed.status_code, answer)


async def test_what_others_need_is_not_taken_away() -> None:
    general, math, judge = FakeExpert(), FakeExpert(), FakeExpert()
    async with serving(general, math, judge):
        records = [expert_record("general", general), expert_record("writer", general)]
        async with gateway(records, fusion={"fuser": "writer"}) as client:
            await client.post("/admin/experts", json=expert_record("base", math))
            await client.post("/admin/experts", json=expert_record("leaner", judge, fallback=["base"]))
            refused = await client.delete("/admin/experts/base")
            await client.patch("/admin/experts/leaner", json={"fallback": []})
            allowed = await client.delete("/admin/experts/base?drain_seconds=0")

    assert (409, "expert_in_use") == (refused.status_code, refused.json()["error"]["code"])
    assert "'leaner' names 'base' as its fallback" in refused.json()["error"]["message"]
    assert 200 == allowed.status_code


async def test_servers_of_others_are_not_put_to_sleep() -> None:
    general = FakeExpert()
    async with serving(general), gateway([expert_record("general", general)]) as client:
        answers = [await client.post(f"/admin/experts/general/{verb}") for verb in ("wake", "sleep")]

    assert [(409, "expert_not_ours")] * 2 == [(each.status_code, each.json()["error"]["code"]) for each in answers]


async def test_what_cannot_run_here_is_refused_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("CONSILIUM_VLLM_PYTHON", raising=False)
    general = FakeExpert()
    async with serving(general), gateway([expert_record("general", general)]) as client:
        record = {"name": "own", "backend": "vllm", "launch": {"model": "builtin:pocket/base"}}
        refused = await client.post("/admin/experts", json=record)
        changed = await client.patch("/admin/experts/general", json={"replicas": None, **record, "name": "general"})
        listed = (await client.get("/admin/experts")).json()["data"]

    assert [(400, "launch")] * 2 == [(each.status_code, each.json()["error"]["param"]) for each in (refused, changed)]
    assert "no vLLM environment" in refused.json()["error"]["message"]
    assert [("general", "file")] == [(each["name"], each["source"]) for each in listed]


async def test_a_probe_says_what_is_wrong() -> None:
    general, broken = FakeExpert(), FakeExpert(status=500)
    async with serving(general, broken), gateway([expert_record("general", general)]) as client:
        made = (await client.post("/admin/experts", json=expert_record("broken", broken))).json()
        probe = (await client.post("/admin/experts/broken/probe")).json()

    assert made["version"] > 0
    assert (False, "expert_unavailable") == (probe["ok"], probe["error"]["code"])


async def test_only_allowed_hosts_are_registered() -> None:
    general = FakeExpert()
    async with serving(general):
        allowed = {"allowed_upstreams": ["*.internal", "127.0.0.1"]}
        async with gateway([expert_record("general", general)], registry=allowed) as client:
            good = await client.post("/admin/experts", json=expert_record("near", general))
            bad = {"name": "far", "replicas": [{"base_url": "http://example.org/v1"}]}
            far = await client.post("/admin/experts", json=bad)

    assert (201, 400) == (good.status_code, far.status_code)
    assert "registry.allowed_upstreams" in far.json()["error"]["message"]


async def test_registrations_are_there_after_a_restart_and_bad_ones_stop_nothing(tmp_path: Path) -> None:
    general, chess = FakeExpert(), FakeExpert()
    store = tmp_path / "kept.db"
    async with serving(general, chess):
        records = [expert_record("general", general)]
        async with gateway(records, store) as client:
            await client.post("/admin/experts", json=expert_record("chess", chess, **CHESS))
        kept = SqliteStore(store)
        await kept.put("experts/new", {"config": {"name": "new", "of_a_later_version": 1}, "drained": False})
        await kept.put("experts/odd", {"format": 9})
        await kept.aclose()
        async with gateway(records, store) as client:
            names = [each["name"] for each in (await client.get("/admin/experts")).json()["data"]]
            answer = await answered_by(client, "How does the bishop move in chess?")

    assert (["general", "chess"], "chess") == (names, answer)


async def test_the_command_line_adds_drains_and_removes(tmp_path: Path) -> None:
    general, chess = FakeExpert(), FakeExpert()
    async with serving(general, chess), gateway([expert_record("general", general)]) as client:
        url = str(client.base_url).rstrip("/")
        file = tmp_path / "more.yaml"
        file.write_text(json.dumps({"experts": [expert_record("chess", chess, **CHESS)]}))

        async def said(*words: str, key: str = "boss") -> tuple[int, str]:
            environment = {"CONSILIUM_URL": url, "CONSILIUM_ADMIN_KEY": key, "COLUMNS": "200"}
            done = await asyncio.to_thread(CliRunner().invoke, app, ["experts", *words], env=environment)
            return done.exit_code, done.output + (str(done.exception) if done.exception else "")

        rehearsed = await said("add", str(file), "--dry-run")
        added = await said("add", str(file))
        again = await said("add", str(file))
        replaced = await said("add", str(file), "--replace", "--json")
        listed = await said("list", "--json")
        probed = await said("probe", "chess")
        drained = await said("drain", "chess")
        resumed = await said("resume", "chess")
        asleep = await said("sleep", "chess")
        removed = await said("remove", "chess", "--drain-seconds", "1")
        stranger = await said("list", key="x")

    assert (0, True) == (rehearsed[0], "nothing was registered" in rehearsed[1])
    assert (0, True) == (added[0], "chess" in added[1]), added
    assert (1, True) == (again[0], "is registered already" in again[1])
    assert (0, "chess") == (replaced[0], json.loads(replaced[1])[0]["name"])
    assert ["general", "chess"] == [each["name"] for each in json.loads(listed[1])]
    assert (0, True) == (probed[0], "first token" in probed[1])
    assert [(0, "chess: drained\n"), (0, "chess: ready\n")] == [drained, resumed]
    assert (1, True) == (asleep[0], "not this gateway's" in asleep[1])
    assert (0, "Removed 'chess'.\n") == removed
    assert (1, True) == (stranger[0], "Send the admin key" in stranger[1])
