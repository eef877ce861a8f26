"""Leave-one-out attribution: closed form, plain forwards by hand, and models of known reliance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from pytest_ragshortcut.core.attribution import AttributionResult
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import PlanRow, ProbePlan, RowReading
from pytest_ragshortcut.errors import AnswerNotFoundError, OptionError
from pytest_ragshortcut.models.handset import hand_weighted
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.attribution import attribute_context
from pytest_ragshortcut.testing import PlantedModel

GAIN, DOUBT = 20.0, 5.0
ANSWERS = ("unknown", "Oslo", "Rome", "Cork", "Bonn")
QUESTION = "Where was Ada Quill born?"
PASSAGES = ["Ada Quill, the poet, was born in Rome. Some say Cork.", "Bonn is a city."]
KNOWN = {"subject": "Ada Quill", "context_answer": "Rome", "memory_answer": "Oslo"}
DIALS = [0.0, 0.3, 0.5, 0.8, 1.0]


def planted(context: float) -> PlantedModel:
    return PlantedModel({"Ada Quill": "Oslo"}, answers=ANSWERS[2:], context_strength=context)


def log_odds(dial: float, stated: list[str], n_subjects: int, answer: str = "Rome") -> float:
    """Add up the planted model's logits: what its docstring says."""
    logits = {a: GAIN * dial * stated.count(a) / (len(stated) + 1) for a in ANSWERS}
    logits["Oslo"] += GAIN * (1 - dial) * n_subjects / (n_subjects + 1)
    logits["unknown"] += DOUBT
    others = [math.exp(logit) for a, logit in logits.items() if a != answer]
    return logits[answer] - math.log(sum(others))


def by_label(result: AttributionResult) -> dict[str, tuple[float, float]]:
    readings = zip(result.pieces, result.probability, result.effect, strict=True)
    return {piece.label: (float(p), float(effect)) for piece, p, effect in readings}


@pytest.mark.parametrize("dial", DIALS)
@pytest.mark.parametrize("answer", ["Rome", "Oslo", "Cork"])
def test_every_piece_takes_its_own_words_from_the_planted_model(dial: float, answer: str) -> None:
    case = RagCase(QUESTION, PASSAGES, answer=answer, **KNOWN)
    result = attribute_context(planted(dial), case)
    whole = log_odds(dial, ["Rome", "Cork", "Bonn"], 2, answer)
    expected = {
        "passage 0": log_odds(dial, ["Bonn"], 1, answer),
        "sentence 0.0": log_odds(dial, ["Cork", "Bonn"], 1, answer),
        "sentence 0.1": log_odds(dial, ["Rome", "Bonn"], 2, answer),
        "passage 1": log_odds(dial, ["Rome", "Cork"], 2, answer),
    }
    assert result.clean == pytest.approx(1 / (1 + math.exp(-whole)), rel=1e-12)
    got = by_label(result)
    assert list(got) == list(expected)
    for label, left in expected.items():
        p, effect = got[label]
        assert p == pytest.approx(1 / (1 + math.exp(-left)), rel=1e-10)
        assert effect == pytest.approx(whole - left, abs=1e-10)


@pytest.mark.parametrize("dial", DIALS)
def test_without_its_only_passage_the_answer_is_read_closed_book(dial: float) -> None:
    case = RagCase(QUESTION, "Ada Quill was born in Rome.", answer="Rome", **KNOWN)
    result = attribute_context(planted(dial), case)
    ((piece, (_, effect)),) = by_label(result).items()
    assert piece == "passage 0"
    lost = log_odds(dial, ["Rome"], 2) - log_odds(dial, [], 1)
    assert effect == pytest.approx(lost, abs=1e-10)


def test_passages_alone_are_read_alike() -> None:
    case = RagCase(QUESTION, PASSAGES, answer="Rome", **KNOWN)
    both, alone = (attribute_context(planted(0.5), case, unit=u) for u in ("sentences", "passages"))
    assert list(by_label(alone)) == ["passage 0", "passage 1"]
    assert by_label(alone).items() <= by_label(both).items()
    assert both.strongest is not None
    assert both.strongest.label == "sentence 0.0"
    assert alone.strongest == alone.pieces[0]


def test_another_unit_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(OptionError, match="sentences, passages"):
        attribute_context(None, None, unit="words")  # type: ignore[arg-type]


def test_a_case_that_cannot_be_completed_says_so() -> None:
    case = RagCase(QUESTION, "It rained.", memory_answer="Oslo")
    with pytest.raises(AnswerNotFoundError):
        attribute_context(planted(0.0), case)


