"""Choosing an executor: the incremental one wherever it computes what the model computes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, Protocol

import torch
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import ProbePlan, RowReading
from pytest_ragshortcut.errors import (
    ExecutorSelfCheckError,
    OptionError,
    UnsupportedArchitectureError,
)
from pytest_ragshortcut.models.architectures import ArchitectureMap
from pytest_ragshortcut.models.fingerprint import stamp
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.incremental.memory import is_out_of_memory
from pytest_ragshortcut.models.reference import ReferenceExecutor

ExecutorName = Literal["auto", "incremental", "reference"]
EXECUTORS: tuple[ExecutorName, ...] = ("auto", "incremental", "reference")

# What layers raise that cannot be called by themselves.
_STRANGE = (RuntimeError, TypeError, ValueError, LookupError, AttributeError)


class Executor(Protocol):
    """Carries plans out on one model."""

    def run(self, plan: ProbePlan) -> tuple[RowReading, ...]:
        """Run a plan's rows."""

    def next_logits(self, sequences: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Return (n_sequences, n_vocabulary) logits of the token after each sequence."""

    def forget(self) -> None:
        """Forget everything kept from earlier calls: the model may have changed."""


class Engine:
    """A model's executor, chosen at its first use and again whenever the model has changed."""

    def __init__(
        self,
        model: PreTrainedModel,
        architecture: ArchitectureMap,
        *,
        kind: str = "auto",
        memory: int | None = None,
    ) -> None:
        self.model, self.architecture, self.kind, self.memory = model, architecture, kind, memory
        self._stamp: Hashable = None
        self._chosen: tuple[Executor, str] | None = None

    @property
    def executor(self) -> Executor:
        """The executor, with nothing in it that an earlier state of the model left."""
        return self._current()[0]

    @property
    def note(self) -> str:
        """Why the executor is the slow one; empty where it is not."""
        return self._current()[1]

    def _current(self) -> tuple[Executor, str]:
        now = stamp(self.model)
        if self._chosen is None or now != self._stamp:
            self._chosen = None
            self._chosen = choose_executor(
                self.model, self.architecture, kind=self.kind, memory=self.memory
            )
            self._stamp = now
        return self._chosen


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
    if kind == "reference":
        return ReferenceExecutor(model, architecture), ""
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
