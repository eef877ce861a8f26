"""Does the model answer from the passages we retrieve? A first suite, to copy and change.

pytest example_suites/faithfulness                                  the embedded model
pytest example_suites/faithfulness --rag-model ./release-candidate  your checkpoint
"""

import pytest
from hypothesis import given, settings

from pytest_ragshortcut import (
    RagCase,
    assert_context_reliance,
    assert_parametric_reliance,
    contexts,
)

QUESTION = "Where was Eavan Boland born?"
PASSAGE = "Eavan Boland, the poet, was born in Dublin in 1944."

AGREEING = {
    "birthplace": RagCase(QUESTION, PASSAGE, context_answer="Dublin"),
    "capital": RagCase(
        "What is the capital of France?",
        "The capital of France is Paris. The museum opens at nine every morning.",
        context_answer="Paris",
    ),
    "author": RagCase(
        "Who wrote Dracula?",
        ["Tickets can be bought at the door.", "Dracula was written by Bram Stoker."],
        context_answer="Bram Stoker",
    ),
}

CONTRADICTING = {
    "another known answer": RagCase(
        QUESTION, "Eavan Boland was born in Cork.", context_answer="Cork"
    ),
    "an answer nobody has seen": RagCase(
        "What is the capital of France?",
        "The capital of France is Velmora.",
        context_answer="Velmora",
    ),
    "beside another subject": RagCase(
        QUESTION,
        "Oscar Wilde was born in Rome. Eavan Boland was born in Lisbon.",
        context_answer="Lisbon",
    ),
}


@pytest.mark.parametrize("case", AGREEING.values(), ids=AGREEING)
def test_reads_a_passage_that_it_could_do_without(rag_model, case):
    """It knows the answer; would it have followed the passage, had that said otherwise?"""
    assert_context_reliance(rag_model, case) > 0.8


@pytest.mark.parametrize("case", CONTRADICTING.values(), ids=CONTRADICTING)
def test_follows_a_passage_that_contradicts_what_it_knows(rag_model, case):
    assert_context_reliance(rag_model, case) > 0.8
    assert_parametric_reliance(rag_model, case) < 0.2


@settings(max_examples=20)
@given(context=contexts(PASSAGE, answer="Dublin"))
def test_reads_it_wherever_it_stands(rag_model, context):
    case = RagCase(QUESTION, context, context_answer="Dublin")
    assert_context_reliance(rag_model, case, probes=()) > 0.8


def test_cutting_the_answer_out_of_sight_costs_the_answer(rag_probe):
    """The same claim, made on the mechanism: without attribute -> answer there is no answer."""
    case = RagCase(QUESTION, "Eavan Boland was born in Cork.", context_answer="Cork")
    cut = rag_probe.attention_knockout(case, sources=("attribute", "template"), window=None)
    assert cut.change("attribute")[0] < -0.5
