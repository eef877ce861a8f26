"""The one command: measure, print, and keep what was found. See README.md beside it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# As a script this file has its own folder on the path, and its package is one level up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.machine import describe
from benchmarks.memory import peaks, probe
from benchmarks.models import SHAPES
from benchmarks.outside import run_tools
from benchmarks.rows import EARLY, ROWS
from benchmarks.suite import Settings, growth, measure_all
from benchmarks.tables import Stored, full, short
from benchmarks.timing import progress

SCRIPT = Path(__file__).resolve()
RESULTS = SCRIPT.parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; 0 whatever they show, since a ratio is no test."""
    options = _parser().parse_args(arguments)
    if options.show:
        print("\n\n".join(short(stored) for stored in read_stored(RESULTS)) or "nothing is stored")
        return 0
    if options.tools and (options.device, options.dtype) != ("cpu", "float32"):
        print("--tools compares in float32 on a CPU; leave --device and --dtype out.")
        return 2
    if options.memory_of:
        print(json.dumps(probe(json.loads(options.memory_of))))
        return 0
    if options.device == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device here, so nothing was measured.")
        return 0
    # One thread, here and in the processes started here, so that CPU time is work, not waiting.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    settings = settings_of(options)
    stored = measure_and_compare(settings, options)
    print(full(stored))
    if options.write:
        path = store(stored, RESULTS)
        print(f"\nwritten to results/{path.name}")
    return 0


def settings_of(options: argparse.Namespace) -> Settings:
    """Turn the command line into settings; --quick is a tiny model and a single round."""
    if options.quick:
        return Settings(
            shapes=("tiny",), layers=(2,), tokens=(32,), early_tokens=(32,), n_samples=2,
            rows=tuple(options.rows), repeats=1, n_cells=2, device=options.device,
            dtype=options.dtype, progress=_shows_progress(options),
        )  # fmt: skip
    return Settings(
        shapes=tuple(options.shape),
        layers=tuple(options.layers),
        tokens=tuple(options.tokens),
        rows=tuple(options.rows),
        device=options.device,
        dtype=options.dtype,
        n_samples=options.samples,
        repeats=options.repeats,
        n_cells=options.cells,
        setup_apart=not options.setup_inside,
        progress=_shows_progress(options),
    )


def measure_and_compare(settings: Settings, options: argparse.Namespace) -> Stored:
    """Measure everything that was asked for."""
    results = measure_all(settings)
    stored: Stored = {
        "machine": describe(settings.device, settings.dtype),
        "setup": "apart" if settings.setup_apart else "inside",
        "results": results,
        "growth": growth(results),
    }
    if not (options.quick or options.no_memory):
        with progress("memory, in processes of its own", shown=settings.progress):
            stored["memory"] = peaks(results, SCRIPT, device=settings.device, dtype=settings.dtype)
    if options.tools:
        workdir = Path(options.workdir or tempfile.mkdtemp(prefix="benchmarks-"))
        workdir.mkdir(parents=True, exist_ok=True)
        print(f"tools are installed into {workdir}", file=sys.stderr)
        stored["tools"] = run_tools(results, settings, workdir)
    return stored


def store(stored: Stored, folder: Path) -> Path:
    """Write results, one file for each device, dtype and set of models; a later run replaces it."""
    machine = stored["machine"]
    models = sorted({f"{r['shape']}{r['n_layers']}" for r in stored["results"]})
    where = "".join(c if c.isalnum() else "-" for c in machine["device"].lower())
    path = folder / f"{'-'.join(models)}-{where}-{machine['dtype']}.json"
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    return path


def read_stored(folder: Path) -> list[Stored]:
    """Read all stored results."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def _shows_progress(options: argparse.Namespace) -> bool:
    return bool(options.progress or sys.stderr.isatty())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    shapes = f"models: {', '.join(sorted(SHAPES))}"
    keys = [row.key for row in (*ROWS, EARLY)]
    add("--tokens", type=int, nargs="+", default=[32, 128, 512, 1024], help="prompt sizes")
    add("--layers", type=int, nargs="+", default=[12], help="depths")
    add("--shape", nargs="+", choices=sorted(SHAPES), default=["llama"], metavar="S", help=shapes)
    add("--rows", nargs="+", choices=keys, default=[], metavar="ROW", help=", ".join(keys))
    add("--samples", type=int, default=10, help="noise samples")
    add("--repeats", type=int, default=3, help="rounds of each row")
    add("--cells", type=int, default=4, help="cells that a row is compared with")
    add("--setup-inside", action="store_true", help="cold rows set their model up anew")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--dtype", choices=["float32", "bfloat16"], default="float32")
    add("--quick", action="store_true", help="a tiny model and one round: does it run?")
    add("--no-memory", action="store_true", help="leave the memory peaks out")
    add("--tools", action="store_true", help="install existing tools and time their cells")
    add("--workdir", help="where --tools installs; a temporary folder by default")
    add("--write", action="store_true", help="keep the results in results/")
    add("--show", action="store_true", help="print the kept results as a README quotes them")
    add("--progress", action="store_true", help="say what is under way, on a terminal or not")
    add("--memory-of", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
