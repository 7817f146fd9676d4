"""The default encoder for ONNX Runtime, with its fused operations, to compare with: float32, or int8 by token.

Tokens of a batch stand in one row, so that only attention is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from router.encoder.base import Embed, Vectors
from router.encoder.folder import BertShape

FUSED = "com.microsoft"


class Graph:
    """Collects nodes and weights; `dense` is what int8 changes."""

    def __init__(self, shape: BertShape, *, int8: bool) -> None:
        self.shape, self.int8, self.weights = shape, int8, shape.weights()
        self.nodes: list[Any] = []
        self.initial: list[Any] = []

    def op(self, kind: str, inputs: Sequence[str], *, outputs: int = 1, **options: Any) -> Any:
        names = [f"{kind}_{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **options))
        return names[0] if outputs == 1 else names

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.initial.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def dense(
        self, states: str, name: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None
    ) -> str:
        """Multiply [tokens, in] by weight [out, in]."""
        extra = [] if bias is None else [self.constant(f"{name}.b", bias)]
        if not self.int8:
            return str(self.op("Gemm", [states, self.constant(f"{name}.w", weight.T), *extra]))
        scale = np.abs(weight).max(axis=1) / 127
        whole = self.constant(f"{name}.q", np.round(weight / scale[:, None]).astype(np.int8).T)
        scales = self.constant(f"{name}.s", scale.astype(np.float32))
        zeros = self.constant(f"{name}.z", np.zeros(len(scale), np.int8))
        return str(self.op("DynamicQuantizeMatMul", [states, whole, scales, zeros, *extra], domain=FUSED))

    def added(self, change: str, states: str, name: str) -> str:
        """Add, with the dense bias, and normalise."""
        norm = [self.weight(f"{name}.LayerNorm.weight"), self.weight(f"{name}.LayerNorm.bias")]
        inputs = [change, states, *norm, self.weight(f"{name}.dense.bias")]
        return str(self.op("SkipLayerNormalization", inputs, domain=FUSED, epsilon=self.shape.epsilon))

    def layer(self, states: str, name: str) -> str:
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        weight = np.concatenate([self.weights[f"{part}.weight"] for part in parts])
        bias = np.concatenate([self.weights[f"{part}.bias"] for part in parts])
        joint = self.dense(states, f"{name}.qkv", weight, bias)
        split = self.op("Split", [joint], outputs=3, axis=1, num_outputs=3)
        padded = [self.op("Gather", [part, "place"]) for part in split]
        seen = self.op("MultiHeadAttention", [*padded, "", "lengths"], domain=FUSED, num_heads=self.shape.heads)
        seen = self.op("Gather", [self.op("Reshape", [seen, "flat"]), "where"])
        out = f"{name}.attention.output"
        states = self.added(self.dense(seen, out, self.weights[f"{out}.dense.weight"]), states, out)
        grown = self.dense(states, f"{name}.up", self.weights[f"{name}.intermediate.dense.weight"])
        grown = self.op("BiasGelu", [grown, self.weight(f"{name}.intermediate.dense.bias")], domain=FUSED)
        return self.added(
            self.dense(grown, f"{name}.down", self.weights[f"{name}.output.dense.weight"]), states, f"{name}.output"
        )

    def model(self) -> bytes:
        """Return the serialised model: packed tokens -> unit vectors [texts, width]."""
        places = self.weights["embeddings.position_embeddings.weight"]
        words = self.op("Gather", [self.weight("embeddings.word_embeddings.weight"), "ids"])
        kind = self.weights["embeddings.token_type_embeddings.weight"][0]
        states = self.op("Add", [words, self.op("Gather", [self.constant("places", places + kind), "positions"])])
        norm = [self.weight(f"embeddings.LayerNorm.{part}") for part in ("weight", "bias")]
        states = self.op("LayerNormalization", [states, *norm], epsilon=self.shape.epsilon)
        self.constant("flat", np.array([-1, self.shape.width]))
        for layer in range(self.shape.layers):
            states = self.layer(states, f"encoder.layer.{layer}")
        self.nodes.append(
            helper.make_node("LpNormalization", [self.op("MatMul", ["share", states])], ["vectors"], axis=1, p=2)
        )
        whole, real = TensorProto.INT64, TensorProto.FLOAT
        shapes = {"ids": ["t"], "positions": ["t"], "place": ["n", "s"], "where": ["t"]}
        inputs = [helper.make_tensor_value_info(name, whole, dims) for name, dims in shapes.items()]
        inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, ["n"]))
        inputs.append(helper.make_tensor_value_info("share", real, ["n", "t"]))
        output = helper.make_tensor_value_info("vectors", real, ["n", self.shape.width])
        graph = helper.make_graph(self.nodes, "bert", inputs, [output], self.initial)
        versions = [helper.make_opsetid("", 18), helper.make_opsetid(FUSED, 1)]
        return bytes(helper.make_model(graph, opset_imports=versions, ir_version=9).SerializeToString())


def load_onnx(folder: Path, shape: BertShape, *, threads: int, int8: bool) -> Embed:
    """Return a function that embeds texts with ONNX Runtime."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(shape.longest)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = Graph(shape, int8=int8).model()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def embed(texts: Sequence[str]) -> Vectors:
        tokens = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
        return np.asarray(session.run(None, packed(tokens))[0])

    return embed


def packed(tokens: Sequence[Sequence[int]]) -> dict[str, NDArray[Any]]:
    """Return the graph's inputs: tokens in one row, and where each stands in the padded batch."""
    lengths = np.array([len(ids) for ids in tokens])
    starts, columns = np.cumsum(lengths) - lengths, np.arange(lengths.max())
    there = columns[None, :] < lengths[:, None]
    share = np.zeros((len(tokens), lengths.sum()), np.float32)
    rows = np.repeat(np.arange(len(tokens)), lengths)
    share[rows, np.arange(lengths.sum())] = 1 / lengths[rows]
    return {
        "ids": np.concatenate([np.array(ids, np.int64) for ids in tokens]),
        "positions": np.broadcast_to(columns, there.shape)[there].astype(np.int64),
        "place": np.where(there, starts[:, None] + columns, 0).astype(np.int64),
        "where": np.flatnonzero(there).astype(np.int64),
        "lengths": lengths.astype(np.int32),
        "share": share,
    }


VERSIONS = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
