"""Low-rank changes of weights: merged by their formula, refused where they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from experts.errors import ConfigError
from router.adapters import merged_weights, read_adapter

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
    with pytest.raises(ConfigError, match="does not fit the encoder"):
        merged_weights(WEIGHTS, adapter, 1.0)


def test_an_adapter_is_read_with_its_scale(tmp_path: Path) -> None:
    save_file({"a.lora_A": DOWN, "a.lora_B": UP}, tmp_path / "adapter.safetensors", metadata={"scale": "2"})

    adapter, scale = read_adapter(tmp_path)

    assert (sorted(adapter), scale) == (["a.lora_A", "a.lora_B"], 2.0)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter.safetensors").write_bytes(b"no tensors")

    with pytest.raises(ConfigError, match="adapter.safetensors cannot be read"):
        read_adapter(tmp_path)
