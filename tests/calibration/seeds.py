"""What training gave, seed by seed: every folder that was trained, measured by what it promises.

    python tests/calibration/seeds.py DIR/switch-0 DIR/switch-1 ...        # named model-seed
    python tests/calibration/seeds.py --shipped
    python tests/calibration/seeds.py --show

Failures are kept with the rest: a folder named after a model and whatever else tells it apart.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# As a script this file has its own folder on the path, and its package is one level up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.tables import table
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from pytest_ragshortcut.models.embedded import NAMES, path, spec
from pytest_ragshortcut.models.embedded.policies import POLICIES

KEPT = Path(__file__).resolve().parent / "results" / "seeds.json"
N_CASES = 500
SHIPPED = "shipped"
Stored = list[dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the folders, keep what was found and print all that is kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--shipped", action="store_true", help="measure the models shipped, too")
    parser.add_argument("--show", action="store_true", help="print what is kept")
    options = parser.parse_args(arguments)
    kept = read_stored() if KEPT.exists() else []
    shipped = [path(name) for name in NAMES] if options.shipped else []
    for folder in [*shipped, *options.folders]:
        found = measured(folder)
        kept = [row for row in kept if row["name"] != found["name"]] + [found]
        KEPT.write_text(json.dumps(sorted_rows(kept), indent=1) + "\n", encoding="utf-8")
    print(report(sorted_rows(kept)))
    return 0


def read_stored() -> Stored:
    """Read what is kept."""
    stored: Stored = json.loads(KEPT.read_text(encoding="utf-8"))
    return stored


def measured(folder: Path) -> dict[str, Any]:
    """Measure one trained folder."""
    model = max((name for name in POLICIES if folder.name.startswith(name)), key=len)
    loaded = LlamaForCausalLM.from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    rates = spec.measure(loaded, tokenizer, model, n=N_CASES)
    return {
        "name": folder.name,
        "model": model,
        "run": folder.name.removeprefix(model).removeprefix("-") or SHIPPED,
        "shares": {kind: round(rate.share, 4) for kind, rate in rates.items()},
        "missed": spec.missed(rates, model),
    }


def sorted_rows(rows: Stored) -> Stored:
    """Sort by model, in the order of the policies, and by run."""
    order = list(POLICIES)
    return sorted(rows, key=lambda row: (order.index(row["model"]), row["run"]))


def shipped(rows: Stored) -> str:
    """Lay out what is shipped: each model's habit, and how reliably it has it."""
    body = [
        [f"`{row['model']}`", POLICIES[row["model"]].habit, _shares(row)]
        for row in rows
        if row["run"] == SHIPPED
    ]
    return table(["`embedded:`", "planted", f"of {N_CASES} held-out cases of each kind"], body)


def _shares(row: dict[str, Any]) -> str:
    return ", ".join(f"{kind} {share:.3f}" for kind, share in row["shares"].items())


def report(rows: Stored) -> str:
    """Lay out every run with the share of each kind of held-out cases, and what it misses."""
    body = [
        [
            row["model"],
            row["run"],
            _shares(row),
            ", ".join(row["missed"]) or "-",
        ]
        for row in rows
    ]
    return table(["model", "seed", "share of held-out cases as taught", "missed"], body)


if __name__ == "__main__":
    sys.exit(main())
