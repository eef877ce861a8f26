"""The table of all checks of a run, from their records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_ragshortcut.reporting.records import key_of
from pytest_ragshortcut.reporting.text import number

Record = Mapping[str, Any]

# What stands in each evidence column; a probe that was not run leaves its column empty.
_EVIDENCE = (
    ("cut attr", "knockout attribute -> answer"),
    ("cut subj", "knockout subject -> answer"),
    ("contrib", "contribution share"),
    ("TE attr", "total effect attribute"),
    ("TE subj", "total effect subject"),
)
# Evidence makes room for a name of the first width; the rest of the table for one of the second.
_ROOMY_NAME, _MIN_NAME = 24, 16


@dataclass(frozen=True)
class Row:
    """One line: a test, its worst check, and how many checks it stands for."""

    test: str
    record: Record
    claim: str
    held: bool
    n_checks: int
    change: float | None = None


def rows_of(
    test: str, checks: Sequence[Record], changes: Mapping[str, float] | None = None
) -> list[Row]:
    """Make a test's rows: each check of a few, the worst alone of many.

    Args:
        test: the test's node id.
        checks: its checks: record, claims, held.
        changes: baseline key -> change of the score.
    """
    rows = [
        Row(
            test,
            check["record"],
            ", ".join(check["claims"]) or "never compared",
            bool(check["held"] and check["claims"]),
            1,
            (changes or {}).get(key_of(test, check["record"])),
        )
        for check in checks
    ]
    if len(rows) <= 3:
        return rows
    worst = min(rows, key=lambda row: (row.held, _distance(row)))
    return [Row(test, worst.record, worst.claim, worst.held, len(rows), worst.change)]


def table(rows: Sequence[Row], *, width: int) -> list[str]:
    """Lay the rows out as lines of about the given width.

    Where the evidence does not fit beside a row it stands below; the name of the test is cut last.
    """
    header = ["test", "score", "interval", "verdict", "claim"]
    if any(row.change is not None for row in rows):
        header.append("change")
    shown = [_cells(row, with_change="change" in header) for row in rows]
    beside = [*header, *(title for title, _ in _EVIDENCE)]
    full = [[*cells, *_readings(row)] for cells, row in zip(shown, rows, strict=True)]
    widths = _widths([beside, *full])
    if min(widths[0], _ROOMY_NAME) + _room(widths) <= width:
        return _lines([beside, *full], width)
    lines = _lines([header, *shown], width)
    below = [_below(row) for row in rows]
    return lines[:1] + [
        part for pair in zip(lines[1:], below, strict=True) for part in pair if part
    ]


def _readings(row: Row) -> list[str]:
    evidence = row.record["evidence"]
    return [number(evidence[key]) if key in evidence else "" for _, key in _EVIDENCE]


def _below(row: Row) -> str:
    titles = (title for title, _ in _EVIDENCE)
    read = [f"{t} {value}" for t, value in zip(titles, _readings(row), strict=True) if value]
    return "    " + "  ".join(read) if read else ""


def _lines(table: Sequence[Sequence[str]], width: int) -> list[str]:
    widths = _widths(table)
    widths[0] = min(widths[0], max(_MIN_NAME, width - _room(widths)))
    return [_line(line, widths) for line in table]


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*table, strict=True)]


def _room(widths: Sequence[int]) -> int:
    """How wide all columns but the first are, with the gaps between."""
    return sum(widths[1:]) + 2 * (len(widths) - 1)


def _cells(row: Row, *, with_change: bool) -> list[str]:
    name = f"{row.test} (worst of {row.n_checks})" if row.n_checks > 1 else row.test
    low, high = row.record["interval"]
    interval = "" if low is None else f"[{low:.2f}, {high:.2f}]"
    mark = "" if row.held else "  FAILS"
    kind = "" if row.record["kind"] == "context" else "memory "
    cells = [name, number(row.record["score"]), interval, row.record["verdict"]]
    cells.append(f"{kind}{row.claim}{mark}")
    if with_change:
        cells.append("" if row.change is None else f"{row.change:+.2f}")
    return cells


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = []
    for index, (cell, width) in enumerate(zip(cells, widths, strict=False)):
        cut = cell if len(cell) <= width else "…" + cell[len(cell) - width + 1 :]
        shown.append(cut.ljust(width) if index in (0, 2, 3, 4) else cut.rjust(width))
    return "  ".join(shown).rstrip()


def _distance(row: Row) -> float:
    """How far the score is on the right side of its claim; the smaller, the worse."""
    score = row.record["score"]
    if score is None:
        return float("-inf")
    return float(score) if row.claim.startswith(">") else -float(score)
