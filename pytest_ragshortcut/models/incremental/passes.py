"""Passes over the layers: keep a run's states, or carry rows from their first change to the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch

from pytest_ragshortcut.core.plans import Component, Restoration
from pytest_ragshortcut.models.hooks import component_module, edited
from pytest_ragshortcut.models.incremental.frame import Frame, Outfit
from pytest_ragshortcut.models.incremental.packing import (
    KeysAndValues,
    LayerAttention,
    PackedRow,
    Packer,
)
from pytest_ragshortcut.models.incremental.runs import KeptRun, Providers
from pytest_ragshortcut.models.incremental.schedule import NOTHING, LayerWork, Positions, Schedule
from pytest_ragshortcut.models.incremental.scores import Scoring

# How many of a run's last positions keep their queries.
_LIKELY_READERS = 16


@dataclass(frozen=True, eq=False)
class RowWork:
    """A row as the passes see it."""

    clean: KeptRun
    base: KeptRun
    """The clean run, or the corrupted run above it, whose states the row has where unchanged."""
    schedule: Schedule
    restorations: tuple[Restoration, ...] = ()

    def providers(self, layer: int) -> Providers:
        """List the runs that hold what is not the row's own in a layer, and their stretches."""
        if self.base is self.clean:
            return self.clean.providers()
        clean_until = self.schedule.layers[layer].clean_until
        return self.clean.providers(0, clean_until) + self.base.providers(clean_until)


