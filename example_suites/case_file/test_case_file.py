"""Cases from files: every line becomes a test.

pytest example_suites/case_file                                  the embedded model
pytest example_suites/case_file --rag-model ./release-candidate  your checkpoint
"""

import pytest

from pytest_ragshortcut import assert_context_reliance

# For all tests of this file: the limit of what they check; and the score alone, no other probes.
pytestmark = pytest.mark.rag(min_context_reliance=0.8, probes=())


@pytest.mark.rag_cases("cases.jsonl")
def test_reads(rag_model, rag_case):
    assert_context_reliance(rag_model, rag_case)


@pytest.mark.rag_cases("questions.csv", columns={"context_answer": "gold"})
def test_reads_what_was_logged(rag_model, rag_case):
    assert_context_reliance(rag_model, rag_case)
