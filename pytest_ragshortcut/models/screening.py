"""Gradient screening: one backward pass estimates every cell of a causal map to first order.

The clean run is row 0 of a batch, the corrupted ones are the rows below it. Where an incremental
executor keeps the clean run, the batch starts at the first corrupted position, and its rows share
the clean keys and values of the positions before; elsewhere it is whole forwards of the model.
Derivatives are taken with respect to states alone, so that no parameter sees a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import Array, Corruption, PlanRow, ProbePlan, Restoration
from pytest_ragshortcut.core.screening import Screening
from pytest_ragshortcut.errors import ModelError
from pytest_ragshortcut.models.architectures import ArchitectureMap
from pytest_ragshortcut.models.executors import Executor
from pytest_ragshortcut.models.hooks import (
    add_noise,
    attention_implementation,
    component_module,
    edited,
    quiet,
)
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.incremental.gradients import Rows, SuffixForward
from pytest_ragshortcut.models.incremental.memory import Budget, budget_of, is_out_of_memory
from pytest_ragshortcut.models.reading import (
    forward_logits,
    max_logit_error,
    precise,
    runnable_rows,
)


def estimate_effects(
    model: PreTrainedModel,
    architecture: ArchitectureMap,
    executor: Executor,
    screening: Screening,
) -> Array:
    """Estimate every indirect effect of a causal map from one backward pass.

    Args:
        model: the model. It is left as it was.
        architecture: its map.
        executor: its executor, which may keep the clean run.
        screening: what to estimate.

    Returns:
        (n_layers, n_tokens), exactly 0 before the corruption and behind the last reader.

    Raises:
        PlanError: if the screening does not fit the model.
        UnsupportedArchitectureError: if a layer lacks the component.
        ModelError: if a gradient is not finite.
    """
    _require_runnable(model, architecture, screening)
    estimate = np.zeros((len(architecture.layers), len(screening.prompt.input_ids)))
    ids = screening.prompt.read_ids
    corruptions = [corruption.up_to(len(ids)) for corruption in screening.corruptions]
    first = min((p for c in corruptions for p in c.positions), default=len(ids))
    if first == len(ids):
        return estimate
    found = None
    if isinstance(executor, IncrementalExecutor):
        found = _above_kept_run(executor, screening, corruptions, first)
    if found is None:
        batches = _Batches(model, architecture, screening, budget_of(model))
        found = batches.estimate(_WholeForwards(model, architecture, screening), corruptions)
    # Rows of unequal rounding differ a little before the corruption too.
    estimate[:, first : len(ids)] = found[:, first - len(ids) :]
    if not np.isfinite(estimate).all():
        raise ModelError(
            f"a gradient of {type(model).__name__} is not finite in {model.dtype}",
            where="gradient screening",
            expected="Finite derivatives of the answer's log-probability",
            action="Load the model with dtype='float32', or trace without screen=",
        )
    return estimate


def _require_runnable(
    model: PreTrainedModel, architecture: ArchitectureMap, screening: Screening
) -> None:
    restored = (Restoration(screening.component, (0,), screening.prompt.readers[:1]),)
    rows = [PlanRow(screening.prompt, each, restored) for each in screening.corruptions]
    runnable_rows(ProbePlan(tuple(rows)), model, architecture)


def _above_kept_run(
    executor: IncrementalExecutor,
    screening: Screening,
    corruptions: Sequence[Corruption],
    first: int,
) -> Array | None:
    """Estimate from the first corrupted position on; None where that is not what the model does."""
    model = executor.model
    first = min(first, screening.prompt.readers[0])
    if first == 0:
        return None
    (expected,) = executor.run(ProbePlan((PlanRow(screening.prompt),)))
    batches = _Batches(model, executor.architecture, screening, executor.budget)
    try:
        found = batches.estimate(SuffixForward(executor, screening.prompt, first), corruptions)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return None
    difference = float(np.abs(batches.clean_logprobs - expected.logprobs).max())
    max_difference = max_logit_error(model.dtype) * max(1.0, batches.largest_logit)
    return found if difference <= max_difference else None


class _Forward(Protocol):
    """A way to run rows with gradients."""

    @property
    def first(self) -> int:
        """The first position that is computed."""

    def __call__(self, rows: Rows, ids: torch.Tensor) -> torch.Tensor:
        """Return (n_rows, n_readers, n_vocabulary) logits of rows with token ids of their own."""


class _Batches:
    """Runs the clean row and the corrupted ones, as many at once as memory takes.

    Args:
        model: the model.
        architecture: its map.
        screening: what to estimate.
        budget: of whose bytes a third may be taken.
    """

    clean_logprobs: Array
    """(n_answer,) what the clean row gave the answer's tokens."""
    largest_logit: float
    """Its largest absolute logit."""

    def __init__(
        self,
        model: PreTrainedModel,
        architecture: ArchitectureMap,
        screening: Screening,
        budget: Budget,
    ) -> None:
        self.model, self.architecture, self.screening = model, architecture, screening
        self.budget, self.ids = budget, screening.prompt.read_ids

    def estimate(self, forward: _Forward, corruptions: Sequence[Corruption]) -> Array:
        """Return (n_layers, n_own), from the first position computed to the last reader."""
        total = np.zeros((len(self.architecture.layers), len(self.ids) - forward.first))
        step = max(1, self._rows_at_once(total.shape[1]) - 1)
        with (
            quiet(self.model),
            attention_implementation(self.model, weights=False),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            for start in range(0, len(corruptions), step):
                total += self._attributed(forward, corruptions[start : start + step])
        return total / len(corruptions)

    def _attributed(self, forward: _Forward, corruptions: Sequence[Corruption]) -> Array:
        """Sum (clean - corrupted) . d p / d state over a batch of corrupted runs."""
        rows: Rows = [None, *corruptions]
        embedded = [row.embedded(self.ids) if row else self.ids for row in rows]
        ids = torch.tensor(embedded, device=self.model.device)
        with self._kept() as states:
            logits = forward(rows, ids)
        answer = torch.tensor(self.screening.prompt.answer_ids, device=logits.device)
        chosen = torch.log_softmax(precise(logits), dim=-1)
        logprobs = chosen.gather(-1, answer.expand(len(rows), -1)[..., None])[..., 0]
        self.largest_logit = float(logits[0].detach().abs().max())
        self.clean_logprobs = logprobs[0].detach().double().cpu().numpy()
        # Of the logarithm, which does not underflow where p does.
        gradients = torch.autograd.grad(logprobs[1:].sum(), states)
        probabilities = logprobs[1:].detach().double().sum(dim=-1).exp().cpu().numpy()
        products = []
        for state, gradient in zip(states, gradients, strict=True):
            at = precise(state.detach()).reshape(len(rows), -1, state.shape[-1])
            slope = precise(gradient).reshape(at.shape)[1:]
            products.append(((at[:1] - at[1:]) * slope).sum(dim=-1).double().cpu().numpy())
        return np.asarray(np.einsum("r,lrt->lt", probabilities, np.stack(products)))

    @contextmanager
    def _kept(self) -> Iterator[list[torch.Tensor]]:
        """Keep the states that a derivative is wanted of, layer by layer."""
        states: list[torch.Tensor] = []

        def keep(state: torch.Tensor) -> torch.Tensor:
            states.append(state)
            # Another one for the model: some blocks add to their sub-layers' outputs in place.
            return state.clone()

        with ExitStack() as stack:
            for layer in self.architecture.layers:
                module = component_module(layer, self.screening.component)
                stack.enter_context(edited(module, keep))
            yield states

    def _rows_at_once(self, n_own: int) -> int:
        """Count the rows whose graph fits: it keeps what every layer computed."""
        config = self.model.config.get_text_config()
        n_seen = len(self.ids)
        # Four numbers of each score, and the mask once.
        scores = 16 * n_own * n_seen * int(config.num_attention_heads)
        layers = len(self.architecture.layers) * (self.budget.token_bytes * n_own + scores)
        readout = 12 * int(config.vocab_size) * len(self.screening.prompt.readers)
        return self.budget.n_bytes // 3 // (layers + readout + 5 * n_seen**2)


@dataclass(frozen=True, eq=False)
class _WholeForwards:
    """Runs rows through the model itself."""

    model: PreTrainedModel
    architecture: ArchitectureMap
    screening: Screening
    first: int = 0

    def __call__(self, rows: Rows, ids: torch.Tensor) -> torch.Tensor:
        """Return logits at the readers; the graph starts at the embeddings."""

        def embed(embedded: torch.Tensor) -> torch.Tensor:
            return add_noise(embedded.detach(), rows).requires_grad_()

        with edited(self.architecture.embedding, embed):
            return forward_logits(self.model, ids, self.screening.prompt.readers)
