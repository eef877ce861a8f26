"""A share of what strategies draw: the draws are a sample, and the test ends as they say."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import (
    assume,
    currently_in_test_context,
    event,
    example,
    given,
    note,
    reject,
    seed,
    settings,
    target,
)
from hypothesis import strategies as st

import pytest_ragshortcut.assertions
import pytest_ragshortcut.reporting.table
import pytest_ragshortcut.strategies.contexts
import pytest_ragshortcut.testing
from pytest_ragshortcut.core.sequential import Decision, Share
from pytest_ragshortcut.errors import OptionError, RagShortcutError
from pytest_ragshortcut.strategies import shares
from pytest_ragshortcut.strategies.shares import N_AHEAD, holds_for, independent_draws

# Pytester drops what a run imports anew, and numpy cannot be imported twice.
IMPORTED = (pytest_ragshortcut.assertions, pytest_ragshortcut.reporting.table,
            pytest_ragshortcut.strategies.contexts, pytest_ragshortcut.testing)  # fmt: skip

PERCENT = st.sampled_from(range(100))


@st.composite
def _threes(draw: st.DrawFn) -> int:
    number = draw(st.sampled_from(range(30)))
    assume(number % 10 == 3)
    return number


@cache
def _many() -> Sequence[dict[str, Any]]:
    strategies = {
        "three": st.sampled_from("abc"),
        "two": st.booleans(),
        "hundred": PERCENT,
        "one": st.just("only"),
        "even": st.sampled_from(range(10)).filter(lambda number: number % 2 == 0),
    }
    return list(islice(independent_draws(st.fixed_dictionaries(strategies), seed=0), 1200))


def _p_value(seen: Sequence[Hashable], n_cells: int) -> float:
    """Return how likely a sample of equally likely cells is as uneven as this one or more so.

    Chi-square with an even number of degrees of freedom, which has a closed form.
    """
    expected, counted = len(seen) / n_cells, Counter(seen)
    counts = [*counted.values(), *[0] * (n_cells - len(counted))]
    assert len(counts) == n_cells
    assert n_cells % 2 == 1
    half = sum((count - expected) ** 2 / expected for count in counts) / 2
    terms = [half**k / math.factorial(k) for k in range((n_cells - 1) // 2)]
    return math.exp(-half) * math.fsum(terms)


def test_draws_have_the_strategys_own_distribution() -> None:
    drawn = _many()
    assert _p_value([each["three"] for each in drawn], 3) > 1e-4
    assert _p_value([each["even"] for each in drawn], 5) > 1e-4
    # The simplest of a hundred, with which Hypothesis begins every search, among its neighbours.
    assert _p_value([each["hundred"] for each in drawn if each["hundred"] < 99], 99) > 1e-4
    trues = sum(each["two"] for each in drawn)
    assert abs(trues - len(drawn) / 2) < 4 * math.sqrt(len(drawn) / 4)
    assert {each["one"] for each in drawn} == {"only"}


def test_a_draw_says_nothing_of_the_next() -> None:
    drawn = [each["three"] for each in _many()]
    assert _p_value(list(pairwise(drawn)), 9) > 1e-4
    assert (
        _p_value([(a, b) for a, _, b in zip(drawn, drawn[1:], drawn[2:], strict=False)], 9) > 1e-4
    )


def test_what_a_strategy_rejects_is_drawn_again() -> None:
    drawn = list(islice(independent_draws(_threes(), seed=0), 90))
    assert _p_value(drawn, 3) > 1e-4
    assert set(drawn) == {3, 13, 23}


def test_one_that_rejects_nearly_all_is_drawn_from_evenly() -> None:
    """What was rejected before, some hundred times, leaves no trace in the draw that is taken."""
    hard = st.tuples(PERCENT, st.sampled_from(range(3))).filter(lambda pair: pair[0] == 50)
    drawn = [last for _, last in islice(independent_draws(hard, seed=0), 30)]
    assert _p_value(drawn, 3) > 1e-4


def test_values_that_are_all_the_simplest_can_be_drawn() -> None:
    assert list(islice(independent_draws(st.just(7), seed=0), 3)) == [7, 7, 7]


def test_filters_that_let_nothing_through_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "_MAX_FRUITLESS", 2)
    nothing = st.sampled_from(range(9)).map(lambda number: number + 1).filter(lambda _: False)
    with pytest.raises(RagShortcutError, match="test_it's strategies let hardly a draw through"):
        next(independent_draws(nothing, seed=0, name="test_it"))


SCRIPT = """
from itertools import islice
from hypothesis import strategies as st
from pytest_ragshortcut.strategies.contexts import contexts
from pytest_ragshortcut.strategies.shares import independent_draws
drawn = independent_draws(contexts("In Rome.", answer="Rome"), seed={seed})
print(list(islice(drawn, 300)))
"""


def test_a_seed_draws_the_same_in_every_process(tmp_path: Path) -> None:
    # Hypothesis draws large numbers from the modules of the project that are imported.
    (tmp_path / "project.py").write_text(f"NUMBERS = {[*range(1000, 1900)]}")

    def run(number: int, *, hashes: str, project: str = "") -> str:
        script = [sys.executable, "-c", project + SCRIPT.format(seed=number)]
        paths = os.pathsep.join([str(tmp_path), *sys.path])
        environment = os.environ | {"PYTHONHASHSEED": hashes, "PYTHONPATH": paths}
        return subprocess.run(
            script, capture_output=True, text=True, check=True, env=environment
        ).stdout

    first = run(0, hashes="1")
    assert "In Rome." in first
    assert run(0, hashes="2", project="import project") == first != run(1, hashes="1")


def _asked(rate: float, n_good: int, **options: Any) -> tuple[Any, list[int]]:
    """Return a test that holds for as many of a hundred, and what it was asked."""
    asked: list[int] = []

    @holds_for(rate, **options)
    @given(number=PERCENT)
    def test_it(number: int) -> None:
        asked.append(number)
        assert number < n_good, f"{number} is too large"

    return test_it, asked


def test_it_passes_with_misses_as_soon_as_the_share_is_shown() -> None:
    asked = []

    @holds_for(0.8)
    @given(number=PERCENT)
    def test_it(number: int) -> None:
        asked.append(number)
        assert len(asked) not in (2, 11)

    test_it()
    share: Share = test_it.ragshortcut_share  # type: ignore[attr-defined]
    assert share.decision is Decision.HOLDS
    assert share.n == len(asked)
    assert share.n_held == len(asked) - 2
    before = Share(share.n_held - 1, share.n - 1, share.rate, share.confidence)
    assert before.decision is Decision.OPEN


def test_without_a_miss_it_takes_as_many_draws_as_must_be() -> None:
    test, asked = _asked(0.95, 100)
    test()
    assert len(asked) == 68


def test_it_fails_as_soon_as_the_share_is_refuted() -> None:
    test, asked = _asked(0.9, 40, seed=3)
    with pytest.raises(AssertionError) as failure:
        test()
    share: Share = test.ragshortcut_share
    assert share.decision is Decision.FAILS
    assert (share.n, share.n_held) == (len(asked), sum(number < 40 for number in asked))
    first = next(number for number in asked if number >= 40)
    assert str(failure.value).splitlines() == [
        f"the claim of 90 % FAILS: {share.sentence}",
        f"  the first miss: number={first}",
        f"    {first} is too large",
        "  the same draws again: holds_for(0.9, confidence=0.95, max_draws=1000, seed=3)",
    ]
    assert str(failure.value.__cause__).startswith(f"{first} is too large")


def test_what_is_open_after_all_draws_fails_and_says_how_many_more() -> None:
    test, asked = _asked(0.95, 100, max_draws=20)
    with pytest.raises(AssertionError) as failure:
        test()
    assert len(asked) == test.ragshortcut_share.n == 20
    lines = str(failure.value).splitlines()
    assert lines[0].startswith("the claim of 95 % is OPEN, undecided: held in 20 of 20 draws")
    assert lines[1] == "  48 more draws without a miss would decide: max_draws=68"
    assert len(lines) == 3
    assert failure.value.__cause__ is None
    again, _ = _asked(0.95, 100, max_draws=68)
    again()


def test_the_same_seed_asks_the_same_and_another_does_not() -> None:
    asked = []
    for number in (0, 0, 1):
        test, seen = _asked(0.9, 100, seed=number)
        test()
        asked.append(seen)
    assert asked[0] == asked[1] != asked[2]
    test, seen = _asked(0.9, 100)
    test()
    test()
    assert seen == 2 * asked[0]


def test_seeds_that_are_neighbours_have_no_draw_in_common() -> None:
    large = st.integers(0, 2**60)
    first, second = (set(islice(independent_draws(large, seed=n), 20)) for n in (0, 1))
    assert not {number for number in first & second if number > 2**16}


def test_any_other_error_ends_the_test_at_once() -> None:
    asked = []

    @holds_for(0.5)
    @given(number=PERCENT)
    def test_it(number: int) -> None:
        asked.append(number)
        raise ValueError("the real reason")

    test_it.ragshortcut_share = Share(1, 1, 0.5, 0.95)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="the real reason"):
        test_it()
    assert len(asked) == 1
    assert test_it.ragshortcut_share is None  # type: ignore[attr-defined]


def test_what_a_body_rejects_is_drawn_again() -> None:
    asked = []

    @holds_for(0.8, max_draws=100)
    @given(number=PERCENT)
    def test_it(number: int) -> None:
        asked.append(number)
        assume(number % 2)
        assert number % 2

    test_it()
    share: Share = test_it.ragshortcut_share  # type: ignore[attr-defined]
    assert share.n_held == share.n == sum(number % 2 for number in asked) < len(asked)


def test_rejections_count_in_a_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "_MAX_REJECTED", 3)
    asked = []

    @holds_for(0.8)
    @given(number=PERCENT)
    def test_it(number: int) -> None:
        asked.append(number)
        assume(len(asked) % 3 == 0)

    test_it()
    share: Share = test_it.ragshortcut_share  # type: ignore[attr-defined]
    assert len(asked) == 3 * share.n


def test_a_body_that_rejects_everything_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "_MAX_REJECTED", 30)

    @holds_for(0.5)
    @given(number=PERCENT)
    def test_it(number: int) -> None:
        reject()

    with pytest.raises(RagShortcutError, match="test_it rejected 30 draws in a row"):
        test_it()


def test_a_body_may_say_what_it_may_say_under_given() -> None:
    @holds_for(0.5)
    @given(number=PERCENT)
    def test_it(number: int) -> None:
        assert currently_in_test_context()
        note("a note")
        event("an event")
        target(float(number))

    test_it()


def test_a_body_that_returns_something_is_refused() -> None:
    @holds_for(0.5)
    @given(number=PERCENT)
    def test_it(number: int) -> bool:
        return number < 0

    with pytest.raises(Exception, match="should return None, but test_it returned False"):
        test_it()


def test_draws_are_made_ahead_of_what_is_asked() -> None:
    log: list[str] = []

    def logged(number: int) -> int:
        log.append("draw")
        return number

    @holds_for(0.8, max_draws=N_AHEAD + 1)
    @given(number=PERCENT.map(logged))
    def test_it(number: int) -> None:
        log.append("ask")

    test_it()
    first = log.index("ask")
    # Each draw is the second of its run.
    assert first >= 2 * N_AHEAD
    assert log[first : first + N_AHEAD] == ["ask"] * min(N_AHEAD, log.count("ask"))


class Model:
    """Anything that a fixture may be."""


def test_arguments_are_found_wherever_they_stand() -> None:
    model, seen = Model(), []

    @holds_for(0.5)
    @given(PERCENT, st.booleans())
    def last(given_model: Model, number: int, flag: bool) -> None:
        seen.append((given_model, type(number), type(flag)))

    @holds_for(0.5)
    @given(number=PERCENT)
    def first(number: int, given_model: Model) -> None:
        seen.append((given_model, type(number), bool))

    @holds_for(0.5)
    @given(number=PERCENT, flag=st.booleans())
    def any_others(*models: Model, number: int, **others: Any) -> None:
        seen.append((models[0], type(number), type(others["flag"])))

    class Tests:
        @holds_for(0.5)
        @given(number=PERCENT)
        def test_it(self, given_model: Model, number: int) -> None:
            assert isinstance(self, Tests)
            seen.append((given_model, type(number), bool))

    last(model)
    last(given_model=model)
    first(model)
    first(given_model=model)
    any_others(model)
    Tests().test_it(model)
    Tests().test_it(given_model=model)
    assert set(seen) == {(model, int, bool)}


@pytest.mark.parametrize("above", [True, False])
def test_an_example_runs_first_and_has_to_hold(above: bool) -> None:
    asked: list[int] = []

    def test_it(number: int) -> None:
        asked.append(number)
        assert number != 1000, "the example"

    drawn = given(number=PERCENT)(test_it)
    named = example(number=1000)
    test = named(holds_for(0.5)(drawn)) if above else holds_for(0.5)(named(drawn))
    with pytest.raises(AssertionError, match="the example"):
        test()
    assert asked == [1000]
    assert test.ragshortcut_share is None  # type: ignore[attr-defined]


def test_an_example_is_no_draw() -> None:
    asked: list[int] = []

    @holds_for(0.8)
    @example(number=1000)
    @given(number=PERCENT)
    def test_it(number: int) -> None:
        asked.append(number)

    test_it()
    assert asked[0] == 1000
    assert asked.count(1000) == 1
    assert test_it.ragshortcut_share.n == len(asked) - 1  # type: ignore[attr-defined]


def test_what_plugins_put_in_place_of_the_body_is_what_runs() -> None:
    test, asked = _asked(0.5, 0)
    test.hypothesis.inner_test = lambda number: None
    test()
    assert asked == []


async def _async(number: int) -> None: ...


def _plain(number: int) -> None: ...


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (lambda: _plain, "_plain is not what @given made"),
        (lambda: holds_for(0.5)(given(number=PERCENT)(_plain)), "is not what @given made"),
        (lambda: given(number=PERCENT)(_async), "_async is async"),
        (lambda: given(number=st.data())(_plain), r"_plain draws with number=data\(\)"),
        (lambda: given()(_plain), "_plain is refused by @given"),
        (lambda: given(other=PERCENT)(_plain), "_plain is refused by @given"),
        (lambda: seed(7)(given(number=PERCENT)(_plain)), r"_plain has @seed\(7\)"),
    ],
)
def test_what_cannot_be_drawn_for_is_refused_where_it_is_defined(
    test: Callable[[], Any], said: str
) -> None:
    with pytest.raises(RagShortcutError, match=said):
        holds_for(0.5)(test())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": 95}, "rate has the value '95'"),
        ({"confidence": 0.4}, "confidence has the value '0.4'"),
        ({"max_draws": 0}, "max_draws takes a whole number from 1 on"),
        ({"max_draws": 9.5}, "max_draws has the value '9.5'"),
        ({"seed": "x"}, "seed takes a whole number"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        holds_for(**{"rate": 0.9, **options})


def test_settings_of_the_search_mean_nothing() -> None:
    test, asked = _asked(0.8, 100)
    settings(max_examples=1, phases=[])(test)()
    assert len(asked) > 10


def _ends(rate: float, true: float, max_draws: int) -> tuple[float, float]:
    """Return how often a claim is shown and refuted, by recursion over what can be drawn."""
    ends = {Decision.HOLDS: 0.0, Decision.FAILS: 0.0}
    undecided = {0: 1.0}
    for n in range(1, max_draws + 1):
        after: dict[int, float] = {}
        for held, mass in undecided.items():
            for more, probability in ((1, true), (0, 1.0 - true)):
                decision = Share(held + more, n, rate, 0.95).decision
                into = after if decision is Decision.OPEN else ends
                key = held + more if decision is Decision.OPEN else decision
                into[key] = into.get(key, 0.0) + mass * probability  # type: ignore[call-overload,index]
        undecided = after
    return ends[Decision.HOLDS], ends[Decision.FAILS]


@pytest.mark.parametrize("n_good", [20, 50, 80])
def test_whole_runs_end_as_often_as_the_sequential_test_says(
    n_good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No draw twice: what one seed draws is dealt out to the runs, which saves time.
    dealt = ({"number": each["hundred"]} for each in _many())
    monkeypatch.setattr(shares, "N_AHEAD", 1)
    monkeypatch.setattr(shares, "independent_draws", lambda strategy, **options: dealt)
    n_runs, max_draws, ends = 80, 14, Counter[Decision]()
    for _ in range(n_runs):
        test = _asked(0.5, n_good, max_draws=max_draws)[0]
        with suppress(AssertionError):
            test()
        ends[test.ragshortcut_share.decision] += 1
    expected = _ends(0.5, n_good / 100, max_draws)
    for decision, probability in zip((Decision.HOLDS, Decision.FAILS), expected, strict=True):
        allowed = 4 * math.sqrt(n_runs * probability * (1 - probability)) + 1
        assert abs(ends[decision] - n_runs * probability) <= allowed
    if n_good == 50:
        assert max(expected) <= 0.05


CONFTEST = """
from pytest_ragshortcut.testing import PlantedModel

