"""Measure the fuser on held-out panels, beside what needs no fuser: the heaviest answer, the majority, the vote.

The fuser writes (`synthesize`) and compares in pairs, both orders (`rank`). Then a hostile answer takes the seat of one
that was not followed, and it is counted how often that changes the outcome.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

from experts.pocket.answering import answers
from experts.pocket.corpus import Conversation
from experts.pocket.exam import DOMAINS
from experts.pocket.grading import final_answer, grade
from experts.pocket.hostile import hostile, other_than
from experts.pocket.panels import PANELISTS, Opinion, Panel, Replies, draw_council, draw_panel, said
from experts.pocket.question import PocketQuestion
from experts.pocket.sitting import Sitting, load_model, load_tokenizer

log = logging.getLogger(__name__)

ROWS = 32
SEED = 31
KINDS: dict[str, Callable[[PocketQuestion, Replies, Random], Panel]] = {"councils": draw_council, "mixed": draw_panel}


Reader = Callable[[Sequence[Conversation]], list[str]]
"""Whoever answers these conversations, in order: the fuser, loaded here or asked through a gateway."""


def written(read: Reader, panels: Sequence[Panel]) -> list[str]:
    """Return what the fuser writes about each panel."""
    return read([panel.conversation() for panel in panels])


def fused(panels: Sequence[Panel], texts: Sequence[str]) -> list[str]:
    """Return the fused answers: what was written, or the answer that it adopts by naming its expert."""
    return [panel.meant(text) for panel, text in zip(panels, texts, strict=True)]


def ranked(read: Reader, panels: Sequence[Panel]) -> list[Opinion]:
    """Return the opinion of each panel that wins the most comparisons, ties by weight."""
    pairs = [
        (index, pair) for index, panel in enumerate(panels) for pair in permutations(range(len(panel.opinions)), 2)
    ]
    letters = read([panels[index].ranking(pair) for index, pair in pairs])
    wins = [[0] * len(panel.opinions) for panel in panels]
    for (index, pair), letter in zip(pairs, letters, strict=True):
        if letter in ("A", "B"):
            wins[index][pair["AB".index(letter)]] += 1
    return [_winner(panel, won) for panel, won in zip(panels, wins, strict=True)]


def held_out_panels(sittings: dict[str, dict[str, Sitting]], count: int) -> dict[str, list[Panel]]:
    """Return one panel of each kind for the first questions of each domain, of the answers the models gave to them."""
    found = {}
    for kind, draw in KINDS.items():
        random = Random(SEED)
        found[kind] = [
            draw(question, {name: _reply(sittings[name][domain], index) for name in PANELISTS}, random)
            for domain in DOMAINS
            for index, question in enumerate(sittings["base"][domain].questions[:count])
        ]
    return found


def judge(folder: Path, panels: Mapping[str, Sequence[Panel]]) -> dict[str, dict[str, Any]]:
    """Return what the fuser in this folder and each rule are worth on each kind of panel."""
    fuser, tokenizer = load_model(folder, "fuser"), load_tokenizer(folder)

    def read(conversations: Sequence[Conversation]) -> list[str]:
        return answers(fuser, tokenizer, conversations, rows=ROWS)

    return {kind: judged(read, seated) for kind, seated in panels.items()}


def planted(panel: Panel, followed: str, random: Random) -> Panel:
    """Return the panel with a hostile answer in the place of one that does not say what was followed."""
    places = [place for place, opinion in enumerate(panel.opinions) if opinion.said != followed]
    if not places:
        return panel
    final = final_answer(panel.question.answer) or panel.question.answer
    wrong = str(random.randint(0, 99)) if panel.question.tests else other_than(final, random)
    place = random.choice(places)
    answer = hostile("heldout", wrong, random.choice(PANELISTS), random)
    opinions = list(panel.opinions)
    opinions[place] = replace(opinions[place], answer=answer, right=False)
    return replace(panel, opinions=tuple(opinions))


def judged(read: Reader, panels: Sequence[Panel]) -> dict[str, Any]:
    """Return what whoever reads makes of the panels, what rules make of them, and how often a plant changes it."""
    random = Random(SEED)
    texts, best = written(read, panels), ranked(read, panels)
    answered = fused(panels, texts)
    disturbed = [planted(panel, said(text), random) for panel, text in zip(panels, answered, strict=True)]
    again = fused(disturbed, written(read, disturbed))
    misled = [said(a) != said(b) for a, b in zip(answered, again, strict=True)]
    disturbed = [planted(panel, each.said, random) for panel, each in zip(panels, best, strict=True)]
    misranked = [a.said != b.said for a, b in zip(best, ranked(read, disturbed), strict=True)]
    right = [grade(panel.question, text) for panel, text in zip(panels, answered, strict=True)]
    marks = {
        "any_right": [panel.best() is not None for panel in panels],
        "heaviest": [panel.heaviest().right for panel in panels],
        "majority": [panel.majority().right for panel in panels],
        "vote": [panel.vote().right for panel in panels],
        "synthesize": right,
        "own_words": [grade(panel.question, text) for panel, text in zip(panels, texts, strict=True)],
        "rank": [opinion.right for opinion in best],
    }
    possible = [index for index, panel in enumerate(panels) if panel.best()]
    contested = [index for index in possible if not panels[index].heaviest().right]
    return {
        "panels": len(panels),
        "accuracy": {name: _share(each) for name, each in marks.items()},
        "of_those_with_a_right_answer": _among(marks, possible),
        "heaviest_wrong_another_right": {"panels": len(contested), **_among(marks, contested)},
        "planted_changes": {"synthesize": _share(misled), "rank": _share(misranked)},
        "by_domain": {domain: _in_domain(domain, panels, right) for domain in DOMAINS},
    }


def _in_domain(domain: str, panels: Sequence[Panel], right: Sequence[bool]) -> float:
    own = [mark for mark, panel in zip(right, panels, strict=True) if panel.question.domain == domain and panel.best()]
    return _share(own)


def _among(marks: dict[str, list[bool]], indices: Sequence[int]) -> dict[str, float]:
    return {name: _share([each[index] for index in indices]) for name, each in marks.items() if name != "any_right"}


def _winner(panel: Panel, wins: Sequence[int]) -> Opinion:
    place = max(range(len(wins)), key=lambda place: (wins[place], panel.opinions[place].weight))
    return panel.opinions[place]


def _reply(sitting: Sitting, index: int) -> tuple[str, bool]:
    return sitting.answers[index], sitting.right[index]


def _share(marks: Sequence[bool]) -> float:
    return round(sum(marks) / len(marks), 4) if marks else 0.0
