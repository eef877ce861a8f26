"""The formulas of the probes, as pure functions of log-probabilities and probabilities."""

from __future__ import annotations

import numpy as np

from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.errors import UndefinedEffectError


def total_effect(clean: float, corrupted: Array) -> float:
    """Measure how much of the answer a corruption takes away.

    Args:
        clean: answer probability of the clean run, in [0, 1].
        corrupted: (n_samples,) answer probability of the corrupted runs.

    Returns:
        Mean of clean - corrupted, in [-1, 1].

    Source:
        Meng et al. 2022, section 2.1.

    Example:
        >>> round(total_effect(0.9, np.array([0.1, 0.3])), 12)
        0.7
    """
    return float(clean - np.mean(corrupted))


def indirect_effect(restored: Array, corrupted: Array) -> Array:
    """Measure how much of the answer comes back when one site is made clean again.

    Args:
        restored: (..., n_samples) answer probability of the restored runs.
        corrupted: (n_samples,) answer probability of the same samples with nothing restored.

    Returns:
        (...) mean of restored - corrupted over the samples, in [-1, 1].

    Source:
        Meng et al. 2022, section 2.1 (indirect effect).

    Example:
        >>> indirect_effect(np.array([[0.5, 0.7]]), np.array([0.1, 0.1]))
        array([0.5])
    """
    return np.asarray(np.mean(restored - corrupted, axis=-1), dtype=np.float64)


def restored_fraction(
    effect: Array, *, clean: float, corrupted: float, min_total_effect: float
) -> Array:
    """Divide an indirect effect by the total effect.

    Returns:
        (...) share of the lost answer that comes back; 1 is all of it. May leave [0, 1].

    Raises:
        UndefinedEffectError: if the total effect is below min_total_effect.

    Example:
        >>> restored_fraction(np.array([0.2]), clean=0.9, corrupted=0.5, min_total_effect=0.01)
        array([0.5])
    """
    total = clean - corrupted
    if not total >= min_total_effect:
        raise UndefinedEffectError(
            quantity="restored fraction",
            clean=clean,
            corrupted=corrupted,
            min_effect=min_total_effect,
        )
    return effect / total


def relative_change(cut: Array, clean: float) -> Array:
    """Measure what a knockout changes, relative to the clean run.

    Args:
        cut: (...) answer probability with the edges cut.
        clean: answer probability with nothing cut.

    Returns:
        (...) (cut - clean) / clean, at least -1; negative: the edges helped. NaN where the clean
        probability is 0, for there is nothing to change.

    Source:
        Geva et al. 2023, section 5, there times 100.

    Example:
        >>> relative_change(np.array([0.2]), 0.8)
        array([-0.75])
    """
    if clean <= 0.0:
        return np.full_like(cut, np.nan)
    return (cut - clean) / clean


def follow(substitute_logprob: float, memory_logprob: float) -> float:
    """Measure whether the answer followed a swapped context or stayed with memory.

    Returns:
        p(o') / (p(o') + p(m)), in [0, 1], computed without leaving log space.

    Source:
        In degree what Longpre et al. 2021 count: the complement of the memorization ratio.

    Example:
        >>> follow(np.log(0.6), np.log(0.2))
        0.75
    """
    return float(np.exp(substitute_logprob - np.logaddexp(substitute_logprob, memory_logprob)))


def share(part: float, other: float) -> float:
    """Divide a magnitude by the sum of two; NaN where both are zero.

    Example:
        >>> share(3.0, 1.0)
        0.75
    """
    total = part + other
    return part / total if total > 0.0 else float("nan")


def top_mean(values: Array, *, top_share: float) -> float:
    """Average the largest values.

    Args:
        values: (...) magnitudes.
        top_share: which share of them to average, in (0, 1]; at least one value is.

    Source:
        Wadhwa et al. 2024, section 5.2: mean of the top 5 % of contributions.

    Example:
        >>> top_mean(np.array([1.0, 2.0, 3.0, 4.0]), top_share=0.5)
        3.5
    """
    flat = np.sort(np.ravel(values))
    count = max(1, round(top_share * flat.size))
    return float(flat[-count:].mean())
