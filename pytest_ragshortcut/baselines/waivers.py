"""Regressions that somebody allowed: with a reason, and until a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pytest_ragshortcut.baselines.pairing import function_of
from pytest_ragshortcut.baselines.schema import WaiverEntry


def is_expired(waiver: WaiverEntry, today: date) -> bool:
    """Say whether a waiver's last day is over.

    Example:
        >>> waiver = {"test": "t", "case": "", "reason": "r", "expires": "2026-03-31"}
        >>> is_expired(waiver, date(2026, 3, 31)), is_expired(waiver, date(2026, 4, 1))
        (False, True)
    """
    return date.fromisoformat(waiver["expires"]) < today


def covers(waiver: WaiverEntry, test: str, case: str) -> bool:
    """Say whether a waiver is about a check: of the test or its function, of the case or any.

    Example:
        >>> waiver = {"test": "test_a.py::test_it", "case": "", "reason": "r", "expires": ""}
        >>> covers(waiver, "test_a.py::test_it[paris]", "RagCase(...)")
        True
        >>> covers(waiver, "test_a.py::test_its", "RagCase(...)")
        False
    """
    is_test = waiver["test"] in (test, function_of(test))
    return is_test and waiver["case"] in ("", case)


def waived(waivers: Sequence[WaiverEntry], test: str, case: str, today: date) -> str:
    """Return why a check may be worse than it was; empty where nothing in force says so."""
    reasons = (
        waiver["reason"]
        for waiver in waivers
        if covers(waiver, test, case) and not is_expired(waiver, today)
    )
    return next(reasons, "")
