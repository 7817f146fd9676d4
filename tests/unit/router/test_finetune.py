"""Tuning an encoder: what it changes, what it leaves alone, and that the merged weights say the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from router.adapters import merged_weights  # noqa: E402
from router.training.finetune import Tuning, tune_encoder  # noqa: E402
from router.training.lora import upper_layers  # noqa: E402

pytestmark = pytest.mark.slow
TEXTS = [
    "integral of x",
    "sum of primes",
    "roots of x",
    "breach of contract",
    "court and tort",
    "contract and court",
] * 4
LABELS = ["math", "math", "math", "law", "law", "law"] * 4


class Tokenizer:
    """Hashes words into sixty tokens."""

    def __call__(self, texts: list[str], **_: Any) -> Any:
        rows = [[crc32(word.encode()) % 60 + 1 for word in text.split()] for text in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        return transformers.BatchEncoding({"input_ids": ids, "attention_mask": (ids > 0).long()})


class Model:
    """As much of a sentence-transformers model as tuning asks for."""

    def __init__(self, bert: Any) -> None:
        self.tokenizer = Tokenizer()
        self._bert = bert

    def __getitem__(self, place: int) -> Any:
        return SimpleNamespace(auto_model=self._bert)


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
    )
    bert = transformers.BertModel(config, add_pooling_layer=False).eval()
    return type(
        "Model", (), {"tokenizer": Tokenizer(), "__getitem__": lambda self, _: SimpleNamespace(auto_model=bert)}
    )()


def vectors(bert: Any) -> np.ndarray:
    batch = Tokenizer()(TEXTS[:6])
    with torch.no_grad():
        states = bert(**batch).last_hidden_state
    present = batch["attention_mask"][:, :, None]
    pooled = (states * present).sum(1) / present.sum(1)
    return np.asarray((pooled / pooled.norm(dim=1, keepdim=True)).numpy())


def spread(found: np.ndarray) -> float:
    """How much closer texts of one label are than texts of different labels."""
    cosines = found @ found.T
    within = (cosines[:3, :3].sum() + cosines[3:, 3:].sum() - 6) / 12
    return float(within - cosines[:3, 3:].mean())


def test_tuning_pulls_texts_of_one_label_together_and_leaves_the_model_alone(model: Any) -> None:
    bert, before = model[0].auto_model, vectors(model[0].auto_model)
    losses: list[float] = []

    adapter = tune_encoder(
        model, TEXTS, LABELS, ["us"] * len(TEXTS),
        Tuning(layers=2, rank=2, epochs=15, batch=8, learning_rate=1e-2, pull=0.0),
        lambda step, steps, loss: losses.append(loss),
    )  # fmt: skip
    assert vectors(bert) == pytest.approx(before, abs=1e-6)
    weights = {name: value.numpy() for name, value in bert.state_dict().items()}
    merged = merged_weights(weights, adapter.factors, adapter.scale)
    bert.load_state_dict({name: torch.tensor(value) for name, value in merged.items()})

    assert losses[-1] < losses[0]
    assert spread(vectors(bert)) > spread(before) + 0.1
    assert {name.split(".")[2] for name in adapter.factors} == {"1", "2"}


def test_an_untrained_adapter_changes_nothing(model: Any) -> None:
    bert = model[0].auto_model
    before = vectors(bert)

    with upper_layers(bert, 2, rank=4, scale=2.0) as put:
        assert len(put) == 12
        assert vectors(bert) == pytest.approx(before, abs=1e-6)
