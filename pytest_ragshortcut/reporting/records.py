"""Results as builtins: what travels between processes, into tables, baselines and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pytest_ragshortcut.core.attribution import AttributionResult
from pytest_ragshortcut.core.explanations import Explanation
from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.core.prompts import token_texts
from pytest_ragshortcut.core.reliance import Reliance
from pytest_ragshortcut.core.results import TraceResult, plain
from pytest_ragshortcut.reporting.schema import (
    CheckRecord,
    CurvesRecord,
    ExplanationRecord,
    MapRecord,
    Numbers,
    PieceRecord,
    SwapRecord,
)


def key_of(test: str, record: Mapping[str, Any]) -> str:
    """Name a check by its test, its model, its case and which reliance it is."""
    kind = "" if record["kind"] == "context" else f" | {record['kind']}"
    return f"{test} | {record['model']} | {record['case']}{kind}"


def record_of(reliance: Reliance, *, check: str) -> CheckRecord:
    """Return a check's reading as builtins that json.dumps takes; NaN becomes None.

    Args:
        reliance: the reading.
        check: what asked for it: assert_context_reliance, say.

    Returns:
        A check that nothing was claimed of, of which nobody knows how it was asked and what it
        cost, and that is not explained yet.
    """
    case = reliance.case
    return {
        "check": check,
        "kind": reliance.kind,
        "case": repr(reliance.asked),
        "asking": "",
        "question": case.question,
        "passages": list(case.passages),
        "subject": case.subject or "",
        "answer": case.answer or "",
        "context_answer": case.context_answer or "",
        "memory_answer": case.memory_answer or "",
        "found": {role: {"text": it.text, "how": it.how} for role, it in reliance.found.items()},
        "score": plain(float(reliance.score)),
        "interval": [plain(float(end)) for end in reliance.interval],
        "verdict": str(reliance.verdict),
        "reason": reliance.reason,
        "model": reliance.model,
        "swap": _swap_record(reliance),
        "evidence": [
            {"probe": item.probe, "value": plain(float(item.value)), "reading": item.reading}
            for item in reliance.evidence
        ],
        "claims": [],
        "held": True,
        "work": {"seconds": 0.0, "forwards": None, "remembered": 0, "computed": 0},
        "spread": None,
        "explanation": None,
        "unexplained": "",
        "notes": {},
    }


def explanation_record(explanation: Explanation) -> ExplanationRecord:
    """Return an explanation as builtins that json.dumps takes; NaN becomes None."""
    prompt, trace, attribution = explanation.prompt, explanation.trace, explanation.attribution
    return {
        "tokens": list(token_texts(prompt)),
        "spans": {role: [list(run) for run in runs] for role, runs in prompt.spans.items()},
        "shades": {probe: _numbers(shade) for probe, shade in explanation.shades.items()},
        "maps": [] if trace is None else [_map_record(trace)],
        "curves": _curve_records(explanation),
        "pieces": [] if attribution is None else _piece_records(attribution),
        "missing": dict(explanation.missing),
    }


def _swap_record(reliance: Reliance) -> SwapRecord:
    swap = reliance.swap
    return {
        "substitutes": list(swap.substitutes),
        "substitute_probability": _numbers(swap.substitute_probability),
        "memory_probability": _numbers(swap.memory_probability),
    }


def _map_record(trace: TraceResult) -> MapRecord:
    computed = np.flatnonzero(np.isfinite(trace.indirect_effect).any(axis=0))
    return {
        "title": f"{trace.corrupt} corrupted ({trace.corruption}), one state restored",
        "unit": "p(answer) given back",
        "rows": [f"layer {index}" for index in range(len(trace.indirect_effect))],
        "columns": computed.tolist(),
        "values": [_numbers(row) for row in trace.indirect_effect[:, computed]],
    }


def _curve_records(explanation: Explanation) -> list[CurvesRecord]:
    return [
        {
            "title": some.title,
            "unit": some.unit,
            "points": list(some.layers),
            "lines": [
                {"label": curve.role, "book": curve.book, "values": _numbers(curve.values)}
                for curve in some.curves
            ],
        }
        for some in explanation.curves
    ]


def _piece_records(attribution: AttributionResult) -> list[PieceRecord]:
    readings = zip(
        attribution.pieces,
        _numbers(attribution.probability),
        _numbers(attribution.effect),
        strict=True,
    )
    return [
        {
            "passage": piece.passage,
            "sentence": piece.sentence,
            "text": piece.text,
            "probability": probability,
            "effect": effect,
        }
        for piece, probability, effect in readings
    ]


def _numbers(values: Array) -> Numbers:
    numbers: Numbers = plain(np.asarray(values))
    return numbers
