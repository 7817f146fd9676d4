"""The attacked gateway of each module, and what must hold of it whatever was done to it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.hostile.world import ADMIN, Target, attacked


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """Run a gateway; afterwards it must still answer, and have opened, called and logged nothing it should not."""
    with attacked() as found:
        yield found
        with found.client() as client:
            answer = client.post(
                "/v1/chat/completions", json={"messages": [{"role": "user", "content": "still there?"}]}
            )
        assert 200 == answer.status_code, answer.text
        assert [] == found.bugs()
        assert [] == found.leaks()
        assert [] == found.watch.strange_files(found.folder)
        assert [] == found.strange_calls()
        assert [] == found.watch.ran


@pytest.fixture
def mallory(target: Target) -> Iterator[httpx.Client]:
    """A client with a key of its own."""
    with target.client() as client:
        yield client


@pytest.fixture
def admin(target: Target) -> Iterator[httpx.Client]:
    """A client with the admin key."""
    with target.client(ADMIN) as client:
        yield client
