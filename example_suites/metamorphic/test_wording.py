"""The question in other words has the same answer."""

from hypothesis import given

from pytest_ragshortcut import RagCase, assert_ignores_wording, paraphrases

QUESTION = "Where was Eavan Boland born?"
CASE = RagCase(
    QUESTION,
    [
        "The museum opens at nine every morning.",
        "Eavan Boland was born in Cork.",
        "Oscar Wilde was born in Rome.",
    ],
    context_answer="Cork",
)

WORDINGS = ["In which city was {subject} born?", "What is the birthplace of {subject}?"]


@given(question=paraphrases(QUESTION, WORDINGS))
def test_any_wording_will_do(rag_model, question):
    assert_ignores_wording(rag_model, CASE, question, max_drop=0.1)
