"""Choosing an executor, the incremental one wherever it is exact; asking nothing of it twice."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pytest_ragshortcut.config import EXECUTORS
from pytest_ragshortcut.core.digests import plan_digest
from pytest_ragshortcut.core.plans import ProbePlan, RowReading
from pytest_ragshortcut.core.ports import Generated
from pytest_ragshortcut.core.work import Work
from pytest_ragshortcut.errors import (
    ExecutorSelfCheckError,
    OptionError,
    RagShortcutError,
    UnsupportedArchitectureError,
)
from pytest_ragshortcut.models.architectures import ArchitectureMap
from pytest_ragshortcut.models.fingerprint import (
    Content,
    content_of,
    fingerprint,
    is_hooked,
    stamp,
)
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.incremental.memory import is_out_of_memory
from pytest_ragshortcut.models.memo import Compute, Memo
from pytest_ragshortcut.models.reference import ReferenceExecutor

ExecutorName = Literal["auto", "incremental", "reference"]

# What layers raise that cannot be called by themselves.
_STRANGE = (RuntimeError, TypeError, ValueError, LookupError, AttributeError)


class Executor(Protocol):
    """Carries plans out on one model."""

    @property
    def token_layers(self) -> int:
        """How many tokens have been through a layer so far, added up over layers."""

    def run(self, plan: ProbePlan) -> tuple[RowReading, ...]:
        """Run a plan's rows."""

    def next_logits(self, sequences: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Return (n_sequences, n_vocabulary) logits of the token after each sequence."""

    def forget(self) -> None:
        """Forget everything kept from earlier calls: the model may have changed."""


@dataclass(frozen=True, eq=False)
class _Chosen:
    """An executor, while the model stays as it is."""

    stamp: Hashable
    executor: Executor
    note: str
    is_hooked: bool
    """Whether even so it may answer differently from one call to the next."""


class Engine:
    """A model's executor and memo, chosen at first use and again whenever the model has changed.

    Args:
        model: the model.
        tokenizer: its tokenizer, which the memo's keys name.
        architecture: the model's map.
        kind: 'auto', 'incremental' or 'reference'.
        memory: how many bytes the incremental executor may plan for.
        cache: a directory in which results outlive the process.

    Raises:
        OptionError: if nothing can be written to the directory.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        architecture: ArchitectureMap,
        *,
        kind: str = "auto",
        memory: int | None = None,
        cache: Path | None = None,
    ) -> None:
        self.model, self.tokenizer, self.architecture = model, tokenizer, architecture
        self.kind, self.memory = kind, memory
        self._lasting = None if cache is None else Memo(cache)
        self._memo: tuple[Memo, str] | None = None
        self._chosen: _Chosen | None = None
        self._printed: tuple[Hashable, Content] | None = None
        self._before = Work()
        """What executors and memos did that have been dropped since."""

    def afresh(self) -> Engine:
        """Return an engine for the same model that remembers nothing."""
        return Engine(
            self.model, self.tokenizer, self.architecture, kind=self.kind, memory=self.memory
        )

    @property
    def work(self) -> Work:
        """What has been asked of the model and done so far."""
        return self._before + self._latest()

    @property
    def content(self) -> Content:
        """The content of the model as it is now, in digests."""
        now = self._current().stamp
        if self._printed is None or self._printed[0] != now:
            self._printed = now, content_of(self.model, self.tokenizer)
        return self._printed[1]

    @property
    def executor(self) -> Executor:
        """The executor, with nothing in it that an earlier state of the model left."""
        return self._current().executor

    @property
    def note(self) -> str:
        """Why the executor is the slow one; empty where it is not."""
        return self._current().note

    def run_all(self, plans: Sequence[ProbePlan]) -> tuple[tuple[RowReading, ...], ...]:
        """Carry out those plans whose readings are not remembered, together.

        Raises:
            RagShortcutError: as a plan's own run would.
        """
        executor, memo, model = self._recall()
        keys = [_key(model, "plan", plan_digest(plan)) for plan in plans]
        return tuple(
            memo.readings(keys, lambda missing: run_together(executor, [plans[i] for i in missing]))
        )

    def answers(
        self, questions: Sequence[tuple[object, ...]], compute: Compute[tuple[Generated, ...]]
    ) -> list[tuple[Generated, ...]]:
        """Return what the model says, computing what is not remembered.

        Args:
            questions: each all that its answer depends on beside the model, as plain values.
            compute: answers those of the given indices, in order.
        """
        _, memo, model = self._recall()
        return memo.generated([_key(model, *question) for question in questions], compute)

    def forget(self) -> None:
        """Forget all that earlier calls left in memory: the model may have changed."""
        if self._chosen is not None:
            self._chosen.executor.forget()
        self._printed = None
        self._drop_memo()

    def _current(self) -> _Chosen:
        now = stamp(self.model)
        if self._chosen is None or now != self._chosen.stamp:
            self._drop_memo()
            if self._chosen is not None:
                self._before += Work(self._chosen.executor.token_layers)
            self._chosen = None
            executor, note = choose_executor(
                self.model, self.architecture, kind=self.kind, memory=self.memory
            )
            self._chosen = _Chosen(now, executor, note, is_hooked(self.model))
        return self._chosen

    def _latest(self) -> Work:
        memo = self._memo[0] if self._memo else None
        return Work(
            self._chosen.executor.token_layers if self._chosen else 0,
            memo.hits if memo else 0,
            memo.misses if memo else 0,
        )

    def _drop_memo(self) -> None:
        """Let the memo go, but not what it counted."""
        if self._memo is not None:
            memo = self._memo[0]
            self._before += Work(0, memo.hits, memo.misses)
            memo.hits = memo.misses = 0
        self._memo = None

    def _recall(self) -> tuple[Executor, Memo, str]:
        """Return the executor, the memo, and what the memo calls the model as it is now."""
        chosen = self._current()
        if chosen.is_hooked:
            self.forget()
        if self._memo is None:
            self._memo = self._remembering(chosen)
        return chosen.executor, *self._memo

    def _remembering(self, chosen: _Chosen) -> tuple[Memo, str]:
        executor = type(chosen.executor).__name__
        if self._lasting is not None and not chosen.is_hooked:
            self._lasting.forget()
            if (content := self.content.whole) is not None:
                return self._lasting, f"{fingerprint(self.model, content)} {executor}"
        # Dropped as a whole when the model changes, so that its keys need not name it.
        return Memo(), executor


