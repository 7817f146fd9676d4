"""A gateway without keys, and a web page in the browser of whoever runs it: the page gets nothing answered."""

from __future__ import annotations

import pytest

from gateway.auth import ANYONE, Keyring
from gateway.errors import AuthenticationFailed, PermissionDenied
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving

BODY = b'{"messages":[{"role":"user","content":"x"}]}'
STRANGE = [
    {"sec-fetch-site": "cross-site", "origin": "https://evil.example", "content-type": "text/plain"},
    {"host": "evil.example:8400"},
    {"host": "localhost.evil.example"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "8.8.8.8"},
    {"host": "localhost@evil.example"},
    {"host": "[2001:db8::1]:8400"},
    {"host": "["},
    {"host": ""},
]
OURS = [
    {"host": "localhost:8400"},
    {"host": "LOCALHOST"},
    {"host": "consilium.localhost"},
    {"host": "127.0.0.1:8400", "sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8400"},
    {"host": "127.9.9.9"},
    {"host": "[::1]:8400"},
    {},
]


@pytest.mark.parametrize("headers", STRANGE)
def test_an_open_gateway_refuses_other_sites_pages_and_other_names(headers: dict[str, str]) -> None:
    with pytest.raises(PermissionDenied, match="CONSILIUM_API_KEYS"):
        Keyring([]).authenticate(headers)


@pytest.mark.parametrize("headers", OURS)
def test_an_open_gateway_answers_this_machine(headers: dict[str, str]) -> None:
    assert ANYONE == Keyring([]).authenticate(headers)


@pytest.mark.parametrize("headers", [*STRANGE, *OURS])
def test_with_keys_only_the_key_counts(headers: dict[str, str]) -> None:
    assert "open" != Keyring(["k"]).authenticate({**headers, "x-api-key": "k"}).key_id
    with pytest.raises(AuthenticationFailed):
        Keyring(["k"]).authenticate(headers)


async def test_a_page_that_posts_to_an_open_gateway_reaches_no_expert() -> None:
    async with serving(fake := FakeExpert()), gateway_over([expert_record("math", fake)]) as client:
        answers = [await client.post("/v1/chat/completions", content=BODY, headers=each) for each in STRANGE[:3]]
        asked = len(fake.requests)
        own = await client.post("/v1/chat/completions", content=BODY)

    assert [403] * 3 == [each.status_code for each in answers]
    assert (0, 200) == (asked, own.status_code)
    assert not any("access-control-allow-origin" in each.headers for each in (*answers, own))
