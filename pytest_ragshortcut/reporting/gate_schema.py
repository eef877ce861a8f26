"""What a report holds of a release gate: the part of the contract that `schema` takes in."""

from __future__ import annotations

from typing import Literal, TypedDict

from pytest_ragshortcut.stored.readings import ReadingRecord


class RegressionRecord(TypedDict):
    """A case that reads less than its baseline did, by more than the margin."""

    property: str
    model: str
    """The candidate."""
    test: str
    """Its node id."""
    command: str
    """What runs it alone."""
    case: str
    """The case, as valid Python."""
    kind: Literal["context", "parametric"]
    question: str
    change: float | None
    """Candidate minus baseline, turned so that negative is worse; None where the candidate's score
    is undefined."""
    old: ReadingRecord
    new: ReadingRecord
    waived: str
    """Why it may be so; empty where nobody said."""


class PropertyRecord(TypedDict):
    """What the gate says of one property: one test function's cases, of one model.

    Scores are turned so that more is better: where a test claims that a reliance is small, one
    minus the score is compared.
    """

    name: str
    """The test function and the kind of reliance."""
    model: str
    """The candidate."""
    baseline_model: str
    outcome: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    decides: bool
    """Whether the gate depends on it; where a primary property is declared, others do not."""
    sentence: str
    """Why, and what would decide it."""
    n_cases: int
    """How many cases were compared: waived ones, and those without a baseline's score, are not."""
    n_left_out: int
    baseline: float | None
    """Mean score."""
    candidate: float | None
    """Mean score."""
    change: float | None
    """Mean of candidate minus baseline."""
    change_interval: list[float | None]
    candidate_interval: list[float | None]
    n_regressed: int
    """How many cases fell by more than the margin."""
    regressed_interval: list[float | None]
    """Which share of all cases may."""
    n_more: int | None
    """About how many further cases like these would decide; None where none would, 0 where it is
    decided."""


class WaiverRecord(TypedDict):
    """A regression that somebody allowed."""

    test: str
    case: str
    """Empty for every case of the test."""
    reason: str
    expires: str
    """ISO 8601: the last day that it holds."""
    is_expired: bool
    n_cases: int
    """How many cases of this run it leaves out, or would if it had not expired."""


class GateRecord(TypedDict):
    """May this model be released?"""

    outcome: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    passes: bool
    """What became of it under the policy, which says what inconclusive means."""
    sentence: str
    """What decided."""
    action: str
    """The one thing to do."""
    policy: str
    """The expression of --rag-compare-fail, in full."""
    baseline: str
    """The baseline's file."""
    confidence: float
    """Of each interval, before it is widened for several properties."""
    margin: float
    """By how much a property may be worse."""
    floor: float | None
    """What the candidate's mean score must be above; None where there is none."""
    tolerance: float
    """Changes up to this are rounding, and count as none."""
    properties: list[PropertyRecord]
    """Those that fail first."""
    regressions: list[RegressionRecord]
    """The worst first, waived ones last."""
    waivers: list[WaiverRecord]
    warnings: list[str]
    """In what the two runs differ, though they may be compared."""
