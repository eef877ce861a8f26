"""The example suites: green, red for its reason, and running on other architectures."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

SUITES = Path(__file__).parents[2] / "example_suites"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=SUITES.parent,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "160", "HF_HUB_OFFLINE": "1"},
    )


def _spent() -> float:
    """Return the CPU seconds of all processes that were started here and have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def test_all_suites_are_green_at_the_cost_of_a_few_imports_and_print_one_table() -> None:
    """Beside what every run must import: seconds would be another bound on each machine."""
    code = "import torch; from transformers import LlamaForCausalLM"
    before = _spent()
    subprocess.run([sys.executable, "-c", code], check=True)
    importing = _spent() - before
    before = _spent()
    done = _run("example_suites")
    running = _spent() - before
    print(f"pytest example_suites: {running:.1f} s of CPU, {running / importing:.1f} imports")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("reliance: embedded:mixture-75, embedded:reader") == 1
    assert "cut attr" in done.stdout
    assert "meant_to_fail" not in done.stdout
    assert running < 12 * importing


def test_the_red_suite_is_red_and_says_why() -> None:
    done = _run("example_suites/meant_to_fail")
    assert done.returncode == 1
    assert "2 failed" in done.stdout
    assert done.stdout.count("parametric memory; the context was ignored.") >= 2


def test_the_red_suite_is_green_on_a_model_that_reads() -> None:
    assert _run("example_suites/meant_to_fail", "--rag-model", "embedded:reader").returncode == 0


def test_planted_defects_are_found_and_shrunk_to_what_matters() -> None:
    done = _run("example_suites/fuzzing/meant_to_fail", "--rag-probes=none")
    assert done.returncode == 1
    assert "3 failed" in done.stdout
    for context in (
        "('# Overview\\nEavan Boland was born in Cork.',)",
        "('Eavan Boland was born in Cork.', 'Eavan Boland was born in Cork.')",
        "('The museum opens at nine every morning.', 'Eavan Boland was born in Cork.')",
    ):
        assert f"@example(context={context})" in done.stdout


@pytest.mark.parametrize("family", ["gpt2", "phi", "qwen2", "gpt_neox", "gemma"])
def test_suites_run_on_a_checkpoint_of_another_architecture(
    family: str, tmp_path: Path, checkpoint: object
) -> None:
    """A random model reads nothing: its claims fail, with a verdict and never with an error."""
    folder = checkpoint(family, tmp_path / family)
    done = _run("example_suites/faithfulness", "--rag-model", str(folder), "--tb=line")
    assert f"reliance: {folder}" in done.stdout, done.stdout
    assert "error" not in done.stdout.splitlines()[-1], done.stdout
    assert "UNGROUNDED" in done.stdout or "MEMORY" in done.stdout
