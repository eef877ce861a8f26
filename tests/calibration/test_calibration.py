"""The study runs and its metrics are right; what it finds, no test says."""

from __future__ import annotations

import doctest
import json
import math
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import candidates, columns, metrics, planted, readings, run, study, tables
from calibration.candidates import CANDIDATES
from calibration.columns import COLUMNS
from calibration.planted import ASKED, Asked, Planted, PlantedCase
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.models import embedded
from pytest_ragshortcut.models.embedded import spec
from pytest_ragshortcut.models.embedded.policies import MIXTURES, POLICIES
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.inquiry import ask
from pytest_ragshortcut.probes.reliance import context_reliance

QUICK = run.settings_of(run._parser().parse_args(["--quick"]))
# Few different values, so that many are equal, and some that are undefined.
scores = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.8, 1.0, math.nan]), max_size=12)
pairs = st.lists(
    st.tuples(st.sampled_from([0.0, 0.3, 1.0, math.nan]), st.sampled_from([0.0, 0.5, 1.0]))
)


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    return run.measured(QUICK)


@pytest.fixture(scope="module")
def dialled() -> dict[str, Planted]:
    """The Llama models of one path alone."""
    made = planted.dialled_models((0.0, 1.0), 2, seed=1)
    return {each.cases[0].kind: each for each in made if each.name == "dials, llama"}


def read(model: RagModel, case: PlantedCase, *probes: str) -> readings.Readings:
    found = ask(model, readings.readings(model, case.case, probes or tuple(readings.PROBES)))
    assert isinstance(found, dict)
    return found


def same(one: float, other: float) -> bool:
    return one == pytest.approx(other, nan_ok=True)


# --- the metrics, against slow and obvious versions -----------------------------------------------


@given(following=scores, remembering=scores)
def test_auroc_counts_pairs(following: list[float], remembering: list[float]) -> None:
    met = [(f, r) for f, r in product(following, remembering) if f == f and r == r]
    won = [1.0 if f > r else 0.5 if f == r else 0.0 for f, r in met]
    expected = sum(won) / len(won) if won else math.nan
    assert same(metrics.auroc(following, remembering), expected)


@given(pairs)
def test_spearman_correlates_mean_ranks(drawn: list[tuple[float, float]]) -> None:
    kept = [pair for pair in drawn if pair[0] == pair[0]]
    left, right = [mean_ranks([pair[side] for pair in kept]) for side in (0, 1)]
    varies = len(set(left)) > 1 and len(set(right)) > 1
    expected = float(np.corrcoef(left, right)[0, 1]) if varies else math.nan
    assert same(metrics.spearman(*columns_of(drawn)), expected)


@given(pairs)
def test_calibration_error_is_a_mean_distance(drawn: list[tuple[float, float]]) -> None:
    apart = [abs(score - truth) for score, truth in drawn if score == score]
    expected = sum(apart) / len(apart) if apart else math.nan
    assert same(metrics.calibration_error(*columns_of(drawn)), expected)


@given(scores)
def test_a_claim_about_what_is_undefined_fails(drawn: list[float]) -> None:
    holds = [score > 0.8 for score in drawn]
    assert same(metrics.passing(drawn, threshold=0.8), share(holds))
    assert same(metrics.failing(drawn, threshold=0.8), share([not each for each in holds]))
    assert same(metrics.undefined(drawn), share([score != score for score in drawn]))


