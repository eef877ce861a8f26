"""Cases as Hypothesis draws them for the tests of values: any text, any field left out."""

from __future__ import annotations

from hypothesis import strategies as st

from pytest_ragshortcut.core.cases import RagCase

TEXT = st.text(min_size=1, max_size=20).filter(str.strip)
OPTIONAL = st.none() | TEXT
CASES = st.builds(
    RagCase,
    TEXT,
    TEXT | st.lists(TEXT, min_size=1, max_size=3),
    answer=OPTIONAL,
    subject=OPTIONAL,
    context_answer=OPTIONAL,
    memory_answer=OPTIONAL,
    substitutes=st.none() | st.lists(TEXT, max_size=3),
)
