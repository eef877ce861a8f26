"""What a release must pass, for the workflows beside it.

pytest example_suites/github_actions                                  the embedded model
pytest example_suites/github_actions --rag-model ./release-candidate  your checkpoint
"""

import pytest

from pytest_ragshortcut import RagCase, assert_context_reliance

CASES = {
    "birthplace": RagCase("Where was Eavan Boland born?", "Eavan Boland was born in Cork."),
    "capital": RagCase("What is the capital of France?", "The capital of France is Velmora."),
    "author": RagCase("Who wrote Dracula?", "Dracula was written by Jane Austen."),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_follows_the_passage(rag_model, case):
    assert_context_reliance(rag_model, case) > 0.8
