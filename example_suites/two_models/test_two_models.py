"""Two models side by side: the last release and the next.

pytest example_suites/two_models
"""

import pytest

from pytest_ragshortcut import RagCase, assert_context_reliance, context_reliance

LAST, NEXT = "embedded:mixture-75", "embedded:reader"

CASES = {
    "birthplace": RagCase("Where was Eavan Boland born?", "Eavan Boland was born in Cork."),
    "capital": RagCase("What is the capital of France?", "The capital of France is Velmora."),
    "headquarters": RagCase("Where is Nokia headquartered?", "Nokia is headquartered in Madrid."),
}

# For all tests of this file: both models, and the score alone, without other probes.
pytestmark = [
    pytest.mark.rag(model=[LAST, NEXT], probes=()),
    pytest.mark.parametrize("case", CASES.values(), ids=CASES),
]


def test_follows_the_passage(rag_model, case):
    """Asked of each model: does it follow the passage rather than its memory?"""
    assert_context_reliance(rag_model, case) > 0.5


def test_next_reads_no_less(rag_models, case):
    """Asked of both together: in no case does the next release read less than the last."""
    last = context_reliance(rag_models[LAST], case)
    assert_context_reliance(rag_models[NEXT], case) >= last.score
