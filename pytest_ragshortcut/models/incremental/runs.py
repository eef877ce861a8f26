"""Runs whose states are kept: clean runs that share prefixes, and corrupted runs above them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from pytest_ragshortcut.core.plans import Array, Component

Readout = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(eq=False)
class KeptRun:
    """The states of a run from one position on; those before it are its parent's."""

    ids: tuple[int, ...]
    """(n_tokens,) the token ids of the whole run."""
    first: int
    """The first position whose states are kept here."""
    parent: KeptRun | None
    """The run that it shares the earlier positions with."""
    outfit_tokens: int
    """The prompt length of the outfit it was computed under."""
    inputs: list[torch.Tensor] = field(default_factory=list)
    """(n_layers,) the input of each layer, (n_own, d_model)."""
    keys: list[torch.Tensor] = field(default_factory=list)
    """(n_layers,) each (n_kv_heads, n_own, d_key)."""
    values: list[torch.Tensor] = field(default_factory=list)
    """(n_layers,) each (n_kv_heads, n_own, d_value)."""
    queries: list[torch.Tensor] = field(default_factory=list)
    """(n_layers,) each (n_heads, n_last, d_key), of the last few positions, the likely readers."""
    components: dict[tuple[Component, int, int], torch.Tensor] = field(default_factory=dict)
    """(component, layer, position) -> (d_model,) clean output, where one was asked for."""
    readings: dict[Readout, tuple[Array, list[bool]]] = field(default_factory=dict)
    """(readers, answer ids) -> log-probabilities, and whether each token was the likeliest."""

    @property
    def first_query(self) -> int:
        """The first position whose queries are kept."""
        return len(self.ids) - self.queries[0].shape[1]

    @property
    def n_bytes(self) -> int:
        """How much memory the states take."""
        kept = (*self.inputs, *self.keys, *self.values, *self.queries, *self.components.values())
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)

    def providers(self, start: int = 0, stop: int | None = None) -> Providers:
        """List the runs that hold the states from `start` to `stop`, and their stretches."""
        stop = len(self.ids) if stop is None else stop
        before = self.parent.providers(start, min(self.first, stop)) if self.parent else ()
        start = max(start, self.first)
        return (*before, (self, start, stop)) if stop > start else before

    def keys_and_values(
        self, layer: int, stop: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (n_kv_heads, n_tokens, d) a layer's keys and values up to `stop`."""
        parts = [
            (run, slice(start - run.first, end - run.first))
            for run, start, end in self.providers(0, stop)
        ]
        if len(parts) == 1:
            ((run, at),) = parts
            return run.keys[layer][:, at], run.values[layer][:, at]
        return (
            torch.cat([run.keys[layer][:, at] for run, at in parts], dim=1),
            torch.cat([run.values[layer][:, at] for run, at in parts], dim=1),
        )

    def flattened(self) -> KeptRun:
        """Return the same run with no more than one ancestor: a root, or a tail above one."""
        parent = self.parent
        if parent is None or parent.parent is None:
            return self
        if self.first <= parent.first:
            return replace(self, parent=parent.parent).flattened()
        shared = slice(0, self.first - parent.first)
        follows = self.first == len(parent.ids) and self.first == self.first_query

        def joined(before: list[torch.Tensor], own: list[torch.Tensor]) -> list[torch.Tensor]:
            pairs = zip(before, own, strict=True)
            return [torch.cat([b[..., shared, :], o], dim=-2) for b, o in pairs]

        return replace(
            self,
            components={},
            readings={},
            first=parent.first,
            parent=parent.parent,
            inputs=joined(parent.inputs, self.inputs),
            keys=joined(parent.keys, self.keys),
            values=joined(parent.values, self.values),
            queries=[
                torch.cat([before, own], dim=1) if follows else own
                for before, own in zip(parent.queries, self.queries, strict=True)
            ],
        )

    def lineage(self) -> list[KeptRun]:
        """List the run and its ancestors, nearest first."""
        return [self, *(self.parent.lineage() if self.parent else [])]


Providers = tuple[tuple[KeptRun, int, int], ...]


class RunStore:
    """Clean runs by their token ids, the least recently used dropped first."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.n_bytes = max_bytes, 0
        self._runs: OrderedDict[tuple[int, ...], KeptRun] = OrderedDict()
        # In order, so that what shares most with a prompt stands next to it.
        self._ordered: list[tuple[int, ...]] = []
        self._sizes: dict[tuple[int, ...], int] = {}
        self._used: set[tuple[int, ...]] = set()

    def find(self, ids: tuple[int, ...]) -> KeptRun | None:
        """Return the run of a prompt, if it is kept."""
        run = self._runs.get(ids)
        if run is not None:
            self._touch(run)
        return run

    def longest_prefix(self, ids: tuple[int, ...]) -> tuple[KeptRun | None, int]:
        """Return the run that shares most tokens with a prompt, and how many."""
        at = bisect_left(self._ordered, ids)
        best, length = None, 0
        for near in self._ordered[max(0, at - 1) : at + 1]:
            shared = common_prefix(near, ids)
            if shared > length:
                best, length = self._runs[near], shared
        return best, length

    def add(self, run: KeptRun) -> None:
        """Keep a run, and drop others if memory asks for it."""
        if run.ids not in self._runs:
            insort(self._ordered, run.ids)
        self._runs[run.ids] = run
        self._weigh(run.ids)
        self._touch(run)
        self._drop_others()

    def trim(self) -> None:
        """Weigh anew what was used since the last time, and drop runs until the rest fits.

        A run in use lives on with whoever uses it.
        """
        for ids in self._used & self._runs.keys():
            self._weigh(ids)
        self._used.clear()
        self._drop_others()

    def clear(self) -> None:
        """Forget every run."""
        for kept in (self._runs, self._ordered, self._sizes, self._used):
            kept.clear()
        self.n_bytes = 0

    def __len__(self) -> int:
        return len(self._runs)

    def _weigh(self, ids: tuple[int, ...]) -> None:
        size = self._runs[ids].n_bytes
        self.n_bytes += size - self._sizes.get(ids, 0)
        self._sizes[ids] = size

    def _drop_others(self) -> None:
        while self.n_bytes > self.max_bytes and len(self._runs) > 1:
            ids, _ = self._runs.popitem(last=False)
            del self._ordered[bisect_left(self._ordered, ids)]
            self.n_bytes -= self._sizes.pop(ids)

    def _touch(self, run: KeptRun) -> None:
        # Ancestors last: a run is dropped before those that it needs.
        for each in run.lineage():
            if each.ids in self._runs:
                self._runs.move_to_end(each.ids)
                self._used.add(each.ids)


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the leading tokens that two prompts share.

    Example:
        >>> common_prefix((1, 2, 3), (1, 2, 4, 5))
        2
    """
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
