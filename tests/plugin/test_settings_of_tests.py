"""What a test may settle for itself: its model, its probes, its limit, its cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]
SAYS = """
def test_it(rag_model):
    print("MODEL", rag_model.name, rag_model.template.chat)
"""
CASES = """{"question": "Where was Eavan Boland born?", "context": "Eavan Boland was born in Cork."}
{"question": "Where was Eavan Boland born?", "context": "Eavan Boland was born in Rome.", "id": "b"}
"""


def test_a_marker_beats_the_command_line_and_the_nearest_wins(run: Run) -> None:
    body = f"""
pytestmark = pytest.mark.rag(model="embedded:memoriser")
{SAYS}
@pytest.mark.rag(model="embedded:copier")
def test_other(rag_model):
    print("MODEL", rag_model.name)
"""
    result = run(body, "-s", "-v", "--rag-model=embedded:reader")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random(["*MODEL embedded:memoriser*", "*MODEL embedded:copier"])
    # Node ids are what baselines and --last-failed remember: settings do not enter them.
    result.stdout.fnmatch_lines_random(["*::test_it *", "*::test_other *"])
    result.stdout.no_fnmatch_line("*MODEL embedded:reader*")


def test_models_are_loaded_once_each(run: Run) -> None:
    counting = """
LOADED = []
def pytest_ragshortcut_load_model(config, settings):
    LOADED.append(settings.model)
    return None
def pytest_sessionfinish():
    print("LOADED", sorted(LOADED))
"""
    body = """
def test_a(rag_model): pass
@pytest.mark.rag(model="embedded:memoriser")
def test_b(rag_model): pass
@pytest.mark.rag(probes=())
def test_c(rag_model, rag_probe): assert rag_probe.model is rag_model
def test_d(rag_model): pass
"""
    result = run(body, "-s", files={"conftest.py": counting})
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*LOADED ?'embedded:memoriser', 'embedded:reader'?*"])


def test_several_models_run_every_test_once_each(run: Run) -> None:
    body = """
def test_reads(rag_model):
    assert_context_reliance(rag_model, CORK, probes=()) > 0.8

def test_side_by_side(rag_models):
    scores = {name: context_reliance(m, CORK, probes=()).score for name, m in rag_models.items()}
    assert scores["embedded:reader"] > scores["embedded:memoriser"]
    print("NAMES", *rag_models)
"""
    result = run(body, "-v", "-s", "--rag-model=embedded:reader, embedded:memoriser")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines_random(
        [
            "*::test_reads[[]embedded:reader] PASSED*",
            "*::test_reads[[]embedded:memoriser] FAILED*",
            "*NAMES embedded:reader embedded:memoriser*",
            "*reliance: embedded:memoriser, embedded:reader*",
        ]
    )


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("rag(modle='x')", "*keyword of @pytest.mark.rag has the value 'modle'*"),
        ("rag(dtype='float7')", "*dtype of @pytest.mark.rag has the value 'float7'*"),
        ("rag(min_context_reliance=2)", "*takes a number in ?0, 1?*"),
        ("rag_cases('none.jsonl')", "*none.jsonl*"),
        ("rag_cases()", "*takes a file and, if its columns*"),
        ("rag_cases('a.csv', colums={})", "*has the value*a.csv*colums*"),
        ("rag('./candidate')", "*takes keywords alone*"),
    ],
)
def test_a_marker_that_means_nothing_is_an_error_of_collection(
    run: Run, marker: str, message: str
) -> None:
    result = run(f"@pytest.mark.{marker}\ndef test_it(rag_model, rag_case): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_file_of_cases_becomes_tests(run: Run) -> None:
    body = """
@pytest.mark.rag_cases("cases.jsonl")
def test_reads(rag_model, rag_case):
    assert_context_reliance(rag_model, rag_case, probes=()) > 0.8
"""
    result = run(body, "-v", files={"cases.jsonl": CASES})
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random(["*::test_reads[[]b] PASSED*"])
    result = run(body, "--collect-only", "--rag-model=./none", files={"cases.jsonl": CASES})
    assert result.ret == 0


def test_other_columns_are_mapped(run: Run) -> None:
    body = """
@pytest.mark.rag_cases("cases.csv", columns={"question": "q", "context": "docs"})
def test_reads(rag_case):
    assert rag_case == RagCase("Who?", "Me.")
"""
    run(body, files={"cases.csv": "q,docs\nWho?,Me.\n"}).assert_outcomes(passed=1)


def test_a_file_of_cases_needs_its_argument(run: Run) -> None:
    body = "@pytest.mark.rag_cases('cases.jsonl')\ndef test_it(rag_model): pass"
    result = run(body, files={"cases.jsonl": CASES})
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*takes a test with an argument rag_case*"])


LIMITED = """
@pytest.mark.rag(model="embedded:memoriser"{marked})
def test_context(rag_model):
    assert_context_reliance(rag_model, CORK)

