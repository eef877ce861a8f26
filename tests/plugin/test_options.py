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

VALUES = {
    "update": ("yes", "no", "yes"),
    "update_new_only": ("yes", "no", "yes"),
    "dtype": ("float64", "float32", "float16"),
    "template": ("plain", "chat", "plain"),
    "trust_remote_code": ("yes", "no", "yes"),
    "memory": ("3GB", "2GB", "1GB"),
    "executor": ("incremental", "reference", "incremental"),
    "probes": ("knockout", "none", "mediation, knockout"),
    "seed": ("3", "2", "1"),
    "min_context_reliance": ("0.3", "0.2", "1"),
    "max_parametric_reliance": ("0.3", "0.2", "1"),
    "max_forwards": ("300", "20.5", "1"),
    "max_seconds": ("300", "20.5", "1"),
}
"""Three values that each option takes, where not any text will do."""


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_flag_beats_environment_beats_ini_beats_default(option: object) -> None:
    low, middle, high = VALUES.get(option.name, ("a", "b", "c"))
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
    result.stdout.fnmatch_lines(
        [
            "*rag: embedded:memoriser · * · cpu · float32 · sdpa · incremental executor · seed 0*",
            "*MODEL embedded:memoriser*",
        ]
    )


def test_flag_and_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_DTYPE", "float64")
    run(ASK, "-s").stdout.fnmatch_lines(["*MODEL embedded:reader torch.float64*"])
    result = run(ASK, "-s", "--rag-dtype=bfloat16")
    result.stdout.fnmatch_lines(["*MODEL embedded:reader torch.bfloat16*"])


def test_a_value_that_means_nothing_is_a_usage_error(run: Run) -> None:
    result = run(ASK, "--rag-dtype=float7")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--rag-dtype has the value 'float7'*"])


@pytest.mark.parametrize("size", ["lots", "2", "0GiB", "-1GB", "1.GiB", "2 GiB more", "2PB"])
def test_a_size_that_means_nothing_is_a_usage_error_in_four_parts(run: Run, size: str) -> None:
    result = run(ASK, f"--rag-memory={size}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    error = f"--rag-memory has the value '{size}' (option --rag-memory)."
    result.stderr.fnmatch_lines([f"*{error}*", "*takes a number and a unit*Give --rag-memory*"])


@pytest.mark.parametrize(
    ("size", "n_bytes"),
    [("2GiB", 2 << 30), ("500MB", 500_000_000), ("1.5 kb", 1500), ("7B", 7), ("1TiB", 1 << 40),
     ("64KIB", 65536), ("", None)],
)  # fmt: skip
def test_a_size_is_so_many_bytes(size: str, n_bytes: int | None) -> None:
    flag = {"rag_memory": size}
    settings = settle_settings(flag=flag.get, environment={}, ini=lambda _: None)
    assert settings.memory_bytes == n_bytes


def test_the_memory_is_what_the_executor_plans_for(run: Run) -> None:
    body = """
def test_it(rag_model):
    print("BYTES", rag_model._engine.executor.budget.n_bytes)
"""
    run(body, "-s", "--rag-memory=300MiB").stdout.fnmatch_lines([f"*BYTES {300 << 20}*"])


EXECUTOR = """
def test_it(rag_model):
    print("EXECUTOR", type(rag_model._engine.executor).__name__)
"""
TINY_GPTJ = """
import tiny

def pytest_ragshortcut_load_model(config, settings):
    from pytest_ragshortcut import RagModel
    tokenizer = tiny.byte_level_tokenizer()
    model = tiny.fresh("gptj", vocab_size=len(tokenizer))
    return RagModel(model, tokenizer, executor=settings.executor)
"""
SLOW = "rag: * runs on the reference executor, one whole forward for every restored site*"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("auto", "Incremental"), ("incremental", "Incremental"), ("reference", "Reference")],
)
def test_the_executor_is_the_one_asked_for(run: Run, name: str, kind: str) -> None:
    result = run(EXECUTOR, "-s", f"--rag-executor={name}")
    result.stdout.fnmatch_lines([f"*EXECUTOR {kind}Executor*"])
    shown = [line for line in result.outlines if "runs on the reference executor" in line]
    assert len(shown) == (name == "reference")


def test_an_executor_of_another_name_is_a_usage_error(run: Run) -> None:
    result = run(ASK, "--rag-executor=fast")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*takes one of auto, incremental, reference*"])


def test_why_a_model_is_slow_is_said_once_in_the_summary(run: Run) -> None:
    body = """
def test_it(rag_model): pass
def test_again(rag_model): pass
"""
    result = run(body, files={"conftest.py": TINY_GPTJ})
    result.assert_outcomes(passed=2)
    shown = [line for line in result.outlines if "runs on the reference executor" in line]
    assert len(shown) == 1
    result.stdout.fnmatch_lines([SLOW])


def test_nothing_is_said_of_a_model_that_was_not_loaded(run: Run) -> None:
    result = run("def test_it(): pass", "--rag-executor=reference")
    result.stdout.no_fnmatch_line("*reference executor*")


def test_a_model_that_cannot_run_as_asked_fails_its_tests_and_not_the_summary(run: Run) -> None:
    body = """
def test_it(rag_model):
    rag_model._answers._next_logits([(5, 6)])
"""
    result = run(body, "--rag-executor=incremental", files={"conftest.py": TINY_GPTJ})
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*UnsupportedArchitectureError*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_missing_baseline_is_a_usage_error(run: Run) -> None:
    result = run(ASK, "--rag-compare=none.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*baseline 'none.json' *"])


def test_a_missing_checkpoint_is_an_error_of_the_test(run: Run) -> None:
    result = run(ASK, "--rag-model=./no-such-folder")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no checkpoint could be loaded from './no-such-folder'*"])


def test_help_shows_every_option(run: Run) -> None:
    text = " ".join(run("", "--help").stdout.str().split())
    for option in OPTIONS:
        value = "" if option.is_switch else f"={option.metavar}"
        assert f"{option.flag}{value} " in text
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
    saved.stdout.fnmatch_lines(["baseline saved: base.json: 1 new, 0 changed, 0 dropped"])
    compared = run(body, "--rag-compare=base.json", "--rag-model=embedded:memoriser")
    compared.stdout.fnmatch_lines(["*change*", "*::test_it*-1.00*", "compared with *1 checks*"])
    assert "RagCase" in Path("base.json").read_text(encoding="utf-8")


def test_a_baseline_that_cannot_be_written_is_said_and_fails_the_run(run: Run) -> None:
    body = """
def test_it(rag_model):
    assert_context_reliance(rag_model, CORK, probes=()) >= 0.0
"""
    Path("none").write_text("a file", encoding="utf-8")
    result = run(body, "--rag-save=none/base.json")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*baseline *none/base.json* cannot be written*"])
