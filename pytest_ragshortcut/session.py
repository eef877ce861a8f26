"""The run: its settings, its one model, and the only place where models and probes meet."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_ragshortcut.config import Settings, settle
from pytest_ragshortcut.errors import RagShortcutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_ragshortcut.core.cases import RagCase
    from pytest_ragshortcut.core.ports import ProbeModel
    from pytest_ragshortcut.core.reliance import Reliance
    from pytest_ragshortcut.core.results import (
        ContributionsResult,
        KnockoutResult,
        SwapResult,
        TraceResult,
    )
    from pytest_ragshortcut.models.executors import ExecutorName


class RagSession:
    """What one pytest process knows of its model. Nothing is loaded until a test asks."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._model: ProbeModel | None = None
        self._notes: set[str] = set()
        self.settings: Settings = settle(
            flag=lambda name: config.getoption(name, None),
            environment=os.environ,
            ini=lambda name: str(config.getini(name) or ""),
        )

    @property
    def model(self) -> ProbeModel:
        """The model that the options name, loaded at its first use."""
        if self._model is None:
            self._model = self._config.hook.pytest_ragshortcut_load_model(
                config=self._config, settings=self.settings
            )
        assert self._model is not None, "the plugin's own hook loads a model where no other does"
        return self._model

    @property
    def notes(self) -> set[str]:
        """What there is to say of how models were run, here and in workers that told of it."""
        # A test has told of the error already, if a test ran the model.
        with suppress(RagShortcutError, RuntimeError, MemoryError):
            if note := getattr(self._model, "note", ""):
                self._notes.add(str(note))
        return self._notes


SESSION = pytest.StashKey[RagSession]()


def load_model(settings: Settings) -> ProbeModel:
    """Load the model that the settings name.

    Raises:
        CheckpointNotFoundError: if there is none.
        OptionError: if the device or the cache cannot be used.
    """
    from pytest_ragshortcut.models.loading import share_cores
    from pytest_ragshortcut.models.rag_model import RagModel

    share_cores(os.environ)
    return RagModel.from_pretrained(
        settings.model,
        settings.device,
        settings.dtype,
        revision=settings.revision or None,
        trust_remote_code=settings.trust_remote_code == "yes",
        template=settings.template,
        executor=cast("ExecutorName", settings.executor),
        memory=settings.memory_bytes,
        cache=settings.cache or None,
    )


@dataclass(frozen=True)
class RagProbe:
    """Every probe, bound to the run's model."""

    model: ProbeModel

    def context_reliance(
        self, question: RagCase | str, context: str | Sequence[str] | None = None, **options: Any
    ) -> Reliance:
        """Measure how far the answer follows the context."""
        from pytest_ragshortcut.probes.reliance import context_reliance

        return context_reliance(self.model, question, context, **options)

    def context_reliances(self, cases: Sequence[RagCase], **options: Any) -> tuple[Reliance, ...]:
        """Measure many cases side by side."""
        from pytest_ragshortcut.probes.reliance import context_reliances

        return context_reliances(self.model, cases, **options)

    def parametric_reliance(
        self, question: RagCase | str, context: str | Sequence[str] | None = None, **options: Any
    ) -> Reliance:
        """Measure how far the answer stays with parametric memory."""
        from pytest_ragshortcut.probes.reliance import parametric_reliance

        return parametric_reliance(self.model, question, context, **options)

    def counterfactual_swap(self, case: RagCase, **options: Any) -> SwapResult:
        """Swap the context answer and read both answers."""
        from pytest_ragshortcut.probes.swap import counterfactual_swap

        return counterfactual_swap(self.model, case, **options)

    def causal_trace(self, case: RagCase, **options: Any) -> TraceResult:
        """Corrupt a span and restore one site at a time."""
        from pytest_ragshortcut.probes.trace import causal_trace

        return causal_trace(self.model, case, **options)

    def attention_knockout(self, case: RagCase, **options: Any) -> KnockoutResult:
        """Cut the edges from spans to the readers."""
        from pytest_ragshortcut.probes.knockout import attention_knockout

        return attention_knockout(self.model, case, **options)

    def attention_contributions(self, case: RagCase, **options: Any) -> ContributionsResult:
        """Read what each token adds to the readers through attention."""
        from pytest_ragshortcut.probes.contributions import (
            attention_contributions,
        )

        return attention_contributions(self.model, case, **options)
