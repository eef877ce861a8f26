"""Whether a check failed, by how much, and which is the worst: one order for all that is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_ragshortcut.reporting.schema import CheckRecord, TestRecord

_LIMIT = re.compile(r"([<>])=? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)", re.ASCII)


def failed(check: CheckRecord) -> bool:
    """Say whether a comparison did not hold, or none was made.

    Example:
        >>> failed({"claims": ["> 0.8"], "held": True}), failed({"claims": [], "held": True})
        (False, True)
    """
    return not (check["held"] and check["claims"])


def claim_of(check: CheckRecord) -> str:
    """Return what a check was compared with, in one line.

    Example:
        >>> claim_of({"claims": ["> 0.5", "< 0.9"]}), claim_of({"claims": []})
        ('> 0.5, < 0.9', 'never compared')
    """
    return ", ".join(check["claims"]) or "never compared"


def limits_of(check: CheckRecord) -> list[tuple[str, float]]:
    """Return what a check was compared with: '>' or '<', whether or not equal will do, and a limit.

    Example:
        >>> limits_of({"claims": ["> 0.5", "<= 1e-05", "never"]})
        [('>', 0.5), ('<', 1e-05)]
    """
    found = [limit for claim in check["claims"] if (limit := _LIMIT.fullmatch(claim))]
    return [(sign, float(limit)) for sign, limit in (each.groups() for each in found)]


def margin_of(check: CheckRecord) -> float | None:
    """Return how far the score is on the right side of the tightest limit; negative if it is not.

    None where the score is undefined, or was compared with nothing.

    Example:
        >>> margin_of({"score": 0.75, "claims": ["> 0.5", "< 0.875"]})
        0.125
    """
    score = check["score"]
    if score is None:
        return None
    margins = (score - at if sign == ">" else at - score for sign, at in limits_of(check))
    return min(margins, default=None)


def rank_of(check: CheckRecord) -> tuple[bool, bool, float]:
    """Return a sort key, the worst first: failed, then undefined, then by the margin.

    Example:
        >>> held, undefined = {"claims": ["> 0.5"], "held": True}, {"score": None}
        >>> rank_of(held | undefined) < rank_of(held | {"score": 0.75})
        True
    """
    margin = margin_of(check)
    return not failed(check), margin is not None, margin or 0.0


def worst_first(tests: Iterable[TestRecord]) -> list[tuple[TestRecord, CheckRecord]]:
    """Return every check beside its test, the worst first; equally bad ones keep their order.

    Example:
        >>> def check(score): return {"score": score, "claims": ["> 0.5"], "held": score > 0.5}
        >>> tests = [{"id": "a", "checks": [check(0.75), check(0.25)]},
        ...          {"id": "b", "checks": [check(0.625)]}]
        >>> [(test["id"], check["score"]) for test, check in worst_first(tests)]
        [('a', 0.25), ('b', 0.625), ('a', 0.75)]
    """
    pairs = [(test, check) for test in tests for check in test["checks"]]
    return sorted(pairs, key=lambda pair: rank_of(pair[1]))
