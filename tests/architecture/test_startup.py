"""The plugin is loaded by every run of every project: it must cost next to nothing there."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
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


def test_the_plugin_costs_a_small_part_of_pytest() -> None:
    """Importing it, beside importing pytest in the same process: median of five."""
    script = (
        "from time import process_time as now; start = now(); import pytest; with_pytest = now(); "
        "import pytest_ragshortcut.plugin; print(with_pytest - start, now() - with_pytest)"
    )
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="")
    costs = []
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        costs.append([float(seconds) for seconds in done.stdout.split()])
    # The first run may compile bytecode.
    share = statistics.median(plugin / bare for bare, plugin in costs[1:])
    milliseconds = statistics.median(plugin for _, plugin in costs[1:]) * 1000
    print(f"plugin import: {milliseconds:.1f} ms of CPU, {share:.2f} of importing pytest")
    assert share < 0.2