class Passes:
    """Runs packed tokens through a model's layers."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.layers = frame.architecture.layers
        self.scorings: dict[int, tuple[Scoring, torch.Tensor | None]] = {}
        """layer -> how it scores, and its sinks: known once a run is kept."""

    def keep(self, runs: Sequence[KeptRun], inputs: Sequence[torch.Tensor], outfit: Outfit) -> None:
        """Compute the states of runs, all in one pass, and keep them.

        Args:
            runs: the runs, still empty.
            inputs: for each run, (n_own, d_model), what the first layer reads.
            outfit: what the layers are given.
        """
        packer = Packer(inputs[0].device)
        own = [np.arange(run.first, len(run.ids)) for run in runs]
        rows = [
            PackedRow(
                run.parent.providers(0, run.first) if run.parent else (), LayerWork(p, p, p, 0)
            )
            for run, p in zip(runs, own, strict=True)
        ]
        stops = np.cumsum([p.size for p in own])
        parts = [slice(int(b) - p.size, int(b)) for p, b in zip(own, stops, strict=True)]
        at = self._tensor(np.concatenate(own), inputs[0])
        hidden = torch.cat(list(inputs))
        layouts: dict[int, LayerAttention] = {}
        for index in range(len(self.layers)):
            starts = outfit.window_starts[index]
            if id(starts) not in layouts:
                layouts[id(starts)] = packer.attention(index, rows, starts)
            taken = KeysAndValues()
            attention = replace(layouts[id(starts)], layer=index)
            is_last = index == len(self.layers) - 1
            output = self.frame.layer(index, hidden, outfit, at, taken if is_last else attention)
            source = taken if is_last else attention
            assert source.keys is not None
            assert source.values is not None
            assert source.queries is not None
            self.scorings[index] = (source.scoring, source.sinks)
            for run, part in zip(runs, parts, strict=True):
                last = slice(max(part.start, part.stop - _LIKELY_READERS), part.stop)
                run.queries.append(source.queries[:, last].clone())
                run.inputs.append(hidden[part].clone() if len(runs) > 1 else hidden)
                run.keys.append(source.keys[:, part].contiguous())
                run.values.append(source.values[:, part].contiguous())
            hidden = hidden if output is None else output

    def queries(self, run: KeptRun, positions: tuple[int, ...]) -> list[torch.Tensor]:
        """Return (n_layers,) each (n_heads, n_positions, d_key), a run's queries."""
        where = [
            next((r for r, start, stop in run.providers() if start <= p < stop), run)
            for p in positions
        ]
        if all(p >= r.first_query for p, r in zip(positions, where, strict=True)):
            return [
                torch.stack(
                    [r.queries[i][:, p - r.first_query] for p, r in zip(positions, where, strict=True)],
                    dim=1,
                )
                for i in range(len(self.layers))
            ]
        at = np.array(positions, dtype=np.int64)
        outfit = self.frame.outfit(run.outfit_tokens)
        found = []
        with self.frame.packed():
            for index in range(len(self.layers)):
                hidden = kept_inputs(run, index, at)
                taken = KeysAndValues()
                self.frame.layer(index, hidden, outfit, self._tensor(at, hidden), taken)
                found.append(taken.queries)
        return found

    def finals(self, works: Sequence[RowWork], outfit: Outfit) -> list[torch.Tensor]:
        """Carry rows to the end.

        Returns:
            For each row, (n_changed, d_model), the final states of its changed readers, ascending.
        """
        for clean, group in _by_clean(works).items():
            self._keep_components(clean, group, outfit)
        chunk = _Chunk(self, works, outfit)
        return chunk.run()

    def _keep_components(self, clean: KeptRun, works: Sequence[RowWork], outfit: Outfit) -> None:
        """Compute the clean outputs of sub-layers that rows restore, and keep them."""
        wanted: dict[int, set[tuple[Component, int]]] = defaultdict(set)
        for work in works:
            for r in work.restorations:
                if r.component != "residual":
                    for layer in r.layers:
                        queries = set(work.schedule.layers[layer].queries.tolist())
                        wanted[layer] |= {(r.component, p) for p in r.positions if p in queries}
        for layer, sites in wanted.items():
            missing = [(c, p) for c, p in sites if (c, layer, p) not in clean.components]
            if missing:
                self._keep_layer_components(clean, layer, missing, outfit)

    def _keep_layer_components(
        self,
        clean: KeptRun,
        layer: int,
        sites: Sequence[tuple[Component, int]],
        outfit: Outfit,
    ) -> None:
        positions = np.array(sorted({p for _, p in sites}), dtype=np.int64)
        row = PackedRow(clean.providers(), LayerWork(positions, NOTHING, NOTHING, 0))
        hidden = kept_inputs(clean, layer, positions)
        attention = Packer(hidden.device).attention(layer, [row], outfit.window_starts[layer])
        seen: dict[Component, torch.Tensor] = {}

        def keep(component: Component, output: torch.Tensor) -> torch.Tensor:
            seen[component] = output.view(-1, output.shape[-1])
            return output

        with ExitStack() as stack:
            for component in {c for c, _ in sites}:
                module = component_module(self.layers[layer], component)
                stack.enter_context(edited(module, lambda x, c=component: keep(c, x)))  # type: ignore[misc]
            at = self._tensor(positions, hidden)
            self.frame.layer(layer, hidden, outfit, at, attention)
        for component, position in sites:
            at_index = int(np.searchsorted(positions, position))
            clean.components[component, layer, position] = seen[component][at_index].clone()

    @staticmethod
    def _tensor(positions: Positions, like: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(positions).to(like.device)


class _Chunk:
    """Rows on their way through the layers together."""

    def __init__(self, passes: Passes, works: Sequence[RowWork], outfit: Outfit) -> None:
        self.passes, self.works, self.outfit = passes, works, outfit
        device = works[0].clean.inputs[0].device
        self.packer = Packer(device)
        self.width = max(len(work.clean.ids) for work in works)
        self.names: Positions = NOTHING
        """(n_packed,) row * width + position of the states that the last layer gave, ascending."""
        self.states = works[0].clean.inputs[0][:0]
        """(n_packed, d_model) these states."""
        self.holders = np.arange(len(works))
        """(n_rows,) the row whose states in the last layer are also each row's own."""

    def run(self) -> list[torch.Tensor]:
        """Run every layer with work; return each row's changed final states."""
        n_layers = len(self.passes.layers)
        for layer in range(min(work.schedule.start for work in self.works), n_layers):
            self._layer(layer, is_last=layer == n_layers - 1)
        return [
            self.states[self._find(row, work.schedule.changed)]
            for row, work in enumerate(self.works)
        ]

    def _layer(self, layer: int, *, is_last: bool) -> None:
        members = []
        holders, first_of = self.holders.copy(), dict[tuple[object, ...], int]()
        for row, work in enumerate(self.works):
            if work.schedule.layers[layer].queries.size:
                name = (work.base, work.schedule.histories[layer])
                holders[row] = first_of.setdefault(name, row)
                if holders[row] == row:
                    members.append(row)
        if not members:
            return
        parts = {row: self.works[row].schedule.layers[layer] for row in members}
        rows = [PackedRow(self.works[row].providers(layer), parts[row]) for row in members]
        attention = self.packer.attention(layer, rows, self.outfit.window_starts[layer])
        if is_last:
            self._take_own_keys(layer, parts, attention)
        names = self._named({row: part.queries for row, part in parts.items()})
        hidden = self._inputs(layer, names)
        at = self.passes._tensor(names % self.width, hidden)
        with ExitStack() as stack:
            self._restore_components(stack, layer, names)
            output = self.passes.frame.layer(layer, hidden, self.outfit, at, attention)
        assert output is not None
        self.names, self.states, self.holders = names, output, holders

    def _take_own_keys(
        self, layer: int, parts: dict[int, LayerWork], attention: LayerAttention
    ) -> None:
        names = self._named({row: part.own for row, part in parts.items()})
        if not names.size:
            return
        hidden = self._inputs(layer, names)
        taken = KeysAndValues()
        at = self.passes._tensor(names % self.width, hidden)
        self.passes.frame.layer(layer, hidden, self.outfit, at, taken)
        attention.keys, attention.values = taken.keys, taken.values

    def _inputs(self, layer: int, names: Positions) -> torch.Tensor:
        """Gather (n_packed, d_model): a row's own states, restored clean ones, or its base's."""
        row, position = names // self.width, names % self.width
        works = [self.works[int(r)] for r in np.unique(row)]
        indices = np.unique(row)
        changed = self._named(
            {int(r): w.schedule.layers[layer].changed for r, w in zip(indices, works, strict=True)}
        )
        put_back = NOTHING
        if layer:
            put_back = self._named(
                {
                    int(r): w.schedule.restored[layer - 1]
                    for r, w in zip(indices, works, strict=True)
                }
            )
        is_restored = _contains(put_back, names)
        is_own = _contains(changed, names) & ~is_restored
        first = works[0].clean.inputs[layer]
        hidden = first.new_empty((names.size, first.shape[-1]))
        if is_own.any():
            held = self.holders[row[is_own]] * self.width + position[is_own]
            source = np.searchsorted(self.names, held)
            hidden[_indices(is_own, hidden)] = self.states[self.passes._tensor(source, hidden)]
        clean_until = np.zeros(len(self.works), dtype=np.int64)
        for index, work in zip(indices, works, strict=True):
            clean_until[index] = work.schedule.layers[layer].clean_until
        is_clean = is_restored | (~is_own & (position < clean_until[row]))
        _fill(hidden, layer, [w.clean for w in self.works], row, position, is_clean)
        _fill(hidden, layer, [w.base for w in self.works], row, position, ~is_own & ~is_clean)
        return hidden

    def _restore_components(self, stack: ExitStack, layer: int, names: Positions) -> None:
        found: dict[Component, dict[int, torch.Tensor]] = defaultdict(dict)
        for row, work in enumerate(self.works):
            for r in work.restorations:
                if r.component != "residual" and layer in r.layers:
                    for p in r.positions:
                        name = row * self.width + p
                        at = int(np.searchsorted(names, name))
                        if at < names.size and names[at] == name:
                            found[r.component][at] = work.clean.components[r.component, layer, p]
        for component, states in found.items():
            at = torch.tensor(list(states), device=self.states.device)
            clean = torch.stack(list(states.values()))

            def put(
                output: torch.Tensor, at: torch.Tensor = at, clean: torch.Tensor = clean
            ) -> torch.Tensor:
                output.view(-1, output.shape[-1])[at] = clean
                return output

            stack.enter_context(edited(component_module(self.passes.layers[layer], component), put))

    def _named(self, positions: dict[int, Positions]) -> Positions:
        named = [row * self.width + at for row, at in positions.items() if at.size]
        return np.concatenate(named) if named else NOTHING

    def _find(self, row: int, positions: Positions) -> torch.Tensor:
        at = np.searchsorted(self.names, self.holders[row] * self.width + positions)
        return self.passes._tensor(at, self.states)


def kept_inputs(run: KeptRun, layer: int, positions: Positions) -> torch.Tensor:
    """Return (n_positions, d_model), what a layer read at these positions of a run."""
    hidden = run.inputs[layer].new_empty((positions.size, run.inputs[layer].shape[-1]))
    everywhere = np.ones(positions.size, dtype=np.bool_)
    _fill(hidden, layer, [run], np.zeros_like(positions), positions, everywhere)
    return hidden


def _fill(
    hidden: torch.Tensor,
    layer: int,
    runs: Sequence[KeptRun],
    row: Positions,
    position: Positions,
    where: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> None:
    """Fill packed tokens with the states of each row's run."""
    numbers = {id(run): number for number, run in enumerate(runs)}
    number = np.array([numbers[id(run)] for run in runs])[row]
    for each in np.unique(number[where]):
        of_run = where & (number == each)
        for run, start, stop in runs[int(each)].providers():
            chosen = of_run & (position >= start) & (position < stop)
            if chosen.any():
                source = torch.from_numpy(position[chosen] - run.first).to(hidden.device)
                hidden[_indices(chosen, hidden)] = run.inputs[layer][source]


def _indices(mask: np.ndarray[tuple[int], np.dtype[np.bool_]], like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.flatnonzero(mask)).to(like.device)


def _contains(
    sorted_names: Positions, names: Positions
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if not sorted_names.size:
        return np.zeros(names.size, dtype=np.bool_)
    at = np.minimum(np.searchsorted(sorted_names, names), sorted_names.size - 1)
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = sorted_names[at] == names
    return found


def _by_clean(works: Sequence[RowWork]) -> dict[KeptRun, list[RowWork]]:
    groups: dict[KeptRun, list[RowWork]] = defaultdict(list)
    for work in works:
        groups[work.clean].append(work)
    return groups