def test_on_a_real_model_it_equals_plain_forwards_of_hand_written_prompts(
    llama: RagModel, case: RagCase
) -> None:
    """The texts without each piece are written out; the answer's tokens are the same in all."""
    first, second = "Eavan Boland was born in Dublin.", "Cork is a city."
    named = {**vars(case), "context": (f"{first}\n{second} {first}", second)}
    result = attribute_context(llama, RagCase(**named))
    left = {
        "passage 0": second,
        "sentence 0.0": f"{second} {first}\n{second}",
        "sentence 0.1": f"{first}\n{first}\n{second}",
        "sentence 0.2": f"{first}\n{second}\n{second}",
        "passage 1": f"{first}\n{second} {first}",
    }
    answer = result.prompt.answer_ids
    assert len(answer) == 2

    def by_hand(context: str) -> float:
        text = f"Context: {context}\nQuestion: {case.question}\nAnswer:"
        ids = llama.tokenizer(text)["input_ids"]
        return float(tiny.by_hand(llama.model, tiny.prompt(ids, answer)).sum())

    clean = by_hand(f"{first}\n{second} {first}\n{second}")
    assert result.clean == pytest.approx(math.exp(clean), rel=1e-9)
    got = by_label(result)
    assert list(got) == list(left)
    for label, context in left.items():
        logprob = by_hand(context)
        assert got[label][0] == pytest.approx(math.exp(logprob), rel=1e-9)
        odds = [lp - math.log1p(-math.exp(lp)) for lp in (clean, logprob)]
        assert got[label][1] == pytest.approx(odds[0] - odds[1], abs=1e-9)
    assert max(abs(effect) for _, effect in got.values()) > 1e-3


def test_every_prompt_reads_the_tokens_that_the_model_said(
    llama: RagModel, case: RagCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = RagCase(**{**vars(case), "answer": None})
    prompt = llama.tokenize(llama.render(asked))
    (said,) = llama.generate([prompt])
    assert llama.reading(prompt, said.text).answer_ids != said.token_ids
    rows: list[PlanRow] = []

    def run_all(plans: Sequence[ProbePlan]) -> tuple[tuple[RowReading, ...], ...]:
        rows.extend(row for plan in plans for row in plan.rows)
        return RagModel.run_all(llama, plans)

    monkeypatch.setattr(llama, "run_all", run_all)
    result = attribute_context(llama, asked)
    assert len(rows) == 1 + len(result.pieces) == 3
    assert {row.prompt.answer_ids for row in rows} == {said.token_ids}


CONFLICTS = {
    "Dublin": RagCase(
        "Where was Eavan Boland born?",
        (
            "Tickets can be bought at the door. This page was last edited in 1967.",
            "The museum opens at nine. Eavan Boland, the poet, was born in Cork in 1944.",
            "The harbour froze in 1802.",
        ),
        subject="Eavan Boland",
        context_answer="Cork",
    ),
    "Helsinki": RagCase(
        "What is the capital of Finland?",
        (
            "The capital of Finland is Bonn.",
            "Tickets can be bought at the door. This page was last edited in 1967.",
        ),
        subject="Finland",
        context_answer="Bonn",
    ),
}


@pytest.mark.parametrize("memory", CONFLICTS)
@pytest.mark.parametrize("name", ["reader", "copier"])
def test_models_that_read_lose_their_answer_with_the_sentence_that_states_it(
    name: str, memory: str
) -> None:
    case = CONFLICTS[memory]
    result = attribute_context(embedded(name), case)
    assert result.strongest is not None
    assert case.context_answer in result.strongest.text
    assert result.clean > 0.5
    for piece, p in zip(result.pieces, result.probability, strict=True):
        if case.context_answer in piece.text:
            assert p < 0.01


@pytest.mark.parametrize("memory", CONFLICTS)
def test_a_model_that_remembers_keeps_its_answer_without_any_piece(memory: str) -> None:
    result = attribute_context(embedded("memoriser"), CONFLICTS[memory])
    assert result.clean > 0.5
    assert (result.probability > 0.5).all()
    reading = attribute_context(embedded("reader"), CONFLICTS[memory])
    assert np.abs(result.effect).max() < reading.effect.max() / 5


def embedded(name: str) -> RagModel:
    return RagModel.from_pretrained(f"embedded:{name}", device="cpu")


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize(("context", "memory"), [(0.8, 0.2), (0.2, 0.8), (1.0, 0.0)])
def test_a_hand_weighted_model_loses_what_its_context_dial_gives(
    architecture: Any, context: float, memory: float
) -> None:
    facts = {"Eavan Boland": "Dublin", "Oscar Wilde": "Bonn"}
    model = hand_weighted(
        facts, answers=["Cork"], context=context, memory=memory, architecture=architecture,
        dtype=torch.float64,
    )  # fmt: skip
    stated, other = "Eavan Boland was born in Cork.", "Oscar Wilde was born in Bonn."
    case = RagCase(
        "Where was Eavan Boland born?", (f"{other} {stated}", "Tickets are sold here."),
        subject="Eavan Boland", answer="Cork", context_answer="Cork", memory_answer="Dublin",
    )  # fmt: skip
    result = attribute_context(model, case)
    whole, rest = (
        math.log(p / (1 - p))
        for p in (
            model.expected_probability("Cork", subject="Eavan Boland", stated=said)
            for said in (["Cork"], [])
        )
    )
    for piece, effect in zip(result.pieces, result.effect, strict=True):
        lost = whole - rest if stated in piece.text else 0.0
        assert effect == pytest.approx(lost, abs=1e-4)
    assert result.strongest is not None
    assert result.strongest.text == stated