def pytest_ragshortcut_load_model(config, settings):
    return PlantedModel({"Ada Quill": "Oslo"}, answers=["Rome", "Cork"], context_strength=1.0)
"""
PROJECT = """
import pytest
from hypothesis import assume, given, settings, strategies as st
from pytest_ragshortcut import RagCase, assert_context_reliance
from pytest_ragshortcut.strategies.shares import holds_for

CASE = RagCase("Where was Ada Quill born?", "Ada Quill was born in Rome.", subject="Ada Quill",
    context_answer="Rome", memory_answer="Oslo", substitutes=("Cork",))
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    def run(body: str, *arguments: str) -> pytest.RunResult:
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(PROJECT + body)
        quiet = ("-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist")
        return pytester.runpytest_inprocess(*quiet, "--rag-probes=none", *arguments)

    return run


Run = Callable[..., pytest.RunResult]
MISSES = """
ASKED = []

@holds_for({rate}, seed=1)
@given(number=st.integers(0, 9))
def test_it(rag_model, number):
    check = assert_context_reliance(rag_model, CASE)
    ASKED.append(number)
    check > (1.0 if {missed} else 0.5)

def test_what_it_left():
    share = test_it.ragshortcut_share
    assert share.decision == "{decision}"
    assert share.n_held < share.n
"""


