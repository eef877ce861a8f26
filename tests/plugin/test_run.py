"""How the plugin behaves in a run: collection, markers, hooks, the table, other plugins."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., pytest.RunResult]
TWO = """
def test_plain():
    pass

def test_reads(rag_model):
    assert_context_reliance(rag_model, CORK) > 0.8

def test_fails(rag_model):
    assert_parametric_reliance(rag_model, CORK, probes=()) > 0.8
"""


def test_collecting_loads_no_model(run: Run) -> None:
    result = run(TWO, "--collect-only", "--rag-model=./no-such-folder")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*rag:*")


def test_the_header_says_which_model_answers(run: Run) -> None:
    lines = run(TWO, "--tb=no").outlines
    (line,) = [line for line in lines if line.startswith("rag: ")]
    assert line.startswith("rag: embedded:reader · ")
    assert line.endswith(" · cpu · float32 · sdpa · incremental executor · seed 0")
    assert "collected" in lines[lines.index(line) - 1]
    for quiet in ("-q", "--setup-plan"):
        run(TWO, "--tb=no", quiet).stdout.no_fnmatch_line("*rag: *")


def test_a_projects_own_fixture_loads_no_other_model(run: Run) -> None:
    body = """
@pytest.fixture(scope="session")
def rag_model():
    return hand_weighted({"Eavan Boland": "Dublin"}, answers=["Cork"], context=1.0)

def test_it(rag_model, rag_probe):
    assert_context_reliance(rag_model, CORK, probes=()) > 0.3
    assert rag_probe.model is rag_model
"""
    result = run(body, "--rag-model=./no-such-folder")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*reliance: hand-weighted llama*"])


def test_a_run_that_asks_no_model_prints_nothing_of_it(run: Run) -> None:
    result = run(TWO, "-k", "plain")
    result.assert_outcomes(passed=1, deselected=2)
    result.stdout.no_fnmatch_line("*reliance:*")


def test_the_marker_selects(run: Run) -> None:
    run(TWO, "-m", "not rag", "--strict-markers").assert_outcomes(passed=1, deselected=2)
    run(TWO, "-m", "rag", "--strict-markers").assert_outcomes(passed=1, failed=1, deselected=1)


def test_the_table_names_case_score_verdict_and_evidence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = run(TWO)
    result.stdout.fnmatch_lines(
        [
            "*reliance: embedded:reader*",
            "test*score*interval*verdict*claim*cut attr*contrib*TE attr*",
            "*::test_fails*SHORTCUT*memory > 0.8  FAILS*",
            "*::test_reads*SHORTCUT*> 0.8*-*",
        ]
    )


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_the_table_fits_its_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run(TWO, "--tb=no").outlines
    start = next(i for i, line in enumerate(lines) if "reliance:" in line)
    rows = lines[start + 1 : start + 4]
    assert all(len(line) <= max(columns, 80) for line in rows), rows


def test_many_checks_of_one_test_are_one_row_with_the_worst(run: Run) -> None:
    body = """
def test_it(rag_model):
    for city in ("Cork", "Rome", "Lisbon", "Vienna"):
        case = RagCase(QUESTION, f"Eavan Boland was born in {city}.", context_answer=city)
        assert_context_reliance(rag_model, case, probes=()) > 0.8
"""
    run(body).stdout.fnmatch_lines(["*::test_it (worst of 4)*"])


def test_a_conftest_may_load_the_model_its_own_way(run: Run) -> None:
    conftest = """
def pytest_ragshortcut_load_model(config, settings):
    from pytest_ragshortcut import RagModel
    model = RagModel.from_pretrained("embedded:memoriser")
    return RagModel(model.model, model.tokenizer, name="from the registry")
"""
    result = run(TWO, files={"conftest.py": conftest})
    result.stdout.fnmatch_lines(["*reliance: from the registry*"])


def test_the_model_is_loaded_once_a_session(run: Run) -> None:
    body = """
def test_one(rag_model, rag_probe):
    assert rag_probe.model is rag_model
    pytest.first = rag_model

def test_two(rag_model):
    assert rag_model is pytest.first
"""
    run(body).assert_outcomes(passed=2)


def test_rag_probe_offers_every_probe(run: Run) -> None:
    body = """
def test_it(rag_probe):
    assert rag_probe.counterfactual_swap(CORK).follow > 0.8
    assert rag_probe.context_reliance(CORK, probes=()) > 0.8
    assert rag_probe.parametric_reliance(CORK, probes=()) < 0.2
    assert rag_probe.attention_knockout(CORK, window=None).relative_change.shape == (4, 1)
    assert rag_probe.attention_contributions(CORK).summed.min() >= 0
    assert rag_probe.causal_trace(CORK, corruption="mask", positions=["last"]).n_samples == 1
"""
    run(body).assert_outcomes(passed=1)


def _subprocess(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_xdist_gives_the_same_verdicts_and_one_table(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(_prelude() + TWO)
    alone = _subprocess(pytester.path, "-p", "no:randomly", COLUMNS="120")
    spread = _subprocess(pytester.path, "-n2", "-p", "no:randomly", COLUMNS="120")
    assert _table(alone.stdout) == _table(spread.stdout)
    assert len(_table(alone.stdout)) == 3


def test_without_plugin_autoload_it_is_named(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(_prelude() + TWO)
    done = _subprocess(
        pytester.path, "-p", "pytest_ragshortcut.plugin", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"
    )
    assert "1 failed, 2 passed" in done.stdout


def test_switched_off_it_is_gone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(rag_model): pass")
    done = _subprocess(pytester.path, "-p", "no:ragshortcut")
    assert "fixture 'rag_model' not found" in done.stdout


def test_junit_xml_holds_the_checks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(_prelude() + TWO)
    _subprocess(pytester.path, "--junitxml=out.xml")
    text = pytester.path.joinpath("out.xml").read_text(encoding="utf-8")
    assert 'name="rag_checks"' in text
    assert "SHORTCUT" in text


def _prelude() -> str:
    source = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")
    return source.split('PRELUDE = """')[1].split('"""')[0]


def _table(output: str) -> list[str]:
    lines = output.splitlines()
    start = next(i for i, line in enumerate(lines) if "reliance:" in line)
    return [line for line in lines[start + 1 :] if not line.startswith("=")][:3]


@pytest.mark.parametrize("where", ["function", "method"])
@pytest.mark.parametrize(
    ("decorator", "deadline"),
    [("", "None"), ("@settings(max_examples=3)", "None"), ("@settings(deadline=77)", "77ms")],
)
def test_the_default_deadline_is_lifted_and_a_chosen_one_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch, where: str, decorator: str, deadline: str
) -> None:
    for name in ("CI", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    shift, first = ("    ", "self, ") if where == "method" else ("", "")
    body = f"""
from hypothesis import given, settings, strategies as st
{"class TestIt:" if shift else ""}
{shift}{decorator}
{shift}@given(number=st.integers())
{shift}def test_it({first}rag_model, number):
{shift}    pass

@given(number=st.integers())
def test_plain(number):
    pass

def test_what_holds():
    asks = {"TestIt." if shift else ""}test_it
    chosen = asks._hypothesis_internal_use_settings.deadline
    assert str(chosen and f"{{chosen.microseconds // 1000}}ms") == "{deadline}"
    assert test_plain._hypothesis_internal_use_settings.deadline == settings().deadline
"""
    files = {"conftest.py": "def pytest_ragshortcut_load_model(config, settings): return object()"}
    run(body, files=files).assert_outcomes(passed=3)
