"""What the fuser practises on, made from training questions alone.

It replies with the name of the expert it follows and the gist of that answer: its final line, or its code. Naming
first leaves one place to copy from. Three lessons, in this order:

repeating experts say anything, and each is asked for by name
copying   answers to several questions in one panel, and all of those questions in turn, so that every answer is
          copied once; half of the answers are garbled, so that they must be read and cannot be worked out
panels    one question, answers really given by the experts or made up, hostile texts and noise among them;
          in part as a comparison, to be answered by a letter
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from experts.fusion_prompt import LETTERS, fusion_instructions, ranking_instructions
from experts.pocket.corpus import Conversation
from experts.pocket.exam import DOMAINS, stream
from experts.pocket.grading import PYTHON_BLOCK, final_answer
from experts.pocket.hostile import garbled, hostile, names_of_things, noise, other_than
from experts.pocket.panels import MASKS, PANELISTS, Opinion, Panel, Replies, draw_council, draw_panel
from experts.pocket.question import PocketQuestion

Lesson = Literal["repeating", "copying", "panels"]
LESSONS: tuple[Lesson, ...] = ("repeating", "copying", "panels")
Practice = tuple[Conversation, str]
Answered = tuple[PocketQuestion, Replies]
"""A training question with the answers that the experts gave to it."""

LONGEST_PANEL = 1800
"""Characters of a panel's system message beyond which it is left out: long ones teach little for their tokens."""
RANKED = 0.3
GARBLED = 0.5
SHORT = 0.5
REAL = 0.6
COUNCILS = 0.4
PLANTED = 0.3
COPIED = 0.4


@dataclass(frozen=True, slots=True)
class FusionExercises:
    """An endless supply of one lesson. `answered` are real answers; without any, all are made up."""

    seed: int
    lesson: Lesson
    answered: Sequence[Answered] = ()

    def __iter__(self) -> Iterator[Practice]:
        random = Random(f"{self.lesson}/{self.seed}")
        made = {
            "repeating": lambda: _repeating(random, self.seed),
            "copying": lambda: _copying(random, self.seed),
            "panels": lambda: _panels(random, self.seed, self.answered),
        }[self.lesson]()
        for conversation, reply in made:
            if len(conversation[0]["content"]) <= LONGEST_PANEL:
                yield conversation, reply


def reply(opinion: Opinion) -> str:
    """Return what a fuser writes that follows this opinion."""
    return f"{opinion.expert}:\n{gist(opinion.answer)}"


def gist(answer: str) -> str:
    """Return what has to be copied of an answer: its last block of code, or its final line without the working."""
    blocks = list(PYTHON_BLOCK.finditer(answer))
    return blocks[-1].group(0) if blocks else f"Answer: {final_answer(answer)}"


def followed(panel: Panel) -> Opinion:
    """Return the opinion to follow: the specialist's where names are shown, else the heaviest right one, or any.

    A specialist is followed even where it is wrong: who reads cannot know, and is to be steady.
    """
    own = [opinion for opinion in panel.opinions if panel.question.domain in opinion.domains]
    return own[0] if own else panel.best() or panel.heaviest()


def _repeating(random: Random, seed: int) -> Iterator[Practice]:
    """Yield panels of experts who say anything, each of whom is asked for by name: nothing can be worked out."""
    streams = [stream(domain, "train", seed + 3) for domain in DOMAINS]
    asked = {word for each in streams for _ in range(400) for word in next(each).prompt.split()}
    words = [*sorted(asked), *names_of_things()]
    while True:
        names = random.sample(DOMAINS, random.choice((1, 2, 3)))
        said = [f"Answer: {_anything(words, random)}" for _ in names]
        shown = [
            Opinion(name, round(random.random(), 2), text, True).shown for name, text in zip(names, said, strict=True)
        ]
        turns: Conversation = [{"role": "system", "content": fusion_instructions(shown)}]
        for place in random.sample(range(len(names)), len(names)):
            turns.append({"role": "user", "content": names[place]})
            turns.append({"role": "assistant", "content": f"{names[place]}:\n{said[place]}"})
        yield turns[:-1], turns[-1]["content"]


def _anything(words: Sequence[str], random: Random) -> str:
    """Return words alone, which are easiest to find again, or numbers and made-up words among them."""
    if random.random() < 0.5:
        return " ".join(random.choices(words, k=random.choice((4, 8, 16, 24))))
    kinds = (lambda: random.choice(words), lambda: other_than("", random), lambda: str(random.randint(0, 10**6)))
    return " ".join(random.choice(kinds)() for _ in range(random.choice((1, 2, 4, 6))))


