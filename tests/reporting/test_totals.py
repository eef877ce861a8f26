"""What a run adds up to, in every report of it."""

from __future__ import annotations

import doctest
from collections.abc import Callable

import pytest
from reporting import samples

from pytest_ragshortcut.reporting import totals
from pytest_ragshortcut.reporting.github import step_summary
from pytest_ragshortcut.reporting.html import render_report
from pytest_ragshortcut.reporting.openmetrics import metrics
from pytest_ragshortcut.reporting.schema import Report
from pytest_ragshortcut.reporting.table import summary_lines


def test_the_examples_hold() -> None:
    assert not doctest.testmod(totals).failed


def _lines(report: Report) -> str:
    return "\n".join(summary_lines(report, width=80))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (_lines, "unknown time"),
        (step_summary, "unknown time"),
        (render_report, "<dt>Checks</dt><dd>unknown</dd>"),
        (metrics, "# EOF"),
    ],
)
def test_a_sum_beyond_a_float_is_said_to_be_unknown(
    write: Callable[[Report], str], says: str
) -> None:
    """Each of a report's numbers is finite; what they add up to need not be."""
    vast = samples.check(seconds=1.5e308)
    vast["work"]["forwards"] = 1.5e308
    tests = [samples.of_test(name, vast) | {"seconds": 1.5e308} for name in "ab"]
    text = write(samples.report(*tests))
    assert says in text
    assert not {"inf", "nan", "+Inf"} & set(text.split())
