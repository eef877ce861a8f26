"""The stored results as Markdown that is also readable in a terminal. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.machine import summary
from benchmarks.tables import number, table

from calibration.columns import COLUMNS, CONTEXTS, IN_DEGREE, THRESHOLD, TOLD_APART, Column
from pytest_ragshortcut.core.reliance import Verdict

Stored = dict[str, Any]


def report(stored: Stored) -> str:
    """Render everything that a run found."""
    return "\n\n".join(blocks(stored).values())


def blocks(stored: Stored) -> dict[str, str]:
    """Render it piece by piece; name -> Markdown."""
    made = {"setting": _setting(stored)}
    for name, render in _BLOCKS.items():
        made[name] = render(stored)
    return made


def excerpts(stored: Stored) -> dict[str, str]:
    """Render what the page for users quotes."""
    chosen = [row for row in stored["paper"] if row["model"] in _QUOTED]
    return blocks(stored | {"paper": chosen})


def filled(page: str, pieces: dict[str, str]) -> str:
    """Put pieces into a page, each between its own two marks.

    Example:
        >>> filled("a <!-- x -->old<!-- end --> b", {"x": "new"}).splitlines()
        ['a <!-- x -->', '', 'new', '', '<!-- end --> b']
    """
    for name, piece in pieces.items():
        mark = f"<!-- {name} -->"
        if mark in page:
            before, _, rest = page.partition(mark)
            page = f"{before}{mark}\n\n{piece}\n\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return page


def _setting(stored: Stored) -> str:
    settings = stored["settings"]
    said = (
        f"{summary(stored['machine'])}, {stored['cpu_seconds']:.0f} s of CPU time. Seed "
        f"{settings['seed']}; {settings['n_cases']} contradicting cases of each kind, "
        f"{settings['n_dial_cases']} of each setting of the dials, and an agreeing twin of each."
    )
    if not stored["unread"]:
        return said
    reasons = ", ".join(f"{name} {count}" for name, count in stored["unread"].items())
    return f"{said}\n\nLeft out, because the case could not be completed: {reasons}."


def _told_apart(stored: Stored) -> str:
    priced = stored["priced"]
    return (
        "Context (1) or memory (0), case by case; conflict / agreement. AUROC 0.5 is chance. False "
        f"alarms of the claim 'above {THRESHOLD}': truly context at or below it or undefined, "
        f"truly memory above it. Forwards: of one prompt of {number(priced['n_tokens'] or 0)} "
        "tokens, its answers found anew; by count of token-layers, median of "
        f"{priced['n_cases']} cases.\n\n"
    ) + _candidates(stored, TOLD_APART, costs=True)


def _in_degree(stored: Stored) -> str:
    return (
        "In degree; conflict / agreement. Spearman's correlation with the planted degree, and "
        "error, the mean of |score - planted|; of single cases, or of the mean of each degree.\n\n"
    ) + _candidates(stored, IN_DEGREE)


def _candidates(stored: Stored, which: str, *, costs: bool = False) -> str:
    columns = [c for c in COLUMNS if c.table == which and c.title in stored["columns"]]
    body = [
        [
            candidate["name"],
            *(_pair(candidate["cells"][column.title], column) for column in columns),
            *([f"{candidate['forwards']:.1f}"] if costs and candidate["forwards"] else []),
        ]
        for candidate in stored["candidates"]
    ]
    counted = [_counted(stored["candidates"][0]["cells"][column.title]) for column in columns]
    body.append(["cases", *counted, *([str(stored["priced"]["n_cases"])] if costs else [])])
    titles = [column.title for column in columns]
    return table(["candidate", *titles, *(["forwards"] if costs else [])], body)


def _pair(cells: Stored, column: Column) -> str:
    return " / ".join(_cell(cells[context], column) for context in CONTEXTS if context in cells)


def _cell(cell: Stored, column: Column) -> str:
    shown = decimal(cell["value"])
    if column.counts_undefined or cell["n"] == cell["of"]:
        return shown
    return f"{shown} (of {cell['n']})"


def _counted(cells: Stored) -> str:
    return " / ".join(str(cells[context]["of"]) for context in CONTEXTS if context in cells)


def decimal(value: float | None) -> str:
    """Write a number in two digits; what is undefined is a dash.

    Example:
        >>> decimal(0.996), decimal(-0.001), decimal(float("nan")), decimal(None)
        ('1.00', '0.00', '-', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    # Rounded first, and added to 0, so that what is next to nothing has no sign.
    return f"{round(value, 2) + 0.0:.2f}"


def _verdicts(stored: Stored) -> str:
    rows: Sequence[Stored] = stored["verdicts"]
    names = [v.value for v in Verdict if any(v.value in row["counts"] for row in rows)]
    body = [
        [
            row["model"],
            row["kind"],
            row["context"],
            decimal(row["planted"]),
            *(str(row["counts"].get(name, 0) or ".") for name in names),
            str(row["n"] - sum(row["counts"].values()) or "."),
            f"{row['as_taught']} of {row['taught']}" if row["taught"] else "-",
        ]
        for row in rows
    ]
    header = ["model", "kind", "context", "planted", *names, "not read", "as taught"]
    said = "Verdicts by planted kind. As taught: the greedy answer is the one planted."
    return f"{said}\n\n{table(header, body)}"


def _paper(stored: Stored) -> str:
    rows = table(["model", "planted", "protocol", "kept", *_ARMS], map(_paper_row, stored["paper"]))
    return (
        "The paper's comparison on agreeing cases, with the passages / without. AIE: indirect "
        f"effect of the last subject token (MLP). Cuts: the largest loss, relative.\n\n{rows}"
    )


def _paper_row(row: Stored) -> list[str]:
    head = [row["model"], decimal(row["planted"]), row["protocol"]]
    if "failed" in row:
        return [*head, f"none of {row['n_cases']}: {row['failed']}", *["-"] * len(_ARMS)]
    arms = [
        " / ".join(decimal(row[arm][key]) for arm in ("open", "closed")) for key in _ARMS.values()
    ]
    return [*head, f"{row['n_kept']} of {row['n_cases']}", *arms]


_ARMS = {
    "p": "clean",
    "total effect": "total_effect",
    "subject AIE": "subject_aie",
    "subject contribution": "subject_contribution",
    "attribute contribution": "attribute_contribution",
    "subject cut": "subject_knockout",
    "attribute cut": "attribute_knockout",
}

_BLOCKS: dict[str, Callable[[Stored], str]] = {
    "told apart": _told_apart,
    "in degree": _in_degree,
    "verdicts": _verdicts,
    "paper": _paper,
}
_QUOTED = ("reader", "memoriser", "copier")
