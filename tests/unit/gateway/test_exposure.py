"""Who may come in: settings, keys, addresses, log lines."""

from __future__ import annotations

import json
import logging

import pytest

from experts.errors import ConfigError
from gateway.auth import ANYONE, Keyring
from gateway.errors import AuthenticationFailed
from gateway.logs import JsonLines, facts
from gateway.settings import Settings, is_loopback


def test_other_addresses_than_loopback_need_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="CONSILIUM_API_KEYS"):
        Settings(host="0.0.0.0").check_exposure()
    Settings(host="127.0.0.1").check_exposure()
    monkeypatch.setenv("CONSILIUM_API_KEYS", "one, two")
    Settings(host="0.0.0.0").check_exposure()

    assert ("one", "two") == Settings().key_values()
    assert "one" not in repr(Settings())


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.3.2.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False)]
)
def test_loopback_is_told_from_other_addresses(host: str, loopback: bool) -> None:
    assert loopback == is_loopback(host)


@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer k1"}, {"authorization": "bearer  k1"}, {"x-api-key": "k1"}]
)
def test_a_key_lets_in_by_either_header(headers: dict[str, str]) -> None:
    client = Keyring(["k0", "k1"]).authenticate(headers)

    assert client != ANYONE
    assert "k1" not in client.key_id


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer no"}, {"authorization": "Basic k1"}, {"x-api-key": ""}]
)
def test_without_a_key_of_ours_nobody_comes_in(headers: dict[str, str]) -> None:
    with pytest.raises(AuthenticationFailed):
        Keyring(["k1"]).authenticate(headers)


def test_a_ring_without_keys_is_open() -> None:
    assert ANYONE == Keyring([]).authenticate({})


def test_a_log_line_is_one_json_object_with_its_facts() -> None:
    record = logging.makeLogRecord({"msg": "request", "levelname": "INFO", **facts(status=200, path="/v1")})
    line = json.loads(JsonLines().format(record))

    assert ("request", 200, "/v1") == (line["message"], line["status"], line["path"])
