"""A claim holds, fails or is caught uncompared: with and without assert, rewritten or plain."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]
PLAIN = "--assert=plain"
MEMORISER = "--rag-model=embedded:memoriser"


@pytest.mark.parametrize("rewriting", ["--assert=rewrite", PLAIN])
@pytest.mark.parametrize("keyword", ["", "assert "])
def test_a_claim_that_holds_passes(run: Run, keyword: str, rewriting: str) -> None:
    body = f"""
def test_it(rag_model):
    {keyword}assert_context_reliance(rag_model, CORK, probes=()) > 0.8
    {keyword}assert_parametric_reliance(rag_model, CORK, probes=()) <= 0.2
    {keyword}0.8 < assert_context_reliance(rag_model, CORK, probes=())
    assert (assert_context_reliance(rag_model, CORK, probes=()) >= 0.5) is True
"""
    run(body, rewriting).assert_outcomes(passed=1)


@pytest.mark.parametrize("rewriting", ["--assert=rewrite", PLAIN])
@pytest.mark.parametrize("keyword", ["", "assert "])
def test_a_claim_that_does_not_hold_fails_with_the_explanation(
    run: Run, keyword: str, rewriting: str
) -> None:
    body = f"""
def test_it(rag_model):
    {keyword}assert_context_reliance(rag_model, CORK) > 0.8
"""
    result = run(body, rewriting, MEMORISER)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*context reliance 0.00 is not > 0.8*",
            "*MEMORY*The answer came from parametric memory; the context was ignored.*",
            "*'Dublin' with the context, 'Dublin' without; the context says 'Cork'*",
            "*knockout attribute -> answer*",
            '*this case alone:  pytest "*::test_it"*',
        ]
    )


@pytest.mark.parametrize("statement", ["", "check = ", "assert "])
def test_a_check_never_compared_fails(run: Run, statement: str) -> None:
    body = f"""
def test_it(rag_model):
    {statement}assert_context_reliance(rag_model, CORK, probes=())
"""
    result = run(body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was never compared with a limit*"])


def test_a_check_never_compared_fails_under_given(run: Run) -> None:
    body = """
from hypothesis import given, settings
@settings(max_examples=3, deadline=None, database=None)
@given(context=contexts(PASSAGE, answer="Dublin"))
def test_it(rag_model, context):
    assert_context_reliance(rag_model, QUESTION, context, probes=())
"""
    run(body).assert_outcomes(failed=1)


def test_a_failing_test_is_not_blamed_for_what_came_after(run: Run) -> None:
    body = """
def test_it(rag_model):
    assert_context_reliance(rag_model, CORK, probes=())
    raise ValueError("the real reason")
"""
    result = run(body)
    result.stdout.fnmatch_lines(["*ValueError: the real reason*"])
    result.stdout.no_fnmatch_line("*was never compared*")


@pytest.mark.parametrize(
    ("claim", "text"),
    [("> 80", "limit of >"), ("> -0.1", "limit of >"), ("== 0.5", "never compared"),
     ("> float('nan')", "limit of >")],
)  # fmt: skip
def test_a_limit_that_means_nothing_is_refused(run: Run, claim: str, text: str) -> None:
    body = f"""
def test_it(rag_model):
    assert_context_reliance(rag_model, CORK, probes=()) {claim}
"""
    result = run(body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{text}*"])


def test_a_bare_result_compares_and_explains_itself(run: Run) -> None:
    body = """
def test_it(rag_model):
    result = context_reliance(rag_model, CORK, probes=())
    assert result.score < 0.2
    assert result > 0.8
"""
    result = run(body, MEMORISER)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*context reliance 0.00 is not > 0.8*", "*MEMORY*"])


def test_an_undefined_score_never_holds(run: Run) -> None:
    body = """
LIMITS = Limits(min_mass=1.0)
@pytest.mark.parametrize("claim", ["> 0.0", "<= 1.0"])
def test_it(rag_model, claim):
    check = assert_context_reliance(rag_model, CORK, probes=(), limits=LIMITS)
    eval("check " + claim, {"check": check})
"""
    result = run(body)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*context reliance undefined is not > 0*", "*UNDECIDED*"])


def test_outside_pytest_a_claim_is_true_or_raises() -> None:
    script = """
from pytest_ragshortcut import RagModel, assert_context_reliance
model = RagModel.from_pretrained("embedded:memoriser")
check = assert_context_reliance(model, "Where was Eavan Boland born?",
    "Eavan Boland was born in Cork.", probes=())
assert check < 0.2
try:
    check > 0.8
except AssertionError as error:
    print(str(error).splitlines()[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("context reliance 0.00 is not > 0.8")


def test_tracebacks_end_in_the_users_line(run: Run) -> None:
    body = """
def test_it(rag_model):
    assert_context_reliance(rag_model, CORK, probes=()) > 0.8
"""
    result = run(body, MEMORISER, "--tb=short")
    result.stdout.fnmatch_lines(["*test_tracebacks_end_in_the_users_line.py:*: in test_it"])
    result.stdout.no_fnmatch_line("*assertions.py*")


def test_the_command_for_this_case_alone_works_where_pytest_was_started(
    pytester: pytest.Pytester,
) -> None:
    project = pytester.mkdir("project")
    project.joinpath("pytest.ini").write_text("[pytest]\nrag_model = embedded:memoriser\n")
    project.joinpath("test_it.py").write_text(
        "from pytest_ragshortcut import assert_context_reliance\n"
        "def test_red(rag_model):\n"
        "    assert_context_reliance(rag_model, 'Where was Eavan Boland born?',\n"
        "        'Eavan Boland was born in Cork.', probes=()) > 0.8\n"
    )
    first = pytester.run(sys.executable, "-m", "pytest", "project")
    line = next(line for line in first.outlines if "this case alone" in line)
    again = pytester.run(sys.executable, "-m", "pytest", line.split('"')[1])
    assert line.split('"')[1] == "project/test_it.py::test_red"
    again.assert_outcomes(failed=1)
