"""The one command: ask every planted model, print, and keep what was found. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

# As a script this file has its own folder on the path, and its package is one level up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from benchmarks.machine import describe

from calibration import pictures, seeds
from calibration.study import Settings, study
from calibration.tables import Stored, excerpts, filled, report
from pytest_ragshortcut.core.results import plain
from pytest_ragshortcut.models.embedded import NAMES

RESULTS = Path(__file__).resolve().parent / "results"
KEPT = "calibration.json"
PAGE = Path(__file__).resolve().parents[2] / "example_suites" / "ground_truth" / "README.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; 0 whatever it shows, since a finding is no test."""
    options = _parser().parse_args(arguments)
    path = RESULTS / KEPT
    if options.show or options.publish:
        print(report(read_stored(path)) if path.exists() else "nothing is stored")
        if options.publish:
            publish(read_stored(path))
        return 0
    # One thread, so that CPU time is work, not waiting.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    stored = measured(settings_of(options))
    print(report(stored))
    if options.write:
        store(stored, RESULTS / KEPT)
        publish(stored)
        print(f"\nwritten to results/{KEPT} and {PAGE.parent.name}/")
    return 0


def settings_of(options: argparse.Namespace) -> Settings:
    """Turn the command line into settings; --quick is one case of each kind."""
    shows = bool(options.progress or sys.stderr.isatty())
    if options.quick:
        return Settings(
            models=("reader", "memoriser"), dials=(0.0, 1.0), n_cases=1, n_dial_cases=1,
            n_paper_cases=1, n_priced=1, seed=options.seed, progress=shows,
        )  # fmt: skip
    return Settings(
        models=tuple(options.models),
        n_cases=options.cases,
        n_dial_cases=options.dial_cases,
        seed=options.seed,
        progress=shows,
    )


def measured(settings: Settings) -> Stored:
    """Run the study, as it would be read back; what is undefined is None."""
    start = time.process_time()
    found = study(settings)
    seconds = time.process_time() - start
    asked = asdict(settings)
    asked.pop("progress")
    kept: Stored = plain(
        {"machine": describe("cpu", "float32"), "settings": asked, "cpu_seconds": seconds} | found
    )
    return kept


def store(stored: Stored, path: Path) -> None:
    """Write results; a later run replaces them."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def publish(stored: Stored) -> None:
    """Put tables and pictures into the page for users."""
    pieces = excerpts(stored) | {"seeds": seeds.report(seeds.read_stored())}
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), pieces), encoding="utf-8")
    pictures.write(stored, PAGE.parent)


def read_stored(path: Path) -> Stored:
    """Read results."""
    stored: Stored = json.loads(path.read_text(encoding="utf-8"))
    return stored


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--models", nargs="+", choices=NAMES, default=NAMES, help="trained models; all of them")
    add("--cases", type=int, default=25, help="contradicting cases of each kind and trained model")
    add("--dial-cases", type=int, default=3, help="the same for each setting of the dials")
    add("--seed", type=int, default=2, help="of the cases")
    add("--quick", action="store_true", help="a few cases: does it run?")
    add("--write", action="store_true", help="keep the results in results/")
    add("--publish", action="store_true", help="put what is kept into the page for users again")
    add("--show", action="store_true", help="print the kept results")
    add("--progress", action="store_true", help="say what is under way, on a terminal or not")
    return parser


if __name__ == "__main__":
    sys.exit(main())
