"""The explanation and the table, from fabricated results: every branch of what they may say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.reliance import Evidence, Found, Reliance, Verdict
from pytest_ragshortcut.core.results import SwapResult
from pytest_ragshortcut.reporting.records import record_of
from pytest_ragshortcut.reporting.table import rows_of, table
from pytest_ragshortcut.reporting.text import explain

PROMPT = TokenizedPrompt("x", (1, 2), ("a", "b"), {}, 2, (3,))


def reliance(
    score: float = 0.5, *, verdict: Verdict = Verdict.MIXED, context: str = "C"
) -> Reliance:
    swap = SwapResult(
        prompt=PROMPT,
        context_answer="Cork",
        memory_answer="Dublin",
        clean_probability=0.9,
        substitutes=("Rome",),
        answer_probability=np.array([0.1]),
        substitute_probability=np.array([0.5]),
        memory_probability=np.array([0.5]),
        follow_each=np.array([0.5]),
        n_substitute=1,
        n_original=0,
    )
    return Reliance(
        prompt=PROMPT,
        kind="context",
        score=score,
        interval=(score, score),
        verdict=verdict,
        reason="a reason",
        evidence=(Evidence("knockout attribute -> answer", math.nan, "why not"),),
        asked=RagCase("Q?", context),
        case=RagCase("Q?", context, answer="Cork", memory_answer="Dublin", context_answer="Cork"),
        found={"subject": Found("Q", "given")},
        model="m",
        swap=swap,
    )


@pytest.mark.parametrize("score", [0.7999, 0.79999999, 0.5])
def test_the_headline_never_contradicts_itself(score: float) -> None:
    """'0.80 is not > 0.8' would be true and useless: decimals are added until it can be read."""
    first = explain(reliance(score), claim=(">", 0.8)).splitlines()[0]
    shown = first.split("reliance ")[1].split(" is not")[0]
    assert float(shown) < 0.8


def test_a_score_at_its_limit_is_shown_as_it() -> None:
    assert "0.80 is not > 0.8" in explain(reliance(0.8), claim=(">", 0.8))


def test_undefined_is_said_and_never_a_number() -> None:
    text = explain(reliance(math.nan, verdict=Verdict.UNGROUNDED), claim=(">", 0.8))
    assert text.startswith("context reliance undefined is not > 0.8")
    assert "nan" not in text.split("knockout")[0]
    assert "undefined  why not" in text


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_its_sentence(verdict: Verdict) -> None:
    assert explain(reliance(verdict=verdict)).count(str(verdict)) >= 1


def test_long_passages_wrap_and_nothing_of_them_is_lost() -> None:
    passage = " ".join(f"word{index}" for index in range(200))
    text = explain(reliance(context=passage))
    assert all(len(line) <= 100 for line in text.splitlines())
    assert all(f"word{index}" in text.split() for index in range(200))


def test_records_are_json_without_nan() -> None:
    text = json.dumps(record_of(reliance(math.nan)), allow_nan=False)
    assert json.loads(text)["score"] is None


def _check(score: float | None, claim: str = "> 0.8", held: bool = True) -> dict[str, object]:
    record = {**record_of(reliance(score if score is not None else math.nan))}
    return {"record": record, "claims": [claim] if claim else [], "held": held}


def test_the_worst_of_many_is_the_one_that_failed() -> None:
    checks = [_check(0.9), _check(0.1, "< 0.2"), _check(0.3, held=False), _check(0.85)]
    (row,) = rows_of("t", checks)
    assert (row.record["score"], row.held, row.n_checks) == (0.3, False, 4)


def test_an_undefined_score_is_worse_than_any() -> None:
    (row,) = rows_of("t", [_check(0.9), _check(None), _check(0.1), _check(0.85)])
    assert row.record["score"] is None


@pytest.mark.parametrize("width", [60, 80, 120, 240])
def test_lines_fit_and_the_numbers_stay(width: int) -> None:
    lines = table(
        rows_of("tests/test_a_very_long_name.py::test_" + "x" * 80, [_check(0.5)]), width=width
    )
    assert all(len(line) <= max(width, 80) for line in lines)
    assert "0.50" in lines[1]
    assert "MIXED" in lines[1]


@pytest.mark.parametrize("width", [80, 240])
def test_evidence_is_shown_at_any_width(width: int) -> None:
    record = {**record_of(reliance()), "evidence": {"knockout attribute -> answer": -0.75}}
    check = {"record": record, "claims": ["> 0.8"], "held": True}
    lines = table(rows_of("tests/test_it.py::test_" + "x" * 40, [check]), width=width)
    assert len(lines) == (3 if width == 80 else 2)
    assert "-0.75" in lines[-1]
    assert "cut attr" in lines[0 if width == 240 else -1]
