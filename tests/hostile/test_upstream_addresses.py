"""Addresses that nobody may have the gateway call: refused when registered, and not called where a name turns to one.

Nothing here leaves the machine: where a name is looked up, the test says what it means.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import httpx
import pytest

from experts.addresses import forbidden, guarded_socket, hands_out_credentials
from experts.backends.client import Client, make_client
from experts.config import ReplicaConfig
from gateway.settings import Settings
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving
from tests.hostile.shape import wrong

METADATA = [
    "169.254.169.254",
    "169.254.169.254.",
    "2852039166",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "00000251.0376.000251.0376",
    "169.254.43518",
    "169.16689662",
    "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
    "169。254。169。254",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[::ffff:0:169.254.169.254]",
    "0xa9fea9fe.",
    "%31%36%39.254.169.254",
    "metadata。google。internal",
    "metadata.google.internal..",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[2001:0:0:0:0:0:5601:5601]",
    "[fd00:ec2::254]",
    "[fd00:ec2::23]",
    "[fd20:ce::254]",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "metadata.google.internal",
    "METADATA.GOOGLE.INTERNAL",
    "metadata",
    "instance-data",
]
LINK_LOCAL = ["169.254.0.1", "[fe80::1]", "[febf::ffff]", "[::ffff:169.254.1.1]"]
NO_URLS = [
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "unix:///run/docker.sock",
    "ftp://127.0.0.1/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "//127.0.0.1/",
    "http://",
    "http://user:secret@127.0.0.1/v1",
    "http://127.0.0.1\r\nx-injected: yes/v1",
    "http://127.0.0.1:99999/v1",
    "http://\x00/v1",
    "http+unix://%2frun%2fdocker.sock/v1",
    "http://169.254.169.254%2f@127.0.0.1/v1",
    "http://[fe80::1%25eth0]/v1",
    "http://169.254.169.254:80\\@127.0.0.1/v1",
    "http:169.254.169.254",
    "http:///169.254.169.254/v1",
    "http://169.254.169.254\t/v1",
    f"http://{'a' * 3000}/v1",
]


@pytest.mark.parametrize("dry_run", ["true", "false"])
def test_metadata_services_are_refused_however_they_are_written(admin: httpx.Client, dry_run: str) -> None:
    found = {}
    for host in METADATA + LINK_LOCAL:
        for url in (f"http://{host}/v1", f"http://{host}:8080/v1"):
            record = {"name": "sly", "replicas": [{"base_url": url}]}
            answer = admin.post(f"/admin/experts?dry_run={dry_run}", json=record)
            if answer.status_code != 400 or wrong(400, answer.headers, answer.content):
                found[url] = answer.text

    assert {} == found


def test_changes_of_an_expert_are_checked_like_new_ones(admin: httpx.Client) -> None:
    replicas = {"replicas": [{"base_url": "http://2852039166/v1"}]}
    answers = [admin.request(method, "/admin/experts/math", json=replicas) for method in ("PUT", "PATCH")]

    assert [400, 400] == [each.status_code for each in answers]


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_web_address_is_refused(admin: httpx.Client, url: str) -> None:
    answer = admin.post("/admin/experts", json={"name": "sly", "replicas": [{"base_url": url}]})

    assert 400 == answer.status_code
    assert "" == wrong(answer.status_code, answer.headers, answer.content)
    assert "secret@" not in answer.text


def test_what_was_checked_is_what_is_called() -> None:
    """Parsers differ over a backslash; what is stored is written as it was understood here."""
    read = ReplicaConfig.model_validate({"base_url": "http://127.0.0.1\\@169.254.169.254/v1"}).base_url

    assert ("127.0.0.1", "127.0.0.1") == (read.host, httpx.URL(str(read)).host)


ADMIN = {"authorization": "Bearer admin-secret"}


def with_admin() -> Settings:
    return Settings.model_validate({"admin_key": "admin-secret", "keep_alive_seconds": 0.5})


def watch_connections(monkeypatch: pytest.MonkeyPatch, seen: list[Any]) -> None:
    """Note every address that a socket is connected to."""
    real = asyncio.get_running_loop().sock_connect

    async def connect(sock: socket.socket, address: Any) -> None:
        seen.append(address)
        await real(sock, address)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", connect)


def means(monkeypatch: pytest.MonkeyPatch, name: str, address: str) -> None:
    """Have a name mean an address from now on, on this machine."""
    real = socket.getaddrinfo

    def lookup(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host not in (name, name.encode()):
            return real(host, port, *rest, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port or 0)))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


async def test_a_name_that_means_a_metadata_service_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    means(monkeypatch, "sly.example", "169.254.169.254")
    async with (
        serving(fake := FakeExpert()),
        gateway_over([expert_record("math", fake)], settings=with_admin()) as client,
    ):
        record = {"name": "sly", "replicas": [{"base_url": "http://sly.example/v1"}]}
        answer = await client.post("/admin/experts", json=record, headers=ADMIN)

    assert 400 == answer.status_code
    assert "sly.example means 169.254.169.254" in answer.json()["error"]["message"]


async def test_a_name_that_comes_to_mean_a_metadata_service_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: harmless when it was registered, another address at the next connection."""
    connected: list[Any] = []
    watch_connections(monkeypatch, connected)
    async with serving(fake := FakeExpert()), make_client() as client:
        url = f"http://sly.example:{httpx.URL(fake.url).port}/v1/models"
        means(monkeypatch, "sly.example", "127.0.0.1")
        before = await client.get(url, headers={"connection": "close"})
        means(monkeypatch, "sly.example", "169.254.169.254")
        forget_names(client)
        with pytest.raises(httpx.TransportError):
            await client.get(url)

    assert 200 == before.status_code
    assert ["127.0.0.1"] == [place[0] for place in connected]


def forget_names(client: Client) -> None:
    """Do what ten seconds do: look names up again."""
    session = client._carrier.client
    assert isinstance(session, aiohttp.ClientSession)
    connector = session.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    connector.clear_dns_cache()


async def test_no_socket_is_made_for_a_metadata_service() -> None:
    async with make_client() as client:
        with pytest.raises(httpx.TransportError):
            await client.get("http://169.254.169.254/latest/meta-data/")
    with pytest.raises(PermissionError):
        guarded_socket((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::ffff:a9fe:a9fe", 80, 0, 0)))


def test_ordinary_addresses_may_be_called() -> None:
    for address in (
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "172.17.0.1",
        "::1",
        "::",
        "8.8.8.8",
        "fd12::1",
        "2001:db8::1",
    ):
        assert not forbidden(address)
    for address in ("169.254.1.1", "fe80::1%eth0"):
        assert (True, False) == (forbidden(address), hands_out_credentials(address))
