"""Measure the fuser on held-out panels, beside what needs no fuser: the heaviest answer and the majority's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from random import Random

from experts.pocket.answering import answers
from experts.pocket.exam import DOMAINS
from experts.pocket.grading import grade
from experts.pocket.panels import PANELISTS, Opinion, Panel, draw_panel
from experts.pocket.sitting import Sitting, load_model, load_tokenizer

log = logging.getLogger(__name__)

ROWS = 64
SEED = 31


def held_out_panels(sittings: dict[str, dict[str, Sitting]]) -> list[Panel]:
    """Return one panel for each held-out question, of the answers the models gave to it."""
    random = Random(SEED)
    panels = []
    for domain in DOMAINS:
        for index, question in enumerate(sittings["base"][domain].questions):
            rows = {name: sittings[name][domain] for name in PANELISTS}
            replies = {name: (row.answers[index], row.right[index]) for name, row in rows.items()}
            panels.append(draw_panel(question, replies, random))
    return panels


def judge(folder: Path, panels: Sequence[Panel]) -> dict[str, object]:
    """Return the accuracy of the fuser and of each rule, over all panels and over those where the heaviest is wrong."""
    fuser, tokenizer = load_model(folder, "fuser"), load_tokenizer(folder)
    written = answers(fuser, tokenizer, [panel.conversation() for panel in panels], rows=ROWS)
    right = [grade(panel.question, answer) for panel, answer in zip(panels, written, strict=True)]
    contested = [index for index, panel in enumerate(panels) if not panel.heaviest().right and panel.best()]
    return {
        "panels": len(panels),
        "fuser": _share(right),
        "heaviest": _share([panel.heaviest().right for panel in panels]),
        "majority": _share([panel.majority().right for panel in panels]),
        "any_right": _share([_is_right(panel.best()) for panel in panels]),
        "heaviest_wrong_another_right": {
            "panels": len(contested),
            "fuser": _share([right[index] for index in contested]),
            "majority": _share([panels[index].majority().right for index in contested]),
        },
        "by_domain": {
            domain: _share([mark for mark, panel in zip(right, panels, strict=True) if panel.question.domain == domain])
            for domain in DOMAINS
        },
    }


def _is_right(opinion: Opinion | None) -> bool:
    return opinion is not None


def _share(marks: Sequence[bool]) -> float:
    return round(sum(marks) / len(marks), 4) if marks else 0.0
