"""Which states of a row can differ from those of the run it starts from: pure positions.

A row starts from a base, the clean run or a corrupted one, whose states are all kept. In a causal
model a changed state at some position and layer changes states above it and behind it, never
before it. So each layer computes the positions that can have changed, and no others.
"""

from __future__ import annotations

from collections.abc import Hashable
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
    """(n_changed,) ascending: those whose input is the row's own; all of them are in `own`."""
    clean_until: int
    """Inputs before this position are the clean run's; behind it the base's, where not changed."""
    cuts: tuple[Knockout, ...] = ()
    """The knockouts that act here."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """A row's work, layer by layer, and where its readers' final states come from."""

    layers: tuple[LayerWork, ...]
    """(n_layers,) the work of each."""
    restored: tuple[Positions, ...]
    """(n_layers,) positions that take the clean state after each layer, among those changed."""
    changed: Positions
    """(n_changed,) ascending: readers whose final state is the row's own."""
    clean: frozenset[int]
    """Readers whose final state is the clean run's; those in neither set have the base's."""
    histories: tuple[Hashable, ...]
    """(n_layers,) what was done up to each layer: rows of one base and history are one row."""

    @property
    def start(self) -> int:
        """The first layer with work; n_layers where there is none."""
        busy = (i for i, work in enumerate(self.layers) if work.queries.size)
        return next(busy, len(self.layers))

    @property
    def counts(self) -> list[int]:
        """(n_layers,) how many positions pass through each layer."""
        return [work.queries.size for work in self.layers]


def read_alone(readers: tuple[int, ...], n_layers: int) -> Schedule:
    """Schedule the reading of a run itself: its readers through the last layer, nothing else."""
    at = _array(set(readers))
    idle = LayerWork(NOTHING, NOTHING, NOTHING, 0)
    return Schedule(
        layers=(idle,) * (n_layers - 1) + (LayerWork(at, NOTHING, NOTHING, 0),),
        restored=(NOTHING,) * n_layers,
        changed=at,
        clean=frozenset(),
        histories=(readers,) * n_layers,
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
    put_back, differing = set[int](), set[int]()
    clean_until = first_changed
    history: Hashable = readers
    layers, restored, histories = [], [], []
    for layer in range(n_layers):
        cuts = tuple(k for k in knockouts if layer in k.layers)
        computed = _reached(changed, clean_until, first_changed, last) | _cut_targets(cuts, last)
        sites = _sites(restorations, layer, last, residual=False)
        computed |= {p for p in sites if p >= clean_until}
        queries = computed.intersection(readers) if layer == n_layers - 1 else computed
        # Above the last layer only readers are read: the others matter as keys and values alone.
        own = changed if layer == n_layers - 1 else computed
        own_set = _array(own if queries else set())
        layers.append(LayerWork(_array(queries), own_set, _array(changed), clean_until, cuts))
        if cuts or sites:
            edges = tuple((cut.sources, cut.targets) for cut in cuts)
            history = (history, layer, edges, _acting(restorations, layer))
        histories.append(history)
        put_back = _sites(restorations, layer, last, residual=True)
        if put_back:
            history = (history, layer, tuple(sorted(put_back)))
        differing = computed - put_back
        still_clean = min({clean_until} | differing)
        put_back |= set(range(max(still_clean, first_changed), clean_until)) - differing
        clean_until = still_clean
        # What is clean up to some position, and reads nothing else, stays clean for good.
        while clean_until in put_back:
            clean_until += 1
        kept = {p for p in put_back if p >= max(clean_until, first_changed)}
        changed = differing | kept
        restored.append(_array(kept))
    return Schedule(
        layers=tuple(layers),
        restored=tuple(restored),
        changed=_array(differing.intersection(readers)),
        clean=frozenset(r for r in readers if r in put_back or r < clean_until),
        histories=tuple(histories),
    )


def _reached(changed: set[int], clean_until: int, first_changed: int, last: int) -> set[int]:
    """Every position from the first changed one on reads a changed key."""
    # Behind a restored beginning, positions read clean keys where the base's are corrupted.
    begins = changed | ({clean_until} if clean_until > first_changed else set())
    return set(range(min(begins), last + 1)) if begins else set()


def _cut_targets(cuts: tuple[Knockout, ...], last: int) -> set[int]:
    return {
        target
        for cut in cuts
        for target in cut.targets
        if target <= last and any(source < target for source in cut.sources)
    }


def _sites(
    restorations: tuple[Restoration, ...], layer: int, last: int, *, residual: bool
) -> set[int]:
    return {
        p
        for r in restorations
        if (r.component == "residual") == residual and layer in r.layers
        for p in r.positions
        if p <= last
    }


def _acting(restorations: tuple[Restoration, ...], layer: int) -> Hashable:
    return tuple(
        (r.component, r.positions)
        for r in restorations
        if r.component != "residual" and layer in r.layers
    )


def _array(positions: set[int]) -> Positions:
    return np.array(sorted(positions), dtype=np.int64)
