"""One more passage, which says nothing of the question, may stand anywhere."""

from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut import RagCase, assert_ignores_distractor

CASE = RagCase(
    "Where was Eavan Boland born?",
    [
        "The museum opens at nine every morning.",
        "Eavan Boland was born in Cork.",
        "Oscar Wilde was born in Rome.",
    ],
    context_answer="Cork",
)

MORE = ["Tickets can be bought at the door.", "Some of the letters have been lost."]


@given(distractor=st.sampled_from(MORE), at=st.integers(0, len(CASE.passages)))
def test_a_passage_more_changes_nothing(rag_model, distractor, at):
    assert_ignores_distractor(rag_model, CASE, distractor, at=at, max_drop=0.1)
