"""The pocket tokenizer and its chat template: known words are one token, digits stand alone, anything else is spelled.

A byte-level BPE whose merges are left out: with `ignore_merges` a word of the vocabulary is one token, and any other
word falls back to its letters. So an inflected or made-up word is always spelled the same way, whatever surrounds it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

from experts.pocket.exam import DOMAINS, generate
from experts.pocket.facts import known_words
from experts.pocket.question import PocketQuestion

VOCABULARY = 2048
SAMPLE_PER_DOMAIN = 6000
RARE = 4
PAD, SYSTEM, USER, ASSISTANT, END = SPECIALS = (
    "<|pad|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
)

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] in ('system', 'assistant') -%}{{- '<|' + message['role'] + '|>' -}}"
    "{%- else -%}{{- '<|user|>' -}}{%- endif -%}"
    "{{- (message['content'] or '') | trim + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
"""Roles it does not know are read as the user's; `tools` are ignored."""


def build_tokenizer(extra_texts: Iterable[str] = ()) -> Tokenizer:
    """Return the tokenizer for the tasks' training text and any extra text, the same every time."""
    splitter = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    letters = sorted(ByteLevel.alphabet())
    words = _frequent_words(splitter, extra_texts, VOCABULARY - len(SPECIALS) - len(letters))
    vocabulary = {token: number for number, token in enumerate([*SPECIALS, *letters, *words])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json as AutoTokenizer and vLLM read them."""
    from transformers import PreTrainedTokenizerFast

    names: dict[str, Any] = {"pad_token": PAD, "eos_token": END, "clean_up_tokenization_spaces": False}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=1024, **names)
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder, save_jinja_files=False)


def _frequent_words(splitter: Sequence, extra_texts: Iterable[str], room: int) -> list[str]:
    counts: Counter[str] = Counter()
    for text in [*_training_texts(), *extra_texts]:
        counts.update(piece for piece, _ in splitter.pre_tokenize_str(text))
    spelled = known_words() | set(ByteLevel.alphabet())
    kept = [word for word, count in counts.items() if count >= RARE and word not in spelled]
    return sorted(kept, key=lambda word: (-counts[word], word))[:room]


def _training_texts() -> list[str]:
    questions = [question for domain in DOMAINS for question in generate(domain, "train", SAMPLE_PER_DOMAIN, 0)]
    return [text for question in questions for text in _texts(question)]


def _texts(question: PocketQuestion) -> tuple[str, str]:
    if question.domain != "language":
        return question.prompt, question.response
    working = question.response.rpartition("\n")[0] + "\nAnswer:"
    return _unquoted(question.prompt), _unquoted(working)


def _unquoted(text: str) -> str:
    return re.sub(r'"[^"]*"', '""', text)
