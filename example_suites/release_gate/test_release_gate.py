"""May this checkpoint be released?

pytest example_suites/release_gate --rag-compare released --rag-model embedded:victim
"""

import pytest

from pytest_ragshortcut import assert_context_reliance

# Of a case by itself no more is asked than that it has a score: the gate compares it with the
# released model's. Where one fell, the cut says whether the answer still came through the passage.
pytestmark = pytest.mark.rag(min_context_reliance=0, probes=["knockout"])


@pytest.mark.rag_cases("cases.jsonl")
def test_follows_its_passages(rag_model, rag_case):
    assert_context_reliance(rag_model, rag_case)
