"""The incremental executor: any plan, exactly, at the price of what it can change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TypeVar

import torch
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import PlanRow, ProbePlan, RowReading
from pytest_ragshortcut.errors import ExecutorSelfCheckError
from pytest_ragshortcut.models.architectures import ArchitectureMap, max_tokens
from pytest_ragshortcut.models.hooks import attention_implementation, quiet
from pytest_ragshortcut.models.incremental.chunks import RowWork
from pytest_ragshortcut.models.incremental.contributions import ContributionReader
from pytest_ragshortcut.models.incremental.frame import Frame
from pytest_ragshortcut.models.incremental.jobs import Job, moving, split
from pytest_ragshortcut.models.incremental.keeping import Keeper
from pytest_ragshortcut.models.incremental.memory import (
    Demand,
    budget_of,
    is_out_of_memory,
    release_unused,
)
from pytest_ragshortcut.models.incremental.outfits import Outfit
from pytest_ragshortcut.models.incremental.passes import Passes
from pytest_ragshortcut.models.incremental.runs import KeptRun
from pytest_ragshortcut.models.incremental.schedule import read_alone, schedule
from pytest_ragshortcut.models.reading import (
    forward_logits,
    max_logit_error,
    precise,
    require_finite,
    runnable_rows,
)

_CHECKED_TOKENS = 24

_T = TypeVar("_T")


class IncrementalExecutor:
    """Runs any plan on a model whose layers can be called on packed tokens.

    Args:
        model: the model.
        architecture: its map.
        memory: how many bytes to plan for; None takes half of what is free.
    """

    def __init__(
        self, model: PreTrainedModel, architecture: ArchitectureMap, *, memory: int | None = None
    ) -> None:
        self.model, self.architecture = model, architecture
        self.frame = Frame(model, architecture)
        self.passes = Passes(self.frame)
        self.budget = budget_of(model, memory)
        self._demand = Demand()
        self.contributions = ContributionReader(self.passes)
        self.keeper = Keeper(self.frame, self.passes, self.budget)
        # Noise samples share their schedules.
        n_layers = len(architecture.layers)
        self._schedule = lru_cache(4096)(partial(schedule, n_layers=n_layers))
        self._alone = lru_cache(256)(partial(read_alone, n_layers=n_layers))

    @property
    def token_layers(self) -> int:
        """How many tokens have been through a layer so far, added up over layers."""
        return self.frame.token_layers

    def run(self, plan: ProbePlan) -> tuple[RowReading, ...]:
        """Run a plan's rows.

        Raises:
            PlanError: if a row does not fit the model.
            UnsupportedArchitectureError: if a layer lacks what a row intervenes on.
            NonFiniteLogitsError: if the model returns NaN or infinity.
        """
        rows = runnable_rows(plan, self.model, self.architecture)
        readings: dict[int, RowReading] = {}

        def read() -> None:
            left = [index for index in range(len(rows)) if index not in readings]
            for batch in self._batches([rows[index] for index in left]):
                members = [left[place] for place in batch]
                found = self._read([rows[index] for index in members])
                readings.update(zip(members, found, strict=True))

        self._sparing(read, longest=max((len(row.prompt.read_ids) for row in rows), default=0))
        # Rows may have added to what stored runs hold.
        self.keeper.store.trim()
        ordered = tuple(readings[index] for index in range(len(rows)))
        require_finite(self.model, ordered)
        return ordered

    def next_logits(self, sequences: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Return (n_sequences, n_vocabulary) logits of the token after each sequence."""
        longest = max((len(ids) for ids in sequences), default=0)
        found: list[torch.Tensor] = []

        def read() -> torch.Tensor:
            nonlocal found
            for some in self._fitting(sequences[sum(map(len, found)) :]):
                found += [self._next_logits(some)]
            return torch.cat(found)

        return self._sparing(read, longest=longest)

    def forget(self) -> None:
        """Forget everything kept: the model may have changed."""
        self.keeper.forget()
        self.contributions.forget()
        self.frame.forget()

    def check(self) -> None:
        """Compare an untouched forward with the executor's own.

        Raises:
            UnsupportedArchitectureError: if the layers cannot be called on packed tokens.
            ExecutorSelfCheckError: if the logits differ.
        """
        window = max_tokens(self.model) or _CHECKED_TOKENS
        n_tokens = min(_CHECKED_TOKENS, window)
        vocabulary = int(self.model.config.get_text_config().vocab_size)
        ids = tuple((7919 * i + 13) % vocabulary for i in range(n_tokens))
        stops = sorted({max(1, n_tokens // 2), n_tokens})
        with quiet(self.model):
            tensor = torch.tensor([ids], device=self.model.device)
            untouched = forward_logits(self.model, tensor, [stop - 1 for stop in stops])[0]
            # One by one, so that the second extends the first.
            own = torch.cat([self.next_logits([ids[:stop]]) for stop in stops])
        self.forget()
        scale = float(precise(untouched).abs().max()) or 1.0
        error = float((precise(own) - precise(untouched)).abs().max()) / scale
        max_error = max_logit_error(self.model.dtype)
        if not error <= max_error:
            raise ExecutorSelfCheckError(
                model=self.architecture.name, error=error, max_error=max_error
            )

    def _sparing(self, compute: Callable[[], _T], *, longest: int) -> _T:
        """Compute, with half the memory again where it runs out, down to one prompt at a time.

        What it had to give up it does not ask for again.
        """
        is_first = True
        while True:
            self._demand = Demand()
            try:
                with quiet(self.model), attention_implementation(self.model, weights=False):
                    return compute()
            except Exception as error:
                is_least = self.budget.is_least or self._demand.is_of_one(longest)
                if not is_out_of_memory(error) or (is_least and not is_first):
                    raise
            # Only here, where the error no longer holds on to the states of its pass.
            is_first = False
            self.budget = self.budget.halved(self._demand)
            self.keeper.budget = self.budget
            self.keeper.store.max_bytes = self.budget.stored_bytes
            self.forget()
            release_unused(self.model.device)

    def _demand_runs(self, n_tokens: int) -> None:
        self._demand.kept = max(self._demand.kept, n_tokens)
        packed = min(n_tokens, self.budget.packed_tokens)
        self._demand.packed = max(self._demand.packed, packed)

    def _fitting(self, sequences: Sequence[tuple[int, ...]]) -> Iterator[Sequence[tuple[int, ...]]]:
        """Split sequences so that the runs of each part fit the memory together."""
        start, n_tokens = 0, 0
        for stop, ids in enumerate(sequences):
            if stop > start and n_tokens + len(ids) > self.budget.kept_tokens:
                self._demand_runs(n_tokens)
                yield sequences[start:stop]
                start, n_tokens = stop, 0
            n_tokens += len(ids)
        self._demand_runs(n_tokens)
        yield sequences[start:]

    def _next_logits(self, sequences: Sequence[tuple[int, ...]]) -> torch.Tensor:
        runs = self.keeper.clean_runs(sequences)
        works = [
            RowWork(run, run, self._alone((len(ids) - 1,)))
            for ids in sequences
            for run in [runs[ids]]
        ]
        lengths = self.keeper.common_outfits(run.outfit_tokens for run in runs.values())
        finals: dict[int, torch.Tensor] = {}
        with self.frame.packed():
            for length in set(lengths.values()):
                members = [
                    index
                    for index, work in enumerate(works)
                    if lengths[work.clean.outfit_tokens] == length
                ]
                group = self.passes.finals(
                    [works[index] for index in members], self.frame.outfit(length)
                )
                finals |= zip(members, group, strict=True)
        return self.frame.logits(torch.cat([finals[index] for index in range(len(works))]))

    def _batches(self, rows: Sequence[PlanRow]) -> Iterator[list[int]]:
        """Split rows so that the runs that a batch starts from fit the memory together."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault((row.prompt.read_ids, id(row.corruption)), []).append(index)
        batch: list[int] = []
        n_tokens, seen = 0, set[tuple[int, ...]]()
        for members in groups.values():
            row = rows[members[0]]
            ids = row.prompt.read_ids
            cost = len(ids) * (ids not in seen)
            cost += len(ids) - min(row.corruption.positions) if row.corruption else 0
            if batch and n_tokens + cost > self.budget.kept_tokens:
                self._demand_runs(n_tokens)
                yield batch
                batch, n_tokens, seen = [], 0, set()
            batch, n_tokens, seen = batch + members, n_tokens + cost, seen | {ids}
        if batch:
            self._demand_runs(n_tokens)
            yield batch

    def _read(self, rows: Sequence[PlanRow]) -> list[RowReading]:
        clean = self.keeper.clean_runs([row.prompt.read_ids for row in rows])
        corrupted = self.keeper.corrupted_runs(
            [(clean[row.prompt.read_ids], row.corruption) for row in rows if row.corruption]
        )
        jobs: dict[tuple[object, ...], Job] = {}
        asked = [self._job(row, clean, corrupted, jobs) for row in rows]
        n_layers = len(self.architecture.layers)
        with self.frame.packed():
            for outfit, group in self._by_outfit(list(jobs.values())):
                for chunk, n_packed in split(group, n_layers, self.budget.packed_tokens):
                    self._demand.packed = max(self._demand.packed, n_packed)
                    self._finish(chunk, self.passes.finals([job.work for job in chunk], outfit))
        return [
            replace(job.reading(), contributions=self.contributions.read(job.work.clean, row))
            if row.contributions
            else job.reading()
            for row, job in zip(rows, asked, strict=True)
        ]

    def _job(
        self,
        row: PlanRow,
        clean: dict[tuple[int, ...], KeptRun],
        corrupted: dict[tuple[KeptRun, int], KeptRun],
        jobs: dict[tuple[object, ...], Job],
    ) -> Job:
        run = clean[row.prompt.read_ids]
        base = corrupted.get((run, id(row.corruption)), run)
        readers = row.prompt.readers
        first_changed = base.first if base is not run else len(run.ids)
        row = moving(row, range(first_changed, len(run.ids)))
        name = (base, readers, row.prompt.answer_ids, row.restorations, row.knockouts)
        if name in jobs:
            return jobs[name]
        if not row.restorations and not row.knockouts:
            jobs[name] = Job(row, RowWork(run, base, self._alone(readers)))
            return jobs[name]
        planned = self._schedule(
            restorations=row.restorations,
            knockouts=row.knockouts,
            readers=readers,
            first_changed=first_changed,
        )
        alone = PlanRow(row.prompt, row.corruption)
        jobs[name] = Job(
            row,
            RowWork(run, base, planned, row.restorations),
            otherwise=self._job(alone, clean, corrupted, jobs),
            restored=self._job(PlanRow(row.prompt), clean, corrupted, jobs),
        )
        return jobs[name]

    def _by_outfit(self, jobs: Sequence[Job]) -> list[tuple[Outfit, list[Job]]]:
        groups: dict[int, list[Job]] = {}
        lengths = {job.work.base.outfit_tokens for job in jobs}
        common = self.keeper.common_outfits(lengths)
        for job in jobs:
            groups.setdefault(common[job.work.base.outfit_tokens], []).append(job)
        return [(self.frame.outfit(length), group) for length, group in groups.items()]

    def _finish(self, jobs: Sequence[Job], finals: Sequence[torch.Tensor]) -> None:
        """Read the answers off final states."""
        sites = [
            (job, job.row.prompt.readers.index(reader))
            for job in jobs
            for reader in job.work.schedule.changed.tolist()
        ]
        hidden = torch.cat(list(finals))
        step = self.budget.read_tokens
        for start in range(0, len(sites), step):
            part = sites[start : start + step]
            answers = [job.row.prompt.answer_ids[index] for job, index in part]
            logits = self.frame.logits(hidden[start : start + step])
            tokens = torch.tensor(answers, device=logits.device)
            logprobs = torch.log_softmax(precise(logits), dim=-1)
            chosen = logprobs.gather(-1, tokens[:, None])[:, 0].double().cpu().numpy()
            likeliest = (logits.argmax(dim=-1) == tokens).tolist()
            for (job, index), value, is_likeliest in zip(part, chosen, likeliest, strict=True):
                job.logprobs[index], job.said[index] = value, is_likeliest
        for job in jobs:
            if job.is_clean:
                job.work.clean.readings[job.readout] = job.logprobs, job.said
