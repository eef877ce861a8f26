"""Distinct rows on their way to a reading, and which of them share a pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pytest_ragshortcut.core.plans import Array, PlanRow, RowReading
from pytest_ragshortcut.models.incremental.chunks import RowWork
from pytest_ragshortcut.models.incremental.packing import MAX_GATHERED
from pytest_ragshortcut.models.incremental.runs import Readout


@dataclass(eq=False)
class Job:
    """One distinct row on its way to a reading."""

    row: PlanRow
    work: RowWork
    otherwise: Job | None = None
    """Reads the readers that the row leaves as they are in its base."""
    restored: Job | None = None
    """Reads the readers whose final state the row restores."""
    logprobs: Array = field(init=False)
    """(n_answer,) NaN where the readings are those of the jobs above."""
    said: list[bool] = field(init=False)
    is_read: bool = False
    """Whether nothing is left to compute."""

    def __post_init__(self) -> None:
        n_answer = len(self.row.prompt.answer_ids)
        self.logprobs, self.said = np.full(n_answer, np.nan), [False] * n_answer
        if self.is_clean and self.readout in self.work.clean.readings:
            self.logprobs, self.said = self.work.clean.readings[self.readout]
            self.is_read = True

    @property
    def is_clean(self) -> bool:
        """Whether the row is the clean run itself."""
        touched = self.row.restorations or self.row.knockouts
        return self.work.base is self.work.clean and not touched

    @property
    def readout(self) -> Readout:
        """What is read, and where."""
        return self.row.prompt.readers, self.row.prompt.answer_ids

    @property
    def order(self) -> tuple[object, ...]:
        """Rows that share runs stand together, and rows alike in shape within them."""
        chain = tuple(id(run) for run in reversed(self.work.clean.lineage()))
        base, last = self.work.base, self.work.schedule.layers[-1]
        # A short base is gathered, not shared: there rows of a size go before rows of a base.
        is_short = base is not self.work.clean and len(base.ids) - base.first <= MAX_GATHERED
        size = last.own.size
        return (chain, last.clean_until, size if is_short else 0, id(base), size)

    def read(self, index: int) -> tuple[float, bool]:
        """Return one answer token's log-probability, and whether it was the likeliest."""
        reader = self.row.prompt.readers[index]
        if reader in self.work.schedule.changed:
            return float(self.logprobs[index]), self.said[index]
        source = self.restored if reader in self.work.schedule.clean else self.otherwise
        assert source is not None
        return source.read(index)

    def reading(self) -> RowReading:
        """Return the whole answer's reading."""
        read = [self.read(index) for index in range(len(self.said))]
        return RowReading(np.array([value for value, _ in read]), said=all(s for _, s in read))


def moving(row: PlanRow, changed: range) -> PlanRow:
    """Leave out of a row what it restores where nothing has changed.

    Args:
        row: the row.
        changed: the positions at which its base can differ from the clean run.
    """
    # A cut changes states that the base has in common with the clean run.
    if row.knockouts or all(p in changed for r in row.restorations for p in r.positions):
        return row
    kept = (
        replace(r, positions=tuple(p for p in r.positions if p in changed))
        for r in row.restorations
    )
    return replace(row, restorations=tuple(r for r in kept if r.positions))


def split(jobs: Sequence[Job], n_layers: int, max_tokens: int) -> Iterator[tuple[list[Job], int]]:
    """Split the jobs that are not read yet, so that what a layer computes of them fits a pass.

    Yields:
        Jobs that share a pass, and how many tokens the layer with most to do computes of them.
    """
    chunk: list[Job] = []
    total = np.zeros(n_layers, dtype=np.int64)
    for job in sorted(jobs, key=lambda job: job.order):
        counts = job.work.schedule.counts
        if job.is_read or not any(counts):
            continue
        if chunk and int((total + counts).max()) > max_tokens:
            yield chunk, int(total.max())
            chunk, total = [], np.zeros_like(total)
        chunk.append(job)
        total += counts
    if chunk:
        yield chunk, int(total.max())
