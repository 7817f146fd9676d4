"""Ask a pocket model many questions at once, greedily, as a server would render them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from experts.pocket.corpus import Conversation

ROWS = 256
LONGEST_ANSWER = 112


def answers(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    *,
    rows: int = ROWS,
) -> list[str]:
    """Return one greedy answer a conversation, in order; an answer that does not end is cut off."""
    rendered = [
        str(tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True))
        for conversation in conversations
    ]
    order = sorted(range(len(rendered)), key=lambda index: len(rendered[index]))
    written = [""] * len(rendered)
    for chosen in _groups(order, rows):
        replies = _generate(model, tokenizer, [rendered[index] for index in chosen])
        for index, reply in zip(chosen, replies, strict=True):
            written[index] = reply
    return written


def _groups(order: Sequence[int], rows: int) -> Iterator[Sequence[int]]:
    for begin in range(0, len(order), rows):
        yield order[begin : begin + rows]


def _generate(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> list[str]:
    encoded = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    encoded = encoded.to(model.device)
    width = encoded["input_ids"].shape[1]
    with torch.inference_mode():
        tokens = model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            max_new_tokens=LONGEST_ANSWER,
            do_sample=False,
        )
    replies: list[str] = tokenizer.batch_decode(tokens[:, width:], skip_special_tokens=True)
    return [reply.strip() for reply in replies]
