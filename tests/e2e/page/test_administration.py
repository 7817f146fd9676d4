"""The administrator's views in a real Chromium: experts come and go, skills, decisions, the map, usage."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.page.conftest import Opener
from tests.e2e.page.world import ADMIN_KEY, SKILLS, World

pytestmark = pytest.mark.browser
ADMIN = {"x-api-key": ADMIN_KEY}
ROSES = "When do I prune roses?"


@pytest.fixture
def gardener(world: World) -> Iterator[str]:
    """An expert's name that is free again afterwards."""
    yield "gardener"
    httpx.delete(f"{world.url}/admin/experts/gardener", headers=ADMIN)


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name, exact=True)


def asked(world: World, *texts: str) -> None:
    for text in texts:
        body = {"messages": [{"role": "user", "content": text}]}
        httpx.post(f"{world.url}/v1/chat/completions", json=body, timeout=30).raise_for_status()


def test_an_expert_registered_through_the_form_answers_drains_and_leaves(
    opened: Opener, world: World, gardener: str
) -> None:
    page = opened("experts")
    page.get_by_role("button", name="Register an expert").click()
    form = page.get_by_role("dialog", name="Register an expert")
    form.get_by_label("Name", exact=True).fill("gardener")
    form.get_by_label("Server", exact=True).fill(world.spare.url)
    form.get_by_label("Domains").fill("gardening")
    form.get_by_label("Example prompts").fill(f"{ROSES}\nHow do I grow tomatoes from seed?\nWhich soil do roses need?")
    form.get_by_role("button", name="Dry run").click()
    expect(form.get_by_role("status")).to_contain_text("3 of 3 examples come here")
    assert 404 == httpx.get(f"{world.url}/admin/experts/gardener", headers=ADMIN).status_code
    form.get_by_role("button", name="Register", exact=True).click()
    line = row(page, gardener)
    expect(line).to_contain_text("ready")
    expect(line.locator(".tag").last).to_have_text("registered")
    expect(line).to_be_in_viewport()
    expect(row(page, "maths").get_by_role("button", name="Remove")).to_have_count(0)
    states = [box for each in page.locator(".expert .state").all() if (box := each.bounding_box())]
    assert 1 == len({round(box["x"]) for box in states}), "what one can do to it does not move a row's columns"

    line.get_by_role("button", name="Ask").click()
    expect(page.get_by_label("Model")).to_have_value("gardener")
    page.get_by_label("Model").select_option("auto")
    page.get_by_role("textbox", name="Message", exact=True).fill(ROSES)
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".turn.answer .text")).to_have_text("Prune roses in late winter.")
    expect(page.locator(".turn.answer .chip").first).to_have_text("gardener")

    page.get_by_role("link", name="Experts").click()
    line.get_by_role("button", name="Drain").click()
    expect(line).to_contain_text("drained")
    line.get_by_role("button", name="Resume").click()
    expect(line).to_contain_text("ready")
    line.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(line).to_have_count(0)
    assert 404 == httpx.get(f"{world.url}/admin/experts/gardener", headers=ADMIN).status_code


def test_what_the_gateway_refuses_is_said_beside_the_field(opened: Opener, world: World) -> None:
    page = opened("experts")
    page.get_by_role("button", name="Register an expert").click()
    form = page.get_by_role("dialog", name="Register an expert")
    form.get_by_label("Name", exact=True).fill("no spaces please")
    form.get_by_label("Server", exact=True).fill(world.spare.url)
    form.get_by_role("button", name="Dry run").click()

    expect(form.get_by_role("status")).to_contain_text("name")
    expect(form.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("Name", exact=True)).to_be_focused()


def test_a_dry_run_says_when_a_server_does_not_answer(opened: Opener) -> None:
    page = opened("experts")
    page.get_by_role("button", name="Register an expert").click()
    form = page.get_by_role("dialog", name="Register an expert")
    form.get_by_label("Name", exact=True).fill("ghost")
    form.get_by_label("Server", exact=True).fill("http://127.0.0.1:9/v1")
    form.get_by_role("button", name="Dry run").click()

    expect(form.get_by_role("status")).to_contain_text("does not answer")


def test_the_heat_map_shows_every_measured_skill_with_its_count(opened: Opener) -> None:
    page = opened("experts")
    heat = page.get_by_role("table", name=re.compile("Share of right answers"))
    expect(heat.get_by_role("row")).to_have_count(len(SKILLS) + 1)
    domains = heat.get_by_role("columnheader").all_inner_texts()
    shown = {
        (line.get_by_role("rowheader").inner_text(), domain): cell.split("\n")
        for line in heat.locator("tbody tr").all()
        for domain, cell in zip(domains, line.get_by_role("cell").all_inner_texts(), strict=True)
        if "%" in cell
    }

    told = {
        (expert, domain): [f"{right:.0%}".replace("%", " %"), str(count)]
        for expert, skills in SKILLS.items()
        for domain, (right, count) in skills.items()
    }
    assert told == shown


