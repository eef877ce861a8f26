"""Every error says what is wrong, where, what would be right and the one thing to do."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import pytest

from pytest_ragshortcut import errors
from pytest_ragshortcut.errors import RagShortcutError, listed, quoted

SAMPLES: dict[str, Callable[[], RagShortcutError]] = {
    "EmptyTextError": lambda: errors.EmptyTextError(role="question", text=" "),
    "SpanNotFoundError": lambda: errors.SpanNotFoundError(
        role="subject", text="Cork", region="question", within="Where is Dublin?"
    ),
    "AmbiguousSpanError": lambda: errors.AmbiguousSpanError(
        role="subject", candidates=["Cork", "Rome"], within="Cork or Rome?", keyword="subject"
    ),
    "AnswerNotFoundError": lambda: errors.AnswerNotFoundError(
        role="answer", reason="the greedy answer is empty", within="Where?", keyword="answer"
    ),
    "SpecialTokenError": lambda: errors.SpecialTokenError(
        token="</s>", role="context", text="Here </s>."
    ),
    "PromptTooLongError": lambda: errors.PromptTooLongError(
        n_tokens=70, max_tokens=64, text="Context"
    ),
    "CheckpointNotFoundError": lambda: errors.CheckpointNotFoundError(
        name="./m", reason="there is no such directory"
    ),
    "AlteredWeightsError": lambda: errors.AlteredWeightsError(
        name="embedded:reader", files=["reader/model.safetensors"]
    ),
    "TokenizerError": lambda: errors.TokenizerError(tokenizer="ByT5Tokenizer", reason="it is slow"),
    "TemplateError": lambda: errors.TemplateError(template="{x}", reason="no context"),
    "UnsupportedArchitectureError": lambda: errors.UnsupportedArchitectureError(
        model="MambaForCausalLM", missing="it has no attention"
    ),
    "NonFiniteLogitsError": lambda: errors.NonFiniteLogitsError(
        model="LlamaForCausalLM", dtype="float16", row=3
    ),
    "AdapterSelfCheckError": lambda: errors.AdapterSelfCheckError(
        model="LlamaForCausalLM", layer=1, error=0.123456, max_error=0.001
    ),
    "ExecutorSelfCheckError": lambda: errors.ExecutorSelfCheckError(
        model="LlamaForCausalLM", error=0.123456, max_error=0.001
    ),
    "UndefinedEffectError": lambda: errors.UndefinedEffectError(
        quantity="restored fraction", clean=0.0121, corrupted=0.012, min_effect=0.01
    ),
    "UncomparedError": lambda: errors.UncomparedError(
        check="assert_context_reliance(...)", where="test_x.py:3"
    ),
    "OptionError": lambda: errors.OptionError(option="--rag-x", value="y", expected="a number"),
    "MissingExtraError": lambda: errors.MissingExtraError(
        feature=".plot()", package="matplotlib", extra="plots"
    ),
}
BARE = {"problem": "it is wrong", "where": "here", "expected": "It is right", "action": "Mend it"}
CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, RagShortcutError)
]


def sample(kind: type[RagShortcutError]) -> RagShortcutError:
    if kind.__name__ in SAMPLES:
        return SAMPLES[kind.__name__]()
    problem, *_ = BARE.values()
    return kind(problem, **{key: value for key, value in BARE.items() if key != "problem"})


@pytest.mark.parametrize("kind", CLASSES)
def test_the_text_has_its_four_parts_in_order(kind: type[RagShortcutError]) -> None:
    error = sample(kind)
    parts = [error.problem, error.where, error.expected, error.action]
    assert all(part.strip() for part in parts)
    assert str(error) == f"{parts[0]} ({parts[1]}).\n{parts[2]}. {parts[3]}."
    assert ".." not in str(error).replace("...", "")


@pytest.mark.parametrize("kind", CLASSES)
def test_the_text_neither_shouts_nor_begs(kind: type[RagShortcutError]) -> None:
    text = str(sample(kind))
    for forbidden in ("invalid", "please", "error occurred", "!", "None"):
        assert forbidden.casefold() not in text.casefold()


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_that_takes_fields_keeps_them_and_has_a_sample(
    kind: type[RagShortcutError],
) -> None:
    takes_fields = "__init__" in vars(kind) and kind is not RagShortcutError
    assert takes_fields == (kind.__name__ in SAMPLES)
    if takes_fields:
        names = inspect.signature(kind.__init__).parameters.keys() - {"self"}
        kept = vars(sample(kind)).keys()
        not_kept = {"keyword", "text", "expected"}
        assert names - not_kept <= kept


@pytest.mark.parametrize("kind", CLASSES)
def test_the_tree_in_the_module_names_every_class(kind: type[RagShortcutError]) -> None:
    assert re.search(rf"\b{kind.__name__}\b", str(errors.__doc__))
    assert kind.__doc__


def test_the_problem_shows_the_value_next_to_its_limit() -> None:
    too_long = str(sample(errors.PromptTooLongError))
    assert "70 tokens, 6 more than the model's window of 64" in too_long
    undefined = str(sample(errors.UndefinedEffectError))
    assert "p(clean)=0.0121" in undefined
    assert "0.0001 < min_total_effect 0.01" in undefined
    assert "0.123, max_error 0.001" in str(sample(errors.AdapterSelfCheckError))


def test_user_text_is_quoted_and_cut_at_60_characters() -> None:
    assert quoted("a\nb") == r"'a\nb'"
    assert quoted("x" * 60) == repr("x" * 60)
    assert quoted("x" * 61) == repr("x" * 59 + "…")


def test_more_than_ten_alternatives_are_counted() -> None:
    assert listed([str(n) for n in range(10)]).count("'") == 20
    assert listed([str(n) for n in range(12)]).endswith("'9' and 2 more")
