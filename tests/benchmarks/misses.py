"""What gradient screening misses: exact maps of the embedded models beside their estimates.

python tests/benchmarks/misses.py

A strong cell is one whose exact indirect effect is, in absolute value, at least half the largest of
its map. It is missed with k cells where k others have larger estimates.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# As a script this file has its own folder on the path, and its package is one level up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from numpy.typing import NDArray

from pytest_ragshortcut import RagCase, RagModel, causal_trace
from pytest_ragshortcut.core.results import TraceResult

BUDGETS = (5, 10, 20, 40)
_EVERY_CELL = 1 << 30
# A map that nothing moves has no strong cells to miss.
_LEAST_EFFECT = 0.01

_FILLER = "Tickets can be bought at the door."
_BORN = "Where was {} born?", "{} was born in {}."
_CAPITAL = "What is the capital of {}?", "The capital of {} is {}."
_WROTE = "Who wrote {}?", "{} was written by {}."
# A subject, what the models know of it, and what a passage says instead.
_FACTS = (
    (_BORN, "Eavan Boland", "Dublin", "Cork"),
    (_BORN, "Marie Curie", "Warsaw", "Lisbon"),
    (_BORN, "Oscar Wilde", "Dublin", "Rome"),
    (_BORN, "Albert Einstein", "Ulm", "Velmora"),
    (_CAPITAL, "France", "Paris", "Velmora"),
    (_CAPITAL, "Ireland", "Dublin", "Bern"),
    (_CAPITAL, "Spain", "Madrid", "Oslo"),
    (_WROTE, "Dracula", "Bram Stoker", "Jane Austen"),
    (_WROTE, "Emma", "Jane Austen", "Mary Shelley"),
    (_WROTE, "Hamlet", "William Shakespeare", "Bram Stoker"),
)
CASES = tuple(
    RagCase(
        question.format(subject),
        [_FILLER, statement.format(subject, said)],
        subject=subject,
        context_answer=said,
        memory_answer=known,
        answer=said,
    )
    for (question, statement), subject, known, other in _FACTS
    for said in (known, other)
)


@dataclass(frozen=True)
class Setting:
    """One model, and what is corrupted."""

    model: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What the table calls it."""
        return ", ".join([self.model.removeprefix("embedded:"), *map(str, self.options.values())])


SETTINGS = (
    Setting("embedded:reader", {"corrupt": "subject"}),
    Setting("embedded:reader", {"corrupt": "attribute", "corruption": "mask"}),
    Setting("embedded:reader", {"corrupt": "subject everywhere"}),
    Setting("embedded:memoriser", {"corrupt": "subject", "book": "closed"}),
)


@dataclass(frozen=True, eq=False)
class Ranked:
    """One map, its cells ranked by their estimates."""

    n_cells: int
    """How many have any effect."""
    strong: NDArray[np.int64]
    """(n_strong,) the ranks of the strong cells, 0 the largest estimate."""
    largest: int
    """The rank of the largest effect."""
    size: float
    """The largest estimate over the largest effect."""


@dataclass(frozen=True, eq=False)
class Misses:
    """What was missed in one setting."""

    label: str
    maps: tuple[Ranked, ...]

    def missed(self, k: int) -> float:
        """Return the share of all strong cells that k cells a map miss."""
        return float(np.mean(np.concatenate([each.strong for each in self.maps]) >= k))

    def by_chance(self, k: int) -> float:
        """Return the share that k cells a map would miss if they were drawn blindly."""
        lost = [max(0.0, 1.0 - k / each.n_cells) for each in self.maps]
        return float(np.average(lost, weights=[each.strong.size for each in self.maps]))

    def largest_missed(self, k: int) -> int:
        """Return in how many maps the largest cell of all is missed."""
        return sum(each.largest >= k for each in self.maps)


def ranked(trace: TraceResult) -> Ranked | None:
    """Rank an exact map by its estimate; None where the map shows nothing."""
    assert trace.estimate is not None
    effects, estimates = np.abs(trace.indirect_effect).ravel(), np.abs(trace.estimate).ravel()
    if effects.max() < _LEAST_EFFECT:
        return None
    ranks = np.argsort(np.argsort(-estimates, kind="stable"))
    return Ranked(
        n_cells=int(np.count_nonzero(effects)),
        strong=ranks[effects >= effects.max() / 2],
        largest=int(ranks[effects.argmax()]),
        size=float(estimates.max() / effects.max()),
    )


def measure(settings: Sequence[Setting] = SETTINGS) -> list[Misses]:
    """Trace every case in every setting, once and with both the map and its estimate."""
    models = {name: RagModel.from_pretrained(name, "cpu") for name in {s.model for s in settings}}
    found = []
    for setting in settings:
        model = models[setting.model]
        traces = (causal_trace(model, c, screen=_EVERY_CELL, **setting.options) for c in CASES)
        maps = tuple(each for each in map(ranked, traces) if each is not None)
        found.append(Misses(setting.label, maps))
    return found


def table(found: Sequence[Misses]) -> str:
    """Write what was missed as a text."""
    head = f"{'':34}{'maps':>5}{'cells':>6}{'strong':>7}" + "".join(
        f"{f'k={k}':>21}" for k in BUDGETS
    )
    lines = [head + f"{'size of estimate':>26}"]
    for misses in found:
        n_maps = len(misses.maps)
        cells = np.mean([each.n_cells for each in misses.maps])
        strong = np.mean([each.strong.size for each in misses.maps])
        sizes = [each.size for each in misses.maps]
        line = f"{misses.label:34}{n_maps:5}{cells:6.0f}{strong:7.1f}"
        for k in BUDGETS:
            share, chance = misses.missed(k), misses.by_chance(k)
            line += f"{share:10.0%} ({chance:3.0%}){misses.largest_missed(k):5}"
        lines.append(line + f"{np.median(sizes):10.2g} ({min(sizes):.1g} to {max(sizes):.2g})")
    return "\n".join(
        [
            *lines,
            "",
            "maps: cases in which some effect is at least 0.01. cells, strong: per map.",
            "k: share of strong cells missed (the same if drawn blindly), maps whose largest "
            "cell is missed.",
            "size of estimate: the largest over the largest effect, median (lowest to highest). It "
            "is no effect:",
            "where the corrupted run leaves p near 0 or 1 the slope all but vanishes, elsewhere it "
            "overshoots.",
        ]
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(table(measure()))
