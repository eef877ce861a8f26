"""Whether hunting with Hypothesis finds planted defects, and what it shrinks them to.

python tests/benchmarks/hunts.py
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

# As a script this file has its own folder on the path, and its package is one level up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.defects import (
    CASES,
    CHANGES,
    CLEAN,
    DEFECTS,
    MAX_EXAMPLES,
    embedded,
    falls_back,
    follows,
    singly_changed,
)
from benchmarks.hunting import Alarms, Asked, Found, Hunt, measure, raised
from benchmarks.machine import describe, summary
from benchmarks.tables import number, table
from benchmarks.timing import progress
from pytest_ragshortcut import RagCase
from pytest_ragshortcut.errors import PromptTooLongError

_MAX_CHANCE = 0.05
RESULTS = Path(__file__).resolve().parent / "results" / "hunts.md"

_COLUMNS = (
    "defect", "what the model does", "drawn", "found", "examples to find it",
    "contexts to shrink it", "shrunk at once", "sentences left", "bare", "fewest", "forwards",
    "bounds",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt, print what came of it, and keep it; 1 where a bound is missed."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    defects = [each for each in DEFECTS if not options.only or each.name in options.only]
    found, alarms = [], []
    for defect in defects:
        with progress(f"hunting: {defect.name}", shown=True):
            found.append(measure(defect, options.seeds))
    with progress("what the reader reads", shown=True):
        reader = stood()
    for clean in CLEAN:
        with progress(f"no defect: {clean.name}, {clean.drawn}", shown=True):
            alarms.append(raised(clean, options.seeds, options.examples))
    text = report(found, reader, alarms)
    print(text)
    if options.write:
        RESULTS.write_text(f"{text}\n", encoding="utf-8")
    return int(any(each.missed for each in found) or any(each.failing for each in alarms))


def stood() -> dict[str, tuple[int, int]]:
    """Count, by what is done to a context, those that the reader reads, and all."""
    reader = embedded("reader")
    reads, recalls = Asked(reader, follows), Asked(reader, falls_back)
    counts: dict[str, tuple[int, int]] = {}
    for case in CASES:
        for name, changed in singly_changed(case).items():
            held = [_holds(reads if each.context_answer else recalls, each) for each in changed]
            n_held, n_asked = counts.get(name, (0, 0))
            counts[name] = n_held + sum(held), n_asked + len(held)
    return counts


def _holds(asked: Asked, case: RagCase) -> bool:
    # In other scripts and wide letters a passage is many tokens, and may exceed the window.
    try:
        return asked.read(case).holds
    except PromptTooLongError:
        return False


def report(
    found: Sequence[Found], reader: Mapping[str, tuple[int, int]], alarms: Sequence[Alarms]
) -> str:
    """Write everything as Markdown."""
    return "\n\n".join(
        [
            "# Hunts for planted defects",
            f"{summary(describe('cpu', 'float32'))}, hypothesis {version('hypothesis')}.",
            "Of each cell with two numbers the first is the median over the seeds, the other the "
            "highest. What the columns mean stands in README.md one folder up.",
            table(_COLUMNS, map(_hunted, found)),
            "What the first seed of each shrank to:",
            "\n".join(_example(each) for each in found if each.shrunk),
            "## With a target",
            "Examples until the first failure, the same seeds: undirected, and with "
            "`hypothesis.target(1 - score)` and its phase. One more than there were is none found. "
            "By chance: how often a coin would part the seeds as unevenly.",
            table(("defect", "at most", "undirected", "directed", "sooner in", "later in",
                   "by chance", "it helps"),
                  map(_compared, found)),
            "## Without a defect",
            f"The hunts open contexts with marks, change them by {_listed(CHANGES)}, and draw "
            "namesakes; the models without a defect are asked all of it. A case fails that "
            "is not above its limit.",
            table(("model", "drawn", "limit", "examples", "different", "lowest", "alarms"),
                  map(_alarmed, alarms)),
            *(f"- {each.clean.name}: `{case!r}`" for each in alarms for case in each.failing),
            "What the reader reads of contexts to which one thing is done:",
            table(("done", "read", "of"), _stood(reader)),
        ]
    )  # fmt: skip


def _hunted(found: Found) -> list[str]:
    defect = found.defect
    has_bounds = defect.max_examples == MAX_EXAMPLES
    return [
        defect.name,
        defect.planted,
        defect.drawn,
        f"{found.n_found} of {len(found.hunts)}",
        f"{_spread(_to_find(found, found.hunts))} of {defect.max_examples}",
        _spread([each.n_further for each in found.hunts if each.shrunk]),
        _spread([each.n_further for each in found.stopping if each.shrunk]),
        _spread(found.left),
        *(f"{sum(each)} of {len(each)}" if each else "-" for each in (
            found.bare, [n == least for n, least in zip(found.left, found.fewest, strict=True)]
        )),
        number(found.forwards),
        "; ".join(found.missed) or ("kept" if has_bounds else "none set"),
    ]  # fmt: skip


def _compared(found: Found) -> list[str]:
    sooner, later = found.directed_wins
    chance = by_chance(sooner, later)
    return [
        found.defect.name,
        str(found.defect.max_examples),
        *(_spread(_to_find(found, hunts)) for hunts in (found.hunts, found.directed)),
        f"{sooner} of {len(found.hunts)}",
        f"{later} of {len(found.hunts)}",
        f"{chance:.2f}",
        "not shown" if chance > _MAX_CHANCE else ("yes" if sooner > later else "it harms"),
    ]


def _alarmed(alarms: Alarms) -> list[str]:
    clean = alarms.clean
    return [
        clean.name,
        clean.drawn,
        f"{clean.limit:g}" if clean.claim is follows else "says it",
        f"{alarms.n_examples:,}",
        f"{alarms.n_different:,}",
        f"{alarms.lowest:.3f}",
        str(len(alarms.failing)),
    ]


def by_chance(sooner: int, later: int) -> float:
    """Return how often chance alone would part so many seeds as unevenly, in [0, 1]: a sign test.

    Example:
        >>> by_chance(7, 1), by_chance(0, 0)
        (0.0703125, 1.0)
    """
    n_parted, fewer = sooner + later, min(sooner, later)
    return min(1.0, 2 * sum(math.comb(n_parted, k) for k in range(fewer + 1)) / 2**n_parted)


def _stood(reader: Mapping[str, tuple[int, int]]) -> list[list[str]]:
    return [[name, str(n_held), str(n_asked)] for name, (n_held, n_asked) in reader.items()]


def _example(found: Found) -> str:
    return f"- {found.defect.name}: `{found.shrunk[0].context!r}`"


def _to_find(found: Found, hunts: Sequence[Hunt]) -> list[int]:
    return [each.n_to_find or found.defect.max_examples + 1 for each in hunts]


def _spread(values: Sequence[int]) -> str:
    return f"{median(values):g}, {max(values)}" if values else "-"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    names = [each.name for each in DEFECTS]
    add("--seeds", type=int, default=20, help="hunts for each defect")
    add("--examples", type=int, default=500, help="of each seed without a defect")
    add("--only", nargs="+", choices=names, default=[], metavar="DEFECT", help=", ".join(names))
    add("--write", action="store_true", help="keep the results in results/hunts.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
