"""Packed attention, carried out: every set of keys by itself, and the parts merged."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from pytest_ragshortcut.models.incremental.frame import AttentionInput, KeysAndValuesTaken
from pytest_ragshortcut.models.incremental.runs import KeptRun
from pytest_ragshortcut.models.incremental.schedule import Positions
from pytest_ragshortcut.models.incremental.scores import (
    Attended,
    Scoring,
    accumulation_dtype,
    attend,
    merge,
)


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
    keys: Positions
    """(n_rows, n_keys) indices of the rows' own keys."""
    near: torch.Tensor | None
    """(n_rows, n_near) indices of keys before these, among the layer's `near` ones."""
    hidden: torch.Tensor | None
    """(n_rows or 1, n_queries, n_near + n_keys) True where a query does not see a key."""
    causal: bool
    """Whether query i sees keys 0 to i alone."""


@dataclass(eq=False)
class LayerAttention:
    """Attention of one layer over packed tokens; keeps the keys and values it is given."""

    layer: int
    shared: tuple[SharedKeys, ...]
    own: tuple[OwnKeys, ...]
    near: tuple[tuple[KeptRun, slice], ...] = ()
    """Parts of runs that stand right before rows' own keys, side by side."""
    keys: torch.Tensor | None = None
    """(n_kv_heads, n_own, d_key) the rows' own keys; None where they are the packed tokens'."""
    values: torch.Tensor | None = None
    given: AttentionInput = field(init=False)
    """What the packed tokens gave."""

    def __call__(self, given: AttentionInput) -> torch.Tensor:
        """Attend."""
        self.given, scoring = given, given.scoring
        n_kv, width = given.key.shape[0], given.value.shape[-1]
        grouped = given.query.unflatten(0, (n_kv, -1))
        if self.keys is None or self.values is None:
            self.keys, self.values = given.key, given.value
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
        near = self._near()
        for group in self.own:
            self._add_own(total, grouped, group, near, scoring)
        if given.sinks is not None:
            total.add_sinks(given.sinks.view(n_kv, -1, 1))
        return total.output.flatten(0, 1).transpose(0, 1)

    def _near(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return (n_kv_heads, n, d) keys and values of the parts in `near`."""
        if not self.near:
            return None
        keys = [run.keys[self.layer][:, part] for run, part in self.near]
        values = [run.values[self.layer][:, part] for run, part in self.near]
        return torch.cat(keys, dim=1), torch.cat(values, dim=1)

    def _add_own(
        self,
        total: _Total,
        grouped: torch.Tensor,
        group: OwnKeys,
        near: tuple[torch.Tensor, torch.Tensor] | None,
        scoring: Scoring,
    ) -> None:
        assert self.keys is not None
        assert self.values is not None
        n_rows, n_queries = group.queries.shape
        at, own = _stretch(group.queries.ravel()), _stretch(group.keys.ravel())
        # (n_kv, group, n_rows * n_queries, d) -> (n_rows, n_kv, group, n_queries, d)
        picked = grouped[:, :, _index(at, grouped)].unflatten(2, (n_rows, n_queries))
        key, value = (
            x[:, _index(own, x)].unflatten(1, (n_rows, -1)) for x in (self.keys, self.values)
        )
        if group.near is not None and near is not None:
            before = (x[:, group.near] for x in near)
            key, value = (torch.cat(pair, dim=2) for pair in zip(before, (key, value), strict=True))
        if group.causal and n_queries == 1:
            attended = _itself(picked, key, value, scoring)
        else:
            attended = attend(
                picked.permute(2, 0, 1, 3, 4),
                key.transpose(0, 1),
                value.transpose(0, 1),
                scoring,
                hidden=group.hidden,
                causal=group.causal,
            )
        output = attended.output.permute(1, 2, 0, 3, 4).flatten(2, 3)
        total.add(at, output, attended.log_total.permute(1, 2, 0, 3).flatten(2, 3))


def _itself(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scoring: Scoring
) -> Attended:
    """Attend from single tokens each to itself: its weight is one.

    Args:
        query: (n_kv_heads, group, n_rows, 1, d_key).
        key: (n_kv_heads, n_rows, 1, d_key).
        value: (n_kv_heads, n_rows, 1, d_value).
        scoring: scale and softcap.
    """
    score = scoring.of(torch.linalg.vecdot(query, key[:, None]))
    output = value[:, None].to(score.dtype).expand(*score.shape, value.shape[-1])
    return Attended(output.permute(2, 0, 1, 3, 4), score.permute(2, 0, 1, 3))


def _stretch(indices: Positions) -> slice | Positions:
    """Return ascending indices without holes as a slice, which costs no copy."""
    first, last = int(indices[0]), int(indices[-1])
    return slice(first, last + 1) if last - first + 1 == indices.size else indices


def _index(at: slice | Positions, like: torch.Tensor) -> slice | torch.Tensor:
    return at if isinstance(at, slice) else torch.from_numpy(at).to(like.device)


@dataclass(eq=False)
class KeysAndValues:
    """Takes the keys and values of packed tokens, and leaves the layer."""

    given: AttentionInput = field(init=False)

    def __call__(self, given: AttentionInput) -> torch.Tensor:
        """Take them."""
        self.given = given
        raise KeysAndValuesTaken


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
        at = _index(tokens, output)
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
