"""The administrator's key is made once, kept from others' eyes, and never replaces one that was set."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.admin_key import with_admin_key
from gateway.cli.serve import greeting
from gateway.configuration import GatewayConfig
from gateway.settings import Settings

TEAM = GatewayConfig.model_validate(
    {"experts": [{"name": "math", "replicas": [{"base_url": "http://127.0.0.1:1/v1"}]}]}
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("CONSILIUM_ADMIN_KEY", raising=False)
    return tmp_path / "state"


def test_a_key_is_made_once_and_readable_by_its_owner_only(folder: Path) -> None:
    (first, path), (second, _) = with_admin_key(Settings()), with_admin_key(Settings())

    assert folder / "admin.key" == path
    assert 0o600 == path.stat().st_mode & 0o777
    assert len(first.admin_key.get_secret_value()) >= 32
    assert first.admin_key == second.admin_key


def test_a_key_that_is_set_stays(folder: Path) -> None:
    used, path = with_admin_key(Settings(admin_key="mine"))  # type: ignore[arg-type]

    assert ("mine", None) == (used.admin_key.get_secret_value(), path)
    assert not folder.exists()


def test_without_a_state_folder_there_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "file" / "state"))
    monkeypatch.delenv("CONSILIUM_ADMIN_KEY", raising=False)

    assert ("", None) == (with_admin_key(Settings())[0].admin_key.get_secret_value(), with_admin_key(Settings())[1])


def test_the_greeting_says_where_the_key_is_and_never_the_key(folder: Path) -> None:
    settings, path = with_admin_key(Settings())

    told = greeting(settings, TEAM, path)

    assert str(folder / "admin.key") in told
    assert settings.admin_key.get_secret_value() not in told


def test_the_greeting_says_every_limit_that_holds_without_being_set() -> None:
    told = greeting(Settings(drain_seconds=12), TEAM)

    limits = ("64 running", "256 waiting", "first token 30 s", "idle 30 s", "total 300 s")
    of_requests = ("3 attempts", "within 250 ms", "within 60 s", "16 MiB", "12 s to finish")
    assert [] == [words for words in (*limits, *of_requests) if words not in told]
