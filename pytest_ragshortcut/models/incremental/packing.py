"""Packed attention: which keys, in which run, each packed token of a layer sees.

The keys of a row lie in the runs it starts from, shared by all rows that start there, and among
the row's own. Each of these is attended to by itself, and the parts are merged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from pytest_ragshortcut.core.plans import Knockout
from pytest_ragshortcut.models.incremental.frame import KeysAndValuesTaken
from pytest_ragshortcut.models.incremental.runs import KeptRun
from pytest_ragshortcut.models.incremental.schedule import LayerWork, Positions
from pytest_ragshortcut.models.incremental.scores import (
    Attended,
    Scoring,
    accumulation_dtype,
    attend,
    merge,
)

Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class PackedRow:
    """A row's part in one layer."""

    providers: tuple[tuple[KeptRun, int, int], ...]
    """The runs that hold what is not the row's own, and their stretches."""
    work: LayerWork
    """What the layer computes of it."""


@dataclass(frozen=True, eq=False)
class SharedKeys:
    """Keys of one run, seen by a stretch of packed tokens."""

    run: KeptRun
    keys: slice
    """Of the run's own positions."""
    tokens: slice
    """Of the packed tokens."""
    hidden: torch.Tensor | None
    """(1, n_queries, n_keys) True where a query does not see a key; None where all do."""


@dataclass(frozen=True, eq=False)
class OwnKeys:
    """Rows alike in shape, which see keys of their own."""

    queries: torch.Tensor
    """(n_rows, n_queries) indices of packed tokens."""
    keys: torch.Tensor
    """(n_rows, n_keys) indices of the rows' own keys."""
    hidden: torch.Tensor | None
    """(n_rows, n_queries, n_keys) True where a query does not see a key."""
    causal: bool
    """Whether query i sees keys 0 to i alone."""


@dataclass(eq=False)
class LayerAttention:
    """Attention of one layer over packed tokens; keeps the keys and values it is given."""

    layer: int
    shared: tuple[SharedKeys, ...]
    own: tuple[OwnKeys, ...]
    keys: torch.Tensor | None = None
    """(n_kv_heads, n_own, d_key) the rows' own keys; None where they are the packed tokens'."""
    values: torch.Tensor | None = None

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scoring: Scoring,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """Attend; shapes as PackedAttention has them."""
        n_kv, width = key.shape[0], value.shape[-1]
        grouped = query.unflatten(0, (n_kv, -1))
        precise = accumulation_dtype(query.dtype)
        if self.keys is None or self.values is None:
            self.keys, self.values = key, value
        total = Attended(
            grouped.new_zeros((*grouped.shape[:-1], width), dtype=precise),
            grouped.new_full(grouped.shape[:-1], -torch.inf, dtype=precise),
        )
        for part in self.shared:
            keys, values = part.run.keys[self.layer], part.run.values[self.layer]
            attended = attend(
                grouped[None, ..., part.tokens, :],
                keys[None, :, part.keys],
                values[None, :, part.keys],
                scoring,
                hidden=part.hidden,
            )
            _add(total, part.tokens, attended.output[0], attended.log_total[0])
        for group in self.own:
            self._add_own(total, grouped, group, scoring)
        if sinks is not None:
            log_sink = sinks.to(precise).view(n_kv, -1, 1).expand_as(total.log_total)
            total = merge(total, Attended(torch.zeros_like(total.output), log_sink))
        return total.output.flatten(0, 1).transpose(0, 1)

    def _add_own(
        self, total: Attended, grouped: torch.Tensor, group: OwnKeys, scoring: Scoring
    ) -> None:
        assert self.keys is not None
        assert self.values is not None
        n_rows, n_queries = group.queries.shape
        at = group.queries.flatten()
        # (n_kv, group, n_rows * n_queries, d) -> (n_rows, n_kv, group, n_queries, d)
        query = grouped[:, :, at].unflatten(2, (n_rows, n_queries)).permute(2, 0, 1, 3, 4)
        attended = attend(
            query,
            self.keys[:, group.keys].transpose(0, 1),
            self.values[:, group.keys].transpose(0, 1),
            scoring,
            hidden=group.hidden,
            causal=group.causal,
        )
        output = attended.output.permute(1, 2, 0, 3, 4).flatten(2, 3)
        log_total = attended.log_total.permute(1, 2, 0, 3).flatten(2, 3)
        _add(total, at, output, log_total)


