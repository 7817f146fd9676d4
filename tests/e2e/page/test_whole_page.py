"""What holds of every view: accessible, fits a phone, light, stays on this machine, guarded by its headers."""

from __future__ import annotations

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from gateway.api.ui import assets
from tests.e2e.page.conftest import Opener
from tests.e2e.page.test_playground import SUM, answer, ask
from tests.e2e.page.world import World

pytestmark = pytest.mark.browser
SETTLED = {
    "experts": "Skills by domain",
    "decisions": "Table of decisions",
    "usage": "Expert table",
}
MOST_BYTES = 300_000
INJECTED = """async () => {
  const violated = new Promise((told) => document.addEventListener("securitypolicyviolation", told));
  const script = document.createElement("script");
  script.textContent = "window.strange = true";
  document.body.append(script);
  return [(await violated).effectiveDirective, window.strange ?? null];
}"""


def settled(page: Page, view: str) -> None:
    """Wait until a view shows its data; the playground gets a fused answer first."""
    if view == "playground":
        page.get_by_label("Model").select_option("council")
        ask(page, SUM)
        answer(page)
    else:
        expect(page.get_by_role("region", name=SETTLED[view])).to_be_visible()


def violations(page: Page) -> list[str]:
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("view", ["playground", *SETTLED])
def test_axe_finds_nothing_in_light_nor_in_dark_on_a_phone_which_needs_no_sideways_scroll(
    opened: Opener, world: World, view: str
) -> None:
    httpx.post(f"{world.url}/v1/chat/completions", json={"messages": [{"role": "user", "content": SUM}]}, timeout=30)
    page = opened(view, color_scheme="light", reduced_motion="reduce")
    settled(page, view)

    assert [] == violations(page)
    page.get_by_role("button", name="Dark appearance").click()
    page.set_viewport_size({"width": 375, "height": 740})
    assert 375 == page.evaluate("document.documentElement.scrollWidth")
    assert [] == violations(page)


def test_dialogs_and_the_options_are_accessible(opened: Opener) -> None:
    page = opened()
    page.get_by_role("tab", name="Options").click()
    page.get_by_text("Message and sampling").click()
    assert [] == violations(page)
    page.get_by_role("button", name="Keys").click()
    assert [] == violations(page)
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Experts").click()
    page.get_by_role("button", name="Register an expert").click()
    assert [] == violations(page)


def test_on_a_phone_options_and_reasons_open_over_the_conversation(opened: Opener) -> None:
    page = opened(has_touch=True)
    page.set_viewport_size({"width": 375, "height": 740})
    page.get_by_role("button", name="Options").click()
    expect(page.get_by_label("Policy", exact=True)).to_be_visible()
    page.get_by_role("button", name="Close").click()
    ask(page, SUM)
    answer(page)
    expect(page.get_by_text("Who was considered")).not_to_be_visible()
    page.get_by_role("button", name="Why", exact=True).click()
    expect(page.get_by_text("Who was considered")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("Who was considered")).not_to_be_visible()


def test_the_appearance_follows_the_system_until_one_is_chosen(opened: Opener) -> None:
    page = opened(color_scheme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Dark appearance").click()
    light = page.evaluate(ground)
    page.reload()

    assert ("rgb(18, 20, 21)", "rgb(246, 246, 243)", light) == (dark, light, page.evaluate(ground))


def test_the_whole_page_weighs_less_than_it_may() -> None:
    assert 20_000 < sum(len(asset.content) for asset in assets().values()) < MOST_BYTES


def test_no_inline_script_runs(browser: Browser, world: World) -> None:
    page = browser.new_page()
    page.goto(world.url)
    blocked = page.evaluate(INJECTED)
    page.close()

    assert ["script-src-elem", None] == blocked


def test_a_client_key_is_asked_for_where_the_gateway_wants_one(opened: Opener, world: World) -> None:
    made = httpx.post(f"{world.url}/admin/keys", json={"name": "visitor"}, headers={"x-api-key": "boss"}).json()
    try:
        page = opened()
        expect(page.get_by_role("heading", name="This gateway asks for a key")).to_be_visible()
        page.get_by_label("Client key").fill(made["key"])
        page.get_by_role("button", name="Unlock").click()
        expect(page.get_by_role("heading", name="Ask the experts")).to_be_visible()
        ask(page, SUM)
        answer(page)
        assert made["key"] not in page.url
    finally:
        httpx.delete(f"{world.url}/admin/keys/{made['id']}", headers={"x-api-key": "boss"}).raise_for_status()