def _key(model: str, *what: object) -> str:
    # Token ids may be numpy's integers.
    return sha256(json.dumps([model, *what], default=int).encode()).hexdigest()


def run_together(
    executor: Executor, plans: Sequence[ProbePlan]
) -> Iterator[tuple[RowReading, ...]]:
    """Run plans as one and yield each one's readings; one by one where that fails.

    Raises:
        RagShortcutError: as the first plan to fail would by itself, behind the readings of those
            before it.
    """
    rows = tuple(row for plan in plans for row in plan.rows)
    try:
        together = iter(executor.run(ProbePlan(rows)))
    except Exception as error:
        may_be_one_plans = isinstance(error, RagShortcutError) or is_out_of_memory(error)
        if len(plans) == 1 or not may_be_one_plans:
            raise
        together = None
    for plan in plans:
        if together is None:
            yield executor.run(plan)
        else:
            yield tuple(next(together) for _ in plan.rows)


def choose_executor(
    model: PreTrainedModel,
    architecture: ArchitectureMap,
    *,
    kind: str = "auto",
    memory: int | None = None,
) -> tuple[Executor, str]:
    """Build an executor, and say why it is the slow one where it is.

    Args:
        model: the model.
        architecture: its map.
        kind: 'auto', 'incremental' or 'reference'.
        memory: how many bytes the incremental executor may plan for.

    Returns:
        The executor, and a note for people; empty where there is nothing to say.

    Raises:
        OptionError: if the kind has another name.
        ModelError: if 'incremental' was asked for and cannot run this model.
    """
    if kind not in EXECUTORS:
        raise OptionError(option="executor", value=kind, expected=f"one of {', '.join(EXECUTORS)}")
    reason = "it was asked for"
    if kind != "reference":
        try:
            return _checked(model, architecture, memory), ""
        except (UnsupportedArchitectureError, ExecutorSelfCheckError) as error:
            if kind == "incremental":
                raise
            reason = error.problem
    note = (
        f"{architecture.name} runs on the reference executor, one whole forward for every restored "
        f"site and every cut: {reason}"
    )
    return ReferenceExecutor(model, architecture), note


def _checked(
    model: PreTrainedModel, architecture: ArchitectureMap, memory: int | None
) -> IncrementalExecutor:
    try:
        executor = IncrementalExecutor(model, architecture, memory=memory)
        executor.check()
    except (UnsupportedArchitectureError, ExecutorSelfCheckError):
        raise
    except _STRANGE as error:
        if is_out_of_memory(error):
            raise
        said = (str(error).splitlines() or [""])[0]
        missing = f"its layers cannot be called by themselves ({type(error).__name__}: {said})"
        raise UnsupportedArchitectureError(model=architecture.name, missing=missing) from error
    return executor