def test_checks_that_missed_do_not_fail_a_share_that_holds(run: Run) -> None:
    result = run(
        MISSES.format(rate=0.6, decision="HOLDS", missed="len(ASKED) in (2, 5)"),
        "--hypothesis-show-statistics",
    )
    result.assert_outcomes(passed=2)


def test_a_share_that_fails_says_so_and_explains_its_first_miss(run: Run) -> None:
    result = run(MISSES.format(rate=0.8, decision="FAILS", missed="len(ASKED) > 1"))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*context reliance * is not > 1 *",
            "*AssertionError: the claim of 80 % FAILS: held in 1 of 6 draws*",
            "*the first miss: number=?",
            "*the same draws again: holds_for(0.8, confidence=0.95, max_draws=1000, seed=1)",
        ]
    )


def test_checks_left_uncompared_take_the_limit_or_fail(run: Run) -> None:
    body = """
@holds_for(0.6, seed=1)
@given(number=st.booleans())
def test_it(rag_model, number):
    assert_context_reliance(rag_model, CASE)
"""
    result = run(body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was never compared with a limit*"])
    run(body, "--rag-min-context-reliance=0.8").assert_outcomes(passed=1)
    result = run(body, "--rag-min-context-reliance=1.0")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the claim of 60 % FAILS*"])


def test_a_check_before_a_miss_or_a_rejection_is_no_defect(run: Run) -> None:
    body = """
ASKED = []

@holds_for(0.5)
@given(number=st.integers(0, 9))
def test_it(rag_model, number):
    check = assert_context_reliance(rag_model, CASE)
    ASKED.append(number)
    assume(len(ASKED) != 2)
    assert len(ASKED) != 3
    check > 0.8
"""
    run(body).assert_outcomes(passed=1)


def test_it_settles_checks_of_models_that_are_no_fixture_of_ours(run: Run) -> None:
    body = """
from conftest import pytest_ragshortcut_load_model

@pytest.fixture(scope="session")
def model():
    return pytest_ragshortcut_load_model(None, None)

ASKED = []

@holds_for(0.5)
@given(number=st.integers(0, 9))
def test_it(model, number):
    check = assert_context_reliance(model, CASE)
    ASKED.append(number)
    assert len(ASKED) != 2
    check > 0.8

@holds_for(0.5)
@given(number=st.booleans())
def test_uncompared(model, number):
    assert_context_reliance(model, CASE)
"""
    result = run(body)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*was never compared with a limit*"])


def test_it_stands_in_classes_beside_fixtures_and_parameters(run: Run) -> None:
    body = """
@pytest.fixture(scope="session")
def limit():
    return 0.5

class TestIt:
    @pytest.mark.parametrize("rate", [0.2, 0.3])
    @holds_for(0.5)
    @given(number=st.booleans())
    def test_it(self, rag_model, limit, rate, number):
        assert_context_reliance(rag_model, CASE) > limit

@pytest.fixture
def fresh(): pass

@holds_for(0.5)
@given(number=st.booleans())
def test_a_fixture_that_is_not_fresh_for_every_draw(fresh, number): pass

def test_marks(request):
    marked = {item.name for item in request.session.items if item.get_closest_marker("hypothesis")}
    assert len(marked) == 3
"""
    result = run(body)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*unction-scoped fixture 'fresh'*"])


def test_misuse_is_an_error_of_collection_that_says_what_to_do(run: Run) -> None:
    result = run("@holds_for(0.9)\ndef test_it(rag_model): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_it is not what @given made (@holds_for)*"])
