"""The pocket base: a small Llama that vLLM and transformers load like any other."""

from __future__ import annotations

from pathlib import Path
from types import MethodType

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear as LoraLinear
from torch.nn.functional import linear
from transformers import LlamaConfig, LlamaForCausalLM

CONTEXT = 1024
LORA_RANK = 64
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def build_base(vocabulary: int, pad: int, end: int, seed: int) -> LlamaForCausalLM:
    """Return an untrained base with tied embeddings, the same for the same seed."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=pad,
        bos_token_id=None,
        eos_token_id=end,
        attention_dropout=0.0,
        initializer_range=0.02,
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config)


def load_base(folder: Path, dtype: torch.dtype) -> LlamaForCausalLM:
    """Return the trained base. Eager attention is the fastest here: sequences are short and the heads are small."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")


def with_new_adapter(base: LlamaForCausalLM, seed: int) -> PeftModel:
    """Return the base with an untrained LoRA adapter on every linear layer; the base itself is frozen."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=LORA_RANK,
        lora_alpha=LORA_RANK,
        lora_dropout=0.0,
        bias="none",
        target_modules=list(LORA_TARGETS),
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(base, config)
    assert isinstance(adapted, PeftModel)
    return _joining(adapted)


def with_trained_adapter(base: LlamaForCausalLM, folder: Path) -> PeftModel:
    """Return the base with an adapter from disk, to be trained further."""
    return _joining(PeftModel.from_pretrained(base, folder, is_trainable=True, autocast_adapter_dtype=True))


def _joining(adapted: PeftModel) -> PeftModel:
    for layer in adapted.modules():
        if isinstance(layer, LoraLinear):
            layer.forward = MethodType(_joined, layer)
    return adapted


def _joined(layer: LoraLinear, inputs: torch.Tensor) -> torch.Tensor:
    """Compute what LoRA does as one product with the summed weights: a third faster where weights are this small."""
    change = layer.lora_B["default"].weight @ layer.lora_A["default"].weight * layer.scaling["default"]
    return linear(inputs, layer.base_layer.weight + change)


def load_adapter(base: LlamaForCausalLM, folder: Path) -> PeftModel:
    """Return the base with a trained adapter."""
    return PeftModel.from_pretrained(base, folder)
