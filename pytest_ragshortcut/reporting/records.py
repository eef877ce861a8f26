"""A check as builtins: what travels between processes, into tables and into baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_ragshortcut.core.reliance import Reliance
from pytest_ragshortcut.core.results import plain


def key_of(test: str, record: Mapping[str, Any]) -> str:
    """Name a check by its test and its case, as baselines do."""
    return f"{test} | {record['case']}"


def record_of(reliance: Reliance) -> dict[str, Any]:
    """Return a check's reading as builtins that json.dumps takes; NaN becomes None."""
    return {
        "kind": reliance.kind,
        "case": repr(reliance.asked),
        "question": reliance.case.question,
        "score": plain(reliance.score),
        "interval": plain(reliance.interval),
        "verdict": str(reliance.verdict),
        "reason": reliance.reason,
        "model": reliance.model,
        "evidence": {item.probe: plain(item.value) for item in reliance.evidence},
    }
