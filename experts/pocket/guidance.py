"""Show a few attention heads where to look while copying is learned.

Copying is three looks: at the token before, at the name of the expert whose lines one is in, and at the place in that
expert's answer that comes next. A model this small finds them by itself only after very long practice; shown, within
minutes (guided attention, as in sequence-to-sequence speech models, 1710.08969). Nothing of it is needed afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from experts.pocket.corpus import Example

STRENGTH = 0.2
PREVIOUS, NAME, SOURCE = ((0, 0), (1, 0)), ((1, 1), (2, 0)), ((2, 1), (3, 0), (3, 1))
"""(layer, head) of those that are shown each of the three looks."""
Look = tuple[int, int]
"""From one position to an earlier one."""


@dataclass(frozen=True, slots=True)
class Guide:
    """Knows the tokens that structure a fuser's prompt: `Expert`, the bar of a quoted line, colon, new line."""

    expert: int
    bar: int
    colon: int
    new_lines: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Guide:
        """Return the guide for a tokenizer."""
        expert, bar, colon, new_line, indented = (
            tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in ("Expert", "|", ":", "\n", "\n    x")
        )
        return cls(expert, bar, colon, (new_line, indented))

    def loss(self, attentions: Sequence[torch.Tensor], batch: Sequence[Example]) -> torch.Tensor:
        """Return how far the shown heads look from where they should, as a mean negative log share."""
        looks: list[tuple[tuple[Look, ...], list[tuple[int, Look]]]] = [(PREVIOUS, []), (NAME, []), (SOURCE, [])]
        for row, example in enumerate(batch):
            for (_, kept), found in zip(looks, self.looks(example), strict=True):
                kept.extend((row, look) for look in found)
        terms = [
            -attentions[layer][rows, head, positions, sources].float().clamp_min(1e-6).log().mean()
            for heads, kept in looks
            if kept
            for rows, positions, sources in [_indices(kept)]
            for layer, head in heads
        ]
        return STRENGTH * torch.stack(terms).mean()

    def looks(self, example: Example) -> tuple[list[Look], list[Look], list[Look]]:
        """Return the looks at the token before, at the own expert's name, and at what is to be copied next."""
        tokens = example.tokens
        quoted = [place + 2 for place, token in enumerate(tokens[:-2]) if token == self.expert]
        names = sorted([*quoted, *(span.start for span in example.learned)])
        ends = [*names[1:], len(tokens)]
        previous = [(place, place - 1) for place in range(1, len(tokens))]
        own = [(place, name) for name, end in zip(names, ends, strict=True) for place in range(name + 1, end)]
        blocks = [range(name, end) for name, end in zip(names, ends, strict=True) if name in quoted]
        sources = [look for span in example.learned for look in self._sources(tokens, span, blocks)]
        return previous, own, sources

    def _sources(self, tokens: list[int], span: range, blocks: Sequence[range]) -> Iterator[Look]:
        """Yield, for every copied token of a reply, the look from the token before it to where it is quoted."""
        said = tokens[span.start : span.stop]
        if self.colon not in said:
            return
        name = said[: said.index(self.colon)]
        block = next((block for block in blocks if tokens[block.start : block.start + len(name)] == name), None)
        if block is None:
            return
        yield from ((span.start + k - 1, block.start + k) for k in range(len(name)))
        begin = span.start + len(name) + 2
        for line_begin, line in _lines(tokens, range(begin, span.stop - 1), self.new_lines):
            found = self._quoted(tokens, line, block)
            if found is not None:
                yield from ((line_begin + k - 1, found + k) for k in range(len(line)))

    def _quoted(self, tokens: list[int], line: list[int], block: range) -> int | None:
        whole = _last(tokens, [self.bar, *line], block)
        return _last(tokens, line, block) if whole is None and len(line) > 2 else whole and whole + 1


def _lines(tokens: list[int], span: range, new_lines: tuple[int, ...]) -> Iterator[tuple[int, list[int]]]:
    begin = span.start
    for place in span:
        if tokens[place] in new_lines:
            yield begin, tokens[begin:place]
            begin = place + 1
    yield begin, tokens[begin : span.stop]


def _last(tokens: list[int], wanted: list[int], block: range) -> int | None:
    for place in range(block.stop - len(wanted), block.start, -1):
        if tokens[place : place + len(wanted)] == wanted:
            return place
    return None


def _indices(kept: Sequence[tuple[int, Look]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows, positions, sources = zip(*((row, *look) for row, look in kept), strict=True)
    return torch.tensor(rows), torch.tensor(positions), torch.tensor(sources)
