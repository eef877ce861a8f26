"""Every probe on the planted model equals arithmetic that shares no code with it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.reliance import Limits, Verdict
from pytest_ragshortcut.errors import AnswerNotFoundError, OptionError
from pytest_ragshortcut.probes.contributions import attention_contributions
from pytest_ragshortcut.probes.knockout import attention_knockout
from pytest_ragshortcut.probes.reliance import context_reliance, parametric_reliance
from pytest_ragshortcut.probes.swap import counterfactual_swap
from pytest_ragshortcut.probes.trace import causal_trace
from pytest_ragshortcut.testing import PlantedModel

GAIN, DOUBT, EXACT = 20.0, 5.0, 1e-12
FACTS = {"Ada Quill": "Oslo", "Bo Reed": "Lima"}
OTHERS = ("Rome", "Cork", "Bonn", "Kiel")
ANSWERS = ("unknown", "Oslo", "Lima", *OTHERS)
QUESTION = "Where was Ada Quill born?"
CONTEXT = "Ada Quill, the poet, was born in Rome. Some say Cork."
CASE = RagCase(
    QUESTION, CONTEXT, answer="Rome", context_answer="Rome", memory_answer="Oslo",
    subject="Ada Quill",
)  # fmt: skip
DIALS = [0.0, 0.3, 0.5, 0.8, 1.0]


def planted(context: float, memory: float | None = None) -> PlantedModel:
    return PlantedModel(FACTS, answers=OTHERS, context_strength=context, memory_strength=memory)


def path(strength: float, said: list[str], *, n_more: int = 0) -> dict[str, float]:
    """Add up what one head says when it looks at words that say these answers, and at itself."""
    share = GAIN * strength / (len(said) + n_more + 1)
    return {answer: share * said.count(answer) for answer in ANSWERS}


def probability(answer: str, *paths: dict[str, float]) -> float:
    logits = {a: sum(p[a] for p in paths) + DOUBT * (a == "unknown") for a in ANSWERS}
    return math.exp(logits[answer]) / sum(map(math.exp, logits.values()))


# Three words say something to the context head: Rome, Cork, and none other; two to the memory head.
READ, RECALLED = ["Rome", "Cork"], ["Oslo", "Oslo"]


def clean(dial: float, answer: str = "Rome") -> float:
    return probability(answer, path(dial, READ), path(1 - dial, RECALLED))


def test_the_planted_model_is_a_probe_model() -> None:
    model: ProbeModel = planted(0.5)
    assert model.n_layers == 2


@pytest.mark.parametrize("dial", DIALS)
@pytest.mark.parametrize("answer", ["Rome", "Oslo", "Cork", "unknown"])
def test_answers_have_the_probability_of_their_paths(dial: float, answer: str) -> None:
    case = RagCase(QUESTION, CONTEXT, answer=answer, context_answer="Rome", memory_answer="Oslo")
    trace = causal_trace(planted(dial), case, corruption="mask", positions=("last",))
    assert trace.clean == pytest.approx(clean(dial, answer), abs=EXACT)


@pytest.mark.parametrize("dial", DIALS)
def test_masking_the_attribute_takes_its_word_from_the_context_head(dial: float) -> None:
    trace = causal_trace(planted(dial), CASE, corrupt="attribute", corruption="mask")
    masked = probability("Rome", path(dial, ["Cork"]), path(1 - dial, RECALLED))
    assert trace.corrupted == pytest.approx(masked, abs=EXACT)
    assert trace.total_effect == pytest.approx(clean(dial) - masked, abs=EXACT)
    (attribute,), (last,) = trace.prompt.positions("attribute"), trace.prompt.positions("last")
    expected = np.zeros_like(trace.indirect_effect)
    expected[0, attribute] = expected[1, last] = clean(dial) - masked
    assert trace.indirect_effect == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("dial", DIALS)
def test_masking_the_subject_takes_one_of_two_mentions_from_the_memory_head(dial: float) -> None:
    case = RagCase(QUESTION, CONTEXT, answer="Oslo", context_answer="Rome", memory_answer="Oslo")
    trace = causal_trace(planted(dial), case, corrupt="subject", corruption="mask")
    masked = probability("Oslo", path(dial, READ), path(1 - dial, RECALLED[1:]))
    assert trace.corrupted == pytest.approx(masked, abs=EXACT)
    *_, name = trace.prompt.positions("subject")
    (last,) = trace.prompt.positions("last")
    expected = np.zeros_like(trace.indirect_effect)
    expected[0, name] = expected[1, last] = trace.clean - masked
    assert trace.indirect_effect == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("dial", DIALS)
def test_masking_every_mention_of_the_subject_leaves_no_memory(dial: float) -> None:
    trace = causal_trace(
        planted(dial), CASE, corrupt="subject everywhere", corruption="mask", positions=("last",)
    )
    assert trace.corrupted == pytest.approx(probability("Rome", path(dial, READ)), abs=EXACT)


@pytest.mark.parametrize("dial", DIALS)
def test_another_subject_of_equal_length_brings_its_own_fact(dial: float) -> None:
    trace = causal_trace(planted(dial), CASE, corruption="replace", replace_with="Bo Reed")
    replaced = probability("Rome", path(dial, READ), path(1 - dial, ["Oslo", "Lima"]))
    assert trace.corrupted == pytest.approx(replaced, abs=EXACT)


@given(dial=st.floats(0, 1), seed=st.integers(0, 1000))
def test_noise_on_the_attribute_adds_its_answer_entries(dial: float, seed: int) -> None:
    model = planted(dial)
    noise = np.random.default_rng(seed).uniform(-0.4, 0.4, (3, 1, model.d_model))
    trace = causal_trace(
        model, CASE, corrupt="attribute", corruption=noise, positions=("attribute", "last")
    )
    share = GAIN * dial / 3
    disturbed = [
        dict(zip(ANSWERS, share * sample[0, model.mechanism.answer_axes], strict=True))
        for sample in noise
    ]
    said = path(dial, READ), path(1 - dial, RECALLED)
    corrupted = [probability("Rome", *said, extra) for extra in disturbed]
    assert trace.corrupted == pytest.approx(np.mean(corrupted), abs=EXACT)
    (attribute,), (last,) = trace.prompt.positions("attribute"), trace.prompt.positions("last")
    total = clean(dial) - float(np.mean(corrupted))
    assert trace.indirect_effect[0, attribute] == pytest.approx(total, abs=EXACT)
    assert trace.indirect_effect[1, last] == pytest.approx(total, abs=EXACT)
    assert trace.indirect_effect[1, attribute] == pytest.approx(0.0, abs=EXACT)


@pytest.mark.parametrize("dial", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("component", ["mlp", "residual", "attention"])
def test_noise_on_the_subject_passes_through_the_fact_that_the_mlp_writes(
    dial: float, component: Any
) -> None:
    model, case = planted(dial), RagCase(QUESTION, CONTEXT, answer="Oslo", context_answer="Rome")
    axes = model.mechanism
    noise = np.random.default_rng(1).uniform(-0.4, 0.4, (4, 2, model.d_model))
    trace = causal_trace(model, case, corruption=noise, component=component)
    share = GAIN * (1 - dial) / 3
    whole, written = [], []
    for _, name in noise:
        facts = dict(zip(ANSWERS, share * name[axes.fact_axes], strict=True))
        recalled = dict.fromkeys(ANSWERS, 0.0)
        for answer, entry in zip(("Oslo", "Lima"), share * name[axes.subject_axes], strict=True):
            recalled[answer] = entry
        said = path(dial, READ), path(1 - dial, RECALLED)
        whole.append(probability("Oslo", *said, facts, recalled))
        written.append(probability("Oslo", *said, facts))
    assert trace.corrupted == pytest.approx(np.mean(whole), abs=EXACT)
    *_, name_at = trace.prompt.positions("subject")
    (last,) = trace.prompt.positions("last")
    expected = np.zeros_like(trace.restored)
    if component != "attention":
        gives_back = trace.clean if component == "residual" else np.mean(written)
        expected[0, name_at] = gives_back - np.mean(whole)
    if component != "mlp":
        expected[1, last] = trace.clean - np.mean(whole)
    assert trace.indirect_effect == pytest.approx(expected, abs=EXACT)
    assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("dial", DIALS)
def test_knockouts_take_their_words_from_both_heads_in_the_layer_that_attends(
    dial: float,
) -> None:
    sources = ("subject", "attribute", "context", "question", "template")
    result = attention_knockout(planted(dial), CASE, sources=sources, window=1)
    expected = {
        "subject": probability("Rome", path(dial, READ), path(1 - dial, RECALLED[1:])),
        "attribute": probability("Rome", path(dial, ["Cork"]), path(1 - dial, RECALLED)),
        "context": probability("Rome", path(1 - dial, RECALLED[1:])),
        "question": probability("Rome", path(dial, READ), path(1 - dial, RECALLED[1:])),
        "template": clean(dial),
    }
    for source, row, change in zip(
        sources, result.probability, result.relative_change, strict=True
    ):
        assert row == pytest.approx(np.array([clean(dial), expected[source]]), abs=EXACT)
        assert change[1] == pytest.approx(expected[source] / clean(dial) - 1, abs=1e-9)
    every_layer = attention_knockout(planted(dial), CASE, sources=sources, window=None)
    assert every_layer.probability == pytest.approx(result.probability[:, 1:], abs=EXACT)


@pytest.mark.parametrize("dial", DIALS)
def test_contributions_are_the_shares_of_the_heads(dial: float) -> None:
    result = attention_contributions(planted(dial), CASE)
    prompt = result.prompt
    expected = np.zeros((2, 2, len(prompt.tokens)))
    for position, token in enumerate(prompt.tokens):
        expected[1, 0, position] = GAIN * dial / 3 * (token in ("Rome", "Cork"))
        expected[1, 1, position] = GAIN * (1 - dial) / 3 * (token == "Quill")
    assert result.per_head == pytest.approx(expected, abs=EXACT)
    assert result.summed == pytest.approx(expected.sum(axis=1), abs=EXACT)
    assert result.of("attribute") == pytest.approx(np.array([0, GAIN * dial / 3]), abs=EXACT)


@given(context=st.floats(0, 1), memory=st.floats(0, 1))
def test_the_swap_follows_as_its_two_paths_weigh(context: float, memory: float) -> None:
    swap = counterfactual_swap(planted(context, memory), CASE, ["Bonn", "Kiel"])
    said = path(context, ["Bonn", "Cork"]), path(memory, RECALLED)
    substitute, remembered = probability("Bonn", *said), probability("Oslo", *said)
    assert swap.substitute_probability == pytest.approx(np.full(2, substitute), abs=EXACT)
    assert swap.memory_probability == pytest.approx(np.full(2, remembered), abs=EXACT)
    assert swap.follow == pytest.approx(substitute / (substitute + remembered), abs=1e-9)
    # One of two words against both mentions of the subject: half the weight.
    difference = GAIN * (context - 2 * memory) / 3
    assert swap.follow == pytest.approx(1 / (1 + math.exp(-difference)), abs=1e-9)


@pytest.mark.parametrize("other", ["Bonn", "Kiel"])
def test_the_two_reliances_move_with_the_dial_and_against_each_other(other: str) -> None:
    case = RagCase(QUESTION, CONTEXT, memory_answer="Oslo", context_answer="Rome",
                   substitutes=(other,))  # fmt: skip
    dials = np.linspace(0.0, 1.0, 21)
    context = [context_reliance(planted(dial), case, probes=()).score for dial in dials]
    memory = [parametric_reliance(planted(dial), case, probes=()).score for dial in dials]
    assert all(left < right for left, right in pairwise(context))
    assert all(left > right for left, right in pairwise(memory))
    assert np.array(context) + memory == pytest.approx(np.ones(21), abs=EXACT)
    assert context[0] < 0.01
    assert context[-1] > 0.95


@pytest.mark.parametrize(
    ("context", "memory", "min_known", "verdict"),
    [
        (1.0, 0.0, 0.7, Verdict.CONTEXT),
        (0.0, 1.0, 0.7, Verdict.MEMORY),
        # Closed-book it says the fact with p 0.72.
        (1.0, 0.6, 0.7, Verdict.SHORTCUT),
        (1.0, 0.6, 0.8, Verdict.CONTEXT),
        (0.9, 0.65, 0.7, Verdict.MIXED),
        (0.0, 0.0, 0.7, Verdict.UNGROUNDED),
    ],
)
def test_planted_strengths_reach_their_verdict(
    context: float, memory: float, min_known: float, verdict: Verdict
) -> None:
    case = RagCase(QUESTION, "Ada Quill was born in Rome.", memory_answer="Oslo",
                   context_answer="Rome")  # fmt: skip
    limits = Limits(min_known=min_known)
    result = context_reliance(planted(context, memory), case, limits=limits)
    assert result.verdict == verdict
    assert math.isnan(result.score) == (verdict == Verdict.UNGROUNDED)
    assert result.reason


def test_a_case_is_completed_on_the_planted_model() -> None:
    result = context_reliance(planted(1.0, 0.6), QUESTION, "Ada Quill was born in Rome.")
    assert result.case == RagCase(
        QUESTION, "Ada Quill was born in Rome.", subject="Ada Quill", answer="Rome",
        context_answer="Rome", memory_answer="Oslo",
    )  # fmt: skip
    assert set(result.swap.substitutes) <= set(ANSWERS) - {"unknown", "Oslo", "Rome"}
    assert len(result.swap.substitutes) == 3


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"context_strength": 1.1}, "context_strength"),
        ({"memory_strength": -0.1}, "memory_strength"),
        ({"answers": ["New York"]}, "answers"),
    ],
)
def test_a_strength_or_answer_beyond_the_model_is_refused(
    options: dict[str, Any], option: str
) -> None:
    with pytest.raises(OptionError) as raised:
        PlantedModel(FACTS, **options)
    assert raised.value.option == option


@pytest.mark.parametrize("answer", ["Berlin", "Rome Cork", ""])
def test_an_answer_that_it_cannot_say_is_refused(answer: str) -> None:
    model = planted(0.5)
    prompt = model.tokenize(model.render(CASE))
    with pytest.raises(AnswerNotFoundError, match="says one of unknown, Oslo, Lima"):
        model.reading(prompt, answer)
