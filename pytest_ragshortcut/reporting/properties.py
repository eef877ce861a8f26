"""A test's checks as flat properties: what JUnit XML and other plugins read."""

from __future__ import annotations

from pytest_ragshortcut.reporting.characters import portable
from pytest_ragshortcut.reporting.schema import TestRecord
from pytest_ragshortcut.reporting.worst import claim_of, worst_first


def properties_of(test: TestRecord) -> list[tuple[str, object]]:
    """Return how many checks a test made, and what its worst one says: str, int, float, bool.

    An undefined score is absent, and `rag_undefined` says why. Text has XML characters alone.

    Example:
        >>> properties_of({"n_checks": 0, "checks": []})
        [('rag_checks', 0)]
    """
    counted: list[tuple[str, object]] = [("rag_checks", test["n_checks"])]
    if not test["checks"]:
        return counted
    _, worst = worst_first([test])[0]
    score: tuple[str, object] = ("rag_score", worst["score"])
    if worst["score"] is None:
        score = ("rag_undefined", portable(worst["reason"]))
    return [
        *counted,
        ("rag_kind", worst["kind"]),
        score,
        ("rag_verdict", portable(worst["verdict"])),
        ("rag_claim", portable(claim_of(worst))),
        ("rag_held", worst["held"] and bool(worst["claims"])),
        ("rag_model", portable(worst["model"])),
    ]
