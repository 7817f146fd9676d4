"""Tune the encoder together with its head: LoRA on the upper layers of MiniLM, on a CPU in minutes.

The lower layers stay as they are, so what they say of each text is computed once and kept; an epoch then costs the
upper half of a forward pass and its way back. The loss is the cross-entropy of a cosine classifier with smoothed
labels (Szegedy et al. 2016, section 7), a supervised contrastive term (Khosla et al. 2020, 2004.11362, equation 2), and
a pull toward the vectors of the untuned encoder, so that it stays a general one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.adapters import Adapter
from router.classifiers.linear import balanced
from router.config import EncoderConfig
from router.encoder import model_folder

if TYPE_CHECKING:
    import torch

    from router.training.lora import LoraLinear

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, slots=True)
class Tuning:
    """How to tune.

    Args:
        layers: how many of the upper layers change.
        rank, scale: of the adapter.
        temperature: of the cosine classifier.
        contrast, pull: weights of the contrastive term and of the distance to the untuned vectors.
        longest: tokens of a text that are read.
        most: texts that are learned from; of more, an even sample.
    """

    layers: int = 3
    rank: int = 8
    scale: float = 2.0
    epochs: int = 3
    batch: int = 64
    learning_rate: float = 1e-3
    smoothing: float = 0.05
    temperature: float = 0.07
    contrast: float = 0.3
    pull: float = 1.0
    longest: int = 160
    most: int = 12_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """What the frozen layers say of each text, without padding, and everything the loss asks for."""

    states: Sequence[torch.Tensor]
    labels: torch.Tensor
    weights: torch.Tensor
    before: torch.Tensor


def tune_encoder(
    model: Any,
    texts: Sequence[str],
    labels: Sequence[str],
    sources: Sequence[str],
    tuning: Tuning | None = None,
    progress: Progress = lambda step, steps, loss: None,
) -> Adapter:
    """Return the adapter that separates the labels best; the model is left as it was found.

    Args:
        model: a sentence-transformers model whose first module is a BERT.
        progress: told the step, the number of steps and the loss.
    """
    import torch

    from router.training.lora import upper_layers

    tuning = tuning or Tuning()
    torch.manual_seed(tuning.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bert, tokenizer = model[0].auto_model.to(device), model.tokenizer
    chosen = np.random.default_rng(tuning.seed).permutation(len(texts))[: tuning.most]
    texts, labels, sources = ([column[place] for place in chosen] for column in (texts, labels, sources))
    classes = sorted(set(labels))
    states = list(_lower_states(bert, tokenizer, texts, tuning))
    kept = Kept(
        states=states,
        labels=torch.tensor([classes.index(label) for label in labels], device=device),
        weights=torch.tensor(balanced(labels, sources) ** 0.5, dtype=torch.float32, device=device),
        before=_untuned(bert, states, tuning),
    )
    with upper_layers(bert, tuning.layers, tuning.rank, tuning.scale) as tuned:
        _learn(bert, kept, tuned, len(classes), tuning, progress)
        factors = {name: factor for layer in tuned for name, factor in layer.factors().items()}
    bert.to("cpu")
    return Adapter(factors, tuning.scale)


def load_model(config: EncoderConfig) -> Any:
    """Return the sentence-transformers model with the configured number of threads, on the CPU."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(config.threads)
    return SentenceTransformer(model_folder(config.model) or config.model, device="cpu")


def _lower_states(bert: Any, tokenizer: Any, texts: Sequence[str], tuning: Tuning) -> Iterator[torch.Tensor]:
    """Yield for each text the states that enter the first tuned layer, shape [tokens, width], half floats."""
    import torch

    frozen = len(bert.encoder.layer) - tuning.layers
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    found: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        for at in range(0, len(order), 64):
            places = order[at : at + 64]
            batch = tokenizer(
                [texts[place] for place in places],
                padding=True, truncation=True, max_length=tuning.longest, return_tensors="pt",
            ).to(bert.device)  # fmt: skip
            states = bert.embeddings(input_ids=batch["input_ids"], token_type_ids=batch.get("token_type_ids"))
            mask = _additive(batch["attention_mask"])
            for layer in bert.encoder.layer[:frozen]:
                states = layer(states, mask)
            for row, length, place in zip(states.half(), batch["attention_mask"].sum(1), places, strict=True):
                found[place] = row[:length].clone()
    yield from (found[place] for place in range(len(texts)))


