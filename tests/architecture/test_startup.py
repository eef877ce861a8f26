"""The plugin is loaded by every run of every project: it must cost next to nothing there."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HEAVY = ("torch", "transformers", "numpy", "scipy", "hypothesis", "rich", "matplotlib")
_PROBE = """
import json, sys, pytest
# Neighbours that import numpy or hypothesis themselves would hide what this plugin does.
others = ["no:cacheprovider", "no:hypothesispytest", "no:randomly"]
code = pytest.main(["--collect-only", "-q", *(part for name in others for part in ("-p", name))])
heavy = [name for name in {heavy!r} if name in sys.modules]
loaded = "pytest_ragshortcut.plugin" in sys.modules
print("RESULT", json.dumps([int(code), heavy, loaded]))
"""


def _collect(folder: Path, *arguments: str) -> list[object]:
    (folder / "test_unrelated.py").write_text("def test_nothing(): pass\n", encoding="utf-8")
    script = _PROBE.format(heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    return json.loads(line.removeprefix("RESULT "))


def test_collecting_an_unrelated_project_imports_nothing_heavy(tmp_path: Path) -> None:
    code, heavy, loaded = _collect(tmp_path)
    assert code == 0
    assert loaded, "the entry point was not loaded, so this test would prove nothing"
    assert heavy == []


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = f"import sys, pytest_ragshortcut; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_plugin_costs_milliseconds(tmp_path: Path) -> None:
    """Importing it in a process that has pytest already, median of five."""
    script = (
        "import pytest, time; start = time.process_time(); import pytest_ragshortcut.plugin; "
        "print(time.process_time() - start)"
    )
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="")
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert time.perf_counter() - started < 60
        seconds.append(float(done.stdout))
    # The first run may compile bytecode.
    median = statistics.median(seconds[1:])
    print(f"plugin import: {median * 1000:.1f} ms of CPU")
    assert median < 0.03
