"""Existing tools on the same model, prompt and noise, each in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from transformers.utils import logging

from benchmarks import percell
from benchmarks.models import Loaded, build
from benchmarks.percell import Cell, Disturbance
from benchmarks.scenes import Scene, find_scene, spread
from benchmarks.suite import Result, Settings
from benchmarks.timing import progress

SCRIPTS = Path(__file__).parent / "tools"
_TORCH = "torch==2.13.0"
_N_CELLS = 3


@dataclass(frozen=True)
class Tool:
    """A tool: what to install, and the script that runs cells with it."""

    name: str
    requirement: str
    script: str


TOOLS = (
    Tool("TransformerLens", "transformer-lens>=4.3,<5", "cells_transformer_lens.py"),
    Tool("nnsight", "nnsight==0.8.1", "cells_nnsight.py"),
    Tool("pyvene", "pyvene==0.1.8", "cells_pyvene.py"),
)


class ToolError(Exception):
    """Raised when a tool does not install, import or run; its text is the last line it said."""


def run_tools(results: Sequence[Result], settings: Settings, workdir: Path) -> list[Result]:
    """Run every tool at every size that was measured; a tool that fails says so in its row."""
    found: list[Result] = []
    sizes = [result for result in results if any(row["key"] == "map" for row in result["rows"])]
    for tool in TOOLS:
        try:
            with progress(
                f"{tool.name}: installing into the work directory", shown=settings.progress
            ):
                python = install(tool, workdir)
        except ToolError as error:
            found.append({"tool": tool.name, "failed": str(error)})
            continue
        for size in sizes:
            where = {name: size[name] for name in ("shape", "n_layers", "n_tokens")}
            try:
                with progress(f"{tool.name}: T={size['n_tokens']}", shown=settings.progress):
                    found.append({"tool": tool.name, **where, **_run(tool, python, size, workdir)})
            except ToolError as error:
                found.append({"tool": tool.name, **where, "failed": str(error)})
    return found


def install(tool: Tool, workdir: Path) -> Path:
    """Make a tool's environment where there is none, and return its interpreter."""
    home = workdir / tool.name.lower()
    python, finished = home / "bin" / "python", home / "installed"
    if not finished.exists():
        _call([sys.executable, "-m", "venv", str(home)])
        _call([str(python), "-m", "pip", "install", "--quiet", _TORCH, tool.requirement])
        finished.touch()
    return python


def _run(tool: Tool, python: Path, size: Result, workdir: Path) -> Result:
    job, theirs = _job(size, workdir)
    read = workdir / "result.json"
    read.unlink(missing_ok=True)
    _call([str(python), str(SCRIPTS / tool.script), str(job), str(read)])
    result = json.loads(read.read_text(encoding="utf-8"))
    forward = median(result["forward_seconds"])
    cell = median(cell["seconds"] for cell in result["cells"])
    (ours,) = (row for row in size["rows"] if row["key"] == "map")
    n_tokens, n_layers = size["n_tokens"], size["n_layers"]
    map_forwards = cell / forward * n_tokens * n_layers
    restricted = cell / forward * (n_tokens - size["subject_at"]) * n_layers
    differences = [
        abs(cell["probability"] - value)
        for cell, value in zip(result["cells"], theirs, strict=True)
    ]
    return {
        "version": result["version"],
        "n_timed": len(result["cells"]),
        "forwards_per_cell": cell / forward,
        "same_cells_forwards": restricted,
        "same_cells_times": restricted / ours["forwards"]["median"],
        "all_cells_forwards": map_forwards,
        "all_cells_times": map_forwards / ours["forwards"]["median"],
        "max_difference": max(differences),
    }


def _job(size: Result, workdir: Path) -> tuple[Path, list[float]]:
    """Write a job, and compute its cells by hooks."""
    loaded = build(size["shape"], size["n_layers"])
    model_dir = _saved(loaded, workdir)
    scene = find_scene(loaded, size["n_tokens"], n_samples=size["n_samples"], seed=size["seed"])
    prompt = scene.open_book
    span = prompt.positions("subject")
    noise, cells = workdir / "noise.npy", _cells(scene)
    np.save(noise, scene.noise(len(span)))
    written = {
        "model_dir": str(model_dir),
        "ids": prompt.input_ids,
        "answer": prompt.answer_ids[0],
        "span": span,
        "noise": str(noise),
        "cells": cells,
    }
    path = workdir / "job.json"
    path.write_text(json.dumps(written), encoding="utf-8")
    disturbance = Disturbance(span, noise=scene.noise(len(span)))
    theirs = [
        float(percell.disturbed(loaded.model, prompt, disturbance, Cell((at,), (place,))).mean())
        for at, place in cells
    ]
    return path, theirs


def _cells(scene: Scene) -> list[tuple[int, int]]:
    n_tokens, n_layers = len(scene.open_book.input_ids), scene.loaded.n_layers
    places = spread(range(scene.open_book.positions("subject")[0], n_tokens), _N_CELLS)
    return list(zip(spread(range(n_layers), _N_CELLS), places, strict=False))


def _saved(loaded: Loaded, workdir: Path) -> Path:
    path = workdir / f"{loaded.shape}-{loaded.n_layers}"
    if not path.exists():
        logging.disable_progress_bar()
        loaded.model.save_pretrained(path)
        loaded.tokenizer.save_pretrained(path)
    return path


def _call(command: list[str]) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    # A virtual environment that this process runs in must not leak into the tool's.
    environment.pop("PYTHONPATH", None)
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if run.returncode:
        said = [line for line in run.stderr.splitlines() if line.strip()]
        raise ToolError(said[-1].strip() if said else f"exit status {run.returncode}")
