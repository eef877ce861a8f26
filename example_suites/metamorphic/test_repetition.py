"""The gold passage may come twice: two indexes found it."""

from pytest_ragshortcut import RagCase, assert_ignores_repetition

CASE = RagCase(
    "Where was Eavan Boland born?",
    [
        "The museum opens at nine every morning.",
        "Eavan Boland was born in Cork.",
        "Oscar Wilde was born in Rome.",
    ],
    context_answer="Cork",
)


def test_a_passage_that_was_found_twice_is_read_once(rag_model):
    assert_ignores_repetition(rag_model, CASE, times=2, max_drop=0.1)
