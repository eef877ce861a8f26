"""Gradient screening: which cells of a causal map to compute, by what their gradients promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_ragshortcut.core.plans import Array, Component, Corruption
from pytest_ragshortcut.core.prompts import TokenizedPrompt

Cells = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Screening:
    """Asks for the first-order estimate of what each restored state would give back.

    The answer is (n_layers, n_tokens): by layer and position the mean over the corruptions of

        (clean state - corrupted state) . d p(answer) / d state,

    the derivative taken in the corrupted run.

    Source:
        Nanda 2023 and Syed et al. 2023 (attribution patching), there of other metrics than p.
    """

    prompt: TokenizedPrompt
    """The prompt, set to read an answer."""
    corruptions: tuple[Corruption, ...]
    """(n_samples,) at least one; each is a run of its own."""
    component: Component
    """Whose states: those after the layer, or what a sub-layer computes."""


def windowed(estimate: Array, windows: Sequence[tuple[int, ...]]) -> Array:
    """Add up estimates over windows of layers.

    To first order, sub-layers restored together give back what each of them does alone.

    Args:
        estimate: (n_layers, n_tokens).
        windows: (n_windows,) the layers of each.

    Returns:
        (n_windows, n_tokens).

    Example:
        >>> windowed(np.array([[1.0], [2.0], [4.0]]), [(0, 1), (0, 1, 2)])
        array([[3.],
               [7.]])
    """
    return np.stack([estimate[list(layers)].sum(axis=0) for layers in windows])


def strongest(estimate: Array, among: Cells, count: int) -> Cells:
    """Pick the cells with the largest absolute estimates.

    Args:
        estimate: (n_layers, n_tokens).
        among: (n_layers, n_tokens) the cells to pick from.
        count: how many; all of them, where there are no more. Of equals, the first layer's first.

    Returns:
        (n_layers, n_tokens) which were picked.

    Example:
        >>> strongest(np.array([[0.1, -0.7, 0.4]]), np.ones((1, 3), dtype=bool), 2)
        array([[False,  True,  True]])
    """
    candidates = np.flatnonzero(among)
    order = np.argsort(-np.abs(estimate.flat[candidates]), kind="stable")
    picked = np.zeros(among.size, dtype=bool)
    picked[candidates[order[:count]]] = True
    return picked.reshape(among.shape)
