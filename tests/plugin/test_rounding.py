"""A score beside its limit: what rounding alone moves breaks no claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_ragshortcut import RagCase, RagModel, context_reliance, context_reliances
from pytest_ragshortcut.assertions import RelianceCheck, assert_context_reliance
from pytest_ragshortcut.core.reliance import Reliance

CASE = RagCase(
    "Where was Eavan Boland born?",
    "Eavan Boland was born in Cork.",
    context_answer="Cork",
    memory_answer="Dublin",
    substitutes=("Moscow", "Seattle"),
)


@pytest.fixture(scope="module")
def reliance() -> Reliance:
    return context_reliance(RagModel.from_pretrained("embedded:reader"), CASE, probes=())


def _check(reliance: Reliance, score: float, *again: float) -> RelianceCheck:
    def measured_again() -> Sequence[float]:
        return again

    return RelianceCheck(replace(reliance, score=score), again=measured_again)


def test_a_score_that_rounding_took_below_its_limit_holds(reliance: Reliance) -> None:
    check = _check(reliance, 0.7999999, 0.7999998, 0.8000003)
    assert check > 0.8
    (spread,) = [e for e in check.record["evidence"] if e["probe"] == "numeric spread"]
    assert spread["value"] == pytest.approx(5e-7)
    assert check.record["held"]


@pytest.mark.parametrize("again", [(), (0.79,), (0.7999, 0.7998), (0.95, 0.79)])
def test_a_score_that_stays_below_fails(reliance: Reliance, again: tuple[float, ...]) -> None:
    with pytest.raises(AssertionError, match=r"is not > 0\.8"):
        _check(reliance, 0.7999999, *again) > 0.8  # noqa: B015


def test_what_is_clearly_below_is_not_measured_again(reliance: Reliance) -> None:
    def again() -> Sequence[float]:
        raise NotImplementedError

    with pytest.raises(AssertionError):
        RelianceCheck(replace(reliance, score=0.5), again=again) > 0.8  # noqa: B015
    with pytest.raises(AssertionError):
        RelianceCheck(replace(reliance, score=float("nan")), again=again) > 0.8  # noqa: B015


def test_a_limit_within_the_measured_spread_of_a_real_model_holds() -> None:
    model = RagModel.from_pretrained("embedded:reader")
    longer = replace(CASE, context=(*CASE.passages, *CASE.passages))
    beside = context_reliances(model, [longer, CASE], probes=())[1].score
    alone = context_reliance(model.afresh(), CASE, probes=()).score
    assert alone == pytest.approx(beside, abs=1e-5)
    for limit in (min(alone, beside), max(alone, beside)):
        assert assert_context_reliance(model, CASE, probes=()) >= limit


@settings(max_examples=10)
@given(st.lists(st.sampled_from(("Cork", "Rome", "Oslo")), min_size=1, max_size=4))
def test_a_case_gives_the_same_value_alone_and_beside_others(towns: list[str]) -> None:
    model = RagModel.from_pretrained("embedded:mixture-50")
    cases = [CASE.swapped("Cork", town) for town in towns]
    cases = [replace(case, context_answer=town) for case, town in zip(cases, towns, strict=True)]
    together = context_reliances(model, cases, probes=())
    for case, beside in zip(cases, together, strict=True):
        alone = context_reliance(model.afresh(), case, probes=())
        assert alone.score == pytest.approx(beside.score, abs=1e-5)
        assert alone.verdict == beside.verdict


def test_a_fresh_model_remembers_nothing_and_leaves_the_other_be() -> None:
    model = RagModel.from_pretrained("embedded:reader")
    context_reliance(model, CASE, probes=())
    before = model.work
    fresh = model.afresh()
    assert fresh.work.token_layers == 0
    context_reliance(fresh, CASE, probes=())
    assert fresh.work.computed > 0
    assert model.work == before
