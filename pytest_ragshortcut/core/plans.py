"""What to run on a model, as plain data: any executor may carry a plan out, and all must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.errors import PlanError

Array = NDArray[np.float64]
Component = Literal["residual", "attention", "mlp"]
COMPONENTS: tuple[Component, ...] = ("residual", "attention", "mlp")


@dataclass(frozen=True, eq=False)
class Corruption:
    """A disturbance of the token embeddings: noise added, or other tokens in their place."""

    positions: tuple[int, ...]
    """(n_span_tokens,) the corrupted positions."""
    noise: Array | None = None
    """(n_span_tokens, d_model) added to the output of the token embedding."""
    token_ids: tuple[int, ...] | None = None
    """(n_span_tokens,) token ids embedded instead."""

    def embedded(self, ids: Sequence[int]) -> list[int]:
        """Return a prompt's token ids with those that this one embeds instead.

        Example:
            >>> Corruption((1, 2), token_ids=(7, 8)).embedded((4, 5, 6))
            [4, 7, 8]
        """
        instead = dict(zip(self.positions, self.token_ids or (), strict=False))
        return [instead.get(position, token) for position, token in enumerate(ids)]

    def up_to(self, stop: int) -> Corruption:
        """Return the part of it before a position.

        Example:
            >>> Corruption((1, 2), token_ids=(7, 8)).up_to(2)
            Corruption(positions=(1,), noise=None, token_ids=(7,))
        """
        kept = [index for index, position in enumerate(self.positions) if position < stop]
        tokens, noise = self.token_ids, self.noise
        return Corruption(
            tuple(self.positions[index] for index in kept),
            noise=None if noise is None else noise[kept],
            token_ids=None if tokens is None else tuple(tokens[index] for index in kept),
        )


@dataclass(frozen=True)
class Restoration:
    """Clean states put back into a corrupted run: one component, some layers, some positions."""

    component: Component
    """residual: the stream after the layer; attention, mlp: what the sub-layer computes."""
    layers: tuple[int, ...]
    """The window of layers."""
    positions: tuple[int, ...]
    """The restored positions."""


@dataclass(frozen=True)
class Knockout:
    """Edges source -> target whose attention scores become minus infinity, in all heads.

    The edge from a position to itself is never cut: a target that sees nothing has no attention.
    """

    sources: tuple[int, ...]
    """The positions attended to (keys)."""
    targets: tuple[int, ...]
    """The positions that attend (queries)."""
    layers: tuple[int, ...]
    """The window of layers."""

    @property
    def cuts_nothing(self) -> bool:
        """Whether no edge is left once those from a position to itself are."""
        pairs_itself = len(set(self.sources) | set(self.targets)) == 1
        return not (self.sources and self.targets and self.layers) or pairs_itself


@dataclass(frozen=True, eq=False)
class PlanRow:
    """One run: a prompt and its answer, the interventions, what to read beside the answer."""

    prompt: TokenizedPrompt
    corruption: Corruption | None = None
    restorations: tuple[Restoration, ...] = ()
    knockouts: tuple[Knockout, ...] = ()
    contributions: bool = False
    """Whether to read the attention contributions to the readers, those of the clean run."""
    heads: bool = True
    """Whether they include the norm of each head's part."""
    summed: bool = True
    """Whether they include the norm of the head sum, which costs an output projection a token."""
    sources: tuple[int, ...] | None = None
    """Whose contributions to read; None is every token's."""


@dataclass(frozen=True, eq=False)
class ProbePlan:
    """Rows to run. Their order is the order of the readings."""

    rows: tuple[PlanRow, ...]

    def require(self, *, n_layers: int, d_model: int) -> None:
        """Check every row against a model's shape.

        Raises:
            PlanError: if a row names a position, layer or noise shape that does not exist.
        """
        for index, row in enumerate(self.rows):
            _require_row(row, index, n_layers, d_model)