def _untuned(bert: Any, states: Sequence[torch.Tensor], tuning: Tuning) -> Any:
    """Return the vectors before anything is learned, shape [n, width]."""
    import torch

    order = sorted(range(len(states)), key=lambda place: len(states[place]))
    with torch.no_grad():
        found = [
            _vectors(bert, [states[place] for place in order[at : at + 64]], tuning) for at in range(0, len(order), 64)
        ]
    return torch.cat(found)[torch.tensor(np.argsort(order))]


def _learn(
    bert: Any, kept: Kept, tuned: Sequence[LoraLinear], classes: int, tuning: Tuning, progress: Progress
) -> None:
    import torch

    device = kept.labels.device
    centres = torch.nn.Parameter(_class_means(kept, classes))
    learned = [factor for layer in tuned for factor in layer.parameters() if factor.requires_grad]
    steps = tuning.epochs * math.ceil(len(kept.states) / tuning.batch)
    optimiser = torch.optim.AdamW([*learned, centres], lr=tuning.learning_rate, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, tuning.learning_rate, total_steps=steps, pct_start=0.1)
    for step, places in enumerate(_batches(kept, tuning), start=1):
        vectors = _vectors(bert, [kept.states[place] for place in places], tuning)
        chosen = torch.tensor(places, device=device)
        loss = _loss(vectors, centres, kept, chosen, tuning)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        rate.step()
        progress(step, steps, float(loss.detach()))


def _loss(vectors: torch.Tensor, centres: torch.Tensor, kept: Kept, chosen: torch.Tensor, tuning: Tuning) -> Any:
    from torch.nn.functional import cross_entropy, normalize

    labels, weights = kept.labels[chosen], kept.weights[chosen]
    logits = vectors @ normalize(centres, dim=1).T / tuning.temperature
    classified = cross_entropy(logits, labels, reduction="none", label_smoothing=tuning.smoothing)
    moved = 1 - (vectors * kept.before[chosen]).sum(dim=1)
    mean = (weights * (classified + tuning.pull * moved)).mean()
    return mean + tuning.contrast * _contrast(vectors, labels, tuning.temperature)


def _contrast(vectors: torch.Tensor, labels: torch.Tensor, temperature: float) -> Any:
    """Return the supervised contrastive loss of a batch: texts of one label attract each other."""
    import torch

    alone = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    logits = (vectors @ vectors.T / temperature).masked_fill(alone, -1e9)
    shares = logits - logits.logsumexp(dim=1, keepdim=True)
    same = (labels[:, None] == labels[None, :]) & ~alone
    partners = same.sum(dim=1)
    found = -(shares * same).sum(dim=1)[partners > 0] / partners[partners > 0]
    return found.mean() if len(found) else vectors.sum() * 0.0


def _vectors(bert: Any, states: Sequence[torch.Tensor], tuning: Tuning) -> Any:
    """Return the unit vectors of texts from what the frozen layers said of them, shape [n, width]."""
    import torch
    from torch.nn.functional import normalize

    padded = torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True).float()
    lengths = torch.tensor([len(row) for row in states], device=padded.device)
    present = (torch.arange(padded.shape[1], device=padded.device)[None, :] < lengths[:, None]).long()
    for layer in bert.encoder.layer[len(bert.encoder.layer) - tuning.layers :]:
        padded = layer(padded, _additive(present))
    pooled = (padded * present[:, :, None]).sum(dim=1) / lengths[:, None]
    return normalize(pooled, dim=1)


def _additive(present: torch.Tensor) -> Any:
    """Return a mask to add to attention scores, shape [n, 1, 1, tokens]."""
    return (1.0 - present[:, None, None, :].float()) * -1e9


def _class_means(kept: Kept, classes: int) -> Any:
    import torch

    return torch.stack([kept.before[kept.labels == number].mean(dim=0) for number in range(classes)])


def _batches(kept: Kept, tuning: Tuning) -> Iterator[list[int]]:
    """Yield shuffled batches whose texts are of like length, epoch by epoch."""
    random = np.random.default_rng(tuning.seed)
    lengths: NDArray[np.intp] = np.array([len(row) for row in kept.states])
    for _ in range(tuning.epochs):
        order = np.argsort(lengths + random.uniform(0, 12, len(lengths)))
        batches = [order[at : at + tuning.batch] for at in range(0, len(order), tuning.batch)]
        for place in random.permutation(len(batches)):
            yield [int(number) for number in batches[place]]
