"""What a conversation says about its topic, and how it adds up."""

from __future__ import annotations

import numpy as np
import pytest

from experts.types import Message
from router.conversation import (
    CODE_CHARACTERS,
    LONGEST_MEMORY,
    WINDOW_CHARACTERS,
    accumulate,
    blended,
    evidence,
    message_text,
    modalities,
    read_turns,
    recent,
    window,
)

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}


def test_text_parts_are_joined_and_others_skipped() -> None:
    content = [{"type": "text", "text": "What is"}, IMAGE, {"type": "text", "text": "this?"}]

    assert message_text({"role": "user", "content": content}) == "What is\nthis?"


@pytest.mark.parametrize("content", [None, 7, [], [None, 3], [{"type": "text"}], {"text": "no list"}])
def test_a_message_without_text_is_empty(content: object) -> None:
    assert message_text({"role": "user", "content": content}) == ""


def test_modalities_are_found_in_any_message() -> None:
    messages: list[Message] = [
        {"role": "user", "content": [IMAGE]},
        {"role": "user", "content": [AUDIO]},
        {"content": "words"},
    ]

    assert modalities(messages) == {"text", "image", "audio"}
    assert modalities([{"role": "user", "content": "words"}]) == {"text"}


def test_a_long_text_keeps_its_head_and_its_tail() -> None:
    text = "HEAD " + "filling " * 2000 + "TAIL"

    seen = window(text)

    assert seen.startswith("HEAD")
    assert seen.endswith("TAIL")
    assert len(seen) <= WINDOW_CHARACTERS + len("\n...\n")


def test_a_pasted_file_leaves_room_for_the_question_after_it() -> None:
    text = "```python\n" + "x = 1\n" * 500 + "```\nWhy does this print nothing?"

    seen = window(text)

    assert "x = 1" in seen
    assert "Why does this print nothing?" in seen
    assert len(seen) < CODE_CHARACTERS + 60


def test_a_code_block_that_never_ends_is_bounded_too() -> None:
    assert len(window("Look:\n```" + "y = 2\n" * 500)) < CODE_CHARACTERS + 60


def test_turns_are_the_system_prompt_and_the_last_user_messages() -> None:
    chat = [{"role": "system", "content": "You are a tax lawyer."}]
    chat += [
        {"role": role, "content": f"{role} {n}"} for n in range(LONGEST_MEMORY + 3) for role in ("user", "assistant")
    ]

    texts = [turn.text for turn in read_turns(chat)]

    assert texts == ["You are a tax lawyer.", *(f"user {n}" for n in range(3, LONGEST_MEMORY + 3))]


def test_without_a_user_the_last_message_speaks() -> None:
    chat = [{"role": "system", "content": "You are a tax lawyer."}, {"role": "assistant", "content": "Hello."}]

    assert [turn.text for turn in read_turns(chat)] == ["Hello."]


def test_nothing_said_is_no_turn() -> None:
    assert read_turns([{"role": "user", "content": "  "}, {"role": "user", "content": [IMAGE]}]) == ()


@pytest.mark.parametrize(
    "follow_up",
    ["why?", "and for n = 5?", "thanks, another one", "Can you explain that again?", "What about it?", "ok"],
)
def test_a_follow_up_says_next_to_nothing(follow_up: str) -> None:
    assert evidence(follow_up) <= 0.1


@pytest.mark.parametrize(
    "question",
    ["Can my landlord keep the deposit because of normal wear?", "How does a catalyst change the activation energy?"],
)
def test_a_question_on_its_own_feet_says_everything(question: str) -> None:
    assert evidence(question) == 1.0


def test_a_single_turn_keeps_its_distribution() -> None:
    row = np.array([[0.7, 0.2, 0.1]])

    assert accumulate(row, [0.05], 0.4) == pytest.approx(row[0])


def test_agreeing_turns_grow_surer() -> None:
    row = [0.5, 0.3, 0.2]
    beliefs = [accumulate(np.array([row] * turns), [1.0] * turns, 0.2)[0] for turns in (1, 2, 3)]

    assert beliefs == sorted(beliefs)
    assert beliefs[2] > 0.65


def test_a_turn_without_weight_changes_nothing_that_matters() -> None:
    rows = np.array([[0.9, 0.05, 0.05], [0.05, 0.05, 0.9]])

    assert accumulate(rows, [1.0, 0.05], 0.4).argmax() == 0


def test_a_clear_change_of_topic_flips_at_once() -> None:
    rows = np.array([[0.9, 0.05, 0.05]] * 6 + [[0.02, 0.02, 0.96]])

    assert accumulate(rows, [1.0] * 7, 0.4).argmax() == 2


def test_never_forgetting_needs_as_much_evidence_against_as_there_was_for() -> None:
    rows = np.array([[0.9, 0.1]] * 3 + [[0.05, 0.95]])

    assert accumulate(rows, [1.0] * 4, 0.0).argmax() == 0


def test_always_forgetting_reads_the_last_message_alone() -> None:
    rows = np.array([[0.9, 0.1], [0.3, 0.7]])

    assert accumulate(rows, [1.0, 1.0], 1.0) == pytest.approx([0.3, 0.7])


def test_familiarity_follows_the_turns_that_say_something() -> None:
    assert recent(np.array([0.9, 0.1]), [1.0, 0.05]) == pytest.approx(0.86)
    assert recent(np.array([0.9, 0.1]), [1.0, 1.0]) == pytest.approx(0.1)


def test_the_vector_is_the_last_questions_own_when_it_stands_alone() -> None:
    vectors = np.eye(3, dtype=np.float32)

    assert [0.0, 0.0, 1.0] == blended(vectors, [0.3, 1.0, 1.0]).tolist()


def test_a_leaning_turn_only_bends_the_vector() -> None:
    vectors = np.eye(2, dtype=np.float32)

    blend = blended(vectors, [1.0, 0.1])

    assert blend[0] > 0.9 > blend[1] > 0.0
    assert 1.0 == pytest.approx(float(np.linalg.norm(blend)), abs=1e-6)


@pytest.mark.parametrize("before", [1, 4, 10])
@pytest.mark.parametrize("sure", [0.5, 0.7, 0.9])
def test_a_topic_change_flips_the_belief_within_two_turns(before: int, sure: float) -> None:
    old, new = np.array([sure, 1 - sure - 0.05, 0.05]), np.array([1 - sure - 0.05, sure, 0.05])
    turns = np.stack([old] * before + [new] * 2)

    belief = accumulate(turns, [1.0] * len(turns), 0.4)

    assert belief.argmax() == 1
