"""The passages may stand in another order: a retriever's scores change, the facts do not."""

from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut import RagCase, assert_ignores_order, assert_reads_every_position

CASE = RagCase(
    "Where was Eavan Boland born?",
    [
        "The museum opens at nine every morning.",
        "Eavan Boland was born in Cork.",
        "Oscar Wilde was born in Rome.",
    ],
    context_answer="Cork",
)


@given(order=st.permutations(range(len(CASE.passages))))
def test_any_order_will_do(rag_model, order):
    assert_ignores_order(rag_model, CASE, order, max_drop=0.1)


def test_the_gold_passage_may_stand_anywhere(rag_model):
    assert_reads_every_position(rag_model, CASE, max_drop=0.1)
