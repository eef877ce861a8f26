"""From a swap to a score and a verdict: every limit, from both sides."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.effects import follow
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.reliance import SENTENCES, Limits, Verdict, score, verdict
from pytest_ragshortcut.core.results import SwapResult, plain

LIMITS = Limits()
PROBABILITIES = st.lists(
    st.tuples(st.floats(1e-6, 0.5), st.floats(1e-6, 0.5)), min_size=1, max_size=4
)


def swap(*pairs: tuple[float, float], kept: float = 1.0) -> SwapResult:
    """Make a swap from (substitute, memory) probabilities, one pair a substitute.

    Args:
        pairs: the probabilities.
        kept: the share of p(answer) that each substitute leaves.
    """
    substitute, memory = np.array(pairs).T
    return SwapResult(
        prompt=TokenizedPrompt("a", (1,), ("a",), {}, 1),
        context_answer="Rome",
        memory_answer="Oslo",
        clean_probability=0.8,
        answer_probability=np.full(len(pairs), 0.8 * kept),
        substitutes=tuple(f"place {index}" for index in range(len(pairs))),
        substitute_probability=substitute,
        memory_probability=memory,
        follow_each=np.array([follow(np.log(s), np.log(m)) for s, m in pairs]),
        n_substitute=0,
        n_original=0,
    )


@pytest.mark.parametrize(
    ("pairs", "known", "expected"),
    [
        ([(0.81, 0.19)], 0.89, Verdict.CONTEXT),
        ([(0.81, 0.19)], 0.9, Verdict.SHORTCUT),
        ([(0.79, 0.21)], 0.5, Verdict.MIXED),
        ([(0.21, 0.79)], 0.5, Verdict.MIXED),
        ([(0.19, 0.81)], 0.5, Verdict.MEMORY),
        ([(0.19, 0.81)], 0.0, Verdict.MEMORY),
        ([(0.9, 0.1), (0.1, 0.9)], 0.5, Verdict.UNDECIDED),
        ([(0.9, 0.1), (0.81, 0.19)], 0.0, Verdict.CONTEXT),
        ([(0.9, 0.1), (0.79, 0.21)], 0.0, Verdict.UNDECIDED),
        ([(0.1, 0.9), (0.19, 0.81)], 0.0, Verdict.MEMORY),
        ([(0.1, 0.9), (0.21, 0.79)], 0.0, Verdict.UNDECIDED),
        ([(0.79, 0.21), (0.21, 0.79)], 0.0, Verdict.MIXED),
        ([(0.02, 0.02)], 1.0, Verdict.UNGROUNDED),
        ([(0.04, 0.02)], 1.0, Verdict.MIXED),
    ],
)
def test_a_verdict_is_reached_at_its_limit(
    pairs: list[tuple[float, float]], known: float, expected: Verdict
) -> None:
    reached, reason = verdict(swap(*pairs), known=known, limits=LIMITS)
    assert reached == expected
    assert any(character.isdigit() for character in reason)


@pytest.mark.parametrize(
    ("kept", "expected"), [(0.51, Verdict.UNGROUNDED), (0.49, Verdict.UNDECIDED)]
)
def test_an_answer_that_is_gone_without_a_successor_tells_nothing(
    kept: float, expected: Verdict
) -> None:
    reached, reason = verdict(swap((0.02, 0.02), kept=kept), known=1.0, limits=LIMITS)
    assert reached == expected
    assert "0.04" in reason


@given(pairs=PROBABILITIES, known=st.floats(0, 1), kept=st.floats(0, 1))
def test_score_interval_and_verdict_agree(
    pairs: list[tuple[float, float]], known: float, kept: float
) -> None:
    swapped = swap(*pairs, kept=kept)
    context, (low, high) = score(swapped, "context", limits=LIMITS)
    memory, (memory_low, memory_high) = score(swapped, "parametric", limits=LIMITS)
    reached, _ = verdict(swapped, known=known, limits=LIMITS)
    assert math.isnan(context) == math.isnan(memory) == (swapped.mass < LIMITS.min_mass)
    if math.isnan(context):
        assert reached in (Verdict.UNGROUNDED, Verdict.UNDECIDED)
        return
    assert 0.0 <= low <= context + 1e-12 <= high + 2e-12 <= 1.0 + 2e-12
    assert context + memory == pytest.approx(1.0)
    assert (memory_low, memory_high) == pytest.approx((1.0 - high, 1.0 - low))
    assert reached != Verdict.UNGROUNDED
    assert (reached in (Verdict.CONTEXT, Verdict.SHORTCUT)) == (low >= 0.8)
    assert (reached == Verdict.MEMORY) == (high <= 0.2)
    assert (reached == Verdict.MIXED) == (0.2 < low <= high < 0.8)


@given(pairs=PROBABILITIES)
def test_a_model_that_knows_no_more_is_never_a_shortcut(pairs: list[tuple[float, float]]) -> None:
    assert verdict(swap(*pairs), known=0.0, limits=LIMITS)[0] != Verdict.SHORTCUT


def test_every_verdict_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Verdict)
    assert len(set(SENTENCES.values())) == len(Verdict)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Verdict.MIXED, "MIXED"),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (math.inf, None),
        (np.array([[1.0, math.nan]]), [[1.0, None]]),
        ({1: (2.0, {"a": math.nan})}, {"1": [2.0, {"a": None}]}),
        (LIMITS, {"min_context_follow": 0.8, "max_memory_follow": 0.2, "min_mass": 0.05,
                  "min_kept": 0.5, "min_known": 0.9}),
        (None, None),
        (True, True),
    ],
)  # fmt: skip
def test_plain_values_are_builtins(value: Any, expected: Any) -> None:
    made = plain(value)
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    ("said", "follows", "ignores"),
    [
        ("Rome", Verdict.CONTEXT, Verdict.UNDECIDED),
        (" rome ", Verdict.CONTEXT, Verdict.UNDECIDED),
        ("Oslo", Verdict.UNDECIDED, Verdict.MEMORY),
        ("Turin", Verdict.CONTEXT, Verdict.MEMORY),
        (None, Verdict.CONTEXT, Verdict.MEMORY),
    ],
)
def test_what_is_said_to_the_case_as_it_is_has_a_vote(
    said: str | None, follows: Verdict, ignores: Verdict
) -> None:
    """The context states Rome, memory Oslo; the substitutes by themselves are clear."""
    read = {0.9: follows, 0.1: ignores, 0.5: Verdict.MIXED}
    for followed, expected in read.items():
        pairs = swap((followed, 1.0 - followed))
        assert verdict(pairs, known=0.0, limits=LIMITS, said=said)[0] == expected
    agreeing = replace(swap((0.9, 0.1)), memory_answer="rome")
    assert verdict(agreeing, known=0.0, limits=LIMITS, said="Rome")[0] == Verdict.CONTEXT
