"""The release gate as lines of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_ragshortcut.core.words import counted
from pytest_ragshortcut.reporting.cells import cut, fold, pad, visible, width_of
from pytest_ragshortcut.reporting.gate_schema import (
    GateRecord,
    PropertyRecord,
    RegressionRecord,
    WaiverRecord,
)
from pytest_ragshortcut.reporting.gate_words import (
    bounds_of,
    compared,
    models_of,
    name_of,
    outcome_of,
    probes_of,
    signed,
    standing,
    term_of,
)
from pytest_ragshortcut.reporting.text import exact, number

_TEXTS = frozenset({"property", "interval", "outcome"})
# Which columns stand below a property, the first first, where a name has less room than this.
_FIRST_BELOW = ("fell", "cases", "baseline", "candidate", "interval", "change", "outcome")
_ROOMY_NAME = 24
# From this width on, old and new stand beside each other.
_TWO_COLUMNS = 100
_MAX_REGRESSIONS = 3
_MAX_LINES = 4
"""Of one answer."""
_INDENT = 6


def gate_title(gate: GateRecord) -> str:
    """Say in a few words what became of which model.

    Example:
        >>> one = {"model": "./candidate", "baseline_model": "./released"}
        >>> gate_title({"outcome": "FAIL", "passes": False, "properties": [one]})
        'gate: FAIL, ./candidate against ./released'
    """
    parts = [f"gate: {outcome_of(gate)}", models_of(gate)]
    return visible(", ".join(part for part in parts if part))


def gate_lines(gate: GateRecord, *, width: int) -> list[str]:
    """Write a gate as lines: its properties, the worst regressions, and last what became of it.

    Args:
        gate: the gate.
        width: in columns. Only a command may be wider: folded it could not be copied.

    Example:
        >>> empty = {"properties": [], "regressions": [], "waivers": [], "warnings": []}
        >>> said = {"outcome": "PASS", "passes": True, "sentence": "no worse", "action": "Release"}
        >>> asked = {"policy": "margin:0.05", "tolerance": 0.0001, "margin": 0.05}
        >>> print(*gate_lines(empty | said | asked, width=80), sep="|")
        policy: margin:0.05|changes up to 0.0001 are rounding||gate: PASS - no worse|to do: Release
    """
    blocks = [
        _property_lines(gate, width),
        list(_regression_lines(gate, width)),
        [line for waiver in gate["waivers"] for line in _waiver_lines(waiver, width)],
        [line for said in gate["warnings"] for line in _folded(f"warning: {said}", width)],
        [
            *_folded(f"policy: {gate['policy']}", width),
            *_folded(f"changes up to {gate['tolerance']:g} are rounding", width),
        ],
        [
            *_folded(f"gate: {outcome_of(gate)} - {gate['sentence']}", width),
            *_folded(f"to do: {gate['action']}", width),
        ],
    ]
    blocks[2][:0] = ["waivers:"] if blocks[2] else []
    return [line.rstrip() for block in blocks if block for line in ["", *block]][1:]


def _property_lines(gate: GateRecord, width: int) -> list[str]:
    """Lay out the table, and beneath each property what has no room in it, and why it fails."""
    rows = [_cells(each, gate) for each in gate["properties"]]
    if not rows:
        return []
    titles = {title: title for title in rows[0]}
    widths = {title: max(width_of(row[title]) for row in (titles, *rows)) for title in titles}
    beside = _beside(widths, width)
    room = sum(widths[title] + 2 for title in beside[1:])
    widths["property"] = min(widths["property"], width - room)
    lines = [_line(titles, beside, widths)]
    for each, row in zip(gate["properties"], rows, strict=True):
        lines.append(_line(row, beside, widths))
        parts = [f"{title} {row[title]}" for title in titles if title not in beside]
        lines += [f"    {line}" for line in _packed(parts, width - 4)]
        lines += [line for said in _notes(each) for line in _folded(said, width, 4)]
    return lines


def _cells(each: PropertyRecord, gate: GateRecord) -> dict[str, str]:
    limits = [-gate["margin"]]
    floors = [] if gate["floor"] is None else [gate["floor"]]
    return {
        "property": visible(name_of(each, gate)),
        "cases": f"{each['n_cases']:,}",
        "baseline": number(each["baseline"]),
        "candidate": exact(each["candidate"], floors),
        "change": signed(each["change"], limits),
        "interval": bounds_of(each["change_interval"], limits),
        "fell": f"{each['n_regressed']:,}",
        "outcome": standing(each),
    }


def _notes(each: PropertyRecord) -> Iterator[str]:
    yield each["sentence"]
    if each["n_left_out"]:
        yield f"{counted(each['n_left_out'], 'case')} left out: waived, or never compared"


def _beside(widths: Mapping[str, int], width: int) -> list[str]:
    """Choose the columns that leave a name room."""
    beside = list(widths)
    name = min(widths["property"], _ROOMY_NAME)
    for title in _FIRST_BELOW:
        if name + sum(widths[each] + 2 for each in beside[1:]) <= width:
            break
        beside.remove(title)
    return beside


def _line(row: Mapping[str, str], beside: Sequence[str], widths: Mapping[str, int]) -> str:
    shown = []
    for title in beside:
        cell, width = _tail(row[title], widths[title]), widths[title]
        padding = " " * (width - width_of(cell))
        shown.append(cell + padding if title in _TEXTS else padding + cell)
    return "  ".join(shown)


def _regression_lines(gate: GateRecord, width: int) -> Iterator[str]:
    fell = [each for each in gate["regressions"] if not each["waived"]]
    if fell:
        yield from _folded("cases that fell by more than the margin, worst first:", width)
    for each in fell[:_MAX_REGRESSIONS]:
        yield from _regression(each, -gate["margin"], width)
    rest = len(fell) - _MAX_REGRESSIONS
    if rest > 0:
        yield from _folded(f"... and {rest:,} more: --rag-report report.html shows all", width, 2)


def _regression(each: RegressionRecord, limit: float, width: int) -> Iterator[str]:
    change = cut(signed(each["change"], [limit]), width // 2)
    yield f"  {change}  {_tail(visible(each['test']), width - 4 - width_of(change))}"
    rows = compared(each["old"], each["new"])
    label = max(len(title) for title, _, _ in rows)
    yield from _field("question", each["question"], label, width, _INDENT)
    if width >= _TWO_COLUMNS:
        side = (width - _INDENT - label - 4) // 2
        for title, old, new in [("", "baseline", "candidate"), *rows]:
            yield from _pair(title, old, new, label, side)
    else:
        for index, side_name in enumerate(("baseline", "candidate"), start=1):
            yield " " * _INDENT + side_name
            for row in rows:
                yield from _field(row[0], row[index], label, width, _INDENT + 2)
    yield from _probe_lines(each, width)
    yield f"{' ' * _INDENT}this case alone:  {visible(each['command'])}"


def _pair(title: str, old: str, new: str, label: int, side: int) -> Iterator[str]:
    left, right = _few(old, side), _few(new, side)
    n_lines = max(len(left), len(right))
    for index in range(n_lines):
        cells = (pad(lines[index] if index < len(lines) else "", side) for lines in (left, right))
        first = title if index == 0 else ""
        yield f"{' ' * _INDENT}{first:<{label}}  {'  '.join(cells)}"


def _field(title: str, text: str, label: int, width: int, indent: int) -> Iterator[str]:
    for index, line in enumerate(_few(text, width - indent - label - 2)):
        yield f"{' ' * indent}{title if index == 0 else '':<{label}}  {line}"


def _probe_lines(each: RegressionRecord, width: int) -> Iterator[str]:
    rows = [(visible(name), old, new) for name, old, new in probes_of(each["old"], each["new"])]
    if not rows:
        return
    names, olds, news = (max(map(width_of, column)) for column in zip(*rows, strict=True))
    is_wide = _INDENT + names + olds + news + 6 > width
    for name, old, new in rows:
        if is_wide:
            yield from _folded(f"{name}: {old} -> {new}", width, _INDENT)
        else:
            yield f"{' ' * _INDENT}{pad(name, names)}  {old:>{olds}} -> {new:>{news}}"


def _waiver_lines(waiver: WaiverRecord, width: int) -> Iterator[str]:
    one = f", {waiver['case']}" if waiver["case"] else ""
    yield from _folded(f"{waiver['test']}{one}: {waiver['reason']}", width, 2)
    yield from _folded(term_of(waiver), width, 6)


def _folded(text: str, width: int, indent: int = 0) -> list[str]:
    return [" " * indent + line for line in fold(visible(text), width - indent) if line]


def _few(text: str, width: int) -> list[str]:
    """Fold a text, and leave out what is beyond a few lines."""
    lines = fold(visible(text), width)
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES - 1 :] = [cut(lines[_MAX_LINES - 1], width - 1, ellipsis="") + "…"]
    return lines


def _packed(parts: Sequence[str], width: int) -> list[str]:
    """Join short texts, as many in a line as have room."""
    lines: list[str] = []
    for part in parts:
        if lines and width_of(lines[-1]) + 2 + width_of(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines.append(cut(part, width))
    return lines


def _tail(text: str, width: int) -> str:
    """Shorten a visible name from the left: what tells tests apart stands at its end."""
    if width_of(text) <= width:
        return text
    kept = text[1 - width :] if width > 1 else ""
    while width_of(kept) > width - 1:
        kept = kept[1:]
    return f"…{kept}"
