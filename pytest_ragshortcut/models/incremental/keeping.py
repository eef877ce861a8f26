"""The runs that rows start from: found in the store, extended from a shared prefix, or computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from pytest_ragshortcut.core.plans import Corruption
from pytest_ragshortcut.models.hooks import add_noise, edited
from pytest_ragshortcut.models.incremental.frame import Frame
from pytest_ragshortcut.models.incremental.memory import Budget
from pytest_ragshortcut.models.incremental.passes import Passes
from pytest_ragshortcut.models.incremental.runs import KeptRun, RunStore, common_prefix

# Sharing fewer tokens than this saves less than the second place to look up keys costs.
_MIN_SHARED = 8


class Keeper:
    """Keeps clean runs from plan to plan, and makes the corrupted runs of one."""

    def __init__(self, frame: Frame, passes: Passes, budget: Budget) -> None:
        self.frame, self.passes, self.budget = frame, passes, budget
        self.store = RunStore(budget.stored_bytes)
        self._agreements: dict[tuple[int, int], bool] = {}

    def clean_runs(self, prompts: Iterable[tuple[int, ...]]) -> dict[tuple[int, ...], KeptRun]:
        """Return the clean run of every prompt."""
        wanted = list(dict.fromkeys(prompts))
        runs = {ids: run for ids in wanted if (run := self.store.find(ids)) is not None}
        pending = [ids for ids in wanted if ids not in runs]
        while pending:
            wave = self._wave(pending)
            for group in self._groups(wave):
                self._compute(group, [self._embed(run)[run.first :] for run in group])
            for run in wave:
                runs[run.ids] = run.flattened()
                self.store.add(runs[run.ids])
            pending = [ids for ids in pending if ids not in runs]
        return runs

    def corrupted_runs(
        self, wanted: Iterable[tuple[KeptRun, Corruption | None]]
    ) -> dict[tuple[KeptRun, int], KeptRun]:
        """Return the corrupted runs above clean ones, by clean run and corruption's identity."""
        found: dict[tuple[KeptRun, int], KeptRun] = {}
        embedded: dict[KeptRun, torch.Tensor] = {}
        alike: dict[tuple[object, ...], KeptRun] = {}
        for clean, corruption in wanted:
            if corruption is None or (clean, id(corruption)) in found:
                continue
            first = min(corruption.positions)
            if first >= len(clean.ids):
                continue
            name = (clean, _content(corruption))
            if name not in alike:
                alike[name] = KeptRun(clean.ids, first, clean, clean.outfit_tokens)
                embedded[alike[name]] = self._embed_corrupted(clean.ids, corruption)[first:]
            found[clean, id(corruption)] = alike[name]
        for group in self._groups(list(embedded)):
            self._compute(group, [embedded[run] for run in group])
        return found

    def forget(self) -> None:
        """Forget every run: the model may have changed."""
        self.store.clear()
        self._agreements.clear()

    def common_outfits(self, lengths: Iterable[int]) -> dict[int, int]:
        """Map each prompt length to the longest one whose layers are given the same."""
        descending = sorted(set(lengths), reverse=True)
        return {n: next(m for m in descending if m >= n and self._agree(n, m)) for n in descending}

    def _wave(self, pending: Sequence[tuple[int, ...]]) -> list[KeptRun]:
        """Make the runs that can start now: those that share most with a run that is kept."""
        wave: list[KeptRun] = []
        for ids in pending:
            parent, shared = self._parent(ids)
            ahead = max((common_prefix(run.ids, ids) for run in wave), default=0)
            if ahead >= max(_MIN_SHARED, shared + 1):
                continue
            wave.append(KeptRun(ids, shared, parent, self.frame.prepared_length(len(ids))))
        return wave

    def _parent(self, ids: tuple[int, ...]) -> tuple[KeptRun | None, int]:
        parent, shared = self.store.longest_prefix(ids)
        # At least one token is computed anew: a run without tokens of its own has no tensors.
        shared = min(shared, len(ids) - 1)
        if parent is None or shared < _MIN_SHARED:
            return None, 0
        lengths = sorted((parent.outfit_tokens, self.frame.prepared_length(len(ids))))
        return (parent, shared) if self._agree(*lengths) else (None, 0)

    def _groups(self, runs: Sequence[KeptRun]) -> list[list[KeptRun]]:
        """Group runs that fit one pass and whose layers are given the same."""
        common = self.common_outfits(run.outfit_tokens for run in runs)
        groups: list[list[KeptRun]] = []
        size, last = 0, -1
        for run in sorted(runs, key=lambda run: common[run.outfit_tokens]):
            n_own = len(run.ids) - run.first
            fits = size + n_own <= self.budget.packed_tokens
            if not groups or not fits or common[run.outfit_tokens] != last:
                groups.append([])
                size, last = 0, common[run.outfit_tokens]
            groups[-1].append(run)
            size += n_own
        return groups

    def _compute(self, runs: Sequence[KeptRun], inputs: Sequence[torch.Tensor]) -> None:
        outfit = self.frame.outfit(max(run.outfit_tokens for run in runs))
        with self.frame.packed():
            self.passes.keep(runs, inputs, outfit)

    def _embed(self, run: KeptRun) -> torch.Tensor:
        return self.frame.embed(self._ids(run.ids))[0]

    def _embed_corrupted(self, ids: tuple[int, ...], corruption: Corruption) -> torch.Tensor:
        within = corruption.up_to(len(ids))
        embedding = self.frame.architecture.embedding
        with edited(embedding, lambda x: add_noise(x, [within])):
            return self.frame.embed(self._ids(within.embedded(ids)))[0]

    def _agree(self, shorter: int, longer: int) -> bool:
        if shorter == longer:
            return True
        if (shorter, longer) not in self._agreements:
            agrees = self.frame.outfit(shorter).agrees(self.frame.outfit(longer))
            self._agreements[shorter, longer] = agrees
        return self._agreements[shorter, longer]

    def _ids(self, ids: Sequence[int]) -> torch.Tensor:
        return torch.tensor([list(ids)], device=self.frame.model.device)


def _content(corruption: Corruption) -> tuple[object, ...]:
    noise = None if corruption.noise is None else corruption.noise.tobytes()
    return corruption.positions, corruption.token_ids, noise
