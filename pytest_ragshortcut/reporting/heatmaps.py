"""What a probe reads of each token: a prompt shaded, and maps of layers by tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from pytest_ragshortcut.reporting.schema import ExplanationRecord, MapRecord, Numbers
from pytest_ragshortcut.reporting.svg import escaped, finite, limit_of, reading, visible

LEVELS = 20
"""Shades of a map on either side of zero; the page has a class for each."""
MARKS = {"attribute": "A", "subject": "S", "readers": "R"}
"""Roles that are marked on tokens, and their letters."""

_ROOM, _MIN_CELL, _MAX_CELL = 936, 13, 36
_ABOVE, _LETTERS, _LETTER = 20, 14, 6.6
_LABEL = 12
_HATCH = "M{0} {3}L{2} {1}M{0} {4}l1-1M{2} {4}l.5-.5"


def label_of(token: str) -> str:
    """Write a token where there is room for a dozen characters.

    Example:
        >>> label_of(" Cork"), label_of("incomprehensible")
        ('Cork', 'incomprehen…')
    """
    text = visible(token.strip(" ") or "␣").replace("\n", "↵").replace("\t", "⇥")
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"


def range_of(values: Sequence[float | None]) -> str:
    """Write the smallest and the largest reading.

    Example:
        >>> range_of([0.5, None, -0.25]), range_of([None])
        ('-0.25 to 0.5', 'nothing computed')
    """
    there = finite(values)
    return f"{reading(min(there))} to {reading(max(there))}" if there else "nothing computed"


def shaded_prompt(explanation: ExplanationRecord) -> Markup:
    """Write a prompt with each token's readings as style, in shares of each probe's largest.

    The page's style picks one of them, so that shading needs no script.
    """
    tokens, spans = explanation["tokens"], explanation["spans"]
    styles = [""] * len(tokens)
    for index, values in enumerate(explanation["shades"].values()):
        limit = limit_of(values)
        for position, value in enumerate(values[: len(tokens)]):
            styles[position] += _shading(index, value, limit)
    roles = {role: _positions(spans.get(role, [])) for role in MARKS}
    starts = {runs[0][0]: role for role, runs in spans.items() if _is_part(role) and runs}
    drawn = (
        _token_html(token, styles[i], [r for r in MARKS if i in roles[r]], starts.get(i, ""))
        for i, token in enumerate(tokens)
    )
    return Markup("".join(drawn))  # noqa: S704


def data_of(explanation: ExplanationRecord) -> str:
    """Return what a shaded prompt is asked for on hover, as JSON: spans and readings."""
    shades = {name: _short(values) for name, values in explanation["shades"].items()}
    return json.dumps({"spans": explanation["spans"], "shades": shades}, separators=(",", ":"))


def strongest(explanation: ExplanationRecord, values: Numbers, n: int = 5) -> list[tuple[str, str]]:
    """Return the tokens of the largest readings, (text, reading), those of zero left out."""
    found = [(value, i) for i, value in enumerate(values) if value and math.isfinite(value)]
    largest = sorted(found, key=lambda pair: -abs(pair[0]))[:n]
    return [(label_of(_token(explanation, i)), reading(value)) for value, i in largest]


def heat_map(record: MapRecord, explanation: ExplanationRecord, *, room: int = _ROOM) -> Markup:
    """Draw a map as bands that fit a page: the lowest layer at the bottom, tokens below.

    Cells of one shade in a row are one stroke; what each holds stands beside them as JSON.

    Args:
        record: the map.
        explanation: what it is part of, whose tokens it is about.
        room: how many pixels the cells of a band may take.
    """
    if not record["rows"] or not record["columns"]:
        return Markup()
    frame = _frame_of(record, explanation, room)
    n_columns = len(record["columns"])
    n_bands = math.ceil(n_columns * frame.width / room)
    size = math.ceil(n_columns / n_bands)
    bands = (
        _band(record, explanation, frame, slice(start, min(start + size, n_columns)))
        for start in range(0, n_columns, size)
    )
    return Markup("".join(bands))  # noqa: S704


def scale_of(record: MapRecord) -> tuple[float, float]:
    """Return what the deepest shades of a map stand for; 0.0 on a side that it does not use."""
    there = finite([value for row in record["values"] for value in row])
    limit = limit_of(there)
    low = -limit if min(there, default=0.0) < 0 else 0.0
    return low, limit if max(there, default=0.0) > 0 else 0.0


def rows_data(record: MapRecord) -> str:
    """Return what the rows of a map are called, as JSON."""
    return json.dumps(record["rows"])


def summary(record: MapRecord, explanation: ExplanationRecord) -> str:
    """Say in a sentence where a map is strongest."""
    sizes = {
        (row, column): abs(value)
        for row, values in enumerate(record["values"])
        for column, value in enumerate(values)
        if value is not None and math.isfinite(value)
    }
    if not sizes:
        return "Nothing of it was computed."
    row, column = max(sizes, key=sizes.__getitem__)
    position = record["columns"][column]
    token = label_of(_token(explanation, position))
    value = reading(record["values"][row][column])
    return f"Strongest at {record['rows'][row]}, token {position} ‘{token}’: {value}."


@dataclass(frozen=True)
class _Frame:
    """What the bands of a map share."""

    labels: Sequence[str]
    """One a column."""
    limit: float
    width: int
    """Of a cell."""
    tall: int
    left: int
    summary: str

    def below(self, n_rows: int) -> int:
        """Where the cells end."""
        return _ABOVE + n_rows * self.tall

    @property
    def deep(self) -> int:
        """How much room the columns' labels take."""
        return 8 + round(_LETTER * max(map(len, self.labels)))


