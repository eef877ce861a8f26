"""Property-based tests through the plugin: drawn ahead, within a budget, shrunk, pasted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., pytest.RunResult]

HEAD = """
from hypothesis import Phase, assume, example, given, settings, strategies as st
TOWNS = ["Cork", "Rome", "Paris", "Oslo"]
FILLER = ["The museum opens at nine every morning.", "Tickets can be bought at the door."]

def case(town, *others):
    return RagCase(QUESTION, (f"Eavan Boland was born in {town}.", *others), context_answer=town,
        memory_answer="Dublin", substitutes=("Moscow", "Seattle"))
"""
ALL = """
@settings(database=None, max_examples=40, derandomize=False)
@given(town=st.sampled_from(TOWNS), others=st.lists(st.sampled_from(FILLER), max_size=3))
def test_it(rag_model, town, others):
    assert_context_reliance(rag_model, case(town, *others)) > 0.5
"""


@pytest.fixture(autouse=True)
def unseeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what --hypothesis-seed leaves behind in a process."""
    monkeypatch.setattr("hypothesis.core.global_force_seed", None)


def _hunt(pytester: pytest.Pytester) -> dict[str, Any]:
    (test,) = json.loads((pytester.path / "r.json").read_text(encoding="utf-8"))["tests"]
    hunt: dict[str, Any] = test["hunt"]
    return hunt | {"outcome": test["outcome"], "checks": test["checks"]}


def _ahead(run: Run, pytester: pytest.Pytester, body: str, *arguments: str) -> dict[str, Any]:
    run(HEAD + body, "--rag-probes=none", "--rag-json=r.json", *arguments)
    return _hunt(pytester)


@pytest.mark.parametrize("seed", ["--hypothesis-seed=1", ""])
def test_examples_are_measured_side_by_side(run: Run, pytester: pytest.Pytester, seed: str) -> None:
    hunt = _ahead(run, pytester, ALL, *([seed] if seed else []))
    assert hunt["outcome"] == "passed"
    paid = [check["work"]["forwards"] for check in hunt["checks"] if check["work"]["forwards"]]
    # Without drawing ahead every new case pays for itself.
    assert len([forwards for forwards in paid if forwards > 0.5]) <= hunt["n_cases"] / 4
    assert hunt["n_cases"] > 12
    assert hunt["n_examples"] == 40


def test_a_test_that_asks_something_else_does_so_once(run: Run, pytester: pytest.Pytester) -> None:
    body = """
ASKED = []

@settings(database=None, max_examples=10)
@given(town=st.sampled_from(TOWNS))
def test_it(rag_model, town):
    print("BODY")
    name = rag_model.name
    ASKED.append(name)
    assert_context_reliance(rag_model, case(town)) > 0.5

def test_after():
    assert set(ASKED) == {"embedded:reader"}
    assert len(ASKED) <= 10
"""
    run(HEAD + body, "--rag-probes=none").assert_outcomes(passed=2)


def test_fixtures_of_the_projects_own_are_not_run_ahead(run: Run) -> None:
    body = """
ASKED = []

@pytest.fixture(scope="module")
def answers():
    return ASKED

@settings(database=None, max_examples=5)
@given(town=st.sampled_from(TOWNS))
def test_it(rag_model, answers, town):
    answers.append(town)
    assert_context_reliance(rag_model, case(town)) > 0.5

def test_after():
    assert len(ASKED) <= 5
"""
    run(HEAD + body, "--rag-probes=none").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    "line",
    [
        "assume(town != 'Rome')",
        "if town == 'Rome': pytest.skip('no')",
        "assert town",
        "data = rag_model.tokenize",
    ],
)
def test_whatever_a_body_does_first_happens_as_without_drawing_ahead(run: Run, line: str) -> None:
    body = ALL.replace("    assert_context", f"    {line}\n    assert_context")
    outcomes = run(HEAD + body, "--rag-probes=none").parseoutcomes()
    assert outcomes.keys() & {"passed", "skipped"} == outcomes.keys()


