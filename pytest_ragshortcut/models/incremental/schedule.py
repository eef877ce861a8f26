"""Which states of a row can differ from those of the run it starts from: pure positions.

A row starts from a base, the clean run or a corrupted one, whose states are all kept. In a causal
model a changed state at some position and layer changes states above it and behind it, never
before it. So each layer computes the positions that can have changed, and no others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_ragshortcut.core.plans import Knockout, Restoration

Positions = NDArray[np.int64]
NOTHING: Positions = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class LayerWork:
    """What one layer computes of a row."""

    queries: Positions
    """(n_queries,) ascending: the positions that pass through the layer."""
    own: Positions
    """(n_own,) ascending: the positions whose keys and values are the row's own."""
    changed: Positions
    """(n_changed,) ascending: those of `own` whose input is the row's own, not the base's."""
    cuts: tuple[Knockout, ...] = ()
    """The knockouts that act here."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """A row's work, layer by layer, and where its readers' final states come from."""

    layers: tuple[LayerWork, ...]
    """(n_layers,) the work of each."""
    restored: tuple[Positions, ...]
    """(n_layers,) positions that take the clean state after each layer and differ from it."""
    changed: frozenset[int]
    """Readers whose final state is the row's own."""
    clean: frozenset[int]
    """Readers whose final state is the clean run's; those in neither set have the base's."""

    @property
    def start(self) -> int:
        """The first layer with work; n_layers where there is none."""
        busy = (i for i, work in enumerate(self.layers) if work.queries.size)
        return next(busy, len(self.layers))

    @property
    def n_token_layers(self) -> int:
        """How many positions pass through a layer, summed over layers."""
        return sum(work.queries.size for work in self.layers)


def read_alone(readers: tuple[int, ...], n_layers: int) -> Schedule:
    """Schedule the reading of a run itself: its readers through the last layer, nothing else."""
    idle = LayerWork(NOTHING, NOTHING, NOTHING)
    last = LayerWork(_array(set(readers)), NOTHING, NOTHING)
    return Schedule(
        layers=(idle,) * (n_layers - 1) + (last,),
        restored=(NOTHING,) * n_layers,
        changed=frozenset(readers),
        clean=frozenset(),
    )


def schedule(
    *,
    restorations: tuple[Restoration, ...],
    knockouts: tuple[Knockout, ...],
    readers: tuple[int, ...],
    first_changed: int,
    n_layers: int,
) -> Schedule:
    """Follow a row's changes from layer to layer.

    Args:
        restorations: the clean states put back.
        knockouts: the edges cut.
        readers: the positions whose final states are read.
        first_changed: the base equals the clean run before this position.
        n_layers: of the model.
    """
    last = max(readers)
    changed: set[int] = set()
    clean_out: set[int] = set()
    layers, restored = [], []
    for layer in range(n_layers):
        cuts = tuple(k for k in knockouts if layer in k.layers)
        computed = _reached(changed, last) | _cut_targets(cuts, last)
        computed |= {
            p
            for r in restorations
            if r.component != "residual" and layer in r.layers
            for p in r.positions
            if p <= last and (p >= first_changed or p in computed)
        }
        layers.append(_layer_work(computed, changed, cuts, readers, is_last=layer == n_layers - 1))
        put_back = {
            p
            for r in restorations
            if r.component == "residual" and layer in r.layers
            for p in r.positions
            if p <= last
        }
        clean_out = put_back
        changed = (computed - put_back) | {p for p in put_back if p >= first_changed}
        restored.append(_array({p for p in put_back if p >= first_changed}))
    return Schedule(
        layers=tuple(layers),
        restored=tuple(restored),
        changed=frozenset(changed - clean_out).intersection(readers),
        clean=frozenset(clean_out).intersection(readers),
    )


def _reached(changed: set[int], last: int) -> set[int]:
    """Every position from the first changed one on reads a changed key."""
    return set(range(min(changed), last + 1)) if changed else set()


def _cut_targets(cuts: tuple[Knockout, ...], last: int) -> set[int]:
    return {
        target
        for cut in cuts
        for target in cut.targets
        if target <= last and any(source < target for source in cut.sources)
    }


def _layer_work(
    computed: set[int],
    changed: set[int],
    cuts: tuple[Knockout, ...],
    readers: tuple[int, ...],
    *,
    is_last: bool,
) -> LayerWork:
    if not computed:
        return LayerWork(NOTHING, NOTHING, NOTHING)
    dirty = _array(changed)
    if not is_last:
        everything = _array(computed)
        return LayerWork(everything, everything, dirty, cuts)
    # Above the last layer only readers are read: the others matter as keys and values alone.
    queries = _array(computed.intersection(readers))
    return LayerWork(queries, dirty if queries.size else NOTHING, dirty, cuts)


def _array(positions: set[int]) -> Positions:
    return np.array(sorted(positions), dtype=np.int64)
