"""Which adapters a server holds: a table, and what holds for every state."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.errors import ConfigError
from experts.launch.adapter_files import WEIGHTS, check_base, read_adapter
from experts.launch.adapters import Aboard, Change, change


def aboard(wished: str = "", loaded: str = "", busy: str = "", used: str = "", places: int = 2) -> Aboard:
    """Adapters of one letter; `used` from the first used to the last."""
    ticks = {name: number for number, name in enumerate(used, start=1)}
    return Aboard(wished=list(wished), loaded=set(loaded), busy=set(busy), used=ticks, places=places)


@pytest.mark.parametrize(
    ("state", "needed", "expected"),
    [
        (aboard(), None, Change()),
        (aboard("ab"), None, Change(load=("a", "b"))),
        (aboard("abc"), None, Change(load=("a", "b"))),
        (aboard("abc", used="cb"), None, Change(load=("b", "c"))),
        (aboard("ab", "ab"), None, Change()),
        (aboard("b", "ab"), None, Change(unload=("a",))),
        (aboard("bc", "ab"), None, Change(unload=("a",), load=("c",))),
        (aboard("c", "ab", busy="a"), None, Change(unload=("b",), load=("c",))),
        (aboard("abc", "ab"), "a", Change()),
        (aboard("abc", "ab", used="ab"), "c", Change(unload=("a",), load=("c",))),
        (aboard("abc", "ab", used="ba"), "c", Change(unload=("b",), load=("c",))),
        (aboard("abc", "ab", used="a"), "c", Change(unload=("b",), load=("c",))),
        (aboard("abc", "ab", busy="a", used="ab"), "c", Change(unload=("b",), load=("c",))),
        (aboard("abc", "ab", busy="ab"), "c", Change(full=True)),
        (aboard("abc", "a", busy="a"), "c", Change(load=("c",))),
        (aboard("ab", "ab"), "x", Change()),
    ],
)
def test_who_goes_and_who_comes(state: Aboard, needed: str | None, expected: Change) -> None:
    assert change(state, needed) == expected


_NAMES = st.lists(st.sampled_from("abcdef"), unique=True)


@given(_NAMES, _NAMES, _NAMES, _NAMES, st.integers(1, 4), st.sampled_from(["a", "b", "z", None]))
def test_places_are_never_exceeded_and_nobody_in_use_is_unloaded(
    wished: list[str], loaded: list[str], busy: list[str], used: list[str], places: int, needed: str | None
) -> None:
    state = aboard("".join(wished), "".join(loaded[:places]), "".join(busy), "".join(used), places)
    decided = change(state, needed)
    after = (set(state.loaded) - set(decided.unload)) | set(decided.load)
    assert len(after) <= places
    assert not set(decided.unload) & set(busy)
    assert set(decided.load) <= set(wished)
    assert needed not in wished or decided.full or needed in after


def _write_weights(file: Path, shapes: dict[str, list[int]]) -> None:
    header = json.dumps({name: {"dtype": "BF16", "shape": shape} for name, shape in shapes.items()}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header)


def _adapter(folder: Path, described: dict[str, Any], shapes: dict[str, list[int]] | None = None) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(described))
    if shapes:
        _write_weights(folder / WEIGHTS, shapes)
    return folder


@pytest.mark.parametrize(
    ("shapes", "why"),
    [
        ({"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": [8, 64]}, "hidden size of 64, .* is 128"),
        ({"base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight": [8, 128]}, "layer 3, and .* has 2 layers"),
    ],
)
def test_an_adapter_for_another_model_is_refused(tmp_path: Path, shapes: dict[str, list[int]], why: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 128, "num_hidden_layers": 2}))
    adapter = read_adapter("tax", "tax", _adapter(tmp_path / "tax", {"r": 8}, shapes))
    with pytest.raises(ConfigError, match=f"'tax' is not for the model .*{why}"):
        check_base(adapter, str(tmp_path))


def test_an_adapter_that_fits_or_says_nothing_passes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 128, "num_hidden_layers": 2}))
    shapes = {
        "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight": [8, 128],
        "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight": [8, 512],
    }
    check_base(read_adapter("tax", "tax", _adapter(tmp_path / "tax", {"r": 8}, shapes)), str(tmp_path))
    check_base(read_adapter("bare", "bare", _adapter(tmp_path / "bare", {"r": 8})), str(tmp_path))
    check_base(read_adapter("hub", "hub", _adapter(tmp_path / "hub", {"r": 8}, shapes)), "org/model")
