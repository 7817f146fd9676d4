"""A fuser that names an expert adopts its answer word for word; one that writes is passed on as it writes."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.config import FusionConfig, SynthesizeOptions
from aggregator.strategies.synthesize import Synthesize
from aggregator.types import Candidate
from experts.fusion_prompt import ADOPTING, may_name, named_expert
from tests.unit.aggregator.readers import Asked, fused, system
from tests.unit.aggregator.worlds import says


def adopt(how: Literal["named", "told", "never"]) -> FusionConfig:
    return FusionConfig(synthesize=SynthesizeOptions(adopt=how))


def two() -> list[Candidate]:
    return [says("sea", "Mombasa, by the sea.", 0.6), says("law", "Nairobi, by law.", 0.4)]


@pytest.mark.parametrize("written", ["law:", '"law":', "law:\nAnswer: Nairoby", "\nlaw: \n\nwhatever " + "x " * 40])
async def test_naming_an_expert_alone_on_the_first_line_passes_its_answer_on_word_for_word(written: str) -> None:
    text, report = await fused(Synthesize(), *two(), ask=Asked(lambda _: written))

    assert ("Nairobi, by law.", "law", "fuser") == (text, report.answered_by, report.fuser)
    assert "the fuser adopted law's answer" in report.note
    assert (6, 9, 3) == (report.usage.prompt_tokens, report.usage.completion_tokens, report.attempts)


@pytest.mark.parametrize(
    "written", ["law: Nairobi", "lawful:\nNairobi", "la", "Nairobi", "The law:\nNairobi", "risk:\nno"]
)
async def test_anything_else_is_what_the_fuser_writes(written: str) -> None:
    text, report = await fused(Synthesize(), *two(), ask=Asked(lambda _: written))

    assert (written, "fuser") == (text, report.answered_by)


async def test_it_can_be_told_so_and_it_can_be_forbidden() -> None:
    told, never, named = Asked(lambda _: "law:"), Asked(lambda _: "law:"), Asked(lambda _: "law:")
    heard, _ = await fused(Synthesize(), *two(), ask=told, config=adopt("told"))
    written, _ = await fused(Synthesize(), *two(), ask=never, config=adopt("never"))
    await fused(Synthesize(), *two(), ask=named)

    assert ("Nairobi, by law.", "law:") == (heard, written)
    assert [True, False, False] == [ADOPTING in system(asked.calls[0]) for asked in (told, never, named)]


async def test_several_choices_are_the_fusers_own() -> None:
    text, _ = await fused(Synthesize(), *two(), ask=Asked(lambda _: "law:"), parameters={"n": 2})

    assert "law:" == text


@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4))
def test_who_is_named_was_possible_at_every_step_of_the_way(text: str, experts: list[str]) -> None:
    if named_expert(text, experts) is None:
        return
    line = text.strip().split("\n", 1)[0].rstrip()

    assert all(may_name(line[:end], experts) for end in range(len(line) + 1))
