"""What an explanation holds by layer: maps of tokens, and curves of cuts and contributions."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_ragshortcut.reporting.charts import Row, Scale, chart, label_width, numbers
from pytest_ragshortcut.reporting.look import Look
from pytest_ragshortcut.reporting.prompt_text import LETTERS, roles_of
from pytest_ragshortcut.reporting.schema import (
    CurvesRecord,
    ExplanationRecord,
    LineRecord,
    MapRecord,
)
from pytest_ragshortcut.reporting.text import number

_N_STRONGEST = 12
"""Rows of a map, where not every position is asked for."""
# Effects on a probability have a natural scale: a weak one does not fill a cell for being alone.
_MIN_FULL = 0.1
_SHOWN_SHARE = 0.125
"""Of a full cell: below it nothing is drawn."""
_SCALE = "scale:"


def token_map(record: MapRecord, explanation: ExplanationRecord, look: Look) -> Iterator[str]:
    """Draw a map: a row a token, a column a layer, the strongest tokens alone unless asked."""
    values = [value for row in record["values"] for value in row if value is not None]
    scale = Scale(
        ramp=look.signs.shades,
        full=_full(max(map(abs, values), default=0.0), record["unit"]),
        against="-=",
        unknown=look.signs.unknown,
        is_coloured=True,
    )
    rows = _rows(record, explanation, look)
    shown = rows if look.verbosity >= 1 else _strongest(rows, scale)
    yield from _title(record["title"], look)
    if not values:
        yield "  nothing of it was computed"
        return
    if not shown:
        yield f"  nowhere more than {number(max(map(abs, values)))}"
        return
    yield from chart(shown, record["rows"], scale, look)
    if look.verbosity >= 2:
        yield from numbers(shown, record["rows"], look)
    key = _map_key(record, shown, scale)
    if len(shown) < len(rows):
        key += f"; the strongest {len(shown)} of {len(rows)} tokens, -v shows all"
    sign = scale.ramp[-1]
    for line in look.fold(key, indent=2):
        painted = look.paint(sign, scale.style_of(scale.full))
        yield line.replace(f"{_SCALE} {sign}", f"{_SCALE} {painted}", 1)


def layer_curves(record: CurvesRecord, look: Look) -> Iterator[str]:
    """Draw curves as rows of bars, closed-book below open-book."""
    values = [value for line in record["lines"] for value in line["values"] if value is not None]
    has_books = len({line["book"] for line in record["lines"]}) > 1
    books = "; open: with passages, closed: without" if has_books else ""
    yield from _title(record["title"] + books, look)
    if not values or not record["points"]:
        yield "  nothing of it was computed"
        return
    is_loss = round(min(values), 2) < 0
    largest = max(-min(values) if is_loss else max(values), 0.0)
    scale = Scale(
        ramp=look.signs.bars,
        full=_full(largest, record["unit"]) * (-1.0 if is_loss else 1.0),
        against="+" if is_loss else "-",
        unknown=look.signs.unknown,
        is_one_sided=True,
    )
    labels = [line["label"] for line in record["lines"]]
    order = {"open": 0, "closed": 1}
    lines = sorted(record["lines"], key=lambda it: (labels.index(it["label"]), order[it["book"]]))
    rows = [Row(_curve_label(line, has_books, look), line["values"]) for line in lines]
    yield from chart(rows, record["points"], scale, look)
    if look.verbosity >= 2:
        yield from numbers(rows, record["points"], look)
    yield from look.fold(_curve_key(record, scale), indent=2)


def _title(text: str, look: Look) -> Iterator[str]:
    for line in look.fold(text):
        yield look.paint(line, "title")


def _full(largest: float, unit: str) -> float:
    return max(largest, _MIN_FULL if "p(answer)" in unit else 0.0) or 1.0


def _rows(record: MapRecord, explanation: ExplanationRecord, look: Look) -> list[Row]:
    tokens, roles = explanation["tokens"], roles_of(explanation)
    wide = len(str(max(record["columns"], default=0)))
    n_letters = max((len(roles[position]) for position in record["columns"]), default=0)
    rows = []
    for index, position in enumerate(record["columns"]):
        letters = "".join(LETTERS[role] for role in roles[position])
        text = look.visible(tokens[position].strip(" ") or repr(tokens[position]))
        label = look.cut(f"{position:>{wide}} {letters:<{n_letters}} {text}", label_width(look))
        values = [layer[index] for layer in record["values"]]
        rows.append(Row(label, values, next(iter(roles[position]), "")))
    return rows


def _strongest(rows: list[Row], scale: Scale) -> list[Row]:
    """Choose the rows that show something, the strongest of them, in the order of the prompt."""
    strength = [abs(scale.strongest(row.values) or 0.0) for row in rows]
    order = sorted(range(len(rows)), key=lambda index: -strength[index])[:_N_STRONGEST]
    kept = [index for index in sorted(order) if strength[index] >= _SHOWN_SHARE * scale.full]
    return [rows[index] for index in kept]


def _map_key(record: MapRecord, shown: list[Row], scale: Scale) -> str:
    values = [value for row in shown for value in row.values]
    drawn = {scale.sign_of(value) for value in values}
    key = f"{_SCALE} {scale.ramp[-1]} = {number(scale.full)} {record['unit']}"
    key += "; - below zero, = far below" if drawn & set(scale.against) else ""
    return key + (f"; {scale.unknown} not computed" if None in values else "")


def _curve_key(record: CurvesRecord, scale: Scale) -> str:
    values = [value for line in record["lines"] for value in line["values"]]
    drawn = {scale.sign_of(value) for value in values}
    key = f"{_SCALE} {scale.ramp[-1]} = {number(scale.full)} {record['unit']}"
    if scale.against in drawn:
        key += f"; {scale.against} {'above' if scale.against == '+' else 'below'} zero"
    return key + (f"; {scale.unknown} not computed" if None in values else "")


def _curve_label(line: LineRecord, has_books: bool, look: Look) -> str:
    if not has_books:
        return line["label"]
    room = label_width(look) - len(" closed")
    return f"{look.pad(line['label'], room)} {line['book']}"