def test_a_spent_budget_ends_a_hunt_as_undecided(run: Run, pytester: pytest.Pytester) -> None:
    body = ALL.replace("max_examples=40", "max_examples=100")
    result = run(
        HEAD + body, "--rag-probes=none", "--rag-max-forwards=20", "--rag-json=r.json", "-rs"
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*undecided: the budget of 20 forwards is spent after * examples, none of which failed"]
    )
    result.stdout.fnmatch_lines(["property-based:", "*ended early: the budget of 20 forwards*"])
    hunt = _hunt(pytester)
    assert (hunt["outcome"], hunt["ended"]) == ("skipped", "the budget of 20 forwards")
    # What was begun is finished, and no more is begun than there seems to be room for.
    assert 20 <= hunt["forwards"] < 40


def test_a_budget_spent_on_shrinking_keeps_the_failure(run: Run, pytester: pytest.Pytester) -> None:
    body = """
@pytest.mark.rag(max_forwards=30)
@settings(database=None, derandomize=True)
@given(numbers=st.lists(st.integers(0, 10**6), min_size=5, max_size=9))
def test_it(rag_model, numbers):
    told = [f"Room {number} is closed." for number in numbers]
    assert_context_reliance(rag_model, case("Cork", *told)) > (sum(numbers) > 1000)
"""
    result = run(
        HEAD + body, "--rag-probes=none", "--rag-json=r.json", "--rag-model=embedded:memoriser"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the budget of 30 forwards is spent: a smaller example may*"])
    assert _hunt(pytester)["outcome"] == "failed"


def test_a_failure_is_printed_as_code_that_fails_again(run: Run) -> None:
    body = """
@settings(database=None, max_examples=50, derandomize=False)
@given(others=st.lists(st.sampled_from(FILLER), max_size=3))
def test_it(rag_model, others):
    assert_context_reliance(rag_model, case("Cork", *others)) > (0.5 if len(others) < 2 else 1)
"""
    result = run(HEAD + body, "--rag-probes=none")
    text = result.stdout.str()
    (pasted,) = set(re.findall(r"as code, above the test:  (@example\(.*\))", text))
    again = (
        r"the same examples again:  pytest .*test_it\" --rag-probes=none (--hypothesis-seed=\d+)"
    )
    (seed,) = set(re.findall(again, text))
    assert "Explanation:" not in text
    pinned = body.replace("@given", f"{pasted}\n@given")
    pinned = pinned.replace("max_examples=50, derandomize=False", "phases=[Phase.explicit]")
    run(HEAD + pinned, "--rag-probes=none").assert_outcomes(failed=1)
    assert pasted in run(HEAD + body, "--rag-probes=none", seed).stdout.str()


def test_a_failure_is_replayed_from_the_database_first(run: Run, pytester: pytest.Pytester) -> None:
    body = """
from hypothesis.database import DirectoryBasedExampleDatabase

@settings(database=DirectoryBasedExampleDatabase("examples"), derandomize=False)
@given(others=st.lists(st.sampled_from(FILLER), max_size=3))
def test_it(rag_model, others):
    assert_context_reliance(rag_model, case("Cork", *others)) > (0.5 if len(others) < 2 else 1)
"""
    first, again = (_ahead(run, pytester, body) for _ in range(2))
    assert (first["outcome"], again["outcome"]) == ("failed", "failed")
    assert again["n_cases"] == 1
    assert again["checks"][-1]["case"] == first["checks"][-1]["case"]


def test_a_seed_of_the_authors_own_is_kept(run: Run, pytester: pytest.Pytester) -> None:
    seeded = ALL.replace("@settings", "from hypothesis import seed\n@seed(7)\n@settings")
    first, second = (_ahead(run, pytester, seeded) for _ in range(2))
    assert [c["case"] for c in first["checks"]] == [c["case"] for c in second["checks"]]
    assert first["n_cases"] > 12


SHARE = """
from pytest_ragshortcut import holds_for

@holds_for(0.9)
@given(town=st.sampled_from(TOWNS), others=st.lists(st.sampled_from(FILLER), max_size=3))
def test_it(rag_model, town, others):
    assert_context_reliance(rag_model, case(town, *others)) > 0.5
"""


def test_draws_of_a_share_are_measured_side_by_side(run: Run, pytester: pytest.Pytester) -> None:
    result = run(HEAD + SHARE, "--rag-probes=none", "--rag-json=r.json")
    result.assert_outcomes(passed=1)
    hunt = _hunt(pytester)
    result.stdout.fnmatch_lines(["property-based:", f"*{hunt['share'][:40]}*"])
    assert hunt["share"].startswith(f"held in {hunt['n_examples']} of {hunt['n_examples']} draws")
    paid = [check["work"]["forwards"] for check in hunt["checks"] if check["work"]["forwards"]]
    assert len([forwards for forwards in paid if forwards > 0.5]) <= hunt["n_cases"] / 4


@pytest.mark.parametrize(("rate", "misses"), [(0.95, "False"), (0.75, "others == []")])
def test_a_share_whose_budget_is_spent_is_undecided(
    run: Run, pytester: pytest.Pytester, rate: float, misses: str
) -> None:
    body = SHARE.replace("> 0.5", f"> (0.5 if not ({misses}) else 1)")
    options = ("--rag-probes=none", "--rag-json=r.json", "--rag-max-forwards=15", "-rs")
    result = run(HEAD + body.replace("0.9", str(rate)), *options)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*undecided: the budget of 15 forwards is spent after * examples*"]
    )
    assert _hunt(pytester)["ended"] == "the budget of 15 forwards"


