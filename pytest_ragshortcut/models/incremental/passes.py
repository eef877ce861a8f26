"""Passes over the layers: keep a run's states, or carry rows from their first change to the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import torch

from pytest_ragshortcut.core.plans import Component
from pytest_ragshortcut.models.hooks import Edit, component_module, edited
from pytest_ragshortcut.models.incremental.attention import KeysAndValues, LayerAttention
from pytest_ragshortcut.models.incremental.chunks import Chunk, RowWork, as_tensor, kept_inputs
from pytest_ragshortcut.models.incremental.frame import Frame
from pytest_ragshortcut.models.incremental.outfits import Outfit
from pytest_ragshortcut.models.incremental.packing import PackedRow, Packer
from pytest_ragshortcut.models.incremental.runs import KeptRun
from pytest_ragshortcut.models.incremental.schedule import NOTHING, LayerWork
from pytest_ragshortcut.models.incremental.scores import Scoring

# How many of a run's last positions keep their queries.
_LIKELY_READERS = 16


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
        at = as_tensor(np.concatenate(own), inputs[0])
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
            given = taken.given if is_last else attention.given
            self.scorings[index] = (given.scoring, given.sinks)
            for run, part in zip(runs, parts, strict=True):
                last = slice(max(part.start, part.stop - _LIKELY_READERS), part.stop)
                run.queries.append(given.query[:, last].clone())
                run.inputs.append(hidden[part].clone() if len(runs) > 1 else hidden)
                run.keys.append(given.key[:, part].contiguous())
                run.values.append(given.value[:, part].contiguous())
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
                    [
                        r.queries[i][:, p - r.first_query]
                        for p, r in zip(positions, where, strict=True)
                    ],
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
                self.frame.layer(index, hidden, outfit, as_tensor(at, hidden), taken)
                found.append(taken.given.query)
        return found

    def finals(self, works: Sequence[RowWork], outfit: Outfit) -> list[torch.Tensor]:
        """Carry rows to the end.

        Returns:
            For each row, (n_changed, d_model), the final states of its changed readers, ascending.
        """
        for clean, group in _by_clean(works).items():
            self._keep_components(clean, group, outfit)
        return Chunk(self.frame, works, outfit).run()

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

        with ExitStack() as stack:
            for component in {c for c, _ in sites}:
                module = component_module(self.layers[layer], component)
                stack.enter_context(edited(module, _keeping(seen, component)))
            at = as_tensor(positions, hidden)
            self.frame.layer(layer, hidden, outfit, at, attention)
        for component, position in sites:
            at_index = int(np.searchsorted(positions, position))
            clean.components[component, layer, position] = seen[component][at_index].clone()


def _by_clean(works: Sequence[RowWork]) -> dict[KeptRun, list[RowWork]]:
    groups: dict[KeptRun, list[RowWork]] = defaultdict(list)
    for work in works:
        groups[work.clean].append(work)
    return groups


def _keeping(seen: dict[Component, torch.Tensor], component: Component) -> Edit:
    def keep(output: torch.Tensor) -> torch.Tensor:
        seen[component] = output.view(-1, output.shape[-1])
        return output

    return keep
