"""A team's gateway for the page: five fake experts with something to say, measured skills, prices, the real encoder.

Run by hand: python -m tests.e2e.page.world 8400
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from experts.store import Store
from gateway.app import create_app
from gateway.cli.listening import listening_socket
from gateway.cli.server import Server, running
from gateway.configuration import GatewayConfig
from gateway.settings import Settings
from tests.e2e.page.replies import REPLIES, reply_of
from tests.fakes.expert import FakeExpert, serving

Held = TypeVar("Held")
ADMIN_KEY = "boss"
SKILLS: dict[str, dict[str, tuple[float, int]]] = {
    "maths": {
        "math": (0.91, 420), "physics": (0.74, 180), "science": (0.55, 120), "law": (0.31, 90), "health": (0.38, 60),
    },
    "coder": {"code": (0.87, 350), "computer science": (0.83, 210), "math": (0.66, 150), "science": (0.41, 20)},
    "counsel": {"law": (0.82, 300), "business": (0.71, 140), "history": (0.69, 110), "math": (0.34, 80)},
    "clinic": {"health": (0.86, 280), "psychology": (0.77, 130), "science": (0.7, 24), "law": (0.36, 45)},
    "general": {
        "math": (0.52, 400), "code": (0.55, 300), "law": (0.58, 300), "health": (0.61, 280), "physics": (0.5, 160),
        "history": (0.66, 120), "business": (0.6, 120), "science": (0.63, 140), "general chat": (0.88, 200),
    },
}  # fmt: skip
DOMAINS = {
    "maths": ["math", "physics"],
    "coder": ["code", "computer science"],
    "counsel": ["law", "business"],
    "clinic": ["health", "psychology"],
    "general": ["general chat"],
}
DESCRIPTIONS = {
    "maths": "Works through sums, algebra and physics, step by step.",
    "coder": "Writes and explains short programs.",
    "counsel": "Contracts, tenancy and company law.",
    "clinic": "Symptoms, medicines, nutrition and the mind.",
    "general": "Knows a little of everything.",
}
KEYS = ("team-blue", "team-green")
PRICES = {"maths": (0.2, 0.6), "coder": (0.3, 0.9), "counsel": (0.5, 1.5), "clinic": (0.5, 1.5), "general": (1.2, 3.6)}


@dataclass
class World:
    """A running gateway and who is behind it."""

    url: str
    experts: dict[str, FakeExpert]
    spare: FakeExpert
    """A server that nobody has registered."""


def record(name: str, fake: FakeExpert) -> dict[str, Any]:
    """Return an expert as the configuration says it."""
    fake.models = (name,)
    price_in, price_out = PRICES[name]
    return {
        "name": name,
        "description": DESCRIPTIONS[name],
        "domains": DOMAINS[name],
        "replicas": [{"base_url": fake.url}],
        "skills": {domain: {"accuracy": right, "count": asked} for domain, (right, asked) in SKILLS[name].items()},
        "price": {"input_per_million": price_in, "output_per_million": price_out},
        "fallback": [] if name == "general" else ["general"],
        **({"context_window": 4096, "tags": ["licence:apache-2.0"]} if name == "maths" else {}),
    }


async def seed_usage(store: Store) -> None:
    """Write what the weeks before today are said to have used: 29 days, two keys, weekends quieter."""
    today = datetime.now(UTC).date()
    for back in range(1, 30):
        day = today - timedelta(days=back)
        for share, key in enumerate(KEYS, start=1):
            asked = {name: (40 + 11 * back % 60) * (rank + 1) // share for rank, name in enumerate(REPLIES)}
            asked = {name: count // (4 if day.weekday() >= 5 else 1) for name, count in asked.items()}
            rows = {
                name: [count, 90 * count, 210 * count, count * (90 * PRICES[name][0] + 210 * PRICES[name][1]) / 1e6]
                for name, count in asked.items()
            }
            await store.put(f"usage/{day}/{key}/seeded", {"requests": sum(asked.values()), "experts": rows})


@asynccontextmanager
async def opened(port: int = 0, settings: Settings | None = None) -> AsyncIterator[World]:
    """Run the world and yield it."""
    experts = {name: FakeExpert(reply=reply_of(name), word_delay=0.012, first_token_delay=0.05) for name in REPLIES}
    spare = FakeExpert(models=("gardener",), reply=lambda _: "Prune roses in late winter.", word_delay=0.005)
    async with serving(*experts.values(), spare):
        config = GatewayConfig.model_validate(
            {
                "experts": [record(name, fake) for name, fake in experts.items()],
                "routing": {"default": "general", "budget_ms": 10_000, "learning": {"keep_prompts": True}},
                "fusion": {"strategy": "auto", "fuser": "general", "max_experts": 3},
            }
        )
        used = settings or Settings.model_validate({"admin_key": ADMIN_KEY, "store": ":memory:"})
        app = create_app(used, config, Path())
        async with running(Server(used, app), listening_socket("127.0.0.1", port)) as url:
            await seed_usage(app.state.services.store)
            yield World(url, experts, spare)


@contextmanager
def threaded(opening: AbstractAsyncContextManager[Held]) -> Iterator[Held]:
    """Hold what opens open in a thread of its own, beside tests that drive a browser."""
    ready, stop, found = threading.Event(), threading.Event(), []

    async def run() -> None:
        async with opening as held:
            found.append(held)
            ready.set()
            await asyncio.to_thread(stop.wait)

    def live() -> None:
        try:
            asyncio.run(run())
        finally:
            ready.set()

    thread = threading.Thread(target=live, name="world")
    thread.start()
    try:
        assert ready.wait(60), "the gateway did not start"
        assert found, "the gateway could not start; its thread has written why"
        yield found[0]
    finally:
        stop.set()
        thread.join(30)


def beside(settings: Settings | None = None) -> AbstractContextManager[World]:
    """Run the world in a thread of its own."""
    return threaded(opened(settings=settings))


async def main(port: int) -> None:
    """Run the world until interrupted."""
    async with opened(port) as world:
        print(f"{world.url} with admin key {ADMIN_KEY}; an unregistered expert: {world.spare.url} (gardener)")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
