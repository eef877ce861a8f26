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
    """The runs that hold what is not the row's own, and their stretches, in order."""
    work: LayerWork
    """What the layer computes of it."""

    def stretch(self, run: KeptRun) -> tuple[int, int]:
        """Return the stretch that a run holds."""
        return next((start, stop) for each, start, stop in self.providers if each is run)


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

    queries: Positions
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
    queries: torch.Tensor | None = None
    """(n_heads, n_packed, d_key) the packed tokens'."""
    scoring: Scoring = Scoring(1.0)
    sinks: torch.Tensor | None = None

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
        self.queries, self.scoring, self.sinks = query, scoring, sinks
        grouped = query.unflatten(0, (n_kv, -1))
        if self.keys is None or self.values is None:
            self.keys, self.values = key, value
        total = _Total(grouped, width)
        for part in self.shared:
            keys, values = part.run.keys[self.layer], part.run.values[self.layer]
            attended = attend(
                grouped[None, ..., part.tokens, :],
                keys[None, :, part.keys],
                values[None, :, part.keys],
                scoring,
                hidden=part.hidden,
            )
            total.add(part.tokens, attended.output[0], attended.log_total[0])
        for group in self.own:
            self._add_own(total, grouped, group, scoring)
        if sinks is not None:
            total.add_sinks(sinks.view(n_kv, -1, 1))
        return total.output.flatten(0, 1).transpose(0, 1)

    def _add_own(
        self, total: _Total, grouped: torch.Tensor, group: OwnKeys, scoring: Scoring
    ) -> None:
        assert self.keys is not None
        assert self.values is not None
        n_rows, n_queries = group.queries.shape
        at = group.queries.ravel()
        # (n_kv, group, n_rows * n_queries, d) -> (n_rows, n_kv, group, n_queries, d)
        query = (
            grouped[:, :, torch.from_numpy(at).to(grouped.device)]
            .unflatten(2, (n_rows, n_queries))
            .permute(2, 0, 1, 3, 4)
        )
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
        total.add(at, output, log_total)


@dataclass(eq=False)
class KeysAndValues:
    """Takes the keys and values of packed tokens, and leaves the layer."""

    keys: torch.Tensor = field(init=False)
    values: torch.Tensor = field(init=False)
    queries: torch.Tensor = field(init=False)
    scoring: Scoring = field(init=False)
    sinks: torch.Tensor | None = field(init=False)

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scoring: Scoring,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """Take them."""
        self.keys, self.values, self.queries = key, value, query
        self.scoring, self.sinks = scoring, sinks
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
        # Rows that see the same stretch of a run, one behind the other.
        users: dict[tuple[KeptRun, int, int], list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            for stretch in row.providers:
                users[stretch].append(index)
        parts = (
            self._stretch(run, start, rows, members, offsets, starts)
            for (run, start, _), indices in users.items()
            for members in _consecutive(indices)
        )
        return [part for part in parts if part is not None]

    def _stretch(
        self,
        run: KeptRun,
        start: int,
        rows: Sequence[PackedRow],
        members: range,
        offsets: Positions,
        starts: Positions | None,
    ) -> SharedKeys | None:
        used = [rows[index] for index in members]
        sizes = [row.work.queries.size for row in used]
        position = np.concatenate([row.work.queries for row in used])
        stop = np.minimum(np.repeat([row.stretch(run)[1] for row in used], sizes), position + 1)
        # Own keys that reach up to the query hide all of the run's behind their first.
        own_first = np.repeat([_first(row.work.own) for row in used], sizes)
        own_last = np.repeat([_last(row.work.own) for row in used], sizes)
        stop = np.where(own_last >= stop - 1, np.minimum(stop, own_first), stop)
        high = int(stop.max())
        if high <= start:
            return None
        key = np.arange(start, high)
        hidden: Mask | None = None
        windowed = starts is not None and bool((starts[position] > start).any())
        if windowed or bool((own_first < stop).any()) or bool((stop != high).any()):
            hidden = key >= stop[:, None]
            hidden |= (key >= own_first[:, None]) & (key <= own_last[:, None])
            if starts is not None:
                hidden |= key < starts[position][:, None]
        hidden = self._irregular(hidden, used, sizes, key)
        return SharedKeys(
            run=run,
            keys=slice(start - run.first, high - run.first),
            tokens=slice(int(offsets[members.start]), int(offsets[members.stop])),
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
                # A single token sees itself, whatever is cut and however narrow the window.
                alone = work.own.size == work.queries.size == 1 and work.own[0] == work.queries[0]
                causal = alone or (np.array_equal(work.own, work.queries) and not work.cuts)
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
                    queries=queries,
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


class _Total:
    """Attention of all packed tokens, as its parts come in."""

    def __init__(self, grouped: torch.Tensor, width: int) -> None:
        precise = accumulation_dtype(grouped.dtype)
        self.output = grouped.new_empty((*grouped.shape[:-1], width), dtype=precise)
        self.log_total = grouped.new_empty(grouped.shape[:-1], dtype=precise)
        self._begun = np.zeros(grouped.shape[-2], dtype=np.bool_)

    def add(self, tokens: slice | Positions, output: torch.Tensor, log_total: torch.Tensor) -> None:
        """Merge a part that some tokens have; a token's first part is taken as it is."""
        begun = self._begun[tokens]
        at = tokens if isinstance(tokens, slice) else torch.from_numpy(tokens).to(output.device)
        if begun.any():
            if not begun.all():
                self._begin(np.arange(self._begun.size)[tokens][~begun])
            old = Attended(self.output[:, :, at], self.log_total[:, :, at])
            merged = merge(old, Attended(output, log_total))
            output, log_total = merged.output, merged.log_total
        self.output[:, :, at], self.log_total[:, :, at] = output, log_total
        self._begun[tokens] = True

    def _begin(self, tokens: Positions) -> None:
        at = torch.from_numpy(tokens).to(self.output.device)
        self.output[:, :, at], self.log_total[:, :, at] = 0.0, -torch.inf

    def add_sinks(self, sinks: torch.Tensor) -> None:
        """Merge a key without value that every query sees."""
        log_sink = sinks.to(self.log_total.dtype).expand_as(self.log_total)
        merged = merge(
            Attended(self.output, self.log_total),
            Attended(torch.zeros_like(self.output), log_sink),
        )
        self.output, self.log_total = merged.output, merged.log_total


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
