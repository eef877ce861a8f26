"""A claim about a share of the contexts that are drawn, with a confidence that is stated."""

from hypothesis import given

from pytest_ragshortcut import RagCase, assert_context_reliance, contexts, holds_for

QUESTION = "Where was Eavan Boland born?"
PASSAGE = "Eavan Boland was born in Cork."


@holds_for(0.6, confidence=0.95)
@given(context=contexts(PASSAGE, answer="Cork", changes="all", keep="Eavan Boland"))
def test_reads_most_of_them(rag_model, context):
    """Under every change there is, typos and other scripts too: some break it, and may."""
    case = RagCase(QUESTION, context, subject="Eavan Boland", context_answer="Cork")
    assert_context_reliance(rag_model, case, probes=()) > 0.5
