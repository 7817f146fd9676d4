"""How often does a decision stay when a question is dressed differently? The shipped head, on our own questions.

    python -m tests.bench.robustness [--artifact DIR]

Each of the 96 questions in tests/unit/router/chat_questions.py (nothing was fitted on them) is changed in every way
below; `same` is the share whose top domain stays, `right` the accuracy after the change, `familiar` the mean
familiarity. The languages are thirty questions of their own, compared with their English wording.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np

from router.artifacts import SHIPPED, load_head
from router.classifiers.base import Head
from router.config import EncoderConfig
from router.conversation import window
from router.encoder import Encoder
from tests.bench.robustness_prompts import DISTRACTORS, FRAMES, LANGUAGES, PARALLEL, SUFFIXES, SYNONYMS
from tests.unit.router.chat_questions import QUESTIONS

TYPOS_PER_LETTER = 0.06
Change = Callable[[str, Random], str]


def typos(text: str, random: Random) -> str:
    """Swap, drop or double about one letter in sixteen, at least one."""
    letters = list(text)
    places = [place for place, letter in enumerate(letters[:-1]) if letter.isalpha()]
    for place in random.sample(places, max(1, round(len(places) * TYPOS_PER_LETTER))):
        kind = random.randrange(3)
        if kind == 0:
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
        else:
            letters[place] = letters[place] * 2 if kind == 1 else ""
    return "".join(letters)


def synonyms(text: str, random: Random) -> str:
    """Replace turns of phrase by others; a question without any is put into a frame."""
    changed = text.lower()
    for phrase, other in SYNONYMS.items():
        changed = changed.replace(phrase, other)
    return changed if changed != text.lower() else random.choice(FRAMES).format(text)


CHANGES: dict[str, Change] = {
    "upper case": lambda text, random: text.upper(),
    "lower case, no punctuation": lambda text, random: "".join(c for c in text.lower() if c.isalnum() or c == " "),
    "typos": typos,
    "paraphrase: frame": lambda text, random: random.choice(FRAMES).format(text),
    "paraphrase: other phrases": synonyms,
    "pasted distractor before": lambda text, random: f"{random.choice(DISTRACTORS)}\n\n{text}",
    "pasted distractor after": lambda text, random: f"{text}\n\n{random.choice(DISTRACTORS)}",
    "adversarial suffix": lambda text, random: f"{text} {random.choice(SUFFIXES)}",
}


class Judge:
    """The head behind its encoder."""

    def __init__(self, head: Head, encoder: Encoder) -> None:
        self._head = head
        self._encoder = encoder

    def decide(self, texts: Sequence[str]) -> tuple[list[str], float]:
        """Return the top domain of each text, and the mean familiarity."""
        read = [window(text) for text in texts]
        found = self._head.judge(self._encoder.encode_sync(read), read)
        return [self._head.domains[place] for place in found.probabilities.argmax(axis=1)], found.familiarity.mean()


def changed_questions(judge: Judge) -> list[tuple[str, int, float, float, float]]:
    """Return (change, n, same, right, familiarity), the unchanged questions first."""
    truth = [domain for domain, texts in QUESTIONS.items() for _ in texts]
    texts = [text for group in QUESTIONS.values() for text in group]
    before, familiarity = judge.decide(texts)
    rows = [("as they are", len(texts), 1.0, _share(before, truth), familiarity)]
    for name, change in CHANGES.items():
        after, familiarity = judge.decide([change(text, Random(f"{name} {text}")) for text in texts])
        rows.append((name, len(texts), _share(after, before), _share(after, truth), familiarity))
    return rows


def languages(judge: Judge) -> list[tuple[str, int, float, float, float]]:
    """Return the same for each language, against the English wording."""
    truth = [row[0] for row in PARALLEL]
    english, _ = judge.decide([row[1] for row in PARALLEL])
    rows = []
    for column, language in enumerate(LANGUAGES, start=1):
        after, familiarity = judge.decide([row[column] for row in PARALLEL])
        rows.append((language, len(PARALLEL), _share(after, english), _share(after, truth), familiarity))
    return rows


def _share(left: Sequence[str], right: Sequence[str]) -> float:
    return float(np.mean([one == other for one, other in zip(left, right, strict=True)]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--artifact", type=Path, default=SHIPPED)
    chosen = parser.parse_args()
    encoder = Encoder(EncoderConfig())
    head, _ = load_head(chosen.artifact, encoder=encoder.name)
    judge = Judge(head, encoder)
    print("| change | n | same | right | familiar |\n|---|---|---|---|---|")
    for name, count, same, right, familiarity in [*changed_questions(judge), *languages(judge)]:
        print(f"| {name} | {count} | {same:.3f} | {right:.3f} | {familiarity:.2f} |")


if __name__ == "__main__":
    main()
