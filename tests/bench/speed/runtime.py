"""One way to run the default encoder, measured in this process: `python -m tests.bench.speed.runtime KIND`.

Prints one JSON line: seconds until the first vector, p50 and least processor time of one text at a time, texts
a second in batches, memory, and the vectors of the chat questions, by which the ways are compared with each other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from router.config import EncoderConfig
from router.encoder import Embed, model_folder
from router.encoder.folder import BertShape, plain_bert
from tests.bench.speed.texts import texts_of
from tests.unit.router.chat_questions import QUESTIONS

BATCH = 16


def torch_runtime(dtype: str) -> Callable[[Path, BertShape, int], Embed]:
    """sentence-transformers, as it is."""

    def load(folder: Path, shape: BertShape, threads: int) -> Embed:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": getattr(torch, dtype)})
        return lambda texts: model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)

    return load


def openvino_runtime(precision: str) -> Callable[[Path, BertShape, int], Embed]:
    """What the router serves with."""

    def load(folder: Path, shape: BertShape, threads: int) -> Embed:
        from router.encoder.bert import load_bert

        return load_bert(shape, shape.weights(), threads=threads, batch=BATCH, precision=precision)

    return load


def onnx_runtime(int8: bool) -> Callable[[Path, BertShape, int], Embed]:
    """ONNX Runtime with fused operations."""

    def load(folder: Path, shape: BertShape, threads: int) -> Embed:
        from tests.bench.speed.onnx_bert import load_onnx

        return load_onnx(folder, shape, threads=threads, int8=int8)

    return load


RUNTIMES = {
    "torch float32": torch_runtime("float32"),
    "torch bfloat16": torch_runtime("bfloat16"),
    "onnxruntime float32": onnx_runtime(int8=False),
    "onnxruntime int8": onnx_runtime(int8=True),
    "openvino float32": openvino_runtime("float32"),
    "openvino bfloat16": openvino_runtime("bfloat16"),
    "openvino int8": openvino_runtime("int8"),
}


def milliseconds(embed: Embed, texts: Sequence[str]) -> tuple[float, float]:
    """Return the median time of one text at a time, and the least processor time, which others disturb less."""
    times, worked = [], []
    for text in texts:
        begun, begun_work = time.perf_counter(), time.process_time()
        embed([text])
        worked.append(1000 * (time.process_time() - begun_work))
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times), min(worked)


def measure(kind: str, threads: int, repeats: int) -> dict[str, object]:
    """Return the figures of one runtime."""
    folder = Path(model_folder(EncoderConfig().model) or "")
    shape = plain_bert(folder)
    if shape is None:
        raise SystemExit("The default encoder is no plain BERT here.")
    begun = time.perf_counter()
    embed = RUNTIMES[kind](folder, shape, threads)
    embed(["warm up"])
    started = time.perf_counter() - begun
    short, long = texts_of(60, repeats + BATCH * 4), texts_of(200, repeats // 2)
    milliseconds(embed, short[:5]), milliseconds(embed, long[:3])
    batch = short[repeats:]
    begun = time.perf_counter()
    for at in range(0, len(batch), BATCH):
        embed(batch[at : at + BATCH])
    rate = len(batch) / (time.perf_counter() - begun)
    asked = [text for questions in QUESTIONS.values() for text in questions]
    return {
        "start_seconds": started,
        "ms_60": milliseconds(embed, short[:repeats]),
        "ms_200": milliseconds(embed, long),
        "texts_per_second": rate,
        "memory_mib": psutil.Process().memory_info().rss / 2**20,
        "vectors": [[float(value) for value in embed([text])[0]] for text in asked],
    }


def main() -> None:
    """Measure one runtime and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=RUNTIMES)
    parser.add_argument("--threads", type=int, default=EncoderConfig().threads)
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    print(json.dumps(measure(options.kind, options.threads, options.repeats)))


if __name__ == "__main__":
    main()
