"""Read a conversation as evidence: which texts speak, how much each says, and how they add up.

The whole conversation is routed, not its last message. "And for n = 5?" carries next to no evidence of its
own, so the topic stays; a question that stands on its own feet outweighs the past at once. Nothing here
knows a model: classifiers score the texts, `accumulate` adds the scores up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from experts.types import Message

WINDOW_CHARACTERS = 600
CODE_CHARACTERS = 300
LONGEST_MEMORY = 5
SYSTEM_WEIGHT = 0.3
FULL_EVIDENCE_WORDS = 4
LEAST_EVIDENCE = 0.05

PART_MODALITIES = {"image_url": "image", "input_image": "image", "image": "image"}
PART_MODALITIES |= {"input_audio": "audio", "audio": "audio"}

_CODE_BLOCK = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{2,}|[^\s\w]+|\d+")
_LEANING = re.compile(
    r"^(and|but|or|so|also|then|now|ok|okay|yes|no|thanks|thank|what about|how about|same|why|more|again)\b"
    r"|^((can|could|would) you )?(please )?(also )?(add|change|remove|include|rename|replace)\b"
    r"|\b(it|its|that|this|these|those|them|they|above|previous|same|other one|another one|one more|step \d+)\b",
    re.IGNORECASE,
)
_EMPTY_WORDS = frozenset(files("router").joinpath("empty_words.txt").read_text(encoding="utf-8").split())
"""Words that say nothing about the topic of the message they stand in."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One text that speaks for the topic, and how much it says (0..1)."""

    text: str
    weight: float


def read_turns(messages: Sequence[Message]) -> tuple[Turn, ...]:
    """Return what the conversation says about its topic, oldest first: its system prompt, weakly, and the
    last user messages. What the experts answered is left out: it follows the routing, it must not lead it.

    Without any text of a user the other messages speak; without any text at all the result is empty.
    """
    texts = [(message.get("role"), message_text(message)) for message in messages]
    said = [(role, text) for role, text in texts if text.strip()]
    asked = [Turn(window(text), evidence(text)) for role, text in said if role == "user"]
    told = [text for role, text in said if role in ("system", "developer")]
    if not asked:
        return tuple(Turn(window(text), evidence(text)) for _, text in said[-1:])
    system = [Turn(window(text), SYSTEM_WEIGHT * evidence(text)) for text in told[:1]]
    return tuple(system + asked[-LONGEST_MEMORY:])


def message_text(message: Message) -> str:
    """Return the text of a message, whose content may be a string, a list of parts, or nothing."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def modalities(messages: Iterable[Message]) -> frozenset[str]:
    """Return what the messages contain: "text" always, "image" and "audio" where a part is one."""
    kinds = {
        str(part.get("type"))
        for message in messages
        if isinstance(content := message.get("content"), list)
        for part in content
        if isinstance(part, dict)
    }
    return frozenset({"text"} | {PART_MODALITIES[kind] for kind in kinds if kind in PART_MODALITIES})


def window(text: str, characters: int = WINDOW_CHARACTERS) -> str:
    """Return the text, or the head and tail of a long one: people state the task first or last.

    Code blocks are cut to their head, so that a pasted file leaves room for what is asked about it.
    """
    text = _CODE_BLOCK.sub(lambda block: _cut(block.group(), CODE_CHARACTERS), text).strip()
    if len(text) <= characters:
        return text
    tail = characters // 3
    return f"{text[: characters - tail]}\n...\n{text[-tail:]}"


def _cut(block: str, characters: int) -> str:
    return block if len(block) <= characters else f"{block[:characters]}\n```"


def evidence(text: str) -> float:
    """Return how much a message says about its topic on its own, `LEAST_EVIDENCE` to 1.

    Words with content count; a short message that leans on what was said before counts a quarter.
    """
    words = [word.lower() for word in _WORD.findall(text[:2000])]
    content = len([word for word in words if word[0].isalpha() and word not in _EMPTY_WORDS])
    weight = min(1.0, content / FULL_EVIDENCE_WORDS)
    if content < FULL_EVIDENCE_WORDS and _LEANING.search(text):
        weight /= 4
    return max(LEAST_EVIDENCE, weight)


def accumulate(probabilities: NDArray[np.float64], weights: Sequence[float], forgetting: float) -> NDArray[np.float64]:
    """Return the topic's distribution after the last turn: the forward pass of a hidden Markov model.

    Before a turn the topic changes with probability `forgetting`, to any domain alike; the turn then multiplies
    in its own distribution (Rabiner 1989, equation 20). A turn of weight w does both to the degree of w: the
    change with probability w * `forgetting`, the distribution to the power of w. Weights count relative to the
    strongest, so a single turn keeps its distribution as it is.

    Args:
        probabilities: one row a turn, shape [turns, domains].
    """
    share = np.array(weights) / max(weights)
    belief = np.full(probabilities.shape[1], 1.0 / probabilities.shape[1])
    for row, weight in zip(probabilities, share, strict=True):
        change = forgetting * weight
        belief = ((1 - change) * belief + change / len(belief)) * np.clip(row, 1e-9, 1.0) ** weight
        belief /= belief.sum()
    return belief


def recent(values: NDArray[np.float64], weights: Sequence[float]) -> float:
    """Return the last value, as far as its turn has weight, else the one before, and so on."""
    scale = max(weights)
    level = float(values[0])
    for value, weight in zip(values, weights, strict=True):
        level += (float(value) - level) * weight / scale
    return level


def blended(vectors: NDArray[np.float32], weights: Sequence[float]) -> NDArray[np.float32]:
    """Return one unit vector of what the conversation asks now, shape [dimension].

    A turn of full weight replaces what was said before; one that leans on it ("and for n = 5?") only bends it.
    """
    scale = max(weights)
    asked = vectors[0].astype(np.float64)
    for row, weight in zip(vectors, weights, strict=True):
        asked += (row - asked) * (weight / scale)
    return np.asarray(asked / (np.linalg.norm(asked) or 1.0), dtype=np.float32)
