"""What the fuser practises on and is measured by: nothing of it is held out, nothing of it can be guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from random import Random

import pytest
import torch

from experts.pocket import DOMAINS, generate, weights_folder
from experts.pocket.corpus import Conversation, render
from experts.pocket.fusing import LESSONS, FusionExercises, Lesson, followed, reply
from experts.pocket.grading import final_answer, grade
from experts.pocket.guidance import NAME, PREVIOUS, SOURCE, Guide
from experts.pocket.hostile import KINDS, garbled, hostile, noise, other_than
from experts.pocket.judging import judged, planted, ranked
from experts.pocket.panels import Opinion, Panel, draw_council, draw_panel, said
from experts.pocket.sitting import load_tokenizer

QUESTION = generate("math", "heldout", 1, 3)[0]
RIGHT = Opinion("math", 0.6, QUESTION.response, True, ("math",))
WRONG = Opinion("science", 0.3, "The symbol is Fe.\nAnswer: Fe", False, ("science",))
OTHER = Opinion("base", 0.1, "Answer: Kenya", False, ("general chat",))
PANEL = Panel(QUESTION, (RIGHT, WRONG, OTHER))


@pytest.mark.parametrize("lesson", LESSONS)
def test_lessons_repeat_exactly_for_the_same_seed(lesson: Lesson) -> None:
    first, second = (list(islice(FusionExercises(5, lesson), 20)) for _ in range(2))
    assert first == second


def test_who_copies_is_shown_what_it_has_to_write() -> None:
    for conversation, answer in islice(FusionExercises(5, "copying"), 60):
        instructions = conversation[0]["content"]
        quoted = [line.removeprefix("|") for line in instructions.splitlines() if line.startswith("|")]
        assert answer in "ABCD" or set(answer.splitlines()[1:]) <= set(quoted)


def test_every_question_of_a_copying_panel_is_asked_in_turn() -> None:
    for conversation, _ in islice(FusionExercises(5, "copying"), 20):
        assert len(conversation) == 2 * conversation[0]["content"].count(", weight ")


def test_panels_of_real_answers_are_practised_where_there_are_some() -> None:
    replies = dict.fromkeys(("base", *DOMAINS), ("Answer: from the cache", True))
    practised = islice(FusionExercises(5, "panels", [(QUESTION, replies)]), 40)
    assert any("from the cache" in conversation[0]["content"] for conversation, _ in practised)


def test_the_specialist_is_followed_where_names_are_shown_else_the_heaviest_right_one() -> None:
    lighter = Opinion("math", 0.1, "Answer: 4", False, ("math",))
    heavier = Opinion("base", 0.9, "Answer: 4", True)
    assert followed(Panel(QUESTION, (heavier, lighter))) is lighter
    assert followed(Panel(QUESTION, (heavier, replace(RIGHT, weight=1.0, domains=())))).weight == 1.0
    assert followed(Panel(QUESTION, (OTHER, WRONG))) is WRONG


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_guide_looks_from_what_is_copied_to_where_it_is_quoted(lesson: Lesson) -> None:
    tokenizer = load_tokenizer(weights_folder())
    guide = Guide.of(tokenizer)
    examples = [render(tokenizer, *practice) for practice in islice(FusionExercises(3, lesson), 30)]
    shown = [(example, look) for example in examples for look in guide.looks(example)[-1]]
    assert len(shown) > 100
    assert all(example.tokens[place + 1] == example.tokens[source] for example, (place, source) in shown)
    assert all(source < place for _, (place, source) in shown)


def test_heads_that_look_where_they_are_shown_have_no_guidance_left() -> None:
    tokenizer = load_tokenizer(weights_folder())
    guide = Guide.of(tokenizer)
    example = render(tokenizer, *next(iter(FusionExercises(3, "repeating"))))
    length = len(example.tokens)
    looking = [torch.full((1, 6, length, length), 1 / length) for _ in range(4)]
    lost = guide.loss(looking, [example])
    for heads, looks in zip((PREVIOUS, NAME, SOURCE), guide.looks(example), strict=True):
        for layer, head in heads:
            for place, source in looks:
                looking[layer][0, head, place] = torch.eye(length)[source]
    assert guide.loss(looking, [example]) == pytest.approx(0, abs=1e-5)
    assert lost > 0.5


def test_a_fused_answer_names_its_source_and_is_graded_like_any() -> None:
    assert reply(WRONG) == "science:\nAnswer: Fe"
    assert grade(QUESTION, reply(RIGHT))


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_garbled_answer_says_something_else_of_the_same_kind(domain: str) -> None:
    random = Random(1)
    changed = [(each.response, garbled(each.response, random)) for each in generate(domain, "train", 20, 2)]
    different = [(before, after) for before, after in changed if said(before) != said(after)]
    assert len(different) >= (8 if domain == "code" else 20)
    assert all(before.splitlines()[0] == after.splitlines()[0] for before, after in different)


def test_other_answers_are_of_the_same_kind_and_never_the_same() -> None:
    random = Random(1)
    assert all(other_than("7", random) != "7" for _ in range(50))
    assert other_than("42", random).isdecimal()
    assert other_than("300 metres", random).endswith(" metres")
    assert not any(sign.isdecimal() for sign in other_than("Lima", random))


def test_hostile_texts_of_one_split_never_appear_in_the_other() -> None:
    random = Random(1)
    drawn = [{hostile(split, "7", "math", random) for _ in range(300)} for split in ("train", "heldout")]
    assert len(drawn[0]) == sum(len(kind.train) for kind in KINDS)
    assert not drawn[0] & drawn[1]


def test_noise_may_be_empty() -> None:
    random = Random(1)
    assert "" in {noise(random) for _ in range(50)}


def test_a_plant_never_replaces_what_was_followed() -> None:
    random = Random(1)
    for _ in range(20):
        disturbed = planted(PANEL, RIGHT.said, random)
        assert disturbed.opinions[0] is RIGHT
        assert [a == b for a, b in zip(PANEL.opinions, disturbed.opinions, strict=True)].count(False) == 1


def test_a_council_seats_the_specialist_first_and_a_panel_may_hide_names() -> None:
    replies = dict.fromkeys(("base", *DOMAINS), ("Answer: 1", False))
    random = Random(1)
    council = draw_council(QUESTION, replies, random)
    assert council.opinions[0].expert == "math"
    assert council.heaviest() is council.opinions[0]
    drawn = [draw_panel(QUESTION, replies, random) for _ in range(100)]
    assert 5 <= sum(not panel.opinions[0].domains for panel in drawn) <= 40


def test_the_vote_counts_weight_and_the_majority_counts_heads() -> None:
    panel = Panel(
        QUESTION, (Opinion("a", 0.6, "Answer: 1", False), *(Opinion(n, 0.15, "Answer: 2", False) for n in "bc"))
    )
    assert panel.vote().said == "1"
    assert panel.majority().said == "2"


def _follows_the_first(conversations: Sequence[Conversation]) -> list[str]:
    """Say A of a comparison; write the first final line quoted."""
    lines = [each[0]["content"].splitlines() for each in conversations]
    finals = [next((line[1:] for line in each if line.startswith("|Answer:")), "") for each in lines]
    return ["A" if "Answer A:" in each else final for each, final in zip(lines, finals, strict=True)]


def test_who_always_prefers_the_first_place_gains_nothing_from_both_orders() -> None:
    assert ranked(_follows_the_first, [PANEL]) == [RIGHT]


def test_a_reader_that_names_an_expert_gives_that_experts_answer_whatever_it_says_next() -> None:
    def names_the_right_one(conversations: Sequence[Conversation]) -> list[str]:
        return [f"{RIGHT.expert}:\nAnswer: garbled"] * len(conversations)

    found = judged(names_the_right_one, [PANEL])

    assert (1.0, 0.0) == (found["accuracy"]["synthesize"], found["accuracy"]["own_words"])
    assert 0.0 == found["planted_changes"]["synthesize"]


def test_a_reader_is_judged_beside_the_rules() -> None:
    found = judged(_follows_the_first, [PANEL, Panel(QUESTION, (WRONG, RIGHT))])
    assert found["accuracy"] == {
        "any_right": 1.0,
        "heaviest": 1.0,
        "majority": 1.0,
        "vote": 1.0,
        "synthesize": 0.5,
        "own_words": 0.5,
        "rank": 1.0,
    }
    assert found["planted_changes"]["rank"] == 0.0
    assert final_answer(QUESTION.response) == QUESTION.answer
