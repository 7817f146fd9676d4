"""Wake and Sleep in a real Chromium, on a gateway that keeps one of two servers awake. The servers are stand-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from gateway.app import create_app
from gateway.cli.listening import listening_socket
from gateway.cli.server import Server, running
from gateway.configuration import GatewayConfig
from gateway.settings import Settings
from tests.e2e.page.conftest import Opener
from tests.e2e.page.world import ADMIN_KEY, threaded
from tests.fakes.encoder import FakeEncoder
from tests.fakes.expert import FakeExpert, serving
from tests.integration.test_residency_gateway import launched, stand_in_python

pytestmark = pytest.mark.browser
ACTS = ["Ask", "Probe", "Profile", "Drain"]


@asynccontextmanager
async def sleepers() -> AsyncIterator[str]:
    """Run a gateway with two servers of its own, of which one may be awake, and an expert that runs elsewhere."""
    async with serving(elsewhere := FakeExpert(models=("elsewhere",))):
        config = GatewayConfig.model_validate(
            {
                "experts": [
                    launched("a"),
                    launched("b"),
                    {"name": "elsewhere", "replicas": [{"base_url": elsewhere.url}]},
                ],
                "residency": {"max_resident": 1, "min_dwell_seconds": 0},
            }
        )
        settings = Settings.model_validate({"admin_key": ADMIN_KEY, "store": ":memory:"})
        app = create_app(settings, config, Path(), encoder=FakeEncoder())
        async with running(Server(settings, app), listening_socket("127.0.0.1", 0)) as url:
            yield url


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CONSILIUM_VLLM_PYTHON", str(stand_in_python(tmp_path)))
        patched.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))
        with threaded(sleepers()) as found:
            yield found


def acts(row: Locator) -> list[str]:
    return row.locator(".acts-row button").all_inner_texts()


def test_an_expert_is_woken_and_put_to_sleep_where_the_gateway_may_do_so(url: str, opened: Opener) -> None:
    page = opened("experts", url=url)  # closed before the gateway is, which was asked for first
    rows = {name: page.get_by_role("article", name=name, exact=True) for name in ("a", "b", "elsewhere")}
    word = {name: row.locator(".state-word") for name, row in rows.items()}
    expect(word["a"]).to_have_text("ready")
    assert [[*ACTS, "Sleep"], [*ACTS, "Wake"], ACTS] == [acts(row) for row in rows.values()]
    assert ["asleep", "its next request wakes it"] == rows["b"].locator(".state > *").all_inner_texts()

    rows["b"].get_by_role("button", name="Wake").click()
    expect(page.locator(".notice")).to_contain_text("b is waking.")
    expect(word["b"]).to_have_text("ready")
    expect(word["a"]).to_have_text("asleep")
    rows["b"].get_by_role("button", name="Sleep").click()
    expect(word["b"]).to_have_text("asleep")
    expect(rows["b"].get_by_role("button", name="Wake")).to_be_visible()
    assert ["asleep", "its next request wakes it"] == rows["b"].locator(".state > *").all_inner_texts()
