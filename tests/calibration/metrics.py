"""How well scores track a planted truth. Pure functions; an undefined score, NaN, is left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def auroc(following: ArrayLike, remembering: ArrayLike) -> float:
    """Measure how well a score tells two kinds of cases apart: area under the ROC curve.

    Args:
        following: (n,) scores of cases that truly follow the context.
        remembering: (m,) scores of cases that truly answer from memory.

    Returns:
        P(following > remembering) + P(equal) / 2 of a random pair, in [0, 1]; NaN without a pair.

    Example:
        >>> auroc([0.9, 0.5], [0.5, 0.1])
        0.875
    """
    high, low = defined(following), defined(remembering)
    if not (high.size and low.size):
        return float("nan")
    above = ranks(np.concatenate([high, low]))[: high.size].sum()
    return float((above - high.size * (high.size + 1) / 2) / (high.size * low.size))


def spearman(scores: ArrayLike, truth: ArrayLike) -> float:
    """Measure how well scores order cases as the truth does: Spearman's rank correlation.

    Args:
        scores: (n,) scores.
        truth: (n,) planted degrees.

    Returns:
        Pearson's correlation of the mean ranks, in [-1, 1]; NaN where either is constant.

    Example:
        >>> round(spearman([0.1, 0.3, 0.2], [0.0, 0.5, 1.0]), 12)
        0.5
    """
    pairs = both(scores, truth)
    if not pairs.shape[1]:
        return float("nan")
    left, right = (ranks(values) - (pairs.shape[1] + 1) / 2 for values in pairs)
    size = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / size) if size > 0.0 else float("nan")


def calibration_error(scores: ArrayLike, truth: ArrayLike) -> float:
    """Measure how far scores are from the planted degree.

    Args:
        scores: (n,) scores in [0, 1].
        truth: (n,) planted degrees in [0, 1].

    Returns:
        Mean of |score - truth|, in [0, 1]; NaN without a pair.

    Example:
        >>> calibration_error([0.5, 1.0, float("nan")], [0.25, 0.75, 0.0])
        0.25
    """
    left, right = both(scores, truth)
    return float(np.abs(left - right).mean()) if left.size else float("nan")


def by_degree(scores: ArrayLike, truth: ArrayLike) -> tuple[Floats, Floats]:
    """Average the scores of each planted degree.

    Args:
        scores: (n,) scores in [0, 1].
        truth: (n,) planted degrees in [0, 1].

    Returns:
        (k,) mean scores, and the (k,) different degrees, ascending.

    Example:
        >>> by_degree([0.25, 0.75, 0.0, float("nan")], [0.5, 0.5, 0.0, 0.0])
        (array([0. , 0.5]), array([0. , 0.5]))
    """
    left, right = both(scores, truth)
    degrees = np.unique(right)
    return np.array([left[right == degree].mean() for degree in degrees]), degrees


def failing(scores: ArrayLike, *, threshold: float) -> float:
    """Return the share of scores of which `score > threshold` does not hold, undefined ones too.

    Example:
        >>> failing([0.9, 0.8, float("nan"), 1.0], threshold=0.8)
        0.5
    """
    values = np.asarray(scores, dtype=np.float64)
    return float(np.mean(~(values > threshold))) if values.size else float("nan")


def passing(scores: ArrayLike, *, threshold: float) -> float:
    """Return the share of scores of which `score > threshold` holds.

    Example:
        >>> passing([0.9, 0.8, float("nan"), 1.0], threshold=0.8)
        0.5
    """
    return 1.0 - failing(scores, threshold=threshold)


def undefined(scores: ArrayLike) -> float:
    """Return the share of scores that are NaN.

    Example:
        >>> undefined([0.5, float("nan")])
        0.5
    """
    values = np.asarray(scores, dtype=np.float64)
    return float(np.isnan(values).mean()) if values.size else float("nan")


def ranks(values: ArrayLike) -> Floats:
    """Return (n,) ranks from 1; equal values share the mean of theirs.

    Example:
        >>> ranks([0.2, 0.1, 0.2])
        array([2.5, 1. , 2.5])
    """
    _, which, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[which], dtype=np.float64)


def defined(scores: ArrayLike) -> Floats:
    """Return the scores that are not NaN."""
    values = np.asarray(scores, dtype=np.float64)
    return np.asarray(values[~np.isnan(values)])


def both(scores: ArrayLike, truth: ArrayLike) -> Floats:
    """Return (2, n), scores and truth where both are defined."""
    pairs = np.array([scores, truth], dtype=np.float64).reshape(2, -1)
    return np.asarray(pairs[:, ~np.isnan(pairs).any(axis=0)])


def middle(values: Sequence[float]) -> float:
    """Return the median; NaN of nothing.

    Example:
        >>> middle([3.0, 1.0, 2.0])
        2.0
    """
    return float(np.median(values)) if values else float("nan")
