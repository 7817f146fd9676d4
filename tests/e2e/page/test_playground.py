"""The playground in a real Chromium: an answer streams, says why it came from whom, and may be steered."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Request, expect

from tests.e2e.page.conftest import Opener
from tests.e2e.page.world import World

pytestmark = pytest.mark.browser
SUM = "What is 417 plus 268?"


def ask(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def answer(page: Page) -> None:
    """Wait until the last answer is whole."""
    expect(page.locator(".turn.answer").last.get_by_role("button", name="Copy")).to_be_visible()


def test_an_answer_streams(opened: Opener, world: World) -> None:
    page, maths = opened(), world.experts["maths"]
    maths.word_delay = 0.1
    try:
        ask(page, SUM)
        words = page.locator(".turn.answer .text")
        expect(words).to_contain_text("Add the hundreds")
        early = words.inner_text()
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        answer(page)
    finally:
        maths.word_delay = 0.012

    assert "Answer: 685" not in early
    assert words.inner_text().endswith("Answer: 685")
    assert ["600", "70", "15"] == words.locator("strong").all_inner_texts()


def test_it_says_whom_it_asked_and_why(opened: Opener, world: World) -> None:
    page = opened()
    ask(page, SUM)
    answer(page)
    told = httpx.post(f"{world.url}/v1/route", json={"messages": [{"role": "user", "content": SUM}]}).json()
    why = page.get_by_role("tabpanel")

    expect(page.locator(".turn.answer .chip").first).to_have_text("maths")
    expect(why.locator(".facts")).to_contain_text(f"Policy{told['policy']}")
    bars = why.locator(".bars li").all_inner_texts()
    assert list(told["domains"])[:5] == [bar.split("\n")[0] for bar in bars]
    assert f"{told['domains']['math']:.0%}".replace("%", " %") in bars[0]
    rows = why.locator(".candidates tbody tr:not(.because)").all_inner_texts()
    assert [each["expert"] for each in told["candidates"]] == why.locator(".candidates tbody .chip").all_inner_texts()
    assert "chosen" in rows[0]
    assert f"{told['candidates'][0]['quality']:.0%}".replace("%", " %") in rows[0]


def test_the_conversation_is_kept_over_a_reload(opened: Opener, world: World) -> None:
    page, maths = opened(), world.experts["maths"]
    ask(page, SUM)
    answer(page)
    page.reload()
    expect(page.locator(".turn.answer .text")).to_contain_text("Answer: 685")
    expect(page.get_by_role("tabpanel")).to_contain_text("Who was considered")
    before = len(maths.requests)
    ask(page, "And what is 417 plus 3?")
    expect(page.locator(".turn.answer")).to_have_count(2)
    answer(page)

    asked = [request["messages"] for request in maths.requests[before:]]
    assert [["user", "assistant", "user"]] == [[message["role"] for message in each] for each in asked]


def test_an_expert_that_is_never_to_answer_is_excluded_with_the_reason(opened: Opener) -> None:
    page = opened()
    page.get_by_role("tab", name="Options").click()
    page.get_by_label("maths", exact=True).select_option("never")
    ask(page, SUM)
    answer(page)
    why = page.get_by_role("tabpanel")

    expect(page.locator(".turn.answer .chip").first).to_have_text("coder")
    expect(why.locator(".excluded li")).to_contain_text(["maths"])
    assert why.locator(".excluded small").inner_text()


def test_every_override_is_sent(opened: Opener) -> None:
    page = opened()
    bodies: list[dict[str, Any]] = []

    def noted(asked: Request) -> None:
        if asked.url.endswith("completions"):
            bodies.append(dict(asked.post_data_json or {}))

    page.on("request", noted)
    page.get_by_label("Model").select_option("council")
    page.get_by_role("tab", name="Options").click()
    for label, value in {
        "Policy": "random",
        "Fusion": "vote",
        "Thinking": "off",
        "general": "allow",
        "clinic": "deny",
    }.items():
        page.get_by_label(label, exact=True).select_option(value)
    page.get_by_label("Experts at most").fill("2")
    page.get_by_label("Choose it for this request").check()
    page.get_by_label("Cost against quality").fill("0.25")
    page.get_by_text("Message and sampling").click()
    page.get_by_label("System message").fill("Be brief.")
    page.get_by_label("Temperature").fill("0")
    ask(page, SUM)
    answer(page)

    assert {
        "explain": True,
        "policy": "random",
        "fusion": "vote",
        "thinking": "off",
        "experts": {"allow": ["general"], "deny": ["clinic"]},
        "max_experts": 2,
        "cost_quality": 0.25,
    } == bodies[0]["routing"]
    assert ("council", 0) == (bodies[0]["model"], bodies[0]["temperature"])
    assert [{"role": "system", "content": "Be brief."}, {"role": "user", "content": SUM}] == bodies[0]["messages"]


def test_candidates_behind_a_fused_answer_stand_side_by_side(opened: Opener) -> None:
    page = opened()
    page.get_by_label("Model").select_option("council")
    page.get_by_role("tab", name="Options").click()
    page.get_by_label("Fusion", exact=True).select_option("rank")
    page.get_by_label("Experts at most").fill("3")
    ask(page, SUM)
    answer(page)
    shown = page.locator(".candidate")

    expect(shown).to_have_count(3)
    assert {"maths", "coder", "general"} == {text.split("\n")[0] for text in shown.all_inner_texts()}
    boxes = [box for each in shown.all() if (box := each.bounding_box())]
    assert 1 == len({round(box["y"]) for box in boxes})
    expect(page.get_by_label("Answer of coder")).to_contain_text("print(417 + 268)")


def test_what_was_asked_before_a_fused_answer_can_be_read(opened: Opener) -> None:
    page = opened()
    page.get_by_role("tab", name="Options").click()
    page.get_by_label("Fusion", exact=True).select_option("panel")
    ask(page, SUM)
    answer(page)
    steps = page.locator(".steps > li")

    expect(page.locator(".behind > summary")).to_have_text("3 steps before this answer")
    expect(steps).to_have_count(3)
    steps.first.get_by_text("What it was asked").click()
    expect(steps.first.locator(".asked")).to_have_text("report: math and physics")


def test_a_thumb_down_reaches_the_decision_log(opened: Opener, world: World) -> None:
    page = opened()
    ask(page, "How many primes are below 50?")
    answer(page)
    page.get_by_role("button", name="Bad answer").click()
    expect(page.locator(".notice")).to_contain_text("Thank you")
    latest = httpx.get(f"{world.url}/admin/decisions?limit=1", headers={"x-api-key": "boss"}).json()["data"][0]

    assert (0.0, None) == (latest["feedback"]["score"], latest["feedback"]["expert"])
    expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")


def test_stop_ends_the_answer_and_the_expert_stops_writing(opened: Opener, world: World) -> None:
    page, maths = opened(), world.experts["maths"]
    aborted, maths.word_delay = maths.aborted, 0.3
    try:
        ask(page, SUM)
        expect(page.locator(".turn.answer .text")).to_contain_text("Add")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".turn.answer .text")).to_contain_text("Stopped.")
        deadline = time.monotonic() + 5
        while maths.aborted == aborted and time.monotonic() < deadline:
            page.wait_for_timeout(20)
    finally:
        maths.word_delay = 0.012

    assert aborted + 1 == maths.aborted
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_an_error_is_readable_and_the_question_can_be_asked_again(opened: Opener, world: World) -> None:
    page = opened()
    page.get_by_role("tab", name="Options").click()
    for name in world.experts:
        page.get_by_label(name, exact=True).select_option("never")
    ask(page, SUM)
    failure = page.locator(".turn.answer").get_by_role("alert")
    expect(failure).to_contain_text("no_eligible_expert")
    expect(failure).to_contain_text("HTTP 404")
    page.get_by_label("maths", exact=True).select_option("may answer")
    page.get_by_role("button", name="Try again").click()
    answer(page)

    expect(page.locator(".turn.answer")).to_have_count(1)
    expect(page.locator(".turn.answer .text")).to_contain_text("Answer: 685")


def test_an_answer_that_breaks_off_says_so_and_keeps_its_words(opened: Opener, world: World) -> None:
    page, maths = opened(), world.experts["maths"]
    maths.hang_up_after = 3
    try:
        page.get_by_label("Model").select_option("maths")
        ask(page, SUM)
        failure = page.locator(".turn.answer").get_by_role("alert")
        expect(failure).to_contain_text("maths")
    finally:
        maths.hang_up_after = None

    expect(page.locator(".turn.answer .text")).to_contain_text("Add the hundreds")
    httpx.post(f"{world.url}/admin/experts/maths/probe", headers={"x-api-key": "boss"}).raise_for_status()


def test_what_a_model_writes_is_never_markup(opened: Opener, world: World) -> None:
    page, maths = opened(), world.experts["maths"]
    usual = maths.reply
    maths.reply = lambda _: "<img src=x onerror=alert(1)> **bold** [a](javascript:alert(1))"
    try:
        page.get_by_label("Model").select_option("maths")
        ask(page, "Hello")
        answer(page)
    finally:
        maths.reply = usual
    words = page.locator(".turn.answer .text")

    assert (0, 0, 1) == (words.locator("img").count(), words.locator("a").count(), words.locator("strong").count())
    expect(words).to_contain_text("<img src=x onerror=alert(1)>")


def test_enter_sends_and_everything_is_reached_by_keyboard(opened: Opener) -> None:
    page = opened()
    page.get_by_role("link", name="Skip to content").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.get_by_role("textbox", name="Message", exact=True).focus()
    page.keyboard.type("What is 417")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("plus 268?")
    page.keyboard.press("Enter")
    answer(page)
    page.get_by_role("tab", name="Why this answer").focus()
    page.keyboard.press("ArrowRight")

    assert "What is 417\nplus 268?" == page.locator(".turn.user p").inner_text()
    expect(page.get_by_role("tab", name="Options")).to_be_focused()
    expect(page.get_by_label("Policy", exact=True)).to_be_visible()
