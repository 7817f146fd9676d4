"""Low-rank changes of weights: merged by their formula, refused where they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experts.errors import ConfigError
from router.adapters import Adapter, load_adapter, merged_weights, save_adapter

RANDOM = np.random.default_rng(1)
DOWN, UP = RANDOM.normal(size=(2, 5)).astype(np.float32), RANDOM.normal(size=(3, 2)).astype(np.float32)
WEIGHTS = {"a": np.ones((3, 5), dtype=np.float32), "b": np.ones(3, dtype=np.float32)}


def test_a_change_is_the_scaled_product_and_leaves_the_rest() -> None:
    merged = merged_weights(WEIGHTS, {"a.lora_A": DOWN, "a.lora_B": UP}, 0.5)

    assert merged["a"] == pytest.approx(1 + 0.5 * UP @ DOWN)
    assert merged["a"].dtype == np.float32
    assert merged["b"] is WEIGHTS["b"]
    assert WEIGHTS["a"].sum() == 15


@pytest.mark.parametrize(
    "adapter",
    [
        {"a.lora_A": DOWN},
        {"c.lora_A": DOWN, "c.lora_B": UP},
        {"a.lora_A": UP, "a.lora_B": DOWN},
    ],
)
def test_what_does_not_fit_is_refused(adapter: dict[str, np.ndarray[tuple[int, int], np.dtype[np.float32]]]) -> None:
    with pytest.raises(ConfigError, match="does not fit this encoder"):
        merged_weights(WEIGHTS, adapter, 1.0)


def test_a_saved_adapter_is_read_with_its_scale_and_keeps_its_name(tmp_path: Path) -> None:
    adapter = Adapter({"a.lora_A": DOWN, "a.lora_B": UP}, scale=2.0)
    save_adapter(adapter, tmp_path)
    (tmp_path / "manifest.json").write_text('{"adapter": {"scale": 2.0}}')

    read = load_adapter(tmp_path)

    assert read is not None
    assert (sorted(read.factors), read.scale) == (["a.lora_A", "a.lora_B"], 2.0)
    assert read.encoder_name("model") == adapter.encoder_name("model")


def test_a_folder_without_an_adapter_has_none(tmp_path: Path) -> None:
    assert load_adapter(tmp_path) is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter.safetensors").write_bytes(b"no tensors")

    with pytest.raises(ConfigError, match="adapter.safetensors cannot be used"):
        load_adapter(tmp_path)
