"""Packed attention: which keys, in which run, each packed token of a layer sees.

The keys of a row lie in the runs it starts from, shared by all rows that start there, and among
the row's own. Each of these is attended to by itself, and the parts are merged; but for a few keys
of a run right before a row's own, which are cheaper gathered than merged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pytest_ragshortcut.models.incremental.attention import LayerAttention, OwnKeys, SharedKeys
from pytest_ragshortcut.models.incremental.runs import KeptRun
from pytest_ragshortcut.models.incremental.schedule import LayerWork, Positions

Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

# So many keys, a run's and a row's own together, are gathered into one place.
MAX_GATHERED = 64

# Behind every position, and ending before all of them.
_NOWHERE = range(np.iinfo(np.int64).max, 0)


@dataclass(frozen=True, eq=False)
class PackedRow:
    """A row's part in one layer."""

    providers: tuple[tuple[KeptRun, int, int], ...]
    """The runs that hold what is not the row's own, and their stretches, in order."""
    work: LayerWork
    """What the layer computes of it."""
    near: tuple[KeptRun, int, int] | None = None
    """The last of these stretches up to the row's own keys, where it is gathered among them."""

    def gathered(self, starts: Positions | None) -> PackedRow:
        """Return the row with a short last stretch among its own keys, if nothing cuts it.

        Args:
            starts: (n_tokens,) first visible key of each query; None is 0.
        """
        work, own = self.work, self.work.own_stretch
        if not (self.providers and work.queries.size and own) or work.cuts:
            return self
        run, start, stop = self.providers[-1]
        first, last = own[0], own[-1]
        fits = start < first <= stop and last - start < MAX_GATHERED
        # Behind its own keys' first the row sees its own alone.
        if not fits or last < work.queries[-1] or first > work.queries[0]:
            return self
        if starts is not None and starts[last] > start:
            return self
        return PackedRow(self.providers[:-1], work, (run, start, first))


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
        rows = [row.gathered(starts) for row in rows]
        near, first_near = _stretches([row.near for row in rows])
        counts = np.array([row.work.queries.size for row in rows])
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return LayerAttention(
            layer=layer,
            shared=tuple(self._shared(rows, offsets, starts)),
            own=tuple(self._own(rows, offsets, starts, first_near)),
            near=near,
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
            self._stretch(run, (start, stop), rows, members, offsets, starts)
            for (run, start, stop), indices in users.items()
            for members in _consecutive(indices)
        )
        return [part for part in parts if part is not None]

    def _stretch(
        self,
        run: KeptRun,
        held: tuple[int, int],
        rows: Sequence[PackedRow],
        members: range,
        offsets: Positions,
        starts: Positions | None,
    ) -> SharedKeys | None:
        used = [rows[index] for index in members]
        sizes = [row.work.queries.size for row in used]
        position = np.concatenate([row.work.queries for row in used])
        start, held_stop = held
        stop = np.minimum(held_stop, position + 1)
        # Own keys that reach up to the query hide all of the run's behind their first.
        owned = [row.work.own_stretch or _NOWHERE for row in used]
        own_first = np.repeat([own.start for own in owned], sizes)
        own_last = np.repeat([own.stop - 1 for own in owned], sizes)
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
            has_gaps = bool(row.work.own.size) and row.work.own_stretch is None
            if has_gaps or row.work.cuts:
                if hidden is None:
                    hidden = np.zeros((sum(sizes), key.size), dtype=np.bool_)
                if has_gaps:
                    hidden[at : at + size] |= np.isin(key, row.work.own)
                hidden[at : at + size] |= self._cut(row.work, key)
            at += size
        return hidden

    def _own(
        self,
        rows: Sequence[PackedRow],
        offsets: Positions,
        starts: Positions | None,
        first_near: Positions,
    ) -> list[OwnKeys]:
        groups: dict[tuple[int, int, int, bool], list[int]] = defaultdict(list)
        own_offsets = np.concatenate([[0], np.cumsum([row.work.own.size for row in rows])])
        for index, row in enumerate(rows):
            work = row.work
            if work.own.size and work.queries.size:
                # A single token sees itself, whatever is cut and however narrow the window.
                alone = work.own.size == work.queries.size == 1 and work.own[0] == work.queries[0]
                causal = alone or (np.array_equal(work.own, work.queries) and not work.cuts)
                if causal and starts is not None:
                    causal = bool(starts[work.own[-1]] <= work.own[0])
                n_near = row.near[2] - row.near[1] if row.near else 0
                groups[work.queries.size, work.own.size, n_near, causal].append(index)
        parts = []
        for (n_queries, n_own, n_near, causal), members in groups.items():
            hidden = None
            if n_near and causal:
                hidden = np.triu(np.ones((1, n_queries, n_own), dtype=np.bool_), 1)
            elif not causal:
                hidden = np.stack([self._own_hidden(rows[i].work, starts) for i in members])
            if n_near and hidden is not None:
                hidden = np.pad(hidden, [(0, 0), (0, 0), (n_near, 0)])
            near = first_near[members][:, None] + np.arange(n_near)
            parts.append(
                OwnKeys(
                    queries=offsets[members][:, None] + np.arange(n_queries),
                    keys=own_offsets[members][:, None] + np.arange(n_own),
                    near=torch.from_numpy(near).to(self.device) if n_near else None,
                    hidden=None if hidden is None else torch.from_numpy(hidden).to(self.device),
                    causal=causal and not n_near,
                )
            )
        return parts

    def _own_hidden(self, work: LayerWork, starts: Positions | None) -> Mask:
        hidden: Mask = work.own > work.queries[:, None]
        if starts is not None:
            hidden |= work.own < starts[work.queries][:, None]
        return hidden | self._cut(work, work.own) if work.cuts else hidden

    def _cut(self, work: LayerWork, keys: Positions) -> Mask:
        """Return (n_queries, n_keys), True on the cut edges; keys have no holes or are its own."""
        # By identity: rows share their cuts, and to hash many positions costs as much as a mask.
        edges = tuple((id(cut.sources), id(cut.targets)) for cut in work.cuts)
        name = (edges, work.queries.tobytes(), int(keys[0]), int(keys[-1]), keys.size)
        if name not in self._cut_masks:
            mask = np.zeros((work.queries.size, keys.size), dtype=np.bool_)
            for cut in work.cuts:
                targeted = np.isin(work.queries, cut.targets)
                mask |= targeted[:, None] & np.isin(keys, cut.sources)
            mask &= work.queries[:, None] != keys
            self._cut_masks[name] = mask
        return self._cut_masks[name]


def _stretches(
    asked: Sequence[tuple[KeptRun, int, int] | None],
) -> tuple[tuple[tuple[KeptRun, slice], ...], Positions]:
    """Lay stretches that begin alike in a run over each other, and the rest side by side.

    Returns:
        Each run's part, and where among all of them each stretch begins.
    """
    stops: dict[tuple[KeptRun, int], int] = {}
    for stretch in filter(None, asked):
        run, start, stop = stretch
        stops[run, start] = max(stop, stops.get((run, start), 0))
    parts = tuple(
        (run, slice(start - run.first, stop - run.first)) for (run, start), stop in stops.items()
    )
    begins = np.cumsum([0, *(part.stop - part.start for _, part in parts)]).tolist()
    begin = dict(zip(stops, begins, strict=False))
    return parts, np.array([begin[s[:2]] if s else 0 for s in asked], dtype=np.int64)


def _consecutive(indices: Sequence[int]) -> list[range]:
    """Split ascending indices into ranges without holes."""
    edges = np.flatnonzero(np.diff(indices) > 1) + 1
    return [range(int(part[0]), int(part[-1]) + 1) for part in np.split(indices, edges)]
