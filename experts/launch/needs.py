"""How much memory a vLLM server needs, from its model's folder: file headers and config.json, no weights are read.

    weights    the tensors in the safetensors headers; without them the parameters that config.json describes
    cache      one request of the whole context, or as many usual ones as fit in 32,768 tokens, whichever is more
    overhead   what vLLM takes besides, on each GPU

These are estimates for choosing a GPU, not limits: `launch.gpu_memory_gib` overrides them. A model that is only a hub
name is not known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experts.config import LaunchConfig
from experts.launch.adapter_files import tensor_shapes, text_config
from experts.launch.vllm import MOST_ADAPTERS_IN_ONE_BATCH, ServerSpec
from experts.placement import Need

GPU_OVERHEAD_GIB = 2.0
"""CUDA's context, graphs and activations of one server on one GPU; vLLM 0.32 with default settings."""
CPU_OVERHEAD_GIB = 1.1
"""A server process on a CPU, measured with the pocket base."""
CPU_KV_GIB = 1.0
"""VLLM_CPU_KVCACHE_SPACE as we set it."""
CACHED_TOKENS = 32_768
_BYTES = {
    "F64": 2,
    "F32": 2,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I8": 1,
    "U8": 1,
}
"""As loaded: vLLM casts wide floats to 16 bits unless --dtype says otherwise."""
_GIB = 2**30


def need_on_gpu(spec: ServerSpec, launch: LaunchConfig, context_window: int | None = None) -> Need:
    """Return what a server needs on GPUs. `gpus` counts only where the operator wrote it."""
    config = text_config(Path(spec.model))
    heads = _whole(config, "num_attention_heads")
    kv_heads = _whole(config, "num_key_value_heads") or heads
    weights = weights_gib(Path(spec.model), spec.args)
    return Need(
        server=spec.name,
        weights_gib=None if weights is None else weights + _adapters_gib(spec),
        kv_gib=kv_gib(config, _flag(spec.args, "--max-model-len"), context_window),
        overhead_gib=GPU_OVERHEAD_GIB,
        heads=heads,
        kv_heads=kv_heads,
        gpus=max(launch.gpus, 1) if "gpus" in launch.model_fields_set else None,
        fixed_gib=launch.gpu_memory_gib,
    )


def need_on_cpu(spec: ServerSpec, launch: LaunchConfig) -> Need:
    """Return what a server needs in RAM; `gpus` means nothing here, and an unknown size counts as nothing."""
    need = need_on_gpu(spec, launch)
    cache = float(spec.env.get("VLLM_CPU_KVCACHE_SPACE", CPU_KV_GIB))
    known = need.weights_gib or 0.0
    return replace(need, weights_gib=known, kv_gib=cache, overhead_gib=CPU_OVERHEAD_GIB, gpus=1, fixed_gib=None)


def weights_gib(model: Path, args: Sequence[str] = ()) -> float | None:
    """Return the size of a model's weights as they are loaded; None when the folder does not say."""
    factor = 2 if _flag(args, "--dtype") in ("float32", "float") else 1
    tensors = [tensor for file in sorted(model.glob("*.safetensors")) for tensor in tensor_shapes(file).values()]
    if tensors:
        return sum(math.prod(shape) * _BYTES.get(dtype, 2) for dtype, shape in tensors) * factor / _GIB
    other = sum(file.stat().st_size for file in model.glob("pytorch_model*.bin"))
    if other:
        return other * factor / _GIB
    parameters = parameter_count(text_config(model))
    return parameters * 2 * factor / _GIB if parameters else None


def parameter_count(config: dict[str, Any]) -> int:
    """Return a transformer's parameters from its config.json; 0 when it does not say enough."""
    hidden, layers, vocabulary = (_whole(config, k) for k in ("hidden_size", "num_hidden_layers", "vocab_size"))
    heads, inner = _whole(config, "num_attention_heads"), _whole(config, "intermediate_size")
    if not (hidden and layers and vocabulary and heads and inner):
        return 0
    head_dim = _whole(config, "head_dim") or hidden // heads
    kv_heads = _whole(config, "num_key_value_heads") or heads
    attention = hidden * head_dim * (heads + 2 * kv_heads) + heads * head_dim * hidden
    experts = _whole(config, "num_local_experts") or _whole(config, "num_experts") or 1
    inner = _whole(config, "moe_intermediate_size") or inner
    embeddings = vocabulary * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return embeddings + layers * (attention + 3 * hidden * inner * experts + 2 * hidden) + hidden


def kv_gib(config: dict[str, Any], max_model_len: str | None = None, context_window: int | None = None) -> float:
    """Return the size of the cache a server should have, 16 bits an entry; 0 when config.json does not say enough."""
    layers, heads = _whole(config, "num_hidden_layers"), _whole(config, "num_attention_heads")
    if not (layers and heads):
        return 0.0
    head_dim = _whole(config, "head_dim") or _whole(config, "hidden_size") // heads
    entries = 2 * (_whole(config, "num_key_value_heads") or heads) * head_dim
    if latent := _whole(config, "kv_lora_rank"):  # multi-head latent attention keeps one compressed entry
        entries = latent + _whole(config, "qk_rope_head_dim")
    context = int(max_model_len) if max_model_len and max_model_len.isdigit() else context_window
    tokens = max(context or _whole(config, "max_position_embeddings"), CACHED_TOKENS)
    return layers * entries * tokens * 2 / _GIB


def _adapters_gib(spec: ServerSpec) -> float:
    """Return what places for adapters take: each is as large as the largest adapter known."""
    files = (adapter.folder / "adapter_model.safetensors" for adapter in spec.adapters)
    sizes = [file.stat().st_size for file in files if file.is_file()]
    return max(sizes, default=0) * min(spec.adapter_places, MOST_ADAPTERS_IN_ONE_BATCH) / _GIB


def _flag(args: Sequence[str], name: str) -> str | None:
    """Return what an argument is set to, last one wins: `--name value` or `--name=value`."""
    found = None
    for position, written in enumerate(args):
        if written == name and position + 1 < len(args):
            found = args[position + 1]
        elif written.startswith(f"{name}="):
            found = written.partition("=")[2]
    return found


def _whole(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