@pytest.mark.rag(model="embedded:memoriser"{marked})
def test_memory(rag_model):
    assert_parametric_reliance(rag_model, CORK)
"""


def test_what_is_left_uncompared_takes_the_limit(run: Run) -> None:
    run(LIMITED.format(marked=""), "--tb=no").assert_outcomes(failed=2)
    limits = ("--rag-min-context-reliance=0.8", "--rag-max-parametric-reliance=1")
    result = run(LIMITED.format(marked=""), *limits)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*context reliance 0.00 is not >= 0.8*"])
    marked = ", min_context_reliance=0, max_parametric_reliance=0.2"
    result = run(LIMITED.format(marked=marked), *limits)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*parametric reliance 1.00 is not <= 0.2*"])


def test_an_explicit_claim_is_no_matter_of_the_limit(run: Run) -> None:
    body = """
def test_it(rag_model):
    assert_parametric_reliance(rag_model, CORK, probes=()) < 0.2
    assert_context_reliance(rag_model, CORK, probes=()) > 0.8
"""
    limits = ("--rag-min-context-reliance=1", "--rag-max-parametric-reliance=0")
    run(body, *limits).assert_outcomes(passed=1)


def test_hypothesis_shrinks_what_breaks_the_limit(run: Run) -> None:
    body = """
from hypothesis import given, settings
NAMES = ["Cork", "Dublin", "Rome"]

@settings(database=None, derandomize=True)
@given(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4))
def test_it(rag_model, names):
    assert_context_reliance(rag_model, QUESTION, [f"Eavan Boland was born in {names[-1]}."] * 2
        if "Rome" in names else f"Eavan Boland was born in {names[-1]}.")
"""
    body = body.replace("given, settings", "given, settings, strategies as st")
    memoriser = ("--rag-model=embedded:memoriser", "--rag-min-context-reliance=0.8")
    result = run(body, *memoriser)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*names=?'Cork'?,*"])
    run(body, *memoriser[1:]).assert_outcomes(passed=1)


def test_an_example_given_up_is_no_defect_of_the_next(run: Run) -> None:
    body = """
from hypothesis import assume, given, settings, strategies as st

@settings(database=None, derandomize=True, max_examples=5)
@given(number=st.integers(0, 20))
def test_it(rag_model, number):
    check = assert_context_reliance(rag_model, CORK, probes=())
    assume(number % 2)
    check > 0.8
"""
    run(body).assert_outcomes(passed=1)


def test_the_probes_are_those_of_the_test(run: Run) -> None:
    body = """
def evidence(reliance):
    return {each.probe.split()[0] for each in reliance.evidence}

@pytest.mark.rag(probes=["knockout"])
def test_marked(rag_model, rag_probe):
    check = assert_context_reliance(rag_model, CORK)
    assert check > 0.8
    assert evidence(check.reliance) == evidence(rag_probe.context_reliance(CORK))
    assert evidence(check.reliance) == {"swap:", "closed", "knockout"}

def test_run(rag_probe):
    assert evidence(rag_probe.context_reliance(CORK)) == {"swap:", "closed"}
    assert "contribution" in evidence(rag_probe.context_reliance(CORK, probes=["contributions"]))
"""
    run(body, "--rag-probes=none").assert_outcomes(passed=2)


def test_the_seed_is_that_of_the_noise(run: Run) -> None:
    body = """
def test_it(rag_probe, pytestconfig):
    from pytest_ragshortcut import GaussianNoise
    traced = rag_probe.causal_trace(CORK, positions=["subject"])
    seeds = {s: rag_probe.causal_trace(CORK, positions=["subject"], noise=GaussianNoise(seed=s))
             for s in (0, 7)}
    assert traced.corrupted == seeds[7].corrupted != seeds[0].corrupted
"""
    run(body, "--rag-seed=7").assert_outcomes(passed=1)


def test_a_project_writes_its_own_prompts_and_notes(run: Run) -> None:
    conftest = """
def pytest_ragshortcut_render_prompt(case, book):
    if book == "closed":
        return None
    return "Context: " + "\\n".join(case.passages) + f"\\n\\nQuestion: {case.question}\\nAnswer:"

def pytest_ragshortcut_update_record(item, record):
    record["notes"]["ticket"] = item.name
"""
    body = """
import json
def test_it(rag_model):
    check = assert_context_reliance(rag_model, CORK, probes=())
    assert check > 0.8
    assert "\\n\\nQuestion" in check.reliance.prompt.text
"""
    result = run(body, "--rag-json=r.json", files={"conftest.py": conftest})
    result.assert_outcomes(passed=1)
    from pathlib import Path

    assert '"ticket": "test_it"' in Path("r.json").read_text(encoding="utf-8")
