"""Which states of a row can differ from those of the run it starts from: pure positions.

A row starts from a base, the clean run or a corrupted one, whose states are all kept. In a causal
model a changed state at some position and layer changes states above it and behind it, never
before it. So each layer computes the positions that can have changed, and no others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_ragshortcut.core.plans import Knockout, Restoration

Positions = NDArray[np.int64]
NOTHING: Positions = np.empty(0, dtype=np.int64)

_Acts = TypeVar("_Acts", Knockout, Restoration)


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

    @cached_property
    def own_stretch(self) -> range | None:
        """The positions in `own` if they have no holes; None if they have, or are none."""
        first, last = self.own[[0, -1]].tolist() if self.own.size else (0, -1)
        return range(first, last + 1) if 0 < last + 1 - first == self.own.size else None


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
    history: Hashable = readers
    asked: tuple[object, ...] = ()
    step = _step((), (), frozenset(), first_changed, first_changed=first_changed, last=last)
    steps, histories = [], []
    cuts_of, acting_in = _by_layer(knockouts), _by_layer(restorations)
    for layer in range(n_layers):
        cuts, acting = cuts_of.get(layer, ()), acting_in.get(layer, ())
        before = cuts, acting, step.changed, step.clean_until
        # Mostly a layer does what the one below it did.
        if before != asked:
            asked, step = before, _step(*before, first_changed=first_changed, last=last)
        steps.append(step)
        if cuts or (acting and _sites(acting, last, residual=False)):
            history = _History(history, (layer, *_edges_and_sites(cuts, acting)))
        histories.append(history)
        if acting and (sites := _sites(acting, last, residual=True)):
            history = _History(history, (layer, tuple(sorted(sites))))
    read = step.differing.intersection(readers)
    return Schedule(
        layers=(*(each.work for each in steps[:-1]), _ending(step.work, readers)),
        restored=tuple(each.restored for each in steps),
        changed=_array(read),
        clean=frozenset(r for r in readers if r in step.put_back or r < step.clean_until),
        histories=tuple(histories),
    )


@dataclass(frozen=True)
class _History:
    """What was done to a row, in the order of its layers."""

    before: Hashable
    done: Hashable

    def __hash__(self) -> int:
        """Hash all of it, once: it names many positions, and is looked up in every layer."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.before, self.done))


def _by_layer(acts: tuple[_Acts, ...]) -> dict[int, tuple[_Acts, ...]]:
    found: dict[int, list[_Acts]] = defaultdict(list)
    for act in acts:
        for layer in set(act.layers):
            found[layer].append(act)
    return {layer: tuple(some) for layer, some in found.items()}


@dataclass(frozen=True, eq=False)
class _Step:
    """One layer's work, and the state of the row behind it."""

    work: LayerWork
    restored: Positions
    differing: frozenset[int]
    """Computed, and not put back."""
    put_back: frozenset[int]
    """Clean for being put back, or for reading nothing else."""
    changed: frozenset[int]
    clean_until: int


def _step(
    cuts: tuple[Knockout, ...],
    acting: tuple[Restoration, ...],
    changed: frozenset[int],
    clean_until: int,
    *,
    first_changed: int,
    last: int,
) -> _Step:
    computed = _reached(changed, clean_until, first_changed, last) | _cut_targets(cuts, last)
    computed |= {p for p in _sites(acting, last, residual=False) if p >= clean_until}
    at = _array(computed)
    put_back = _sites(acting, last, residual=True)
    differing = computed - put_back
    still_clean = min(clean_until, min(differing, default=clean_until))
    put_back |= set(range(max(still_clean, first_changed), clean_until)) - differing
    begins = still_clean
    # What is clean up to some position, and reads nothing else, stays clean for good.
    while begins in put_back:
        begins += 1
    kept = {p for p in put_back if p >= max(begins, first_changed)}
    return _Step(
        work=LayerWork(at, at, _array(changed), clean_until, cuts),
        restored=_array(kept),
        differing=frozenset(differing),
        put_back=frozenset(put_back),
        changed=frozenset(differing | kept),
        clean_until=begins,
    )


def _ending(work: LayerWork, readers: tuple[int, ...]) -> LayerWork:
    """Return the last layer's work: only readers are read, the others are keys and values alone."""
    queries = _array(set(readers).intersection(work.queries.tolist()))
    return replace(work, queries=queries, own=work.changed if queries.size else NOTHING)


def _reached(changed: frozenset[int], clean_until: int, first_changed: int, last: int) -> set[int]:
    """Every position from the first changed one on reads a changed key."""
    # Behind a restored beginning, positions read clean keys where the base's are corrupted.
    begins = min(changed, default=last + 1)
    if clean_until > first_changed:
        begins = min(begins, clean_until)
    return set(range(begins, last + 1))


def _cut_targets(cuts: tuple[Knockout, ...], last: int) -> set[int]:
    return {
        target
        for cut in cuts
        for first in [min(cut.sources, default=last)]
        for target in cut.targets
        if first < target <= last
    }


def _sites(acting: tuple[Restoration, ...], last: int, *, residual: bool) -> set[int]:
    return {
        p
        for r in acting
        if (r.component == "residual") == residual
        for p in r.positions
        if p <= last
    }


def _edges_and_sites(
    cuts: tuple[Knockout, ...], acting: tuple[Restoration, ...]
) -> tuple[Hashable, Hashable]:
    return (
        tuple((cut.sources, cut.targets) for cut in cuts),
        tuple((r.component, r.positions) for r in acting if r.component != "residual"),
    )


def _array(positions: Collection[int]) -> Positions:
    return np.array(sorted(positions), dtype=np.int64)
