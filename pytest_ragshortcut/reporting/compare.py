"""Two runs side by side: which checks both made, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from pytest_ragshortcut.reporting.schema import CheckRecord, Report, TestRecord
from pytest_ragshortcut.reporting.worst import margin_of, rank_of
from pytest_ragshortcut.stored.readings import Key, keys_of


@dataclass(frozen=True)
class Row:
    """One check of a run, and the same check of an older one."""

    number: int
    """Its place among all checks, from 1, the worst first."""
    key: Key
    test: TestRecord
    check: CheckRecord
    older: CheckRecord | None = None

    @property
    def change(self) -> float | None:
        """What the score changed by; None where either run has none."""
        new, old = self.check["score"], self.older["score"] if self.older else None
        return None if new is None or old is None else new - old

    @property
    def gain(self) -> float:
        """What the change did for the claim: minus infinity where the score became undefined.

        Where nothing was claimed every change is a loss.
        """
        if self.older is None:
            return 0.0
        if self.change is None:
            undefined = self.check["score"] is None, self.older["score"] is None
            return {(True, False): -math.inf, (False, True): math.inf}.get(undefined, 0.0)
        before = cast("CheckRecord", {**self.older, "claims": self.check["claims"]})
        new, old = margin_of(self.check), margin_of(before)
        return -abs(self.change) if new is None or old is None else new - old


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common, and what only one of them has."""

    matched: Sequence[Row]
    """Checks of both, the worst change first."""
    only_here: Sequence[Row]
    only_there: Sequence[Row]
    """Checks of the older run alone, numbered among its own."""


def rows_of(report: Report) -> list[Row]:
    """Number the checks of a report, the worst first.

    Example:
        >>> rows_of({"tests": []})
        []
    """
    every = [(test, check) for test in report["tests"] for check in test["checks"]]
    keys = keys_of((test["id"], check["case"], check["kind"]) for test, check in every)
    rows = [Row(0, key, *each) for key, each in zip(keys, every, strict=True)]
    ordered = sorted(rows, key=lambda row: rank_of(row.check))
    return [replace(row, number=number) for number, row in enumerate(ordered, start=1)]


def compare(rows: Sequence[Row], other: Report) -> Comparison:
    """Match the checks of two runs by test, case and kind; those made twice in their order.

    Args:
        rows: the checks of the newer run.
        other: the older run.

    Example:
        >>> compare([], {"tests": []}).matched
        []
    """
    there = {row.key: row for row in rows_of(other)}
    here = {row.key for row in rows}
    both = [replace(row, older=there[row.key].check) for row in rows if row.key in there]
    return Comparison(
        matched=sorted(both, key=lambda row: (row.gain, row.number)),
        only_here=[row for row in rows if row.key not in there],
        only_there=[row for key, row in there.items() if key not in here],
    )