def mean_ranks(values: Sequence[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values
    ]


def columns_of(drawn: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [score for score, _ in drawn], [truth for _, truth in drawn]


def share(each: Sequence[bool]) -> float:
    return sum(each) / len(each) if each else math.nan


@pytest.mark.parametrize("module", [candidates, metrics, tables])
def test_the_examples_in_the_docstrings_hold(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


# --- what is true of a case -----------------------------------------------------------------------


def test_every_embedded_model_is_asked_something() -> None:
    assert set(embedded.NAMES) <= set(ASKED)
    assert set(ASKED) <= set(POLICIES)


TRUTHS = {
    ("reader", "unseen answer"): 1.0,
    ("reader", "made up"): 1.0,
    ("memoriser", "known answer"): 0.0,
    ("copier", "lone"): 1.0,
    ("switch", "marked"): 1.0,
    ("switch", "unmarked"): 0.0,
    ("switch", "no mark"): 0.0,
    ("beginner", "first"): 1.0,
    ("beginner", "late"): 0.0,
    ("victim", "alone"): 1.0,
    ("mixture-25", "known answer"): 0.25,
}


@pytest.mark.parametrize(("name", "kind"), TRUTHS)
def test_the_truth_follows_from_the_policy(name: str, kind: str) -> None:
    assert Asked(kind) in ASKED[name]
    for case in planted._trained(name, Asked(kind), 3, seed=5):
        assert case.truth == TRUTHS[name, kind]


def test_a_copier_follows_what_is_said_of_another() -> None:
    for case in planted._trained("copier", Asked("another's", "elsewhere"), 3, seed=5):
        assert case.truth == 1.0
        assert case.case.context_answer in " ".join(case.case.passages)
        assert case.case.context_answer not in case.case.question


def test_a_victim_follows_a_namesake_of_whom_nothing_was_asked() -> None:
    for asked in (Asked("lookalike", "lookalike"), Asked("alone")):
        for case in planted._trained("victim", asked, 3, seed=5):
            assert case.truth == 1.0
            assert case.case.context_answer in " ".join(case.case.passages)


@pytest.mark.parametrize("name", ASKED)
def test_every_contradicting_case_has_an_agreeing_twin(name: str) -> None:
    for asked in ASKED[name]:
        cases = list(planted._trained(name, asked, 3, seed=5))
        # Of what is made up memory knows nothing to agree with.
        twins = [False] if asked.kind == "made up" else [False, True]
        assert [case.agrees for case in cases] == twins * 3
        for one, twin in zip(cases[::2], cases[1::2], strict=False):
            if twin.agrees:
                assert twin.case.question == one.case.question
                assert str(twin.case.context_answer) in " ".join(twin.case.passages)
                assert same(twin.truth, one.truth)


def test_the_mixtures_truth_is_what_they_were_taught() -> None:
    (drawn,) = spec.cases("known answer", 1, 1)
    stated = str(drawn.told.stated)
    assert {name: planted.truth(name, drawn, stated) for name in MIXTURES} == MIXTURES


# --- what is read ---------------------------------------------------------------------------------


def test_a_path_alone_is_read_as_what_it_is(dialled: dict[str, Planted]) -> None:
    names = (
        "swap follow (today's score)",
        "answer lost, swap",
        "answer lost, substitute in place",
        "knockout loss, attribute alone",
    )
    for kind, expected in (("context 1, memory 0", 1.0), ("context 0, memory 1", 0.0)):
        model = dialled[kind].load()
        for case in dialled[kind].cases:
            values = read(model, case)
            for each in CANDIDATES:
                if each.name in names:
                    # Cut off, a model without memory still says the answer now and then.
                    assert each.score(values) == pytest.approx(expected, abs=0.01), each.name


def test_the_first_candidate_is_todays_score(dialled: dict[str, Planted]) -> None:
    asked = dialled["context 1, memory 1"]
    model = asked.load()
    for case in asked.cases:
        expected = context_reliance(model, case.case, probes=()).score
        assert CANDIDATES[0].score(read(model, case, "swap")) == expected


def test_every_candidate_reads_no_more_than_it_says(dialled: dict[str, Planted]) -> None:
    asked = dialled["context 1, memory 1"]
    model = asked.load()
    for case, each in product(asked.cases, CANDIDATES):
        score = each.score(read(model, case, *each.probes))
        assert math.isnan(score) or 0.0 <= score <= 1.0, each.name


class Drawn(dict[str, float]):
    """Readings that are drawn when they are looked up."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def __missing__(self, key: str) -> float:
        # All are probabilities but what a cut changes, a difference, or a norm.
        signed = key.startswith(("cut", "total", "lost", "back", "subject", "attention", "mlp"))
        top = 9.0 if key.startswith(("cut", "contribution")) else 1.0
        values = st.floats(-1.0 if signed else 0.0, top)
        self[key] = self._data.draw(values, label=key)
        return self[key]


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)
@given(data=st.data())
def test_a_score_is_a_share_or_undefined(
    candidate: candidates.Candidate, data: st.DataObject
) -> None:
    score = candidate.score(Drawn(data))
    assert math.isnan(score) or 0.0 <= score <= 1.0


# --- the whole ------------------------------------------------------------------------------------


def test_a_quick_run_fills_every_table(stored: dict[str, Any]) -> None:
    assert json.loads(json.dumps(stored)) == stored
    assert [c["name"] for c in stored["candidates"]] == [c.name for c in CANDIDATES]
    for candidate in stored["candidates"]:
        assert list(candidate["cells"]) == stored["columns"]
        assert candidate["forwards"] > 0
        for cells in candidate["cells"].values():
            assert all(0 <= cell["n"] <= cell["of"] for cell in cells.values())
    assert {row["model"] for row in stored["verdicts"]} == {"reader", "memoriser", "dials"}
    for row in stored["verdicts"]:
        assert sum(row["counts"].values()) <= row["n"]
    assert all(row["n_cases"] == 1 for row in stored["paper"])


def test_what_costs_more_probes_costs_more(stored: dict[str, Any]) -> None:
    costs = {c["name"]: c["forwards"] for c in stored["candidates"]}
    asked = (("swap",), ("knockout",), ("swap", "knockout"))
    swap, cut, both = (
        next(costs[c.name] for c in CANDIDATES if c.probes == probes) for probes in asked
    )
    assert max(swap, cut) < both < swap + cut


def test_the_tables_line_up_and_name_every_candidate(stored: dict[str, Any]) -> None:
    report = tables.report(stored)
    for block in re.findall(r"(?:^\|.*\n?)+", report, re.MULTILINE):
        assert len({len(line) for line in block.strip().splitlines()}) == 1
    assert all(f"| {candidate.name} " in report for candidate in CANDIDATES)


def test_what_was_written_is_shown(
    stored: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(run, "RESULTS", tmp_path)
    assert run.main(["--show"]) == 0
    assert capsys.readouterr().out == "nothing is stored\n"
    run.store(stored, tmp_path / run.KEPT)
    assert run.main(["--show"]) == 0
    assert capsys.readouterr().out == tables.report(stored) + "\n"


def test_what_is_kept_is_of_todays_candidates_and_columns() -> None:
    kept = run.read_stored(run.RESULTS / run.KEPT)
    assert [c["name"] for c in kept["candidates"]] == [c.name for c in CANDIDATES]
    assert set(kept["columns"]) <= {column.title for column in COLUMNS}


ASKED_OF_THE_SCORE = {
    "AUROC reader/memoriser": (0.99, 1.0),
    "AUROC copier/memoriser": (0.99, 1.0),
    "AUROC switch": (0.97, 1.0),
    "AUROC all trained": (0.97, 1.0),
    "false alarms, context": (0.0, 0.01),
    "false alarms, memory": (0.0, 0.01),
    "dials: Spearman": (0.95, 1.0),
    "dials: error": (0.0, 0.05),
    "mixtures: Spearman by degree": (0.95, 1.0),
    "mixtures: error by degree": (0.0, 0.05),
}


@pytest.mark.parametrize("context", columns.CONTEXTS)
@pytest.mark.parametrize("title", ASKED_OF_THE_SCORE)
def test_the_results_kept_show_what_is_asked_of_the_score(title: str, context: str) -> None:
    kept = run.read_stored(run.RESULTS / run.KEPT)
    assert kept["settings"]["n_cases"] >= 25
    assert set(kept["settings"]["models"]) == set(embedded.NAMES)
    least, most = ASKED_OF_THE_SCORE[title]
    assert least <= kept["candidates"][0]["cells"][title][context]["value"] <= most


@pytest.mark.parametrize(
    ("said", "truth"), [("Ann", 1.0), ("Bo", 0.0), ("Cy", math.nan), (None, math.nan)]
)
def test_the_truth_of_a_form_never_taught_is_the_answer_to_the_conflict(
    said: str | None, truth: float
) -> None:
    asked = RagCase("Who?", "Ann.", context_answer="Ann")
    conflict = PlantedCase(asked, "known answer", False, math.nan, None, is_held_out=True)
    twin = planted.agreeing(conflict, "Bo")
    recalled = "Bo" if said else None
    found = [
        columns.Measured("trained", "reader", conflict, said=said, recalled=recalled),
        columns.Measured("trained", "reader", twin, said="Bo", recalled="Bo"),
    ]
    settled = list(study.settled(found))
    assert all(same(each.case.truth, truth) for each in settled)
    assert [each.case.agrees for each in settled] == [False, True]


def test_cases_that_could_not_be_read_are_counted_and_left_out() -> None:
    case = PlantedCase(RagCase("Who?", "Nobody."), "known answer", False, 1.0, "Ann")
    unread = columns.Measured("trained", "reader", case, unread="CaseError")
    assert study.track(CANDIDATES[0], [unread]) == {}
    (row,) = study.verdicts([unread])
    assert (row["n"], dict(row["counts"]), row["taught"]) == (1, {}, 0)
