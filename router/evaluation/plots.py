"""Four small charts as SVG text: bars with intervals, curves, a heat map, a reliability diagram. No library, no script.

Colours come from CSS variables of the page, so that a chart is readable in light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]
WIDTH = 760
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 14, 44
SERIES = 6
"""How many series have a colour of their own: `--c0` to `--c5`."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a bar chart: a share of 1, its interval, and which colour it has."""

    label: str
    value: float
    low: float
    high: float
    tone: int = 0


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values to pixels: `scale` is math.log10 or the identity."""

    low: float
    high: float
    start: float
    end: float
    scale: Callable[[float], float] = float

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self.scale(self.low), self.scale(self.high)
        share = (self.scale(value) - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


def bar_chart(bars: Sequence[Bar]) -> str:
    """Return horizontal bars on a scale from 0 to 100 %, each with its interval as a whisker."""
    left, step = 190, 24
    axis = Axis(0.0, 1.0, left, WIDTH - 70)
    height = TOP + step * len(bars) + 24
    parts = [_grid_line(axis.at(tick / 5), f"{20 * tick}%", TOP, height - 20) for tick in range(6)]
    for place, bar in enumerate(bars):
        y = TOP + step * place + step / 2
        parts.append(_text(left - 8, y + 4, bar.label, "end"))
        parts.append(
            f'<rect x="{left}" y="{y - 8}" width="{axis.at(bar.value) - left:.1f}" height="16" '
            f'fill="var(--c{bar.tone % SERIES})"/>'
        )
        parts.append(_line(axis.at(bar.low), y, axis.at(bar.high), y, "whisker"))
        parts.append(_text(axis.at(bar.high) + 6, y + 4, f"{100 * bar.value:.1f}"))
    return _svg(height, parts, "Accuracy of each way of routing")


def curve_chart(
    curves: Mapping[str, Sequence[Point]], points: Mapping[str, Point], *, x_label: str, y_label: str
) -> str:
    """Return lines and labelled points over a logarithmic x above 0; at most SERIES lines differ in colour."""
    everything = [point for line in curves.values() for point in line] + list(points.values())
    height = 440
    x = _padded([max(point[0], 1e-12) for point in everything], LEFT, WIDTH - RIGHT, math.log10)
    y = _padded([point[1] for point in everything], height - BOTTOM, TOP)
    parts = [_grid_line(x.at(tick), f"{tick:g}", TOP, height - BOTTOM) for tick in _log_ticks(x.low, x.high)]
    parts += [_grid_row(y.at(tick), f"{100 * tick:.0f}%", LEFT, WIDTH - RIGHT) for tick in _ticks(y.low, y.high)]
    for place, (name, line) in enumerate(curves.items()):
        path = " ".join(f"{x.at(max(cost, 1e-12)):.1f},{y.at(value):.1f}" for cost, value in sorted(line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="var(--c{place % SERIES})" stroke-width="2"/>')
        parts.append(_legend(WIDTH - RIGHT + 12, TOP + 12 + 18 * place, name, place))
    for name, (cost, value) in points.items():
        at = x.at(max(cost, 1e-12)), y.at(value)
        parts.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="3.5" class="dot"/>')
        late = at[0] > LEFT + 0.75 * (WIDTH - RIGHT - LEFT)
        parts.append(_text(at[0] + (-6 if late else 6), at[1] - 5, name, "end" if late else "start", "small"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 8, x_label, "middle"))
    parts.append(_text(LEFT, TOP - 2, y_label, style="small"))
    return _svg(height, parts, f"{y_label} against {x_label}")


def heat_map(rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], *, title: str) -> str:
    """Return a table of shares 0..1, darker for more, the percentage written in each cell."""
    left, top, cell_height = 150, 22 + int(4.6 * max((len(name) for name in columns), default=0)), 22
    cell = max(26.0, min(64.0, (WIDTH - left) / max(1, len(columns))))
    peak = max((value for line in values for value in line), default=1.0) or 1.0
    parts = []
    for place, name in enumerate(columns):
        x = left + cell * (place + 0.5)
        parts.append(
            f'<text x="{x:.1f}" y="{top - 8}" class="small" transform="rotate(-45 {x:.1f} {top - 8})">'
            f"{escape(name)}</text>"
        )
    for place, (name, line) in enumerate(zip(rows, values, strict=True)):
        y = top + cell_height * place
        parts.append(_text(left - 8, y + 15, name, "end", "small"))
        for column, value in enumerate(line):
            parts.append(_cell(left + cell * column, y, cell, cell_height, value, value / peak))
    width = max(WIDTH, int(left + cell * len(columns) + 90))
    return _svg(int(top + cell_height * len(rows) + 10), parts, title, width)


def reliability_chart(bins: Sequence[Sequence[float]]) -> str:
    """Return what was claimed against what came: bins of (mean estimate, mean outcome, count), area by count."""
    size = 380
    x, y = Axis(0, 1, LEFT, size - 14), Axis(0, 1, size - BOTTOM, TOP)
    parts = [_grid_line(x.at(tick / 5), f"{20 * tick}%", TOP, size - BOTTOM) for tick in range(6)]
    parts += [_grid_row(y.at(tick / 5), f"{20 * tick}%", LEFT, size - 14) for tick in range(6)]
    parts.append(_line(x.at(0), y.at(0), x.at(1), y.at(1), "ideal"))
    most = max((count for *_, count in bins), default=1)
    for estimate, outcome, count in bins:
        radius = 2 + 9 * math.sqrt(count / most)
        parts.append(
            f'<circle cx="{x.at(estimate):.1f}" cy="{y.at(outcome):.1f}" r="{radius:.1f}" '
            f'fill="var(--c0)" fill-opacity="0.6"/>'
        )
    parts.append(_text((LEFT + size) / 2, size - 8, "estimated", "middle"))
    parts.append(_text(LEFT + 4, TOP + 10, "came true", style="small"))
    return _svg(size, parts, "Estimated and observed accuracy", size)


def _cell(x: float, y: float, width: float, height: float, value: float, depth: float) -> str:
    shade = (
        f'<rect x="{x:.1f}" y="{y}" width="{width - 1:.1f}" height="{height - 1}" fill="var(--c0)" '
        f'fill-opacity="{0.06 + 0.84 * depth:.2f}"/>'
    )
    if value < 0.005:
        return shade
    tone = "inside" if depth > 0.55 else "cell"
    return (
        shade
        + f'<text x="{x + width / 2:.1f}" y="{y + 15}" text-anchor="middle" class="{tone}">{100 * value:.0f}</text>'
    )


def _padded(values: Sequence[float], start: float, end: float, scale: Callable[[float], float] = float) -> Axis:
    low, high = min(values), max(values)
    if scale is math.log10:
        return Axis(low / 1.15, high * 1.15, start, end, scale)
    room = 0.06 * (high - low) or 0.05
    return Axis(low - room, high + room, start, end, scale)


def _ticks(low: float, high: float) -> list[float]:
    step = next(size for size in (0.01, 0.02, 0.05, 0.1, 0.2, 1.0) if (high - low) / size <= 8 or size == 1.0)
    first = math.ceil(low / step)
    return [place * step for place in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [digit * 10.0**power for power in powers for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]


def _grid_line(x: float, label: str, top: float, bottom: float) -> str:
    return _line(x, top, x, bottom, "grid") + _text(x, bottom + 15, label, "middle", "small")


def _grid_row(y: float, label: str, left: float, right: float) -> str:
    return _line(left, y, right, y, "grid") + _text(left - 6, y + 4, label, "end", "small")


def _legend(x: float, y: float, name: str, place: int) -> str:
    mark = f'<rect x="{x}" y="{y - 9}" width="12" height="10" fill="var(--c{place % SERIES})"/>'
    return mark + _text(x + 18, y, name, style="small")


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _text(x: float, y: float, words: str, anchor: str = "start", style: str = "label") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{escape(words)}</text>'


def _svg(height: int, parts: Sequence[str], title: str, width: int = WIDTH) -> str:
    body = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(title, quote=True)}" xmlns="http://www.w3.org/2000/svg">\n{body}\n</svg>'
    )