def test_the_misses_that_a_share_allows_are_no_failures(
    run: Run, pytester: pytest.Pytester
) -> None:
    body = SHARE.replace("> 0.5", "> (0.5 if others else 1)").replace("0.9", "0.25")
    result = run(HEAD + body, "--rag-probes=none", "--rag-json=r.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["* checks, 0 failed*"])
    misses = [check for check in _hunt(pytester)["checks"] if check["notes"]]
    assert misses
    assert all(check["claims"] == ["> 1"] for check in misses)


@pytest.mark.parametrize(("profile", "n_examples"), [("default", 100), ("rag-pr", 25)])
def test_profiles_are_registered_and_none_is_loaded(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, profile: str, n_examples: int
) -> None:
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(f"""
from hypothesis import Phase, settings

def test_it():
    assert settings.get_profile("rag-pr").derandomize
    assert settings.get_profile("rag-nightly").max_examples == 500
    assert Phase.target in settings.get_profile("rag-fuzz").phases
    assert settings().max_examples == {n_examples}
""")
    # In this process the profile would stay.
    result = pytester.runpytest_subprocess(f"--hypothesis-profile={profile}")
    result.assert_outcomes(passed=1)


def test_what_metamorphic_claims_measure_beside_their_checks_is_spent_too(
    run: Run, pytester: pytest.Pytester
) -> None:
    body = """
@settings(database=None, derandomize=True, max_examples=1)
@given(town=st.just("Cork"))
def test_it(rag_model, town):
    assert_reads_every_position(rag_model, case(town, *FILLER))
"""
    hunt = _ahead(run, pytester, body)
    assert hunt["outcome"] == "passed"
    of_checks = sum(check["work"]["forwards"] for check in hunt["checks"])
    # Two places more than the case's own, of which the worst alone is checked.
    assert hunt["forwards"] > of_checks + 2


@pytest.mark.parametrize(
    "failure",
    ["raise ValueError(numbers)", "pytest.fail(str(numbers))", "assert not numbers, numbers"],
)
def test_no_budget_hides_a_failure_of_any_kind(run: Run, failure: str) -> None:
    body = f"""
@pytest.mark.rag(max_forwards=30)
@settings(database=None, derandomize=True)
@given(numbers=st.lists(st.integers(0, 10**6), max_size=9))
def test_it(rag_model, numbers):
    told = [f"Room {{number}} is closed." for number in numbers]
    assert_context_reliance(rag_model, case("Cork", *told)) >= 0
    if sum(numbers) > 1000:
        {failure}
"""
    run(HEAD + body, "--rag-probes=none").assert_outcomes(failed=1)


@pytest.mark.parametrize("line", ["pytest.xfail('known')", "raise SystemExit", "pytest.fail('no')"])
def test_what_ends_a_rehearsal_does_not_end_the_test(run: Run, line: str) -> None:
    body = f"""
SEEN = []

@settings(database=None, max_examples=20)
@given(number=st.integers(0, 1000))
def test_it(rag_model, number):
    if type(rag_model).__name__ == "StandIn" and number > 10:
        {line}
    SEEN.append(number)
    assert_context_reliance(rag_model, case("Cork")) > 0.5

def test_after():
    assert len(SEEN) >= 20
"""
    run(HEAD + body, "--rag-probes=none").assert_outcomes(passed=2)


def test_a_rehearsal_leaves_no_failure_and_no_count_behind(
    run: Run, pytester: pytest.Pytester
) -> None:
    body = """
@settings(database=None, max_examples=20)
@given(number=st.integers(0, 1000))
def test_it(rag_model, number):
    if number > 500:
        return
    assert type(rag_model).__name__ == "RagModel"
    assert_context_reliance(rag_model, case("Cork", f"Room {number} is closed.")) > 0.5
"""
    hunt = _ahead(run, pytester, body)
    assert (hunt["outcome"], hunt["n_examples"]) == ("passed", 20)
    hunt = _ahead(run, pytester, body, "--rag-max-forwards=4")
    assert hunt["outcome"] == "skipped"


def test_what_is_set_up_for_each_test_is_not_used_up(run: Run) -> None:
    body = """
class TestState:
    def setup_method(self):
        self.rows = []

    @settings(database=None, max_examples=5)
    @given(town=st.sampled_from(TOWNS))
    def test_it(self, rag_model, town):
        self.rows.append(town)
        assert len(self.rows) <= 5
        assert_context_reliance(rag_model, case(town)) > 0.5
"""
    run(HEAD + body, "--rag-probes=none").assert_outcomes(passed=1)


def test_a_decorator_above_given_keeps_the_replay_and_loses_the_deadline(
    run: Run, pytester: pytest.Pytester
) -> None:
    body = """
from functools import wraps
from hypothesis.database import DirectoryBasedExampleDatabase

def decorated(test):
    @wraps(test)
    def wrapper(*args, **kwargs):
        return test(*args, **kwargs)
    return wrapper

@decorated
@settings(database=DirectoryBasedExampleDatabase("examples"), derandomize=False)
@given(number=st.integers(0, 10**6))
def test_it(rag_model, number):
    told = f"Room {number} is closed."
    assert_context_reliance(rag_model, case("Cork", told)) > (0.5 if number < 900 else 1)
"""
    first, again = (_ahead(run, pytester, body) for _ in range(2))
    assert first["outcome"] == again["outcome"] == "failed"
    assert again["checks"][0]["case"] == first["checks"][-1]["case"]


def test_a_slow_body_leaves_the_budget_to_the_hunt(run: Run, pytester: pytest.Pytester) -> None:
    body = """
import time

@settings(database=None, max_examples=100)
@given(number=st.integers(0, 1000))
def test_it(rag_model, number):
    time.sleep(0.05)
    assert_context_reliance(rag_model, case("Cork", f"Room {number} is closed.")) > 0.5
"""
    hunt = _ahead(run, pytester, body, "--rag-max-seconds=1")
    assert hunt["outcome"] == "skipped"
    assert hunt["n_examples"] >= 2
