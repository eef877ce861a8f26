"""How high the memory of a process rises, measured in a process of its own.

On Linux the mark is VmHWM, the most physical memory that the process has held, set back before
each call (ru_maxrss would start at the parent's). Elsewhere it is ru_maxrss, which never falls, so
that a call lower than one before it reads as nothing. Either counts what the allocator keeps.
"""

from __future__ import annotations

import ctypes
import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import percell
from benchmarks.models import build
from benchmarks.percell import Cell, Disturbance
from benchmarks.rows import run_map
from benchmarks.scenes import find_scene
from benchmarks.suite import Result
from pytest_ragshortcut.models.rag_model import RagModel

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MIB = 2**20


def peaks(results: Sequence[Result], script: Path, *, device: str, dtype: str) -> list[Result]:
    """Measure the map's peak at every size, each in a fresh process."""
    found = []
    for result in results:
        if not any(row["key"] == "map" for row in result["rows"]):
            continue
        wanted = {name: result[name] for name in ("shape", "n_layers", "n_tokens", "n_samples")}
        job = wanted | {"seed": result["seed"], "device": device, "dtype": dtype}
        command = [sys.executable, str(script), "--memory-of", json.dumps(job)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = run.stdout.strip().splitlines()
        if run.returncode or not lines:
            reason = (run.stderr.strip().splitlines() or ["no output"])[-1]
            found.append(wanted | {"failed": reason})
        else:
            found.append(wanted | json.loads(lines[-1]))
    return found


def probe(job: dict[str, Any]) -> dict[str, float]:
    """Measure, in this process: one plain forward, the whole map, one cell by hooks; in MiB."""
    loaded = build(job["shape"], job["n_layers"], device=job["device"], dtype=job["dtype"])
    scene = find_scene(loaded, job["n_tokens"], n_samples=job["n_samples"], seed=job["seed"])
    prompt = scene.open_book
    span = prompt.positions("subject")
    disturbance = Disturbance(span, noise=scene.noise(len(span)))
    cell = Cell((loaded.n_layers // 2,), (span[-1],))
    return {
        "forward_mib": rise(lambda: percell.plain(loaded.model, prompt), job["device"]),
        "map_mib": rise(
            lambda: run_map(RagModel(loaded.model, loaded.tokenizer), scene), job["device"]
        ),
        "cell_mib": rise(
            lambda: percell.disturbed(loaded.model, prompt, disturbance, cell), job["device"]
        ),
    }


def rise(call: Callable[[], object], device: str = "cpu") -> float:
    """Return how far a call lifts the peak above what was held before it, in MiB."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - held) / _MIB
    if _RESET.exists():
        _trim()
        _RESET.write_text("5", encoding="ascii")
        held = _status("VmRSS")
        call()
        return max(0.0, _status("VmHWM") - held)
    held = _max_rss()
    call()
    return _max_rss() - held


def _trim() -> None:
    """Give back what the allocator keeps of earlier calls, where it can be told to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(field: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None, "Linux states it"
    return int(found.group(1)) / 1024


def _max_rss() -> float:
    kept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kept / _MIB if sys.platform == "darwin" else kept / 1024
