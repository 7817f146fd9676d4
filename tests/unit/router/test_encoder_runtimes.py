"""OpenVINO's vectors against torch's, which runtime a folder gets, and what is imported for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experts.errors import ConfigError
from router.adapters import Adapter, save_adapter
from router.config import EncoderConfig
from router.encoder import Encoder, load_encoder, model_folder
from router.encoder.base import lanes
from router.encoder.bert import GRAIN, alike, padded, without_telemetry
from router.encoder.folder import plain_bert
from router.encoder.int8 import byte_scales, smoothing
from router.encoder.ranges import channel_ranges
from tests.unit.router.chat_questions import QUESTIONS

LENGTHS = ("", "one", "What is a monoid?", "a much longer text about something else " * 60)
STRANGE = ("!!!!!!", "." * 300, "the " * 200, "日本語のテキストです。", "def f(x):\n    return x**2\n" * 10)
WIDTH, ADAPTED = 32, "encoder.layer.1.attention.output.dense.weight"


def tiny_bert(folder: Path, *, pooling: str = "pooling_mode_mean_tokens", **config: str) -> Path:
    """Write a sentence-transformers folder with a small random BERT and the default encoder's tokenizer."""
    from transformers import BertConfig, BertModel, set_seed

    set_seed(0)
    shape = BertConfig(hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
    BertModel(shape).save_pretrained(folder)
    usual = Path(model_folder(EncoderConfig().model) or "")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        (folder / name).write_bytes((usual / name).read_bytes())
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    listed = [
        {"idx": int(name), "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for name, path, kind in modules
    ]
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": WIDTH, pooling: True}))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 40, "do_lower_case": false}')
    changed = {**json.loads((folder / "config.json").read_text()), **config}
    (folder / "config.json").write_text(json.dumps(changed))
    return folder


def cosines(config: EncoderConfig, texts: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return each text's cosine between what openvino and torch make of it."""
    ours = load_encoder(config.model_copy(update={"runtime": "openvino"}))(texts)
    theirs = load_encoder(config.model_copy(update={"runtime": "torch"}))(texts)
    return np.asarray((ours * theirs).sum(axis=1))


@pytest.mark.parametrize(("precision", "least"), [("float32", 0.9999), ("bfloat16", 0.9999), ("int8", 0.995)])
def test_the_default_encoders_vectors_are_those_of_torch(precision: str, least: float) -> None:
    texts = [text for questions in QUESTIONS.values() for text in questions]

    assert cosines(EncoderConfig(threads=1, precision=precision), [*texts, *LENGTHS[1:]]).min() > least


def test_bytes_keep_the_vectors_of_texts_unlike_those_their_bounds_were_measured_on() -> None:
    assert cosines(EncoderConfig(threads=1, precision="int8"), list(STRANGE)).min() > 0.985


def test_bounds_are_measured_of_every_channel_that_a_layer_reads(tmp_path: Path) -> None:
    with without_telemetry():
        import openvino
    shape = plain_bert(tiny_bert(tmp_path / "bert"))
    assert shape is not None
    one, both = (
        channel_ranges(openvino.Core(), shape, shape.weights(), texts, {"INFERENCE_PRECISION_HINT": "f32"})
        for texts in ([[101, 7592, 102]], [[101, 7592, 102], [101, 2088, 2003, 102]])
    )

    widths = {name.removeprefix("encoder.layer."): bounds.shape for name, bounds in one.items()}
    reads = ("attention.self.query", "attention.output.dense", "intermediate.dense")
    assert widths == {
        **{f"{layer}.{name}": (2, WIDTH) for layer in range(2) for name in reads},
        **{f"{layer}.output.dense": (2, 2 * WIDTH) for layer in range(2)},
    }
    assert all((one[name][0] <= one[name][1]).all() for name in one)
    assert all((both[name][0] <= one[name][0]).all() and (both[name][1] >= one[name][1]).all() for name in one)
    assert any((both[name] != one[name]).any() for name in one)


def test_smoothing_makes_channels_alike_or_columns_or_both_by_half() -> None:
    reach = np.array([0.5, 20.0, 2.0], dtype=np.float32)
    matrix = np.array([[1.0, 0.2, -4.0], [0.5, 0.1, 3.0]], dtype=np.float32)
    wholly, not_at_all, half = (smoothing(reach, matrix, degree) for degree in (1.0, 0.0, 0.5))

    assert np.allclose(reach / wholly, 1)
    assert np.allclose(np.abs(matrix * not_at_all).max(axis=0), 1)
    assert np.allclose(reach / half, np.abs(matrix * half).max(axis=0))


def test_each_thread_has_a_lane_with_the_same_vectors(tmp_path: Path) -> None:
    folder, texts = tiny_bert(tmp_path / "bert"), list(LENGTHS)
    config = EncoderConfig(model=str(folder), runtime="openvino", threads=2)
    wide, alone = load_encoder(config), load_encoder(config.model_copy(update={"threads": 1}))

    assert len(lanes(wide)) == 2
    assert lanes(alone) == (alone,)
    for lane in lanes(wide):
        assert (lane(texts) * wide(texts)).sum(axis=1).min() > 0.9999


@pytest.mark.parametrize("pooling", ["pooling_mode_mean_tokens", "pooling_mode_cls_token"])
def test_another_berts_vectors_are_those_of_torch(pooling: str, tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "bert", pooling=pooling)

    assert cosines(EncoderConfig(model=str(folder), precision="float32"), list(LENGTHS)).min() > 0.9999


def test_an_adapter_changes_both_runtimes_alike_and_the_name(tmp_path: Path) -> None:
    folder, random = tiny_bert(tmp_path / "bert"), np.random.default_rng(0)
    factors = {f"{ADAPTED}.lora_A": random.normal(size=(4, WIDTH)), f"{ADAPTED}.lora_B": random.normal(size=(WIDTH, 4))}
    save_adapter(Adapter({name: each.astype(np.float32) for name, each in factors.items()}, scale=0.5), tmp_path)
    (tmp_path / "manifest.json").write_text('{"adapter": {"scale": 0.5}}')
    plain = EncoderConfig(model=str(folder), runtime="openvino", precision="float32")
    adapted = plain.model_copy(update={"adapter": str(tmp_path)})
    texts = list(LENGTHS[1:])

    assert cosines(adapted, texts).min() > 0.9999
    assert (load_encoder(plain)(texts) * load_encoder(adapted)(texts)).sum(axis=1).max() < 0.999
    assert Encoder(plain).name == str(folder)
    assert Encoder(adapted).name.startswith(f"{folder}+")


def test_a_missing_adapter_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"routing\.encoder\.adapter: there is no adapter in"):
        Encoder(EncoderConfig(adapter=str(tmp_path)))


@pytest.mark.parametrize(
    "deviation", [{"model_type": "mpnet"}, {"hidden_act": "relu"}, {"position_embedding_type": "relative_key"}]
)
def test_what_is_no_plain_bert_is_left_to_torch(deviation: dict[str, str], tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "bert", **deviation)

    assert plain_bert(folder) is None
    with pytest.raises(ConfigError, match="use `auto` or `torch`"):
        load_encoder(EncoderConfig(model=str(folder), runtime="openvino"))


def test_max_pooling_and_prompts_are_left_to_torch(tmp_path: Path) -> None:
    prompted = tiny_bert(tmp_path / "prompted")
    (prompted / "config_sentence_transformers.json").write_text('{"default_prompt_name": "query"}')

    assert plain_bert(prompted) is None
    assert plain_bert(tiny_bert(tmp_path / "max", pooling="pooling_mode_max_tokens")) is None


def test_an_unknown_runtime_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="choose one of auto, openvino, torch"):
        load_encoder(EncoderConfig(runtime="abacus"))


def test_an_unknown_precision_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="choose one of auto, int8, bfloat16, float32"):
        load_encoder(EncoderConfig(precision="int3"))


