"""Rows of cells over layers: the map of tokens, and the curves of cuts and contributions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from pytest_ragshortcut.reporting.look import Look
from pytest_ragshortcut.reporting.schema import Numbers
from pytest_ragshortcut.reporting.text import number

_INDENT, _GAP = 2, 2
_MAX_CELL = 3
_MIN_LABEL, _MAX_LABEL = 10, 24
_N_COLOURS = 4


@dataclass(frozen=True)
class Row:
    """One row of a chart."""

    label: str
    values: Numbers
    """(n_points,)"""
    style: str = ""
    """Of its label."""


@dataclass(frozen=True)
class Scale:
    """How values become cells."""

    ramp: str
    """Signs from nothing to a full cell."""
    full: float
    """What a full cell stands for; its sign is that of the values that the ramp shows."""
    against: str
    """Signs of values of the other sign, the small ones first."""
    unknown: str
    is_coloured: bool = False
    is_one_sided: bool = False
    """Whether values of the other sign count as strongest only where there are no others."""

    def sign_of(self, value: float | None) -> str:
        """Return the sign of one cell."""
        if value is None:
            return self.unknown
        share, n_steps = value / self.full, len(self.ramp) - 1
        step = min(n_steps, round(abs(share) * n_steps))
        if share >= 0 or step == 0:
            return self.ramp[step]
        return self.against[math.ceil(step * len(self.against) / n_steps) - 1]

    def style_of(self, value: float | None) -> str:
        """Return the style of one cell; its sign says the same."""
        if value is None or not self.is_coloured:
            return ""
        if self.sign_of(value) == self.ramp[0]:
            return "zero"
        level = max(1, min(_N_COLOURS, round(_N_COLOURS * abs(value / self.full))))
        return f"{'gain' if value / self.full > 0 else 'loss'} {level}"

    def strongest(self, values: Numbers) -> float | None:
        """Return the strongest of some values; None where none was computed."""
        return max((v for v in values if v is not None), key=self._strength, default=None)

    def _strength(self, value: float) -> tuple[bool, float]:
        return self.is_one_sided and round(value / self.full, 1) > 0, abs(value)


@dataclass(frozen=True)
class _Layout:
    """Where a chart's columns stand."""

    label: int
    cell: int
    size: int
    """How many points share a cell."""

    def groups(self, n_points: int) -> list[slice]:
        return [slice(start, start + self.size) for start in range(0, n_points, self.size)]


def label_width(look: Look) -> int:
    """Return the columns of labels: the same for all charts, so that their layers line up."""
    return max(_MIN_LABEL, min(_MAX_LABEL, look.width // 4 + 1))


def chart(rows: Sequence[Row], points: Sequence[str], scale: Scale, look: Look) -> Iterator[str]:
    """Draw rows of cells, one cell a point, with the points above and the strongest in words.

    Where the points do not fit, each cell stands for the strongest of some neighbours.
    """
    peaks = [_peak(row, points, scale) for row in rows]
    # The same for charts of the same points, so that their layers line up.
    widest = min(2 * look.width // 5, len("-0.00 ") + max(map(len, points), default=0))
    widest = max(widest, len("strongest"))
    room = look.width - _INDENT - label_width(look) - 2 * _GAP - widest
    layout = _layout(len(points), room, look)
    gap = " " * _GAP
    yield f"{_header(points, layout, look)}{gap}strongest"
    for row, peak in zip(rows, peaks, strict=True):
        label = look.pad(row.label, layout.label)
        shown = look.paint(label.rstrip(), row.style) + " " * (len(label) - len(label.rstrip()))
        cells = _cells(row, layout, scale, look)
        yield f"{' ' * _INDENT}{shown}{gap}{cells}{gap}{look.cut(peak, widest)}"
    if layout.size > 1:
        yield from look.fold(
            f"each column is the strongest of {layout.size} neighbours", indent=_INDENT
        )


def numbers(rows: Sequence[Row], points: Sequence[str], look: Look) -> Iterator[str]:
    """Write every value, as many points beside each other as fit."""
    texts = [["" if v is None else _short(v) for v in row.values] for row in rows]
    ticks = [_tick(point, look) for point in points]
    wide = max(map(len, [*ticks, *(text for line in texts for text in line)]), default=1) + 1
    n_fitting = max(1, (look.width - _INDENT - label_width(look)) // wide)
    for start in range(0, len(points), n_fitting):
        part = slice(start, start + n_fitting)
        lead = look.pad(_kind(points), label_width(look))
        for label, cells in [(lead, ticks), *zip((r.label for r in rows), texts, strict=True)]:
            line = "".join(f"{cell:>{wide}}" for cell in cells[part])
            yield f"{' ' * _INDENT}{look.pad(label, label_width(look))}{line}".rstrip()


def _layout(n_points: int, room: int, look: Look) -> _Layout:
    size = math.ceil(n_points / max(1, room))
    n_cells = math.ceil(n_points / max(1, size))
    return _Layout(label_width(look), max(1, min(_MAX_CELL, room // max(1, n_cells))), size)


def _cells(row: Row, layout: _Layout, scale: Scale, look: Look) -> str:
    values = [scale.strongest(row.values[part]) for part in layout.groups(len(row.values))]
    drawn = ""
    for style, run in groupby(values, key=scale.style_of):
        drawn += look.paint("".join(_cell(scale.sign_of(v), layout.cell) for v in run), style)
    return drawn


def _cell(sign: str, width: int) -> str:
    # Beside each other digits would read as one number.
    return f"{sign:<{width}}" if sign.isdigit() else sign * width


def _header(points: Sequence[str], layout: _Layout, look: Look) -> str:
    """Write the points' numbers above their cells, as many as there is room for."""
    firsts = [points[part][0] for part in layout.groups(len(points))]
    ticks = [_tick(point, look) for point in firsts]
    every = math.ceil((max(map(len, ticks), default=1) + 1) / layout.cell)
    n_columns = len(ticks) * layout.cell
    line = ""
    for index in range(0, len(ticks), every):
        if index * layout.cell + len(ticks[index]) <= n_columns:
            line = f"{line:<{index * layout.cell}}{ticks[index]}"
    lead = look.pad(_kind(points), layout.label)
    return f"{' ' * _INDENT}{lead}{' ' * _GAP}{line:<{n_columns}}"


def _kind(points: Sequence[str]) -> str:
    """Return what the points are: layer, mostly."""
    return points[0].rpartition(" ")[0] if points else ""


def _tick(point: str, look: Look) -> str:
    """Return a point's number, or its last word."""
    return look.visible(re.split(r"\s", point.strip())[-1])


def _peak(row: Row, points: Sequence[str], scale: Scale) -> str:
    value = scale.strongest(row.values)
    if value is None:
        return "not computed"
    if number(value) == number(0.0):
        return f"{number(0.0):>5}"
    return f"{number(value):>5} {points[row.values.index(value)]}"


def _short(value: float) -> str:
    text = number(value)
    return text if len(text) <= 6 else f"{value:.2g}"
