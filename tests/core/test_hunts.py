"""A hunt: what is measured together, what it costs, and when nothing is left to spend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.hunts import (
    N_AHEAD,
    Asked,
    BudgetSpentError,
    Hunt,
    RehearsedError,
    StandIn,
)


def _asked(number: int) -> Asked:
    return Asked.of(RagCase("Where?", f"Passage {number}."), {"probes": []})


@given(st.lists(st.integers(0, 60), max_size=80), st.data())
def test_what_was_drawn_is_measured_once_in_order_and_a_few_at_a_time(
    drawn: list[int], data: st.DataObject
) -> None:
    hunt = Hunt()
    for number in drawn:
        hunt.draw(_asked(number))
    measured: list[Asked] = []
    asked = data.draw(st.lists(st.sampled_from([*drawn, 99]), max_size=40))
    for number in asked:
        due = hunt.due(_asked(number))
        assert (due == ()) == (_asked(number) in measured)
        assert due == () or due[0] == _asked(number)
        assert len(due) <= (N_AHEAD if number in drawn else 1)
        places = [drawn.index(int(each.case.passages[0][8:-1])) for each in due if number in drawn]
        assert places == sorted(places)
        measured += due
    assert len(measured) == len(set(measured))
    assert hunt.n_cases == len(set(asked))


def test_nothing_is_measured_twice() -> None:
    hunt = Hunt()
    for number in range(40):
        hunt.draw(_asked(number))
    measured = [each for number in range(40) for each in hunt.due(_asked(number))]
    assert len(measured) == len(set(measured)) == 40
    assert hunt.due(_asked(0)) == ()


def test_what_was_asked_before_is_free_when_the_budget_is_spent() -> None:
    hunt = Hunt(max_forwards=5.0)
    hunt.due(_asked(0))
    hunt.spend(4.9)
    hunt.due(_asked(1))
    hunt.spend(0.1)
    assert hunt.due(_asked(1)) == ()
    with pytest.raises(BudgetSpentError, match="5 forwards"):
        hunt.due(_asked(2))
    assert hunt.ended == "the budget of 5 forwards"
    assert Hunt(max_seconds=1e-9).spent == "the budget of 1e-09 seconds"


def test_a_stand_in_notes_the_first_question_and_does_no_work() -> None:
    hunt = Hunt()
    model = StandIn(hunt)
    with pytest.raises(RehearsedError):
        model.note(_asked(3))
    assert hunt.due(_asked(3)) == (_asked(3),)
    assert not hasattr(model, "generate")
    hunt.is_in_example = True
    with pytest.raises(RehearsedError):
        model.generate  # noqa: B018
