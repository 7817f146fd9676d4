"""Low-rank changes of the encoder: merged once, refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experts.errors import ConfigError
from router.adapters import Adapter, load_adapter, merged_weights, save_adapter

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
FACTORS = {
    "layer.weight.lora_A": np.array([[1.0, 0.0, 2.0]], dtype=np.float16),
    "layer.weight.lora_B": np.array([[1.0], [-1.0]], dtype=np.float16),
}


def test_the_change_is_the_scaled_product_and_other_weights_stay() -> None:
    other = np.ones(4, dtype=np.float32)

    merged = merged_weights({"layer.weight": WEIGHT, "other": other}, FACTORS, 0.5)

    assert merged["layer.weight"].tolist() == [[0.5, 1.0, 3.0], [2.5, 4.0, 4.0]]
    assert merged["other"] is other
    assert WEIGHT.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


@pytest.mark.parametrize(
    ("weights", "factors"),
    [
        ({}, FACTORS),
        ({"layer.weight": WEIGHT}, {"layer.weight.lora_A": FACTORS["layer.weight.lora_A"]}),
        ({"layer.weight": WEIGHT.T}, FACTORS),
    ],
    ids=["no such weight", "half of it", "another shape"],
)
def test_an_adapter_that_does_not_fit_is_refused(
    weights: dict[str, np.ndarray], factors: dict[str, np.ndarray]
) -> None:
    with pytest.raises(ConfigError, match="does not fit this encoder"):
        merged_weights(weights, factors, 1.0)


def test_an_adapter_is_kept_with_its_scale(tmp_path: Path) -> None:
    assert load_adapter(tmp_path) is None

    save_adapter(Adapter(FACTORS, 0.5), tmp_path)
    loaded = load_adapter(tmp_path)

    assert loaded is not None
    assert loaded.scale == 0.5
    assert loaded.encoder_name("base") == Adapter(FACTORS, 0.5).encoder_name("base")
    assert {name: factor.tolist() for name, factor in loaded.factors.items()} == {
        name: factor.tolist() for name, factor in FACTORS.items()
    }


def test_another_adapter_makes_another_encoder() -> None:
    changed = {**FACTORS, "layer.weight.lora_B": FACTORS["layer.weight.lora_B"] * 2}

    assert Adapter(FACTORS, 0.5).encoder_name("base") != Adapter(changed, 0.5).encoder_name("base")


def test_an_adapter_without_a_scale_is_refused(tmp_path: Path) -> None:
    save_adapter(Adapter(FACTORS, 0.5), tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"adapter": {}}))

    with pytest.raises(ConfigError, match="cannot be used"):
        load_adapter(tmp_path)
