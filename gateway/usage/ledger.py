"""Who used what: requests, tokens and cost by day (UTC), key and expert.

Requests add to sums in memory. Once a second the sums that changed are written, each to a document that is this
process's own (usage/DAY/KEY/PROCESS): nothing is read before it is written, and writing twice counts once. A process
that is killed loses what it has not written, at most about a second of it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from experts.store import Document, Store, StoreError
from experts.types import ExpertName, Usage
from gateway.logs import facts

log = logging.getLogger(__name__)
PREFIX = "usage/"
WRITE_SECONDS = 1.0


@dataclass(slots=True)
class Sums:
    """What adds up."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0

    def add(self, requests: int, prompt_tokens: int, completion_tokens: int, cost_usd: float) -> None:
        """Add to each."""
        self.requests += requests
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.cost_usd += cost_usd

    @property
    def row(self) -> tuple[int, int, int, float]:
        """All of it, as it is kept."""
        return self.requests, self.prompt_tokens, self.completion_tokens, self.cost_usd


@dataclass(slots=True)
class Page:
    """One key's day: how many requests, and what each expert had of them."""

    day: str
    key: str
    requests: int = 0
    experts: dict[ExpertName, Sums] = field(default_factory=dict)

    @property
    def cost_usd(self) -> float:
        """Of all experts."""
        return sum(sums.cost_usd for sums in self.experts.values())


class Ledger:
    """Adds up and writes. `keep` does the writing, until it is cancelled; `flush` writes at once.

    Args:
        store: where the documents are; borrowed.
        now: the time, in UTC.
    """

    def __init__(self, store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store, self._now = store, now
        self._process = secrets.token_hex(6)
        self._pages: dict[tuple[str, str], Page] = {}
        self._changed: set[tuple[str, str]] = set()
        self._writing = asyncio.Lock()

    def add(self, key: str, used: Mapping[ExpertName, Usage], costs: Mapping[ExpertName, float]) -> None:
        """Add one request of a key, and what it took of each expert."""
        day = self._now().date().isoformat()
        page = self._pages.get((day, key))
        if page is None:
            page = self._pages[day, key] = Page(day, key)
        page.requests += 1
        for expert, usage in used.items():
            sums = page.experts.setdefault(expert, Sums())
            sums.add(1, usage.prompt_tokens, usage.completion_tokens, costs.get(expert, 0.0))
        self._changed.add((day, key))

    async def keep(self) -> None:
        """Write what changed, every second."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.flush()
            except StoreError as error:
                log.warning("usage cannot be written; it is kept until it can", extra=facts(error=str(error)))

    async def flush(self) -> None:
        """Write what changed.

        Raises:
            StoreError: it could not be written; the next flush tries again.
        """
        async with self._writing:
            for place in sorted(self._changed):
                self._changed.discard(place)
                try:
                    await self._write(self._pages[place])
                except StoreError:
                    self._changed.add(place)
                    raise
            self._forget_other_days()

    async def pages(self, since: date, until: date, key: str | None = None) -> list[Page]:
        """Return the pages of these days, both included, of every process; of one key, where one is named.

        Raises:
            StoreError: they cannot be read.
        """
        await self.flush()
        found = [each for day in days(since, until) for each in await self._store.find(f"{PREFIX}{day}/")]
        return [page for page in map(page_of, found) if key in (None, page.key)]

    async def spent(self, key: str, period: str) -> float:
        """Return what a key has cost in a period: a day, a month, or "total".

        Raises:
            StoreError: it cannot be read.
        """
        await self.flush()
        found = await self._store.find(PREFIX if period == "total" else f"{PREFIX}{period}")
        return sum(page.cost_usd for page in map(page_of, found) if page.key == key)

    async def _write(self, page: Page) -> None:
        body = {"requests": page.requests, "experts": {name: list(sums.row) for name, sums in page.experts.items()}}
        await self._store.put(f"{PREFIX}{page.day}/{page.key}/{self._process}", body)

    def _forget_other_days(self) -> None:
        """Forget what is written and will not change any more."""
        today = self._now().date().isoformat()
        for place in [place for place in self._pages if place[0] != today and place not in self._changed]:
            del self._pages[place]


def page_of(document: Document) -> Page:
    """Return what a process wrote about one key's day."""
    _, day, key, _ = document.key.split("/")
    experts = {name: Sums(*row) for name, row in document.body["experts"].items()}
    return Page(day, key, document.body["requests"], experts)


def days(since: date, until: date) -> Iterator[str]:
    """Yield each day from `since` to `until`."""
    for number in range((until - since).days + 1):
        yield (since + timedelta(days=number)).isoformat()


def grouped(pages: Iterable[Page], by: tuple[str, ...]) -> dict[tuple[str, ...], Sums]:
    """Return the sums of each combination of `by`: "day", "key", "expert", in their order.

    A request that several experts took part in counts once, and once for each of them where experts are told apart.
    """
    found: dict[tuple[str, ...], Sums] = {}
    for page in pages:
        own = {"day": page.day, "key": page.key}
        if "expert" not in by:
            found.setdefault(tuple(own[each] for each in by), Sums()).requests += page.requests
        for expert, sums in page.experts.items():
            place = tuple({**own, "expert": expert}[each] for each in by)
            requests = sums.requests if "expert" in by else 0
            found.setdefault(place, Sums()).add(requests, *sums.row[1:])
    return dict(sorted(found.items()))