@dataclass(eq=False)
class KeysAndValues:
    """Takes the keys and values of packed tokens, and leaves the layer."""

    keys: torch.Tensor = field(init=False)
    values: torch.Tensor = field(init=False)

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scoring: Scoring,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """Take them."""
        self.keys, self.values = key, value
        raise KeysAndValuesTaken


class Packer:
    """Lays out the rows of a chunk, layer by layer; remembers masks that layers share."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._cut_masks: dict[tuple[object, ...], Mask] = {}

    def attention(
        self,
        layer: int,
        rows: Sequence[PackedRow],
        window_starts: torch.Tensor | None,
    ) -> LayerAttention:
        """Lay out one layer's attention over the rows' queries, packed row by row."""
        starts = None if window_starts is None else window_starts.cpu().numpy()
        counts = np.array([row.work.queries.size for row in rows])
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return LayerAttention(
            layer=layer,
            shared=tuple(self._shared(rows, offsets, starts)),
            own=tuple(self._own(rows, offsets, starts)),
        )

    def _shared(
        self, rows: Sequence[PackedRow], offsets: Positions, starts: Positions | None
    ) -> list[SharedKeys]:
        users: dict[int, list[int]] = defaultdict(list)
        runs: dict[int, KeptRun] = {}
        for index, row in enumerate(rows):
            for run, _, _ in row.providers:
                users[id(run)].append(index)
                runs[id(run)] = run
        parts = []
        for key, indices in users.items():
            for stretch in _consecutive(indices):
                part = self._shared_stretch(runs[key], rows, stretch, offsets, starts)
                if part is not None:
                    parts.append(part)
        return parts

    def _shared_stretch(
        self,
        run: KeptRun,
        rows: Sequence[PackedRow],
        stretch: range,
        offsets: Positions,
        starts: Positions | None,
    ) -> SharedKeys | None:
        used = [rows[index] for index in stretch]
        sizes = [row.work.queries.size for row in used]
        position = np.concatenate([row.work.queries for row in used])
        stop = np.repeat([_stop(row, run) for row in used], sizes)
        stop = np.minimum(stop, position + 1)
        # Own keys that reach up to the query hide all of the run's behind their first.
        own_first = np.repeat([_first(row.work.own) for row in used], sizes)
        own_last = np.repeat([_last(row.work.own) for row in used], sizes)
        stop = np.where(own_last >= stop - 1, np.minimum(stop, own_first), stop)
        lo, hi = run.first, int(stop.max())
        if hi <= lo:
            return None
        key = np.arange(lo, hi)
        hidden: Mask | None = None
        inner = own_first < stop
        windowed = starts is not None and bool((starts[position] > lo).any())
        if windowed or bool(inner.any()) or not bool((stop == hi).all()):
            hidden = key >= stop[:, None]
            hidden |= (key >= own_first[:, None]) & (key <= own_last[:, None])
            if starts is not None:
                hidden |= key < starts[position][:, None]
        hidden = self._irregular(hidden, used, sizes, key)
        return SharedKeys(
            run=run,
            keys=slice(0, hi - lo),
            tokens=slice(int(offsets[stretch.start]), int(offsets[stretch.stop])),
            hidden=None if hidden is None else torch.from_numpy(hidden).to(self.device)[None],
        )

    def _irregular(
        self, hidden: Mask | None, rows: Sequence[PackedRow], sizes: Sequence[int], key: Positions
    ) -> Mask | None:
        """Hide what no stretch describes: own keys with gaps between them, and cut edges."""
        at = 0
        for row, size in zip(rows, sizes, strict=True):
            has_gaps = bool(row.work.own.size) and not _is_contiguous(row.work.own)
            if has_gaps or row.work.cuts:
                if hidden is None:
                    hidden = np.zeros((sum(sizes), key.size), dtype=np.bool_)
                if has_gaps:
                    hidden[at : at + size] |= np.isin(key, row.work.own)
                hidden[at : at + size] |= self._cut(row.work.cuts, row.work.queries, key)
            at += size
        return hidden

    def _own(
        self, rows: Sequence[PackedRow], offsets: Positions, starts: Positions | None
    ) -> list[OwnKeys]:
        groups: dict[tuple[int, int, bool], list[int]] = defaultdict(list)
        own_offsets = np.concatenate([[0], np.cumsum([row.work.own.size for row in rows])])
        for index, row in enumerate(rows):
            work = row.work
            if work.own.size and work.queries.size:
                causal = work.own is work.queries and not work.cuts
                if causal and starts is not None:
                    causal = bool(starts[work.own[-1]] <= work.own[0])
                groups[work.queries.size, work.own.size, causal].append(index)
        parts = []
        for (n_queries, n_own, causal), members in groups.items():
            queries = offsets[members][:, None] + np.arange(n_queries)
            keys = own_offsets[members][:, None] + np.arange(n_own)
            hidden = None
            if not causal:
                hidden = np.stack([self._own_hidden(rows[i].work, starts) for i in members])
            parts.append(
                OwnKeys(
                    queries=torch.from_numpy(queries).to(self.device),
                    keys=torch.from_numpy(keys).to(self.device),
                    hidden=None if hidden is None else torch.from_numpy(hidden).to(self.device),
                    causal=causal,
                )
            )
        return parts

    def _own_hidden(self, work: LayerWork, starts: Positions | None) -> Mask:
        hidden: Mask = work.own > work.queries[:, None]
        if starts is not None:
            hidden |= work.own < starts[work.queries][:, None]
        return hidden | self._cut(work.cuts, work.queries, work.own) if work.cuts else hidden

    def _cut(self, cuts: tuple[Knockout, ...], queries: Positions, keys: Positions) -> Mask:
        """Return (n_queries, n_keys), True on the cut edges."""
        edges = tuple((cut.sources, cut.targets) for cut in cuts)
        name = (edges, queries.tobytes(), keys.tobytes())
        if name not in self._cut_masks:
            mask = np.zeros((queries.size, keys.size), dtype=np.bool_)
            for sources, targets in edges:
                mask |= np.isin(queries, targets)[:, None] & np.isin(keys, sources)
            mask &= queries[:, None] != keys
            self._cut_masks[name] = mask
        return self._cut_masks[name]


def _add(
    total: Attended, tokens: slice | torch.Tensor, output: torch.Tensor, log_total: torch.Tensor
) -> None:
    """Merge attention of some tokens into the whole, in place."""
    old = Attended(total.output[:, :, tokens], total.log_total[:, :, tokens])
    new = merge(old, Attended(output, log_total))
    total.output[:, :, tokens], total.log_total[:, :, tokens] = new.output, new.log_total


def _stop(row: PackedRow, run: KeptRun) -> int:
    return next(stop for provider, _, stop in row.providers if provider is run)


def _is_contiguous(own: Positions) -> bool:
    return bool(own.size) and int(own[-1] - own[0]) + 1 == own.size


def _first(own: Positions) -> int:
    return int(own[0]) if _is_contiguous(own) else np.iinfo(np.int64).max


def _last(own: Positions) -> int:
    return int(own[-1]) if _is_contiguous(own) else -1


def _consecutive(indices: Sequence[int]) -> list[range]:
    """Split ascending indices into ranges without holes."""
    edges = np.flatnonzero(np.diff(indices) > 1) + 1
    return [range(int(part[0]), int(part[-1]) + 1) for part in np.split(indices, edges)]
