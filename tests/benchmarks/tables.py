"""Results as Markdown that is also readable in a terminal. Pure functions of the stored data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.machine import summary
from benchmarks.rows import ROWS

Stored = dict[str, Any]
_TITLES = {row.key: row.title for row in ROWS}


def full(stored: Stored) -> str:
    """Render everything that a run found."""
    head = f"Machine: {summary(stored['machine'])}. {_SETUP[stored['setup']]}"
    parts = [head, *map(_sizes, stored["results"])]
    if stored.get("growth"):
        parts.append("Growth: cost ~ size ** e, fitted over the sizes given\n\n" + _growth(stored))
    if stored.get("memory"):
        parts.append(_MEMORY_NOTE + "\n\n" + _memory(stored["memory"]))
    if stored.get("tools"):
        parts.append(_TOOLS_NOTE + "\n\n" + _tools(stored["tools"]))
    return "\n\n".join(parts)


def short(stored: Stored) -> str:
    """Render what a README quotes: one column a size, each cell beside its bound."""
    parts = []
    for shape, n_layers in _distinct((r["shape"], r["n_layers"]) for r in stored["results"]):
        chosen = [r for r in stored["results"] if (r["shape"], r["n_layers"]) == (shape, n_layers)]
        main = [r for r in chosen if not _is_early(r)]
        header = ["plain forwards", *(f"T={result['n_tokens']}" for result in main)]
        keys = _distinct(row["key"] for result in main for row in result["rows"])
        body = [[_TITLES[key], *(_quoted(_row(r, key)) for r in main)] for key in keys]
        named = _distinct(s["key"] for r in main for row in r["rows"] for s in row["against"])
        body += [[_AGAINST[name], *(_times(_against(r, name)) for r in main)] for name in named]
        head = f"{shape}, {n_layers} layers. {summary(stored['machine'])}"
        parts += [f"{head}. {_SETUP[stored['setup']]}", table(header, body)]
        parts += [_early(result) for result in chosen if _is_early(result)]
        missed = [_missed(r, row) for r in main for row in r["rows"] if _is_missed(row)]
        if missed:
            parts += [_missed_note(main), table(_MISSED_COLUMNS, missed)]
    if stored.get("tools"):
        parts += [_TOOLS_NOTE + ".", _tools(stored["tools"])]
    return "\n\n".join(parts)


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table whose columns line up.

    Example:
        >>> print(table(["a", "b"], [["1", "22"]]))
        | a | b  |
        |---|----|
        | 1 | 22 |
    """
    rows = [list(header), *map(list, body)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def number(value: float) -> str:
    """Write a number with three digits that matter, and no exponent before 1e-3.

    Example:
        >>> number(14700.2), number(4.512), number(0.0123), number(3.2e-7)
        ('14,700', '4.51', '0.0123', '3.2e-07')
    """
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


_COLUMNS = (
    "row", "forwards", "lowest to highest", "bound", "products alone", "count", "measured / count",
    "max difference", "values compared", "span",
)  # fmt: skip
_MISSED_COLUMNS = ("missed", "T", "forwards", "aimed at", "products alone", "token-layers")
_SETUP = {
    "inside": "Each cold row sets its model up anew.",
    "apart": "Cold rows find a model that is set up, on another prompt.",
}
_MIN_OVER_COUNT = 0.3
_AGAINST = {
    "the same cells": "cells by hooks, one forward of S+1 rows each: the same cells, times ours",
    "as shipped": "cells by hooks, all positions x layers, as ROME ships it, times ours",
}
_MEMORY_NOTE = (
    "Memory: how far the process's peak rises above what it held before, MiB, in a process of its "
    "own"
)
_TOOLS_NOTE = (
    "Existing tools, in forwards of their own process; maps are estimated from the cells timed"
)


def _sizes(result: Stored) -> str:
    forward = result["forward_seconds"]
    head = (
        f"{result['shape']}, {result['n_layers']} layers, T={result['n_tokens']}, "
        f"{result['n_samples']} noise samples, subject at token {result['subject_at']}, prompt "
        f"seed {result['seed']}. One plain forward: {1000 * forward['median']:.1f} ms "
        f"({1000 * forward['low']:.1f} to {1000 * forward['high']:.1f}); with the last position's "
        f"logits alone {number(result['last_logits_only']['median'])} of it, its matrix products "
        f"alone {number(result['products']['median'])}."
    )
    text = head + "\n\n" + table(_COLUMNS, map(_cells, result["rows"]))
    against = [_sentence(s) for row in result["rows"] for s in row["against"]]
    return text + ("\n\n" + "\n".join(against) if against else "")


def _cells(row: Stored) -> list[str]:
    forwards, check = row["forwards"], row["check"]
    unit = "" if check["unit"] == "p" else f" ({check['unit']})"
    return [
        row["key"],
        number(forwards["median"]),
        f"{number(forwards['low'])} to {number(forwards['high'])}",
        _bounded(forwards["median"], row["bound"], at_most=True),
        "-" if row["products"] is None else number(row["products"]["median"]),
        number(row["count"]),
        _over_count(forwards["median"], row["count"]),
        number(check["max_difference"]) + unit,
        str(check["n_values"]),
        number(check["span"]) + (" VACUOUS" if check["vacuous"] else ""),
    ]


def _over_count(forwards: float, count: float) -> str:
    """Divide; what costs far less than its count was not computed but found in some cache."""
    if not count:
        return "-"
    return number(forwards / count) + (" CACHED?" if forwards / count < _MIN_OVER_COUNT else "")


def _bounded(value: float, bound: float | None, *, at_most: bool) -> str:
    if bound is None:
        return "-"
    sign, kept = ("<=", value <= bound) if at_most else (">=", value >= bound)
    return f"{sign} {number(bound)}" + ("" if kept else " MISSED")


def _sentence(against: Stored) -> str:
    bound = _bounded(against["times"], against["bound"], at_most=False)
    return (
        f"- {_AGAINST[against['key']]}: {number(against['times'])} "
        f"({against['n_cells']:,} cells of {number(against['forwards_per_cell'])} forwards, "
        f"estimated from {against['n_timed']} cells; bound {bound})"
    )


def _row(result: Stored, key: str) -> Stored | None:
    return next((row for row in result["rows"] if row["key"] == key), None)


def _against(result: Stored, key: str) -> Stored | None:
    return next((s for row in result["rows"] for s in row["against"] if s["key"] == key), None)


def _quoted(row: Stored | None) -> str:
    if row is None:
        return "-"
    return number(row["forwards"]["median"]) + _in_brackets(row["bound"], "<=")


def _times(against: Stored | None) -> str:
    if against is None:
        return "-"
    return f"{number(against['times'])}x" + _in_brackets(against["bound"], ">=")


def _in_brackets(bound: float | None, sign: str) -> str:
    return "" if bound is None else f" ({sign} {number(bound)})"


def _is_missed(row: Stored) -> bool:
    return row["bound"] is not None and row["forwards"]["median"] > row["bound"]


def _missed(result: Stored, row: Stored) -> list[str]:
    numbers = (row["forwards"]["median"], row["bound"], row["products"]["median"], row["count"])
    return [_TITLES[row["key"]], str(result["n_tokens"]), *map(number, numbers)]


def _missed_note(results: Sequence[Stored]) -> str:
    shares = [result["products"]["median"] for result in results]
    return (
        "Where a row misses what was aimed at: what its matrix products take by themselves, the "
        "same products repeated and nothing else, and how many token-layers it needs, both in "
        f"forwards. A plain forward's own products are {number(min(shares))} to "
        f"{number(max(shares))} of it."
    )


def _is_early(result: Stored) -> bool:
    return any(row["key"] == "early" for row in result["rows"])


def _early(result: Stored) -> str:
    (row,) = result["rows"]
    same = next(s for s in row["against"] if s["key"] == "the same cells")
    return (
        f"Subject at token {result['subject_at']} of {result['n_tokens']}: the map takes "
        f"{number(row['forwards']['median'])} forwards, {number(same['times'])} times fewer than "
        "the same cells by hooks."
    )


def _growth(stored: Stored) -> str:
    body = [
        [
            fit["shape"], fit["key"], fit["in"],
            ", ".join(f"{size:g}" for size in fit["sizes"]),
            f"{'L' if fit['in'] == 'T' else 'T'}={fit['at']}", f"{fit['exponent']:.2f}",
        ]
        for fit in stored["growth"]
    ]  # fmt: skip
    return table(["model", "row", "in", "sizes", "at", "e"], body)


def _memory(memory: Sequence[Stored]) -> str:
    body = []
    for found in memory:
        where = [found["shape"], str(found["n_layers"]), str(found["n_tokens"])]
        if "failed" in found:
            body.append([*where, found["failed"], "-", "-"])
        else:
            kinds = ("forward_mib", "map_mib", "cell_mib")
            body.append([*where, *(f"{found[kind]:.0f}" for kind in kinds)])
    return table(["model", "L", "T", "one forward", "the map", "one cell by hooks"], body)


def _tools(tools: Sequence[Stored]) -> str:
    header = [
        "tool", "model", "T", "per cell", "the same cells", "times ours", "all cells", "times ours",
        "max difference in p", "cells timed",
    ]  # fmt: skip
    return table(header, map(_tool, tools))


def _tool(found: Stored) -> list[str]:
    where = [found.get("shape", "-"), str(found.get("n_tokens", "-"))]
    if "failed" in found:
        return [found["tool"], *where, found["failed"], *["-"] * 6]
    kinds = ("forwards_per_cell", "same_cells_forwards", "same_cells_times")
    kinds += ("all_cells_forwards", "all_cells_times", "max_difference")
    named = f"{found['tool']} {found['version']}"
    return [named, *where, *(number(found[kind]) for kind in kinds), str(found["n_timed"])]


def _distinct(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))
