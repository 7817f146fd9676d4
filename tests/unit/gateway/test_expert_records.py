"""What is written about an expert: which of file and store holds, keys that are never shown, merge patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.errors import ConfigError
from experts.store import Document
from gateway.catalogue.records import (
    expert_config,
    file_entries,
    laid_over,
    merged,
    restored,
    shown_secret,
    stored_entry,
)
from gateway.catalogue.showing import shown_record
from gateway.configuration import GatewayConfig, load_config
from gateway.errors import InvalidRequest

URL = "http://127.0.0.1:9001/v1"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def record(name: str = "math", **more: Any) -> dict[str, Any]:
    return {"name": name, "replicas": [{"base_url": URL}], **more}


def document(written: dict[str, Any], version: int = 7, drained: bool = False, key: str = "") -> Document:
    return Document(key or f"experts/{written['name']}", version, {"config": written, "drained": drained})


def test_a_stored_record_holds_over_the_file_and_others_follow_it() -> None:
    file = file_entries(GatewayConfig.model_validate({"experts": [record("general"), record("math")]}))
    stored = [stored_entry(document(record(name, description="New.")), {}) for name in ("math", "chess")]
    entries = laid_over(file, stored)

    assert ["general", "math", "chess"] == [*entries]
    assert ["file", "file, changed", "registered"] == [entry.source for entry in entries.values()]
    assert ["", "New.", "New."] == [entry.config.description for entry in entries.values()]
    assert [0, 7, 7] == [entry.version for entry in entries.values()]
    assert file == laid_over(file, [])


@pytest.mark.parametrize("experts", [[record("math"), record("math")], [record("math", fallback=["nobody"])]])
def test_a_file_that_contradicts_itself_stops_the_start(experts: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError):
        file_entries(GatewayConfig.model_validate({"experts": experts}))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"config": None},
        {"config": record(), "drained": "yes"},
        {"config": {**record(), "of_a_later_version": 1}, "drained": False},
        {"config": record("another"), "drained": False},
        {"config": record(replicas=[{"base_url": URL, "api_key": "${NOT_SET}"}]), "drained": False},
    ],
)
def test_a_stored_record_that_cannot_be_used_is_an_error(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        stored_entry(Document("experts/math", 1, body), {})


def test_variables_are_filled_in_where_keys_stand_and_nowhere_else() -> None:
    keyed = [{"base_url": URL, "api_key": "${KEY}-${REST:-x}"}]
    config = expert_config(record(description="${KEY}", replicas=keyed), {"KEY": "sesame"})

    assert "sesame-x" == config.replicas[0].api_key.get_secret_value()
    assert "${KEY}" == config.description


def test_a_record_of_the_file_keeps_its_words_for_keys(tmp_path: Path) -> None:
    path = tmp_path / "consilium.yaml"
    path.write_text(
        "experts:\n- name: math\n  model: ${MODEL}\n  thinking: {on: {think: 1}, off: {think: 0}}\n"
        "  replicas: [{base_url: 'http://${HOST}/v1', api_key: '${KEY}'}, {base_url: 'http://b/v1'}]\n"
    )
    environment = {"MODEL": "m", "HOST": "a", "KEY": "sesame"}
    entry = file_entries(load_config(path, environment))["math"]

    assert "sesame" not in str(entry.written)
    assert "${KEY}" == entry.written["replicas"][0]["api_key"]
    assert {"on": {"think": 1}, "off": {"think": 0}} == entry.written["thinking"]
    assert entry.config == expert_config(entry.written, environment)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", ""),
        ("${KEY}", "${KEY}"),
        ("${KEY:-}", "${KEY:-}"),
        ("${KEY:-sesame}", "***"),
        ("a${KEY}", "***"),
        ("x", "***"),
    ],
)
def test_of_a_key_only_a_variables_name_is_shown(text: str, seen: str) -> None:
    assert seen == shown_secret(text)


def test_what_is_shown_has_every_field_and_no_secret() -> None:
    launch = {"model": "m", "env": {"HF_TOKEN": "sesame", "OTHER": "${OTHER}"}}
    written = {"name": "big", "backend": "vllm", "launch": launch}
    entry = stored_entry(document(written), {"OTHER": "sesame too"})
    shown = shown_record(entry)

    assert "sesame" not in str(shown)
    assert {"HF_TOKEN": "***", "OTHER": "${OTHER}"} == shown["launch"]["env"]
    assert 64 == shown["limits"]["max_in_flight"]
    assert entry.config.launch is not None
    assert "sesame too" == entry.config.launch.env["OTHER"]


def test_three_stars_stand_for_the_key_at_the_same_url_whatever_the_order() -> None:
    former = record(replicas=[{"base_url": URL, "api_key": "one"}, {"base_url": "http://b/v1", "api_key": "two"}])
    sent = record(replicas=[{"base_url": "http://b/v1", "api_key": "***"}, {"base_url": URL, "api_key": "new"}])

    assert ["two", "new"] == [each["api_key"] for each in restored(sent, former)["replicas"]]
    with pytest.raises(InvalidRequest) as error:
        restored(record(replicas=[{"base_url": "http://elsewhere/v1", "api_key": "***"}]), former)
    assert "replicas.0.api_key" == error.value.param


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_rfc_7386_says(target: Any, patch: Any, result: Any) -> None:
    assert result == merged(target, patch)


@given(JSON, JSON)
def test_a_merge_patch_twice_is_a_merge_patch_once(target: Any, patch: Any) -> None:
    assert merged(target, patch) == merged(merged(target, patch), patch)
