"""What the pages show in fences, and which of it is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
FENCE = re.compile(
    r"^(?:<!-- not run by the tests: (?P<why>[^>]+) -->\n)?```(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^```", re.M | re.S
)
RUN = frozenset({"bash", "python"})


@dataclass(frozen=True, slots=True)
class Block:
    """One fence: its page, line (from 1) and kind, and why it is not run, if it is not."""

    page: Path
    line: int
    kind: str
    text: str
    why: str | None

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.kind in RUN and self.why is None


def blocks(page: Path) -> Iterator[Block]:
    """Yield every fence of a page."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found["kind"], found["text"], found["why"])
