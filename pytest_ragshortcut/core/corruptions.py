"""The named corruptions, as rows' data: Gaussian noise, a mask token, another subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pytest_ragshortcut.core.plans import Array, Corruption
from pytest_ragshortcut.errors import PlanError

Method = Literal["gaussian", "mask", "replace"]
METHODS: tuple[Method, ...] = ("gaussian", "mask", "replace")


@dataclass(frozen=True)
class GaussianNoise:
    """How the Gaussian corruption draws: the defaults are the field's.

    Source: Meng et al. 2022, causal_trace.py: scale 3, 10 samples, one fixed seed.
    """

    scale: float = 3.0
    """In standard deviations of the embedding entries of the subject tokens."""
    n_samples: int = 10
    """How many noise samples; the same ones in every cell."""
    seed: int = 0
    """Of the generator, made anew for every call."""

    def draw(self, n_span_tokens: int, embeddings: Array) -> Array:
        """Draw (n_samples, n_span_tokens, d_model) noise.

        Args:
            n_span_tokens: how many tokens are corrupted.
            embeddings: (n, d_model) embeddings whose entries give the standard deviation.

        Example:
            >>> GaussianNoise(n_samples=2).draw(3, np.ones((1, 4))).shape
            (2, 3, 4)
        """
        generator = np.random.default_rng(self.seed)
        shape = (self.n_samples, n_span_tokens, embeddings.shape[1])
        return self.scale * float(embeddings.std()) * generator.standard_normal(shape)


def noise_corruptions(positions: Sequence[int], noise: Array) -> tuple[Corruption, ...]:
    """Make one corruption a noise sample.

    Args:
        positions: (n_span_tokens,) the corrupted positions.
        noise: (n_samples, n_span_tokens, d_model).

    Raises:
        PlanError: if the noise has another shape.
    """
    noise = np.asarray(noise, dtype=np.float64)
    if noise.ndim != 3 or noise.shape[1] != len(positions) or not len(noise):
        raise PlanError(
            f"the noise has the shape {noise.shape}",
            where="corruption",
            expected=f"The shape is (n_samples, {len(positions)}, d_model): samples, span tokens",
            action="Draw it for this span",
        )
    return tuple(Corruption(tuple(positions), noise=sample) for sample in noise)


def replacement(positions: Sequence[int], token_ids: Sequence[int]) -> Corruption:
    """Make a corruption that puts other tokens in place of a span's, one for one.

    Raises:
        PlanError: if the numbers of tokens differ.

    Example:
        >>> replacement([4, 5], [7, 8]).token_ids
        (7, 8)
    """
    if len(positions) != len(token_ids):
        raise PlanError(
            f"{len(token_ids)} tokens cannot replace {len(positions)}",
            where="corruption 'replace'",
            expected="Symmetric replacement takes another subject of equal token length",
            action="Pass replacement= with as many tokens as the span, or use corruption='mask'",
        )
    return Corruption(tuple(positions), token_ids=tuple(token_ids))
