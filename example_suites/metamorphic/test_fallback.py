"""Without the gold passage the model says what it knows, or that it does not know."""

from pytest_ragshortcut import RagCase, assert_falls_back

CASE = RagCase(
    "Where was Eavan Boland born?",
    [
        "The museum opens at nine every morning.",
        "Eavan Boland was born in Cork.",
        "Oscar Wilde was born in Rome.",
    ],
    context_answer="Cork",
)


def test_takes_no_answer_from_other_passages(rag_model):
    assert_falls_back(rag_model, CASE)
