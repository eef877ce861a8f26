"""What every executor does with a row before and after it runs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from inspect import signature

import numpy as np
import torch
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import Component, PlanRow, ProbePlan, RowReading
from pytest_ragshortcut.errors import NonFiniteLogitsError, UnsupportedArchitectureError
from pytest_ragshortcut.models.architectures import ArchitectureMap
from pytest_ragshortcut.models.hooks import component_module


def runnable_rows(
    plan: ProbePlan, model: PreTrainedModel, architecture: ArchitectureMap
) -> list[PlanRow]:
    """Check a plan against a model, and drop interventions that touch nothing.

    Raises:
        PlanError: if a row does not fit the model.
        UnsupportedArchitectureError: if a layer lacks what a row intervenes on.
    """
    width = int(model.config.get_text_config().hidden_size)
    plan.require(n_layers=len(architecture.layers), d_model=width)
    rows = [_simplified(row) for row in plan.rows]
    _require_modules(architecture, rows)
    return rows


def require_finite(model: PreTrainedModel, readings: Iterable[RowReading]) -> None:
    """Refuse readings that are no numbers.

    Raises:
        NonFiniteLogitsError: naming the first such row.
    """
    for index, reading in enumerate(readings):
        if not np.isfinite(reading.logprobs).all():
            raise NonFiniteLogitsError(
                model=type(model).__name__, dtype=str(model.dtype), row=index
            )


def forward_logits(
    model: PreTrainedModel, ids: torch.Tensor, positions: Sequence[int]
) -> torch.Tensor:
    """Run the model and return (n_rows, n_positions, n_vocabulary) logits at these positions."""
    keep = torch.tensor(positions, device=ids.device)
    # Without an explicit mask some families guess one from padding ids inside the text.
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    logits: torch.Tensor
    if "logits_to_keep" in signature(model.forward).parameters:
        logits = model(**inputs, logits_to_keep=keep).logits
    else:
        logits = model(**inputs).logits[:, keep]
    return logits


def max_logit_error(dtype: torch.dtype) -> float:
    """Return how far logits of two ways to compute the same may differ, relative to the largest."""
    known = {torch.float64: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}
    return known.get(dtype, 1e-3)


def precise(logits: torch.Tensor) -> torch.Tensor:
    """Widen logits to at least single precision."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _simplified(row: PlanRow) -> PlanRow:
    corruption = row.corruption if row.corruption and row.corruption.positions else None
    return replace(
        row,
        corruption=corruption,
        restorations=tuple(r for r in row.restorations if r.layers and r.positions),
        knockouts=tuple(k for k in row.knockouts if not k.cuts_nothing),
    )


def _require_modules(architecture: ArchitectureMap, rows: Iterable[PlanRow]) -> None:
    purposes: set[str] = set()
    components: set[Component] = set()
    for row in rows:
        purposes |= {"knockouts"} if row.knockouts else set()
        purposes |= {"contributions"} if row.contributions else set()
        components |= {restoration.component for restoration in row.restorations}
    for purpose in sorted(purposes):
        architecture.require_attention(purpose)
    for component in sorted(components):
        _require_component(architecture, component)


def _require_component(architecture: ArchitectureMap, component: Component) -> None:
    if component == "attention":
        architecture.require_attention("restored attention outputs")
    for layer in architecture.layers:
        try:
            component_module(layer, component)
        except TypeError as error:
            raise UnsupportedArchitectureError(
                model=architecture.name, missing=str(error)
            ) from error
