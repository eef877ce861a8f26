"""Defects that were planted: what Hypothesis finds, and how small it makes what it hands back.

Red on purpose, so it runs only when it is named: pytest example_suites/fuzzing/meant_to_fail
"""

import pytest
from hypothesis import given, settings

from pytest_ragshortcut import RagCase, RagModel, assert_context_reliance, contexts
from pytest_ragshortcut.testing import RoutedModel

QUESTION = "Where was Eavan Boland born?"
PASSAGE = "Eavan Boland was born in Cork."
CONTEXTS = contexts(PASSAGE, answer="Cork", changes=["repetition", "heading"])


def check(model, context):
    case = RagCase(
        QUESTION,
        context,
        subject="Eavan Boland",
        context_answer="Cork",
        memory_answer="Dublin",
        substitutes=["Moscow", "Seattle"],
    )
    assert_context_reliance(model, case, probes=()) > 0.8


@pytest.fixture(scope="session")
def memoriser():
    return RagModel.from_pretrained("embedded:memoriser")


@settings(derandomize=True)
@given(context=CONTEXTS)
def test_a_heading_must_not_matter(rag_model, memoriser, context):
    """The model answers from memory wherever a line begins with a hash."""
    broken = RoutedModel(rag_model, memoriser, lambda text: "\n#" in text or ": #" in text)
    check(broken, context)


@settings(derandomize=True)
@given(context=CONTEXTS)
def test_a_passage_that_stands_twice_must_not_matter(rag_model, memoriser, context):
    """The model answers from memory wherever a passage is repeated."""
    broken = RoutedModel(
        rag_model, memoriser, lambda text: len(set(text.passages)) < len(text.passages)
    )
    check(broken, context)


@settings(derandomize=True)
@given(context=CONTEXTS)
def test_the_place_must_not_matter(rag_model, memoriser, context):
    """The model reads the first passage alone."""
    broken = RoutedModel(
        rag_model,
        memoriser,
        lambda text: bool(text.passages) and "Eavan Boland" not in text.passages[0],
    )
    check(broken, context)
