"""Take the pictures of docs/images: the page with a team's data, as docs/page.md shows it.

python -m tests.e2e.page.pictures docs/images
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.page.conftest import CHROMIUM
from tests.e2e.page.world import ADMIN_KEY, World, beside

QUESTIONS = """What is 933 minus 586?|Solve 3x + 5 = 20 for x.|What is 15 percent of 240?
What is the derivative of sin x?|Why is the sky blue?|What is the kinetic energy of a 2 kg ball at 3 m/s?
How does a lens bend light?|Write a Python function that reverses a string.|Implement quicksort in Python.
What does a mutex do?|How do I parse JSON in Rust?|Write SQL that counts orders by month.|Explain a hash table.
What is a race condition?|How do I undo the last git commit?|May my landlord keep the deposit for a scratched floor?
Is a verbal contract binding?|What is the notice period for a tenancy?|Can my employer read my mail?
What does force majeure mean in a contract?|Who owns code that I wrote at work?|How do I register a limited company?
What is the difference between margin and markup?|How is depreciation booked?|Which foods are rich in iron?
What are the symptoms of diabetes?|How much water should I drink a day?|Can I take ibuprofen with aspirin?
What helps against a migraine?|How long does the flu last?|Why do I feel anxious before exams?|Hello there
What is cognitive behavioural therapy?|Tell me a joke.|What should I cook tonight?|Recommend a novel for the train.
How was your day?|When did the Roman Republic end?|Translate good morning to Italian."""
COLOURS = "96"
SUM = "What is 417 plus 268?"


def asked(world: World) -> None:
    """Have the gateway answer the questions; every fifth is rated."""
    for number, text in enumerate(QUESTIONS.replace("\n", "|").split("|")):
        body = {"model": "council" if number % 9 == 4 else "auto", "messages": [{"role": "user", "content": text}]}
        answer = httpx.post(f"{world.url}/v1/chat/completions", json=body, timeout=60)
        if number % 5 == 0:
            rated = {"request_id": answer.headers["x-request-id"], "score": 1}
            httpx.post(f"{world.url}/v1/feedback", json=rated).raise_for_status()


@contextmanager
def at(browser: Browser, world: World, view: str, size: tuple[int, int], scheme: str = "light") -> Iterator[Page]:
    """Open a view in a window of this size."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.add_init_script(f"sessionStorage.setItem('consilium-admin-key', '{ADMIN_KEY}')")
    page.goto(f"{world.url}/#{view}")
    yield page
    context.close()


def kept(page: Page, path: Path) -> None:
    """Write what the page shows, in few colours where pngquant is there to choose them."""
    page.mouse.move(1, 1)
    page.wait_for_timeout(300)
    page.screenshot(path=path)
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--skip-if-larger", "--output", path, COLOURS, path], check=True)
    print(path, path.stat().st_size)


def ask(page: Page, text: str) -> None:
    """Ask in the playground, until the answer is whole."""
    page.get_by_role("textbox", name="Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()
    page.locator(".turn.answer").last.get_by_role("button", name="Copy").wait_for()


def main(folder: Path) -> None:
    """Take all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with beside() as world, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        asked(world)
        with at(browser, world, "playground", (1280, 800)) as page:
            ask(page, "May my landlord keep the deposit for a scratched floor?")
            kept(page, folder / "page-playground.png")
        with at(browser, world, "playground", (1280, 800), "dark") as page:
            page.get_by_role("tab", name="Options").click()
            page.get_by_label("Fusion", exact=True).select_option("vote")
            page.get_by_label("Experts at most").fill("3")
            ask(page, SUM)
            kept(page, folder / "page-fused.png")
        with at(browser, world, "playground", (375, 720)) as page:
            ask(page, SUM)
            kept(page, folder / "page-phone.png")
        for view, height, ready in (
            ("experts", 1130, "Skills by domain"),
            ("decisions", 1180, "Table of decisions"),
            ("usage", 880, "Key table"),
        ):
            with at(browser, world, view, (1280, height)) as page:
                page.get_by_role("region", name=ready).wait_for()
                if view == "decisions":
                    page.locator(".map .query").first.wait_for()
                    page.get_by_role("button", name="Recommend a novel for the train.").click()
                kept(page, folder / f"page-{view}.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
