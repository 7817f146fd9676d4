"""Turn questions into token batches: rendered by the chat template, sorted by length, learned on the answer only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from random import Random
from typing import Protocol

import torch
from transformers import PreTrainedTokenizerBase

from experts.pocket.exam import DOMAINS, stream

POOL = 2048
"""Examples drawn at once, sorted by length and cut into batches, so that almost nothing is padding."""

IGNORED = -100

Conversation = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Example:
    """A rendered conversation; what is learned are the tokens of these ranges: what the assistant said."""

    tokens: list[int]
    learned: tuple[range, ...]


class Exercises(Protocol):
    """An endless supply of (conversation, right answer); earlier answers in the conversation are learned as well."""

    def __iter__(self) -> Iterator[tuple[Conversation, str]]: ...


def render(tokenizer: PreTrainedTokenizerBase, conversation: Conversation, answer: str) -> Example:
    """Return the tokens a server would see for this conversation, followed by the answer."""
    said = [*conversation, {"role": "assistant", "content": answer}]
    tokens: list[int] = []
    learned: list[range] = []
    for turn in (position for position, message in enumerate(said) if message["role"] == "assistant"):
        text = tokenizer.apply_chat_template(said[:turn], tokenize=False, add_generation_prompt=True)
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        reply = tokenizer(said[turn]["content"] + str(tokenizer.eos_token), add_special_tokens=False)["input_ids"]
        tokens = [*prompt, *reply]
        learned.append(range(len(prompt), len(tokens)))
    return Example(tokens, tuple(learned))


@dataclass(frozen=True, slots=True)
class DomainExercises:
    """Training questions of some domains, taken in turn."""

    domains: Sequence[str] = DOMAINS
    seed: int = 0

    def __iter__(self) -> Iterator[tuple[Conversation, str]]:
        streams = [stream(domain, "train", self.seed) for domain in self.domains]
        for question in chain.from_iterable(zip(*streams, strict=True)):
            yield [{"role": "user", "content": question.prompt}], question.response


def batches(
    tokenizer: PreTrainedTokenizerBase, exercises: Exercises, *, tokens_per_batch: int, seed: int
) -> Iterator[list[Example]]:
    """Yield batches of examples of similar length, in random order, without end."""
    random, source = Random(seed), iter(exercises)
    while True:
        pool = [render(tokenizer, conversation, answer) for conversation, answer in islice(source, POOL)]
        pool.sort(key=lambda example: (len(example.tokens), random.random()))
        cut = list(_cut(pool, tokens_per_batch))
        random.shuffle(cut)
        yield from cut


def _cut(pool: list[Example], tokens_per_batch: int) -> Iterator[list[Example]]:
    batch: list[Example] = []
    for example in pool:
        if batch and (len(batch) + 1) * len(example.tokens) > tokens_per_batch:
            yield batch
            batch = []
        batch.append(example)
    yield batch


def tensors(batch: list[Example], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (input ids, labels), padded on the right; labels are IGNORED outside of what is learned."""
    width = max(len(example.tokens) for example in batch)
    inputs = torch.full((len(batch), width), pad)
    labels = torch.full((len(batch), width), IGNORED)
    for row, example in enumerate(batch):
        length = len(example.tokens)
        tokens = torch.tensor(example.tokens)
        inputs[row, :length] = tokens
        for span in example.learned:
            labels[row, span.start : span.stop] = tokens[span.start : span.stop]
    return inputs, labels