def _frame_of(record: MapRecord, explanation: ExplanationRecord, room: int) -> _Frame:
    rows, columns = record["rows"], record["columns"]
    return _Frame(
        labels=[label_of(_token(explanation, position)) for position in columns],
        limit=limit_of([value for row in record["values"] for value in row]),
        width=min(_MAX_CELL, max(_MIN_CELL, room // len(columns))),
        tall=15 if len(rows) <= 16 else 11 if len(rows) <= 40 else 7,
        left=10 + round(_LETTER * max(len(label_of(row)) for row in rows)),
        summary=summary(record, explanation),
    )


def _is_part(role: str) -> bool:
    return role == "question" or role.startswith("passage_")


def _positions(runs: Sequence[Sequence[int]]) -> set[int]:
    return {position for start, stop in runs for position in range(start, stop)}


def _token(explanation: ExplanationRecord, position: int) -> str:
    tokens = explanation["tokens"]
    return tokens[position] if 0 <= position < len(tokens) else str(position)


def _shading(index: int, value: float | None, limit: float) -> str:
    if value is None or not math.isfinite(value):
        return f"--h{index}:var(--hatch);"
    share = round(value / limit, 2)
    return f"--v{index}:{share:g};" if share else ""


def _token_html(token: str, style: str, roles: Sequence[str], start: str) -> str:
    """Write one token; a line's end inside it is shown and kept."""
    badge = f'<b class="part">{escaped(start.replace("_", " "))}</b>' if start else ""
    named = f' class="{" ".join(roles)}"' if roles else ""
    styled = f' style="{style.rstrip(";")}"' if style else ""
    text = str(escaped(token)).replace("\n", "<s>↵</s>\n")
    return f"{badge}<i{named}{styled}>{text}</i>"


def _short(values: Numbers) -> Numbers:
    return [float(f"{v:.3g}") if v is not None and math.isfinite(v) else None for v in values]


def _band(record: MapRecord, explanation: ExplanationRecord, frame: _Frame, part: slice) -> str:
    """Draw some columns of a map."""
    rows, positions = record["rows"], record["columns"][part]
    values = [row[part] for row in record["values"]]
    data = {"columns": positions, "values": [_short(row) for row in values]}
    wide, below = frame.left + len(positions) * frame.width + 2, frame.below(len(rows))
    high = below + _LETTERS + frame.deep
    name = f"{record['title']}, tokens {positions[0]} to {positions[-1]}"
    return (
        f'<div class="scroll"><svg class="map" role="img" aria-label="{escaped(name)}" '
        f'width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
        f'style="min-width:{min(wide, 640 + wide // 4)}px" '
        f'data-map="{escaped(json.dumps(data, separators=(",", ":")))}">'
        f"<desc>{escaped(frame.summary)}</desc>"
        f"{_row_labels(rows, frame)}{_parts(explanation, positions, frame)}"
        f"{_letters(explanation, positions, frame, below)}"
        f"{_labels(frame.labels[part], frame, below)}"
        f'<g transform="translate({frame.left} {_ABOVE})scale({frame.width} {frame.tall})">'
        f'<path class="z" d="M0 0h{len(positions)}v{len(rows)}H0z"/>'
        f'{_cells(values[::-1], frame.limit)}<path class="at" d="M0 0h1v1h-1z"/></g></svg></div>'
    )


def _cells(rows: Sequence[Numbers], limit: float) -> str:
    """Draw runs of one shade as strokes, a path a shade, in units of cells."""
    paths: dict[str, list[str]] = {}
    for y, row in enumerate(rows):
        x = 0
        for shade, run in groupby(_shade(value, limit) for value in row):
            n = len(list(run))
            if shade == "none":
                hatches = (_HATCH.format(i, y, i + 0.5, y + 0.5, y + 1) for i in range(x, x + n))
                paths.setdefault(shade, []).extend(hatches)
            elif shade:
                paths.setdefault(shade, []).append(f"M{x} {y}.5h{n}")
            x += n
    lines = "".join(f"M0 {y}h{len(rows[0])}" for y in range(1, len(rows)))
    lines += "".join(f"M{x} 0v{len(rows)}" for x in range(1, len(rows[0])))
    drawn = "".join(f'<path class="{name}" d="{"".join(d)}"/>' for name, d in paths.items())
    return f'{drawn}<path class="grid" d="{lines}"/>'


def _shade(value: float | None, limit: float) -> str:
    if value is None or not math.isfinite(value):
        return "none"
    level = round(LEVELS * abs(value) / limit)
    return f"{'p' if value > 0 else 'n'}{level}" if level else ""


def _row_labels(rows: Sequence[str], frame: _Frame) -> str:
    every = math.ceil(11 / frame.tall)
    shown = ((index, escaped(label_of(rows[index]))) for index in range(0, len(rows), every))
    texts = (
        f'<text y="{(len(rows) - index - 0.5) * frame.tall:g}">{label}</text>'
        for index, label in shown
    )
    at = f"translate({frame.left - 6} {_ABOVE + 3.5})"
    return f'<g class="end" transform="{at}">{"".join(texts)}</g>'


def _parts(explanation: ExplanationRecord, positions: Sequence[int], frame: _Frame) -> str:
    """Bracket passages and question above the cells, named where there is room."""
    drawn = ""
    for role, runs in explanation["spans"].items():
        among = _positions(runs) if _is_part(role) else set()
        inside = [index for index, position in enumerate(positions) if position in among]
        if not inside:
            continue
        x, wide = frame.left + inside[0] * frame.width, len(inside) * frame.width
        drawn += f'<path class="axis" d="M{x + 1} {_ABOVE - 3}v-4h{wide - 2}v4"/>'
        name = role.replace("_", " ")
        if wide > _LETTER * len(name):
            drawn += f'<text x="{x + 2}" y="9">{escaped(name)}</text>'
    return drawn


def _letters(
    explanation: ExplanationRecord, positions: Sequence[int], frame: _Frame, below: int
) -> str:
    spans = explanation["spans"]
    roles = {letter: _positions(spans.get(role, [])) for role, letter in MARKS.items()}
    drawn = ""
    for index, position in enumerate(positions):
        letters = "".join(letter for letter, among in roles.items() if position in among)
        if letters:
            drawn += f'<text x="{(index + 0.5) * frame.width:g}">{letters}</text>'
    return f'<g class="mid role" transform="translate({frame.left} {below + 12})">{drawn}</g>'


def _labels(labels: Sequence[str], frame: _Frame, below: int) -> str:
    """Write the tokens from below, their ends at the cells."""
    texts = (
        f'<text y="{(index + 0.5) * frame.width:g}">{escaped(label)}</text>'
        for index, label in enumerate(labels)
    )
    at = f"translate({frame.left + 3.5} {below + _LETTERS + 2})rotate(-90)"
    return f'<g class="end" transform="{at}">{"".join(texts)}</g>'
