"""Rows on their way through the layers together, each from its first change to the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch

from pytest_ragshortcut.core.plans import Component, Restoration
from pytest_ragshortcut.models.hooks import Edit, component_module, edited
from pytest_ragshortcut.models.incremental.attention import KeysAndValues, LayerAttention
from pytest_ragshortcut.models.incremental.frame import Frame
from pytest_ragshortcut.models.incremental.outfits import Outfit
from pytest_ragshortcut.models.incremental.packing import PackedRow, Packer
from pytest_ragshortcut.models.incremental.runs import KeptRun, Providers
from pytest_ragshortcut.models.incremental.schedule import NOTHING, LayerWork, Positions, Schedule


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


class Chunk:
    """Rows on their way through the layers together."""

    def __init__(self, frame: Frame, works: Sequence[RowWork], outfit: Outfit) -> None:
        self.frame, self.works, self.outfit = frame, works, outfit
        self.layers = frame.architecture.layers
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
        n_layers = len(self.layers)
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
        at = as_tensor(names % self.width, hidden)
        with ExitStack() as stack:
            self._restore_components(stack, layer, names)
            output = self.frame.layer(layer, hidden, self.outfit, at, attention)
        assert output is not None
        self.names, self.states, self.holders = names, output, holders

    def _take_own_keys(
        self, layer: int, parts: dict[int, LayerWork], attention: LayerAttention
    ) -> None:
        # Where rows' own keys are those of what passes through the layer, it gives them by itself.
        if all(np.array_equal(part.own, part.queries) for part in parts.values()):
            return
        names = self._named({row: part.own for row, part in parts.items()})
        if not names.size:
            return
        hidden = self._inputs(layer, names)
        taken = KeysAndValues()
        at = as_tensor(names % self.width, hidden)
        self.frame.layer(layer, hidden, self.outfit, at, taken)
        attention.keys, attention.values = taken.given.key, taken.given.value

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
            hidden[_indices(is_own, hidden)] = self.states[as_tensor(source, hidden)]
        clean_until = np.zeros(len(self.works), dtype=np.int64)
        for index, work in zip(indices, works, strict=True):
            clean_until[index] = work.schedule.layers[layer].clean_until
        is_clean = is_restored | (~is_own & (position < clean_until[row]))
        fill(hidden, layer, [w.clean for w in self.works], row, position, is_clean)
        fill(hidden, layer, [w.base for w in self.works], row, position, ~is_own & ~is_clean)
        return hidden

    def _restore_components(self, stack: ExitStack, layer: int, names: Positions) -> None:
        found: dict[Component, dict[int, torch.Tensor]] = defaultdict(dict)
        for row, work in enumerate(self.works):
            for r in work.restorations:
                if r.component != "residual" and layer in r.layers:
                    # A position behind the row's end has the next row's name.
                    for p in (p for p in r.positions if p < len(work.clean.ids)):
                        name = row * self.width + p
                        place = int(np.searchsorted(names, name))
                        if place < names.size and names[place] == name:
                            found[r.component][place] = work.clean.components[r.component, layer, p]
        for component, states in found.items():
            at = torch.tensor(list(states), device=self.states.device)
            clean = torch.stack(list(states.values()))

            stack.enter_context(
                edited(component_module(self.layers[layer], component), _replacing(at, clean))
            )

    def _named(self, positions: dict[int, Positions]) -> Positions:
        named = [row * self.width + at for row, at in positions.items() if at.size]
        return np.concatenate(named) if named else NOTHING

    def _find(self, row: int, positions: Positions) -> torch.Tensor:
        at = np.searchsorted(self.names, self.holders[row] * self.width + positions)
        return as_tensor(at, self.states)


def kept_inputs(run: KeptRun, layer: int, positions: Positions) -> torch.Tensor:
    """Return (n_positions, d_model), what a layer read at these positions of a run."""
    hidden = run.inputs[layer].new_empty((positions.size, run.inputs[layer].shape[-1]))
    everywhere = np.ones(positions.size, dtype=np.bool_)
    fill(hidden, layer, [run], np.zeros_like(positions), positions, everywhere)
    return hidden


def fill(
    hidden: torch.Tensor,
    layer: int,
    runs: Sequence[KeptRun],
    row: Positions,
    position: Positions,
    where: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> None:
    """Fill packed tokens with the states of each row's run."""
    if not where.any():
        return
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


def as_tensor(positions: Positions, like: torch.Tensor) -> torch.Tensor:
    """Move positions to where a tensor is."""
    return torch.from_numpy(positions).to(like.device)


def _replacing(at: torch.Tensor, clean: torch.Tensor) -> Edit:
    def replacing(output: torch.Tensor) -> torch.Tensor:
        # Some layers flatten rows and tokens before their MLP: view them as packed tokens again.
        output.view(-1, output.shape[-1])[at] = clean
        return output

    return replacing