def test_profiling_shows_how_far_it_is_and_its_skills_come_in(opened: Opener, world: World, gardener: str) -> None:
    record = {"name": gardener, "replicas": [{"base_url": world.spare.url}], "routed": False}
    httpx.post(f"{world.url}/admin/experts", json=record, headers=ADMIN).raise_for_status()
    world.spare.first_token_delay = 0.3
    page = opened("experts")
    line = row(page, gardener)
    try:
        line.get_by_role("button", name="Profile").click()
        dialog = page.get_by_role("dialog", name="Profile gardener")
        dialog.get_by_label("Questions at most").fill("40")
        dialog.get_by_role("button", name="Start").click()
        expect(line.get_by_role("progressbar", name="Progress of gardener")).to_be_visible()
        expect(line.locator(".job")).to_contain_text(re.compile(r"\d+ of \d+ questions"))
        expect(line.locator(".job")).to_contain_text("done", timeout=30_000)
    finally:
        world.spare.first_token_delay = 0.0
    told = httpx.get(f"{world.url}/admin/experts/{gardener}", headers=ADMIN).json()["measured"]
    line.get_by_text("Details").click()

    for domain, skill in told["skills"].items():
        expect(line.locator(".more")).to_contain_text(f"{domain} {skill['accuracy']:.0%}".replace("%", " %"))


def test_decisions_come_live_and_each_is_explained(opened: Opener, world: World) -> None:
    page = opened("decisions")
    expect(page.get_by_role("heading", name="Last decisions")).to_be_visible()
    asked(world, "How does a lens bend light in my glasses?")
    found = page.get_by_role("button", name="How does a lens bend light in my glasses?")
    expect(found).to_be_visible()
    found.click()
    latest = httpx.get(f"{world.url}/admin/decisions?limit=1", headers=ADMIN).json()["data"][0]
    detail = page.get_by_role("complementary", name="One decision")

    expect(detail).to_contain_text(f"request {latest['request_id']}")
    expect(detail).to_contain_text(latest["routing"]["reason"])
    assert next(iter(latest["routing"]["domains"])) == detail.locator(".bars li").first.inner_text().split("\n")[0]


def test_a_filter_leaves_only_what_fits(opened: Opener, world: World) -> None:
    asked(world, "What is 12 times 12, exactly?", "Is a verbal contract binding between firms?")
    page = opened("decisions")
    table = page.get_by_role("region", name="Table of decisions")
    expect(table).to_contain_text("Is a verbal contract")
    page.get_by_label("Find").fill("12 times 12, exactly")
    expect(table).not_to_contain_text("Is a verbal contract")
    expect(table.locator("tbody tr")).to_have_count(1)
    page.get_by_label("Find").fill("nothing is called so")
    expect(page.get_by_text("Nothing fits the filter")).to_be_visible()


def test_the_map_has_every_query_of_late_near_its_experts_examples(opened: Opener, world: World) -> None:
    asked(world, "Solve 4x - 7 = 13 for x.", "What helps against a migraine?", "Can a tenancy contract forbid pets?")
    page = opened("decisions")
    expect(page.locator(".map .query").first).to_be_attached()
    told = httpx.get(f"{world.url}/admin/decisions/map", headers=ADMIN).json()
    centres = {
        expert: tuple(sum(each[axis] for each in rows) / len(rows) for axis in "xy")
        for expert in SKILLS
        if (rows := [each for each in told["examples"] if each["expert"] == expert])
    }

    def nearest(text: str) -> str:
        x, y = next((each["x"], each["y"]) for each in told["queries"] if each["prompt"] == text)
        return min(centres, key=lambda expert: (centres[expert][0] - x) ** 2 + (centres[expert][1] - y) ** 2)

    assert len(told["queries"]) >= 3
    assert len(told["examples"]) == page.locator(".map .example").count()
    assert "clinic" == nearest("What helps against a migraine?")
    assert "counsel" == nearest("Can a tenancy contract forbid pets?")
    page.locator(".map .query").last.click(force=True)
    expect(page.get_by_role("complementary", name="One decision")).to_contain_text("Who was considered")


def test_usage_adds_up_by_expert_and_key(opened: Opener, world: World) -> None:
    told = httpx.get(f"{world.url}/admin/usage?by=key", headers=ADMIN).json()["data"]
    page = opened("usage")
    sums = page.locator(".sum dd").all_inner_texts if page.locator(".sum dd").first.inner_text() else list
    shown = int(sums()[0].replace(",", ""))
    keys = page.get_by_role("region", name="Key table").locator("tbody tr")

    assert 0 <= shown - sum(each["requests"] for each in told) < 20
    assert {each["key"] for each in told} == {line.split("\t")[0] for line in keys.all_inner_texts()}
    expect(page.get_by_role("img", name=re.compile("Requests by day"))).to_be_visible()
    page.get_by_role("button", name="Cost").click()
    expect(page.get_by_role("img", name=re.compile("Cost by day"))).to_be_visible()
    with page.expect_download() as loading:
        page.get_by_role("button", name="Download CSV").click()
    assert "day,key,expert,key_name,requests" in loading.value.path().read_text()


def test_administration_asks_for_the_key_and_keeps_it_out_of_the_address(opened: Opener) -> None:
    page = opened("experts", admin="")
    expect(page.get_by_role("heading", name="This part needs the admin key")).to_be_visible()
    page.get_by_label("Admin key").fill("wrong")
    page.get_by_role("button", name="Unlock").click()
    expect(page.locator(".locked")).to_contain_text("admin key")
    page.get_by_label("Admin key").fill(ADMIN_KEY)
    page.get_by_role("button", name="Unlock").click()
    expect(page.get_by_role("article", name="maths", exact=True)).to_be_visible()

    assert ADMIN_KEY not in page.url
    assert ADMIN_KEY == page.evaluate("sessionStorage.getItem('consilium-admin-key')")
    assert page.evaluate("Object.values(localStorage).join()").find(ADMIN_KEY) == -1