@dataclass(frozen=True, eq=False)
class Contributions:
    """What each source token adds to the readers through attention; mean over the readers."""

    per_head: Array
    """(n_layers, n_heads, n_tokens) 2-norm of A[T, i] (x_i W_V) W_O, at least 0."""
    summed: Array
    """(n_layers, n_tokens) 2-norm of the sum over heads, at least 0."""

    def asked(self, row: PlanRow) -> Contributions:
        """Return what a row asks for, and NaN for the rest."""

        def kept(values: Array, wanted: bool) -> Array:
            if wanted and row.sources is None:
                return values
            found = np.full_like(values, np.nan)
            if wanted:
                at = list(row.sources or ())
                found[..., at] = values[..., at]
            return found

        return Contributions(kept(self.per_head, row.heads), kept(self.summed, row.summed))


@dataclass(frozen=True, eq=False)
class RowReading:
    """What one row gave."""

    logprobs: Array
    """(n_answer,) log-probability of each answer token, nats, at most 0."""
    said: bool = False
    """Whether every answer token was the likeliest one: a greedy reader would have said it."""
    contributions: Contributions | None = None
    """Set where the row asked for it."""

    @property
    def logprob(self) -> float:
        """Log-probability of the whole answer, nats."""
        return float(self.logprobs.sum())

    @property
    def probability(self) -> float:
        """Probability of the whole answer, in [0, 1]."""
        return float(np.exp(self.logprob))


def layer_window(center: int, size: int, n_layers: int) -> tuple[int, ...]:
    """List the layers of a window, clipped at the first and the last layer.

    Source: Meng et al. 2022, causal_trace.py: [c - w//2, c + ceil(w/2)).

    Example:
        >>> layer_window(5, 4, 12), layer_window(0, 3, 12)
        ((3, 4, 5, 6), (0, 1))
    """
    return tuple(range(max(0, center - size // 2), min(n_layers, center - (-size // 2))))


def _require_row(row: PlanRow, index: int, n_layers: int, d_model: int) -> None:
    n_tokens = len(row.prompt.input_ids)
    if not row.prompt.answer_ids:
        raise _plan_error(f"row {index} reads no answer", index, "Each row has answer tokens")
    layers = [layer for r in row.restorations for layer in r.layers]
    layers += [layer for k in row.knockouts for layer in k.layers]
    positions = [p for r in row.restorations for p in r.positions]
    positions += [p for k in row.knockouts for p in (*k.sources, *k.targets)]
    positions += row.corruption.positions if row.corruption else ()
    _require_range(layers, n_layers, "layer", index)
    _require_range(positions, n_tokens, "position", index)
    if any(r.component not in COMPONENTS for r in row.restorations):
        expected = f"A component is one of {', '.join(COMPONENTS)}"
        raise _plan_error("a restoration names another component", index, expected)
    if row.corruption is not None:
        _require_corruption(row.corruption, index, d_model)


def _require_range(values: Sequence[int], stop: int, what: str, index: int) -> None:
    for value in values:
        if not 0 <= value < stop:
            expected = f"A {what} is in [0, {stop})"
            raise _plan_error(f"{what} {value} does not exist", index, expected)


def _require_corruption(corruption: Corruption, index: int, d_model: int) -> None:
    n_span = len(corruption.positions)
    if (corruption.noise is None) == (corruption.token_ids is None):
        expected = "Exactly one of noise and token_ids is given"
        raise _plan_error("a corruption has both or neither", index, expected)
    if corruption.noise is not None and corruption.noise.shape != (n_span, d_model):
        expected = f"Noise has the shape ({n_span}, {d_model}): span tokens, model width"
        raise _plan_error(f"noise has the shape {corruption.noise.shape}", index, expected)
    if corruption.token_ids is not None and len(corruption.token_ids) != n_span:
        expected = f"{n_span} replacement tokens, one a position"
        raise _plan_error(f"{len(corruption.token_ids)} tokens replace {n_span}", index, expected)


def _plan_error(problem: str, index: int, expected: str) -> PlanError:
    where = f"row {index} of the plan"
    return PlanError(problem, where=where, expected=expected, action="Correct this argument")
