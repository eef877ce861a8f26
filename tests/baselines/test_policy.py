"""The gate's policy: what is written is read, and what means nothing is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.baselines.policy import Policy, parse_policy
from pytest_ragshortcut.errors import OptionError

FRACTIONS = st.integers(1, 99).map(lambda percent: percent / 100)


@given(
    policy=st.builds(
        Policy,
        margin=FRACTIONS,
        floor=st.none() | FRACTIONS,
        fell=st.none() | FRACTIONS,
        confidence=st.sampled_from([0.9, 0.95, 0.99]),
        inconclusive=st.sampled_from(["fail", "warn"]),
        primary=st.none() | st.sampled_from(["test_a", "a.py::test_a"]),
        by=st.sampled_from(["test", "kind"]),
        interval=st.sampled_from(["bounded", "bootstrap"]),
    )
)
def test_a_policys_line_is_the_policy(policy: Policy) -> None:
    assert parse_policy(policy.line) == policy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a margin as well"),
        ("floor:0.8", "a margin as well"),
        ("margin", "between 0 and 1"),
        ("margin:5%", "between 0 and 1"),
        ("margin:0", "between 0 and 1"),
        ("margin:nan", "between 0 and 1"),
        ("margin:0.1, floor:1", "floor: a number between 0 and 1"),
        ("margin:0.1, confidence:0.3", "above 0.5, below 1"),
        ("margin:0.1, margin:0.2", "each once"),
        ("margin:0.1, mean:0.2", "name:value of margin, floor"),
        ("margin:0.1, inconclusive:pass", "inconclusive:fail|warn"),
        ("margin:0.1, primary:", "the name of a test function"),
    ],
)
def test_what_means_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_policy(text)
    assert said in str(caught.value)
    assert "--rag-compare-fail" in str(caught.value)
