"""Had the passage said otherwise, so would the model."""

import pytest

from pytest_ragshortcut import RagCase, assert_follows_swap

CASE = RagCase(
    "Where was Eavan Boland born?",
    [
        "The museum opens at nine every morning.",
        "Eavan Boland was born in Cork.",
        "Oscar Wilde was born in Rome.",
    ],
    context_answer="Cork",
)


@pytest.mark.parametrize("town", ["Moscow", "Seattle"])
def test_says_what_the_passage_says(rag_model, town):
    assert_follows_swap(rag_model, CASE, town, min_follow=0.8)
