"""Inquiries: asked together they are answered as if asked alone, in fewer steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import Knockout, PlanRow, ProbePlan, RowReading
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.results import plain
from pytest_ragshortcut.errors import AnswerNotFoundError, UnsupportedArchitectureError
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.inquiry import Inquiry, ask, read, together
from pytest_ragshortcut.probes.reliance import context_reliance, context_reliances
from pytest_ragshortcut.testing import PlantedModel

FACTS = {"Ada Quill": "Oslo", "Bo Reed": "Lima", "Cy Dunn": "Kiel"}


def born(subject: str, place: str, **known: Any) -> RagCase:
    return RagCase(f"Where was {subject} born?", f"{subject} was born in {place}.", **known)


CASES = [born("Ada Quill", "Rome"), born("Bo Reed", "Lima"), born("Cy Dunn", "Cork")]


class Counted(PlantedModel):
    """A planted model that counts its calls, and refuses to cut edges where it is told to."""

    def __init__(self, *, cuts: bool = True) -> None:
        super().__init__(FACTS, answers=("Rome", "Cork"), context_strength=1.0, memory_strength=0.6)
        self.cuts = cuts
        self.calls: list[int] = []

    def run_all(self, plans: Sequence[ProbePlan]) -> tuple[tuple[RowReading, ...], ...]:
        self.calls.append(len(plans))
        if not self.cuts and any(row.knockouts for plan in plans for row in plan.rows):
            raise UnsupportedArchitectureError(model="planted", missing="context leaks")
        return super().run_all(plans)


def test_many_cases_read_as_each_of_them_alone() -> None:
    model = Counted()
    alone = [context_reliance(model, case) for case in CASES]
    side_by_side = context_reliances(model, CASES)
    assert [plain(asdict(one)) for one in side_by_side] == [plain(asdict(one)) for one in alone]


def test_many_cases_take_as_many_steps_as_one() -> None:
    one, many = Counted(), Counted()
    context_reliance(one, CASES[0])
    context_reliances(many, CASES)
    assert len(one.calls) == len(many.calls)
    assert sum(many.calls) == len(CASES) * sum(one.calls)


def test_many_cases_of_a_real_model_read_as_each_of_them_alone(
    llama: RagModel, case: RagCase
) -> None:
    cases = [case, RagCase(**{**vars(case), "context": ("Eavan Boland left Dublin.",)})]
    alone = [context_reliance(llama, each) for each in cases]
    for got, expected in zip(context_reliances(llama, cases), alone, strict=True):
        assert got.score == pytest.approx(expected.score, abs=1e-10, nan_ok=True)
        assert got.case == expected.case
        values = [evidence.value for evidence in expected.evidence]
        assert [e.value for e in got.evidence] == pytest.approx(values, abs=1e-9, nan_ok=True)


def test_no_case_asks_nothing() -> None:
    model = Counted()
    assert context_reliances(model, []) == ()
    assert model.calls == []


def test_what_one_probe_cannot_do_is_its_own_evidence_alone() -> None:
    able, unable = (context_reliance(Counted(cuts=cuts), CASES[0]) for cuts in (True, False))
    said = {evidence.probe: evidence for evidence in unable.evidence}
    assert "context leaks" in said["knockout"].reading
    for evidence in able.evidence:
        if not evidence.probe.startswith("knockout"):
            assert said[evidence.probe] == evidence


def test_a_case_that_cannot_be_completed_raises_its_own_error() -> None:
    nowhere = born("Ada Quill", "Rome", substitutes=("Rome",))
    with pytest.raises(AnswerNotFoundError, match="every candidate"):
        context_reliances(Counted(), [CASES[1], nowhere])


def test_an_error_reaches_the_inquiry_that_asked_and_no_other() -> None:
    model = Counted(cuts=False)
    prompt = model.tokenize(model.render(CASES[0]))
    prompt = model.reading(prompt, "Rome")
    cut = (Knockout((0,), prompt.readers, (1,)),)

    def careful(row: PlanRow) -> Inquiry[str]:
        try:
            yield from read(ProbePlan((row,)))
        except UnsupportedArchitectureError:
            return "refused"
        return "read"

    rows = [PlanRow(prompt), PlanRow(prompt, knockouts=cut), PlanRow(prompt)]
    assert ask(model, together([careful(row) for row in rows])) == ["read", "refused", "read"]
    nested = together([together([careful(row) for row in rows]), together([careful(rows[0])])])
    assert ask(model, nested) == [["read", "refused", "read"], ["read"]]


def test_inquiries_of_unequal_length_end_each_in_its_own_time() -> None:
    model = Counted()
    prompt = model.reading(model.tokenize(model.render(CASES[0])), "Rome")

    def steps(count: int, prompt: TokenizedPrompt) -> Inquiry[int]:
        for _ in range(count):
            yield from read(ProbePlan((PlanRow(prompt),)))
        return count

    assert ask(model, together([steps(n, prompt) for n in (2, 0, 3)])) == [2, 0, 3]
    assert model.calls == [2, 2, 1]
