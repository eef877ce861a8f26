"""A suite that is red for a good reason: the model never looks at what was retrieved.

pytest example_suites/meant_to_fail                               red: the embedded memoriser
pytest example_suites/meant_to_fail --rag-model embedded:reader   green: the embedded reader
"""

from pytest_ragshortcut import RagCase, assert_context_reliance

QUESTION = "Where was Eavan Boland born?"


def test_follows_a_passage_that_contradicts_what_it_knows(rag_model):
    case = RagCase(QUESTION, "Eavan Boland was born in Cork.", context_answer="Cork")
    assert_context_reliance(rag_model, case) > 0.8


def test_reads_a_passage_that_it_could_do_without(rag_model):
    """Its answer is right, and no accuracy test would notice: it did not come from the passage."""
    passage = "Eavan Boland, the poet, was born in Dublin in 1944."
    assert_context_reliance(rag_model, QUESTION, passage) > 0.8
