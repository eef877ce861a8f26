"""A run as one HTML page that needs nothing else: no network, no fonts, no scripts but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pytest_ragshortcut.core.reliance import SENTENCES, Verdict
from pytest_ragshortcut.core.words import counted
from pytest_ragshortcut.reporting import gate_svg, gate_words, heatmaps, svg
from pytest_ragshortcut.reporting.compare import Row, compare, rows_of
from pytest_ragshortcut.reporting.schema import CheckRecord, Report
from pytest_ragshortcut.reporting.text import exact, number
from pytest_ragshortcut.reporting.totals import sum_of, totals_of
from pytest_ragshortcut.reporting.worst import claim_of, failed, limits_of

_PREFIXES = ("", "k", "M", "G", "T")


def render_report(report: Report, *, other: Report | None = None) -> str:
    """Write a run as one self-contained HTML page.

    What came from a model or a passage is escaped, and the page's policy allows no script but its
    own, by its hash.

    Args:
        report: the run.
        other: an older run to compare it with.

    Returns:
        The page; every character of it can be written as UTF-8.
    """
    rows = rows_of(report)
    comparison = compare(rows, other) if other else None
    older = {row.number: row.older for row in comparison.matched} if comparison else {}
    environment = _environment()
    script, style = (_source(environment, name) for name in ("report.js", "report.css"))
    return environment.get_template("report.html.jinja").render(
        report=report,
        other=other,
        rows=rows,
        older=older,
        comparison=comparison,
        gate=report["gate"],
        places={row.key[:3]: row.number for row in reversed(rows)},
        totals=totals_of(report),
        verdicts=_verdicts(rows),
        spread=_spread(rows),
        n_shades=_n_shades(report, other),
        script=script,
        style=style,
        policy=_policy(script),
    )


def amount(n: int, unit: str) -> str:
    """Write a large count with three digits.

    Example:
        >>> amount(3_600_000, "B"), amount(899, "")
        ('3.6 MB', '899')
    """
    prefixes = iter(_PREFIXES)
    prefix, rest = next(prefixes), float(n)
    while rest >= 999.5 and prefix != _PREFIXES[-1]:
        prefix, rest = next(prefixes), rest / 1000
    return f"{rest:.3g} {prefix}{unit}".rstrip()


def spent(seconds: float | None) -> str:
    """Write a duration.

    Example:
        >>> spent(0.254), spent(75.0), spent(7500.0), spent(None)
        ('0.25 s', '1 min 15 s', '2 h 5 min', 'unknown')
    """
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def date_of(created: str) -> str:
    """Write a date of a report for people.

    Example:
        >>> date_of("2026-01-02T03:04:05+00:00"), date_of("long ago")
        ('2 January 2026, 03:04 UTC', 'long ago')
    """
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".rstrip()


def score_of(check: CheckRecord) -> str:
    """Write a score with as many decimals as set it apart from its limits.

    Example:
        >>> score_of({"score": 0.7999, "claims": ["> 0.8"]})
        '0.7999'
    """
    return exact(check["score"], [limit for _, limit in limits_of(check)])


def probability(value: float | None) -> str:
    """Write a probability with three decimals, or 'undefined'.

    Example:
        >>> probability(0.12345), probability(None)
        ('0.123', 'undefined')
    """
    return number(None) if value is None or value != value else f"{value:.3f}"


def opening(text: str) -> str:
    """Write a text as one begins a heading: its first letter large, the others as they are.

    Example:
        >>> opening("cuts of the BOS token")
        'Cuts of the BOS token'
    """
    return text[:1].upper() + text[1:]


def breakable(text: str) -> Markup:
    """Escape a name, and let lines end after its underscores and slashes.

    Example:
        >>> str(breakable("test_it"))
        'test_<wbr>it'
    """
    breaks = ((mark, mark + Markup("<wbr>")) for mark in "_/")
    return reduce(lambda name, pair: name.replace(*pair), breaks, svg.escaped(text))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pytest_ragshortcut.reporting", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = (amount, breakable, spent, date_of, opening, score_of, probability, number, counted)
    environment.filters.update({function.__name__: function for function in own})
    environment.filters |= {"reading": svg.reading, "sum_of": sum_of, "zip": zip}
    environment.globals.update(
        svg=svg,
        gate_svg=gate_svg,
        words=gate_words,
        heatmaps=heatmaps,
        claim_of=claim_of,
        failed=failed,
        limits_of=limits_of,
        sentences={str(verdict): sentence for verdict, sentence in SENTENCES.items()},
    )
    return environment


def _shown(value: Any) -> Any:
    return svg.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].strip()


def _policy(script: str) -> str:
    """Allow the page its own style and, by its hash, its own script; nothing else at all."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _verdicts(rows: Sequence[Row]) -> Mapping[str, int]:
    """Count verdicts: all that there are, in their own order, then those nobody knows."""
    counts = {str(verdict): 0 for verdict in Verdict}
    for row in rows:
        counts[row.check["verdict"]] = counts.get(row.check["verdict"], 0) + 1
    return counts


def _spread(rows: Sequence[Row]) -> dict[str, tuple[list[float], list[float], int]]:
    """Collect scores by kind: of checks that hold, of those that failed, and how many have none."""
    spread: dict[str, tuple[list[float], list[float], int]] = {}
    for row in rows:
        held, failing, undefined = spread.get(row.check["kind"], ([], [], 0))
        score = row.check["score"]
        if score is not None:
            (failing if failed(row.check) else held).append(score)
        spread[row.check["kind"]] = held, failing, undefined + (score is None)
    return spread


def _n_shades(*reports: Report | None) -> int:
    explanations = [
        check["explanation"]
        for report in reports
        if report
        for test in report["tests"]
        for check in test["checks"]
    ]
    return max((len(each["shades"]) for each in explanations if each), default=0)
