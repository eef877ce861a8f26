"""What a run's checks add up to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pytest_ragshortcut.core.words import counted
from pytest_ragshortcut.reporting.schema import Report
from pytest_ragshortcut.reporting.worst import failed


@dataclass(frozen=True)
class Totals:
    """Counts and costs over all tests of a report."""

    n_checks: int
    """How many were made; the other counts are of those that the report keeps."""
    n_kept: int
    verdicts: Mapping[str, int]
    """verdict -> how many, the most frequent first."""
    n_failed: int
    n_undefined: int
    """How many have no score."""
    forwards: float | None
    """None where no check says, or a float cannot hold what they say together."""
    seconds: float | None
    """None where a float cannot hold it."""
    n_remembered: int
    n_readings: int
    """Remembered and computed."""

    @property
    def sentence(self) -> str:
        """How many checks there are, and how many failed."""
        kept = f" ({self.n_kept} kept)" if self.n_kept < self.n_checks else ""
        return f"{counted(self.n_checks, 'check')}{kept}, {self.n_failed} failed"

    @property
    def spent(self) -> str:
        """What they cost."""
        forwards = "" if self.forwards is None else f"{counted(round(self.forwards), 'forward')}, "
        seconds = "unknown time" if self.seconds is None else f"{self.seconds:.1f} s"
        read = f"; {self.n_remembered} of {counted(self.n_readings, 'reading')} remembered"
        return f"{forwards}{seconds}{read if self.n_readings else ''}"


def totals_of(report: Report) -> Totals:
    """Add up the checks of a report.

    Example:
        >>> totals_of({"tests": []}).sentence
        '0 checks, 0 failed'
    """
    checks = [check for test in report["tests"] for check in test["checks"]]
    work = [check["work"] for check in checks]
    forwards = [each["forwards"] for each in work if each["forwards"] is not None]
    n_remembered = sum(each["remembered"] for each in work)
    return Totals(
        n_checks=sum(test["n_checks"] for test in report["tests"]),
        n_kept=len(checks),
        verdicts=dict(Counter(check["verdict"] for check in checks).most_common()),
        n_failed=sum(map(failed, checks)),
        n_undefined=sum(check["score"] is None for check in checks),
        forwards=sum_of(forwards) if forwards else None,
        seconds=sum_of(each["seconds"] for each in work),
        n_remembered=n_remembered,
        n_readings=n_remembered + sum(each["computed"] for each in work),
    )


def sum_of(numbers: Iterable[float]) -> float | None:
    """Add up; None where a float cannot hold the sum.

    Example:
        >>> sum_of([]), sum_of([0.5, 0.25]), sum_of([1e308, 1e308])
        (0, 0.75, None)
    """
    total = sum(numbers)
    return total if math.isfinite(total) else None
