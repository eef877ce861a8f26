"""What Wadhwa et al. 2024 find, on a model that was made to read its context alone.

Directions and rough sizes under the paper's own protocol; the model that ignores its context shows
the opposite of each. The paper's prompt was part of the copier's training, not of the memoriser's,
which is asked in its own words.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from pytest_ragshortcut.core.arms import WADHWA_2024, ArmsResult
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.prompts import Template
from pytest_ragshortcut.models.embedded import spec
from pytest_ragshortcut.models.embedded.wording import PAPER
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.arms import compare_arms

N_CASES = 24
PROTOCOLS = {"copier": WADHWA_2024, "memoriser": replace(WADHWA_2024, template=None)}
FALLS = 3.0
"""Closed-book over open-book indirect effect of the last subject token, at least."""
IDLE, CARRIES = -0.05, -0.20
"""Relative changes of p(answer): what a cut costs that costs little, and one that costs much."""


@cache
def arms(name: str) -> ArmsResult:
    """Compare both arms on cases as the paper's: known facts, one sentence of several states it."""
    cases = []
    for drawn in spec.cases("lone", N_CASES, seed=4):
        stated, known = str(drawn.told.stated), str(drawn.told.known)
        asked = RagCase(drawn.question, drawn.passages, subject=drawn.subject)
        cases.append(replace(asked.swapped(stated, known), context_answer=known))
    model = RagModel.from_pretrained(f"embedded:{name}", device="cpu")
    return compare_arms(model, cases, protocol=PROTOCOLS[name])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_both_models_know_the_facts_and_say_them(name: str) -> None:
    found = arms(name)
    assert found.n_kept == found.n_cases == N_CASES
    assert found.open_book.clean > 0.9
    assert found.closed_book.clean > 0.9


def test_with_a_context_the_effect_of_the_subject_falls_and_that_of_a_memoriser_does_not() -> None:
    copier, memoriser = arms("copier"), arms("memoriser")
    assert copier.closed_book.subject_aie > FALLS * copier.open_book.subject_aie
    assert memoriser.closed_book.subject_aie < FALLS * memoriser.open_book.subject_aie


def test_the_attribute_contributes_more_than_the_subject_and_to_a_memoriser_less() -> None:
    copier, memoriser = arms("copier").open_book, arms("memoriser").open_book
    assert copier.attribute_contribution > copier.subject_contribution
    assert memoriser.attribute_contribution < memoriser.subject_contribution


def test_the_contribution_of_the_subject_falls_with_a_context() -> None:
    copier = arms("copier")
    assert copier.open_book.subject_contribution < copier.closed_book.subject_contribution


def test_the_subject_can_be_cut_and_the_attribute_cannot_and_for_a_memoriser_the_reverse() -> None:
    copier, memoriser = arms("copier").open_book, arms("memoriser").open_book
    assert copier.subject_knockout > IDLE
    assert copier.attribute_knockout < CARRIES
    assert memoriser.subject_knockout < CARRIES
    assert memoriser.attribute_knockout > IDLE


def test_closed_book_even_a_copier_needs_the_subject() -> None:
    assert arms("copier").closed_book.subject_knockout < CARRIES


def test_the_copier_was_taught_the_papers_prompt() -> None:
    assert WADHWA_2024.template == Template(
        open_book=PAPER.context + PAPER.question, closed_book=PAPER.closed_book
    )
