"""Three tests: the plainest check, a passage that contradicts memory, a claim on the mechanism.

pytest example_suites/first_steps                                  the embedded model
pytest example_suites/first_steps --rag-model ./release-candidate  your checkpoint
"""

from pytest_ragshortcut import RagCase, assert_context_reliance, assert_parametric_reliance

QUESTION = "Where was Eavan Boland born?"


def test_reads_the_passage(rag_model):
    """The model knows the answer. Would it have followed the passage, had that said otherwise?"""
    passage = "Eavan Boland, the poet, was born in Dublin in 1944."
    assert_context_reliance(rag_model, QUESTION, passage) > 0.8


CONTRADICTING = RagCase(
    QUESTION,
    ["Tickets can be bought at the door.", "Eavan Boland was born in Cork."],
    context_answer="Cork",
)


def test_follows_a_contradiction(rag_model):
    """A case says more than a question and a text: several passages, and what they state."""
    assert_context_reliance(rag_model, CONTRADICTING) > 0.8
    assert_parametric_reliance(rag_model, CONTRADICTING) < 0.2


def test_the_answer_comes_through_attention(rag_probe):
    """Where the model cannot look at the word "Cork", it cannot say "Cork"."""
    cut = rag_probe.attention_knockout(CONTRADICTING, sources=("attribute",), window=None)
    assert cut.change("attribute")[0] < -0.5