def _copying(random: Random, seed: int) -> Iterator[Practice]:
    """Yield panels in which every expert answers a question of its own, and all of those questions in turn."""
    streams = {domain: stream(domain, "train", seed + 3) for domain in DOMAINS}
    while True:
        domains = random.sample(DOMAINS, random.choice((2, 3, 3, 4)))
        questions = [next(streams[domain]) for domain in domains]
        short, masked = random.random() < SHORT, random.random() < 0.3
        names = random.sample(MASKS, len(domains)) if masked else domains
        opinions = [
            Opinion(name, round(random.random(), 2), _given(question, short, random), True, () if masked else (domain,))
            for name, domain, question in zip(names, domains, questions, strict=True)
        ]
        yield _in_turn(questions, opinions, random)


def _given(question: PocketQuestion, short: bool, random: Random) -> str:
    answer = gist(question.response) if short else question.response
    return garbled(answer, random) if random.random() < GARBLED else answer


def _in_turn(questions: Sequence[PocketQuestion], opinions: Sequence[Opinion], random: Random) -> Practice:
    """Return a conversation that asks every question and follows the opinion on it, by copying or by its letter."""
    shown = [opinion.shown for opinion in opinions]
    ranked = random.random() < RANKED
    said: Conversation = [
        {"role": "system", "content": (ranking_instructions if ranked else fusion_instructions)(shown)}
    ]
    places = random.sample(range(len(opinions)), len(opinions))
    for place in places:
        said.append({"role": "user", "content": questions[place].prompt})
        said.append({"role": "assistant", "content": LETTERS[place] if ranked else reply(opinions[place])})
    return said[:-1], said[-1]["content"]


def _panels(random: Random, seed: int, answered: Sequence[Answered]) -> Iterator[Practice]:
    streams = {domain: stream(domain, "train", seed + 3) for domain in DOMAINS}
    copying, repeating = _copying(random, seed), _repeating(random, seed)
    while True:
        if random.random() < COPIED:
            yield next(random.choice((copying, repeating)))
        real = bool(answered) and random.random() < REAL
        question, given = random.choice(answered) if real else (next(streams[random.choice(DOMAINS)]), {})
        replies = {**_made_up(question, streams), **given}
        panel = (draw_council if random.random() < COUNCILS else draw_panel)(question, replies, random)
        best = followed(panel)
        if final_answer(best.answer) or PYTHON_BLOCK.search(best.answer):
            yield _practice(*_disturbed(panel, best, random), random)


def _made_up(question: PocketQuestion, streams: Mapping[str, Iterator[PocketQuestion]]) -> Replies:
    """Return replies where each off-domain expert answers some other question, in its own style."""
    replies = {domain: (next(streams[domain]).response, False) for domain in DOMAINS}
    replies[question.domain] = (question.response, True)
    other = next(streams[question.domain])
    return {**replies, "base": (other.response, other.answer == question.answer)}


def _disturbed(panel: Panel, best: Opinion, random: Random) -> tuple[Panel, Opinion]:
    """Plant something into another seat now and then, and garble the best answer now and then: it is still followed."""
    places = [place for place, opinion in enumerate(panel.opinions) if opinion is not best]
    opinions = list(panel.opinions)
    if random.random() < PLANTED:
        place = random.choice(places)
        opinions[place] = replace(opinions[place], answer=_planted(panel, best, random), right=False)
    seat = panel.opinions.index(best)
    if best.domains and random.random() < GARBLED / 2:
        opinions[seat] = replace(best, answer=garbled(best.answer, random))
    return Panel(panel.question, tuple(opinions)), opinions[seat]


def _planted(panel: Panel, best: Opinion, random: Random) -> str:
    kind = random.random()
    if kind < 0.15:
        return noise(random)
    if kind < 0.3 and best.domains:
        return garbled(panel.question.response, random)
    final = final_answer(best.answer)
    wrong = other_than(final, random) if final and random.random() < 0.7 else str(random.randint(0, 99))
    return hostile("train", wrong, random.choice(PANELISTS), random)


def _practice(panel: Panel, best: Opinion, random: Random) -> Practice:
    if random.random() >= RANKED:
        return panel.conversation(), reply(best)
    seat = panel.opinions.index(best)
    others = [place for place in range(len(panel.opinions)) if place != seat and not panel.opinions[place].right]
    if not others:
        return panel.conversation(), reply(best)
    compared = others if random.random() < 0.3 else [random.choice(others)]
    places = random.sample([seat, *compared], len(compared) + 1)
    return panel.ranking(places), LETTERS[places.index(seat)]