def test_a_rows_largest_weight_takes_all_of_a_byte_and_zeros_stay_zeros() -> None:
    matrix = np.array([[0.5, -2.0], [0.0, 0.0]], dtype=np.float32)

    assert (matrix / byte_scales(matrix)).round().tolist() == [[32.0, -127.0], [0.0, 0.0]]


def test_texts_of_like_length_share_an_inference() -> None:
    lengths = [3, 30, GRAIN, 29, GRAIN + 1, 31]

    assert list(alike(lengths, batch=2)) == [[0, 2], [4], [3, 1], [5]]


def test_padding_is_to_a_multiple_and_masked() -> None:
    ids, there = padded([[5, 6, 7], [8] * (GRAIN + 1)])

    assert ids.shape == there.shape == (2, 2 * GRAIN)
    assert ids[0].tolist() == [5, 6, 7] + [0] * (2 * GRAIN - 3)
    assert there.sum(axis=1).tolist() == [3, GRAIN + 1]


def test_serving_loads_neither_torch_nor_telemetry() -> None:
    script = (
        "import sys\nfrom router.config import EncoderConfig\nfrom router.encoder import load_encoder\n"
        "assert load_encoder(EncoderConfig())(['hello']).shape == (1, 384)\n"
        "sys.exit(str({'torch', 'sentence_transformers', 'transformers', 'openvino_telemetry'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stderr.strip() == "set()"
