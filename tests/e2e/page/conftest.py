"""A browser and a gateway for the page's tests: one of each for all of them, a fresh context for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.e2e.page.world import ADMIN_KEY, World, beside

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
SETTLED_MS = 15_000


@dataclass
class Watched:
    """What a page did beside what is looked at."""

    url: str
    problems: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


@pytest.fixture(scope="package")
def world() -> Iterator[World]:
    with beside() as found:
        yield found


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


Opener = Callable[..., Page]


@pytest.fixture
def opened(world: World, browser: Browser) -> Iterator[Opener]:
    """Return what opens the page; in the end nothing may have gone wrong, and nothing have left the machine."""
    contexts: list[tuple[BrowserContext, Watched]] = []

    def at(view: str = "playground", *, url: str = world.url, admin: str = ADMIN_KEY, **context: object) -> Page:
        within = browser.new_context(viewport={"width": 1280, "height": 800}, **context)  # type: ignore[arg-type]
        watched = Watched(url)
        contexts.append((within, watched))
        within.set_default_timeout(SETTLED_MS)
        page = within.new_page()
        page.on("console", lambda said: watched.problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: watched.problems.append(str(error)))
        page.on("request", lambda asked: watched.elsewhere.append(asked.url) if not local(asked.url, url) else None)
        if admin:
            page.add_init_script(f"sessionStorage.setItem('consilium-admin-key', '{admin}')")
        page.goto(f"{url}/#{view}")
        return page

    yield at
    for within, watched in contexts:
        within.close()
        assert [] == [problem for problem in watched.problems if not refusal(problem)]
        assert [] == watched.elsewhere


def local(asked: str, url: str) -> bool:
    """Say whether a request stays with the gateway the page came from."""
    return asked.startswith((f"{url}/", "blob:", "data:"))


def refusal(problem: str) -> bool:
    """Say whether it is Chromium's own line about an answer that is no success, which the page shows in words."""
    return problem.startswith("Failed to load resource: the server responded with a status of 4")
