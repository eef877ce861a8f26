"""Options: spellings, precedence, refusals, and what is printed of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_ragshortcut.config import OPTIONS, option_table
from pytest_ragshortcut.config import settle as settle_settings

Run = Callable[..., pytest.RunResult]
ASK = """
def test_it(rag_model):
    print("MODEL", rag_model.name, rag_model.model.dtype)
"""


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_flag_beats_environment_beats_ini_beats_default(option: object) -> None:
    low, middle, high = option.choices[:3] if len(option.choices) > 2 else ("c", "b", "a")
    if len(option.choices) == 2:
        low, middle, high = *option.choices, option.choices[0]
    flag, ini = {option.ini: high}, {option.ini: low}
    environment = {option.environment: middle}
    given = [(flag, environment, ini), ({}, environment, ini), ({}, {}, ini), ({}, {}, {})]
    won = [
        getattr(settle_settings(flag=f.get, environment=e, ini=i.get), option.name)
        for f, e, i in given
    ]
    assert won == [high, middle, low, option.default]


def test_ini_names_the_model(run: Run) -> None:
    result = run(ASK, "-s", files={"pytest.ini": "[pytest]\nrag_model = embedded:memoriser\n"})
    result.stdout.fnmatch_lines(["*rag: model embedded:memoriser*", "*MODEL embedded:memoriser*"])


def test_flag_and_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_DTYPE", "float64")
    run(ASK, "-s").stdout.fnmatch_lines(["*MODEL embedded:reader torch.float64*"])
    result = run(ASK, "-s", "--rag-dtype=bfloat16")
    result.stdout.fnmatch_lines(["*MODEL embedded:reader torch.bfloat16*"])


def test_a_value_that_means_nothing_is_a_usage_error(run: Run) -> None:
    result = run(ASK, "--rag-dtype=float7")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--rag-dtype has the value 'float7'*"])


def test_a_missing_baseline_is_a_usage_error(run: Run) -> None:
    result = run(ASK, "--rag-compare=none.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*baseline 'none.json' cannot be used*"])


def test_a_missing_checkpoint_is_an_error_of_the_test(run: Run) -> None:
    result = run(ASK, "--rag-model=./no-such-folder")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no checkpoint could be loaded from './no-such-folder'*"])


def test_help_shows_every_option(run: Run) -> None:
    text = " ".join(run("", "--help").stdout.str().split())
    for option in OPTIONS:
        assert f"{option.flag}={option.metavar}" in text
        assert " ".join(option.help.split()) in text
        assert f"{option.ini} (string):" in text


def test_the_readme_shows_every_option_as_help_does() -> None:
    readme = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")
    for flag, spellings, default, text in option_table():
        shown = default or "—"
        assert f"| `{flag}` | `{spellings}` | {shown} | {text} |" in readme


def test_save_then_compare_shows_the_change(run: Run) -> None:
    body = """
def test_it(rag_model):
    assert_context_reliance(rag_model, CORK, probes=()) >= 0.0
"""
    saved = run(body, "--rag-save=base.json")
    saved.stdout.fnmatch_lines(["saved 1 scores to base.json"])
    compared = run(body, "--rag-compare=base.json", "--rag-model=embedded:memoriser")
    compared.stdout.fnmatch_lines(["*change*", "*::test_it*-1.00*", "compared with *1 checks*"])
    assert "RagCase" in Path("base.json").read_text(encoding="utf-8")


def test_saving_into_a_missing_folder_says_so_and_keeps_the_run(run: Run) -> None:
    body = """
def test_it(rag_model):
    assert_context_reliance(rag_model, CORK, probes=()) >= 0.0
"""
    result = run(body, "--rag-save=none/base.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*there is no folder 'none'*"])
