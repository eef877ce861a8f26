"""The table of all checks of a run, and the lines beneath it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

from pytest_ragshortcut.core.words import counted
from pytest_ragshortcut.reporting.cells import cut, visible
from pytest_ragshortcut.reporting.records import key_of
from pytest_ragshortcut.reporting.schema import CheckRecord, HuntRecord, Report, TestRecord
from pytest_ragshortcut.reporting.text import number
from pytest_ragshortcut.reporting.totals import totals_of
from pytest_ragshortcut.reporting.worst import claim_of, failed, rank_of, worst_first

# What stands in each evidence column; a probe that was not run leaves its column empty.
_EVIDENCE = (
    ("cut attr", "knockout attribute -> answer"),
    ("cut subj", "knockout subject -> answer"),
    ("contrib", "contribution share"),
    ("TE attr", "total effect attribute"),
    ("TE subj", "total effect subject"),
)
_TEXTS = frozenset({"test", "interval", "verdict", "claim", "model"})
# Evidence makes room for a name of the first width; the rest of the table for one of the second.
_ROOMY_NAME, _MIN_NAME = 24, 16
# A test of more checks than this shows its worst alone.
_MAX_ROWS = 3
_MANY_ROWS, _N_WORST = 40, 10
"""More rows than this are not all shown: those that failed, and so many at least."""
_SLOW_SECONDS = 1.0


@dataclass(frozen=True)
class Row:
    """One line: a test, its worst check, and how many checks it stands for."""

    test: str
    check: CheckRecord
    n_checks: int
    change: float | None
    """Of the score, since a baseline."""


def rows_of(test: TestRecord, changes: Mapping[str, float] | None = None) -> list[Row]:
    """Make a test's rows: each check of a few, the worst alone of many.

    Args:
        test: the test and its checks.
        changes: baseline key -> change of the score.
    """
    name, n_checks = test["id"], test["n_checks"]
    shown, stands_for = test["checks"], 1
    if n_checks > _MAX_ROWS:
        shown, stands_for = [check for _, check in worst_first([test])[:1]], n_checks
    return [
        Row(name, check, stands_for, (changes or {}).get(key_of(name, check))) for check in shown
    ]


def worth_showing(rows: Sequence[Row]) -> list[Row]:
    """Choose, of very many rows, those that failed and the worst of the others, in their order."""
    if len(rows) <= _MANY_ROWS:
        return list(rows)
    order = sorted(range(len(rows)), key=lambda place: (_badness(rows[place]), place))
    n_failed = sum(failed(row.check) for row in rows)
    return [rows[place] for place in sorted(order[: max(n_failed, _N_WORST)])]


def table(rows: Sequence[Row], *, width: int) -> list[str]:
    """Lay the rows out as lines of about the given width, in characters.

    Where the evidence does not fit beside a row it stands below; the name of the test is cut last.
    """
    header = ["test", "score", "interval", "verdict", "claim"]
    if any(row.change is not None for row in rows):
        header.append("change")
    if len({row.check["model"] for row in rows}) > 1:
        header.append("model")
    shown = [[_cells(row)[title] for title in header] for row in rows]
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


def summary_lines(report: Report, *, width: int, n_slowest: int = 3) -> list[str]:
    """Say what a run's checks add up to, what they cost, and which were slow, if any were.

    Args:
        report: the run; one without checks has nothing to say.
        width: in characters.
        n_slowest: how many of the checks that took over a second are named.
    """
    totals = totals_of(report)
    if not totals.n_checks:
        return []
    verdicts = ", ".join(f"{verdict} {count}" for verdict, count in totals.verdicts.items())
    counts = visible(f"{totals.sentence}: {verdicts}")
    lines = [*wrap(counts, width), *wrap(totals.spent, width)]
    slow = [
        (check["work"]["seconds"], f"{test['id']}: {check['question']}")
        for test in report["tests"]
        for check in test["checks"]
        if check["work"]["seconds"] > _SLOW_SECONDS
    ]
    slowest = sorted(slow, key=lambda each: -each[0])[:n_slowest]
    if slowest:
        lines.append("slowest:")
    named = [f"{seconds:7.1f} s  {visible(name)}" for seconds, name in slowest]
    lines += [cut(line, width) for line in named]
    hunts = [(test["hunt"], test["id"]) for test in report["tests"] if test["hunt"]]
    if hunts:
        lines.append("property-based:")
    return lines + [line for hunt in hunts for line in _hunt_lines(*hunt, width=width)]


def _hunt_lines(hunt: HuntRecord, test: str, *, width: int) -> Iterator[str]:
    yield cut(f"    {visible(test)}", width)
    each = hunt["forwards"] / max(hunt["n_examples"], 1)
    drawn = f"{counted(hunt['n_examples'], 'example')}, {counted(hunt['n_cases'], 'case')}"
    ended = f"ended early: {hunt['ended']} is spent" if hunt["ended"] else ""
    indent = " " * 8
    for said in (f"{drawn}, {each:.1f} forwards an example", hunt["share"], ended):
        yield from wrap(said, width, initial_indent=indent, subsequent_indent=indent)


def interval_of(check: CheckRecord) -> str:
    """Write the range over the substitutes; nothing where it is undefined.

    Example:
        >>> interval_of({"interval": [0.25, 0.5]}), interval_of({"interval": [None, None]})
        ('[0.25, 0.50]', '')
    """
    ends = [number(end) for end in check["interval"] if end is not None]
    return f"[{', '.join(ends)}]" if ends else ""


def _badness(row: Row) -> tuple[bool, float, tuple[bool, bool, float]]:
    change = 0.0 if row.change is None else row.change
    turned = -change if row.check["kind"] == "parametric" else change
    return not failed(row.check), turned, rank_of(row.check)


def _readings(row: Row) -> list[str]:
    values = {item["probe"]: item["value"] for item in row.check["evidence"]}
    return [number(values[probe]) if probe in values else "" for _, probe in _EVIDENCE]


def _below(row: Row) -> str:
    titles = (title for title, _ in _EVIDENCE)
    read = [f"{t} {value}" for t, value in zip(titles, _readings(row), strict=True) if value]
    return "    " + "  ".join(read) if read else ""


def _lines(table: Sequence[Sequence[str]], width: int) -> list[str]:
    widths = _widths(table)
    widths[0] = min(widths[0], max(_MIN_NAME, width - _room(widths)))
    of_texts = [title in _TEXTS for title in table[0]]
    return [_line(line, widths, of_texts) for line in table]


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*table, strict=True)]


def _room(widths: Sequence[int]) -> int:
    """How wide all columns but the first are, with the gaps between."""
    return sum(widths[1:]) + 2 * (len(widths) - 1)


def _cells(row: Row) -> dict[str, str]:
    """Write what stands under each title."""
    name = f"{row.test} (worst of {row.n_checks})" if row.n_checks > 1 else row.test
    mark = "  FAILS" if failed(row.check) else ""
    kind = "" if row.check["kind"] == "context" else "memory "
    return {
        "test": name,
        "score": number(row.check["score"]),
        "interval": interval_of(row.check),
        "verdict": row.check["verdict"],
        "claim": f"{kind}{claim_of(row.check)}{mark}",
        "change": "" if row.change is None else f"{row.change:+.2f}",
        "model": visible(row.check["model"]),
    }


def _line(cells: Sequence[str], widths: Sequence[int], of_texts: Sequence[bool]) -> str:
    shown = []
    for cell, width, is_text in zip(cells, widths, of_texts, strict=True):
        cut = cell if len(cell) <= width else "…" + cell[len(cell) - width + 1 :]
        shown.append(cut.ljust(width) if is_text else cut.rjust(width))
    return "  ".join(shown).rstrip()
