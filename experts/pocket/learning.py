"""The training loop shared by the base and every adapter: AdamW, warm-up, linear decay, loss on the answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

from experts.pocket.corpus import IGNORED, Example, tensors
from experts.pocket.guidance import Guide

log = logging.getLogger(__name__)

WARM_UP = 0.04


@dataclass(frozen=True, slots=True)
class Budget:
    """How much to learn. `tokens` counts prompt and answer tokens alike, padding not."""

    tokens: int
    tokens_per_batch: int
    learning_rate: float


@dataclass(frozen=True, slots=True)
class LearningRecord:
    """What one stage cost and where its loss ended (mean over the last twentieth of its steps)."""

    tokens: int
    examples: int
    steps: int
    seconds: float
    final_loss: float

    def as_dict(self) -> dict[str, float]:
        """Return the record for figures.json."""
        return asdict(self)


def learn(
    model: torch.nn.Module,
    causal: LlamaForCausalLM,
    batches: Iterator[list[Example]],
    budget: Budget,
    pad: int,
    guide: Guide | None = None,
) -> LearningRecord:
    """Train the parameters of `model` that ask for gradients until the budget is spent.

    `causal` is the language model inside (the same object, where there is no adapter). A `guide` shows heads where to
    look; its loss is not in the record.
    """
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=0.0, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    device = next(model.parameters()).device
    seen = examples = 0
    losses: list[float] = []
    started = time.monotonic()
    while seen < budget.tokens:
        batch = next(batches)
        _set_rate(optimizer, budget, seen)
        inputs, labels = (tensor.to(device) for tensor in tensors(batch, pad))
        loss, guidance = _loss(causal, inputs, labels, batch, guide)
        _step(optimizer, learned, loss + guidance)
        losses.append(float(loss.detach()))
        seen += sum(len(example.tokens) for example in batch)
        examples += len(batch)
        if len(losses) % 100 == 0:
            speed = seen / (time.monotonic() - started)
            log.info("%d tokens, loss %.4f, %.0f tokens/s", seen, sum(losses[-100:]) / 100, speed)
            if guide:
                log.info("guidance %.4f", float(guidance))
    tail = losses[-max(1, len(losses) // 20) :]
    return LearningRecord(seen, examples, len(losses), time.monotonic() - started, sum(tail) / len(tail))


def _set_rate(optimizer: torch.optim.Optimizer, budget: Budget, seen: int) -> None:
    progress = seen / budget.tokens
    rate = budget.learning_rate * min(progress / WARM_UP + 0.01, (1 - progress) / (1 - WARM_UP), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = rate


def _loss(
    causal: LlamaForCausalLM, inputs: torch.Tensor, labels: torch.Tensor, batch: list[Example], guide: Guide | None
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """Return the loss on what is learned, and the guide's."""
    with torch.autocast(inputs.device.type, torch.bfloat16):
        told = causal.model(input_ids=inputs, use_cache=False, output_attentions=guide is not None)
        targets = labels[:, 1:]
        asked = targets != IGNORED
        logits = causal.lm_head(told.last_hidden_state[:, :-1][asked])
    return cross_entropy(logits.float(), targets[asked]), guide.loss(told.attentions, batch) if guide else 0.0


def _step(optimizer: torch.optim.Optimizer, learned: list[torch.nn.Parameter], loss: torch.Tensor) -> None:
    loss.backward()
    torch.nn.utils.clip_grad_norm_(learned, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
