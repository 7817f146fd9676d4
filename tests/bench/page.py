"""How heavy the page is and how soon it shows: a fresh Chromium each time, nothing cached, fake experts on loopback.

python -m tests.bench.page [--times 10] [--view playground]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from playwright.sync_api import Browser, sync_playwright

from tests.e2e.page.conftest import CHROMIUM, local
from tests.e2e.page.world import ADMIN_KEY, World, beside

VIEWS = ("playground", "experts", "decisions", "usage")
MEASURE = """async () => {
  const paint = performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN;
  const [page] = performance.getEntriesByType("navigation");
  const all = [page, ...performance.getEntriesByType("resource")];
  const files = all.filter((each) => each === page || new URL(each.name).pathname.startsWith("/ui/"));
  const sum = (key) => files.reduce((total, each) => total + each[key], 0);
  return { paint, files: files.length, sent: sum("transferSize"), whole: sum("decodedBodySize") };
}"""


@dataclass(frozen=True, slots=True)
class Opening:
    """One time the page was opened: milliseconds since the navigation began, bytes, requests to other hosts."""

    first_paint_ms: float
    settled_ms: float
    files: int
    sent_bytes: int
    whole_bytes: int
    elsewhere: int


def opened(browser: Browser, world: World, view: str) -> Opening:
    """Open a view in a browser context that has never seen it, until it shows its data."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(f"sessionStorage.setItem('consilium-admin-key', '{ADMIN_KEY}')")
    strangers: list[str] = []
    page.on("request", lambda asked: None if local(asked.url, world.url) else strangers.append(asked.url))
    page.goto(f"{world.url}/#{view}")
    page.locator(f"#view-{view} h1, #view-{view} .welcome").last.wait_for(state="visible")
    settled = float(page.evaluate("performance.now()"))
    found = page.evaluate(MEASURE)
    context.close()
    return Opening(found["paint"], settled, found["files"], found["sent"], found["whole"], len(strangers))


def line(view: str, openings: list[Opening]) -> str:
    """Return a row of the table."""

    def spread(values: Iterable[float]) -> str:
        ordered = sorted(values)
        return f"{median(ordered):.0f} ({ordered[0]:.0f}-{ordered[-1]:.0f})"

    last = openings[-1]
    paint, settled = spread(each.first_paint_ms for each in openings), spread(each.settled_ms for each in openings)
    return (
        f"| {view} | {paint} | {settled} "
        f"| {last.files} | {last.sent_bytes / 1000:.1f} | {last.whole_bytes / 1000:.1f} "
        f"| {sum(each.elsewhere for each in openings)} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    asked = parser.parse_args()
    with beside() as world, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        print(f"Chromium {browser.version}, {asked.times} times, median (least-most)")
        print("| view | first paint, ms | data shown, ms | files | sent, kB | unpacked, kB | requests elsewhere |")
        print("|---|---|---|---|---|---|---|")
        for view in VIEWS:
            print(line(view, [opened(browser, world, view) for _ in range(asked.times)]))
        browser.close()


if __name__ == "__main__":
    main()
