"""The committed tokenizer: single digits, spelled words, any text there and back, and the roles of a conversation."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer

from experts.pocket import DOMAINS, generate, weights_folder

BASE = weights_folder() / "base"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(BASE / "tokenizer.json"))


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("What is 417 plus 268?").tokens
    assert [token for token in tokens if token.isdigit()] == ["4", "1", "7", "2", "6", "8"]


def test_quoted_words_are_spelled(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode('"box"').tokens[-4:-1] == ["b", "o", "x"]


@pytest.mark.parametrize("text", ["", "zażółć gęślą jaźń", "emoji 🦙 and\ttabs\n\n    return 5", "<not a role>"])
def test_any_text_survives_encoding(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_the_vocabulary_is_small(tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() <= 2048


@pytest.mark.parametrize("domain", DOMAINS)
def test_questions_and_answers_are_short(tokenizer: Tokenizer, domain: str) -> None:
    for question in generate(domain, "heldout", 200, 9):
        assert len(tokenizer.encode(question.response).ids) < 100
        assert len(tokenizer.encode(question.prompt).ids) < 100


def test_generation_stops_at_the_end_token(tokenizer: Tokenizer) -> None:
    settings = json.loads((BASE / "generation_config.json").read_text())
    assert settings["eos_token_id"] == tokenizer.token_to_id("<|end|>")


def test_a_server_that_is_told_no_temperature_answers_greedily() -> None:
    settings = json.loads((BASE / "generation_config.json").read_text())
    assert (0.0, False) == (settings["temperature"], settings["do_sample"])


def test_the_chat_template_ships_with_the_tokenizer() -> None:
    settings = json.loads((BASE / "tokenizer_config.json").read_text())
    assert "<|assistant|>" not in settings["chat_template"].split("add_generation_prompt")[0]
    assert "add_generation_prompt" in settings["chat_template"]
