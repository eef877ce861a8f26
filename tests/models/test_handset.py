"""Hand-weighted models: what they say is the closed form of their dials, and why they say it."""

from __future__ import annotations

import math
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, GPT2LMHeadModel, LlamaForCausalLM

from pytest_ragshortcut import (
    GaussianNoise,
    RagCase,
    Template,
    Verdict,
    attention_contributions,
    attention_knockout,
    causal_trace,
    context_reliance,
    counterfactual_swap,
)
from pytest_ragshortcut.core.finding import invented_subjects
from pytest_ragshortcut.core.plans import PlanRow, ProbePlan
from pytest_ragshortcut.errors import AnswerNotFoundError, ModelError, OptionError, RagShortcutError
from pytest_ragshortcut.models.handset import (
    FactsError,
    HandWeightedModel,
    UnknownSubjectError,
    expected_follow,
    gain,
    hand_weighted,
)
from pytest_ragshortcut.models.handset.circuit import Circuit
from pytest_ragshortcut.models.handset.closed_form import MAX_GAIN, ClosedForm
from pytest_ragshortcut.models.handset.facts import MAX_ANSWERS, take_facts
from pytest_ragshortcut.models.handset.tokenizer import UNKNOWN, make_vocabulary
from pytest_ragshortcut.models.handset.writers import ARCHITECTURES
from pytest_ragshortcut.models.rag_model import RagModel

FACTS = {
    "Eavan Boland": "Dublin",
    "Oscar Wilde": "Cork",
    "Ada Quill": "Oslo",
    "Ann": "New York",
    "Ann Lee": "St. Louis",
    "Jean-Paul Roux": "Port-au-Prince",
    "Zoë": "Dublin",
}
ANSWERS = ("Rome", "Paris", "1944")
SUBJECTS, SAYABLE = tuple(FACTS), tuple(dict.fromkeys([*FACTS.values(), *ANSWERS]))
QUESTION = "Where was Eavan Boland born?"
CONFLICT = RagCase(QUESTION, "Ada Quill was born in Paris. Eavan Boland was born in Rome.")

# GPT-2 in double precision is exact but for its constant; Llama's norm is single precision.
CLOSENESS = {
    ("llama", torch.float32): 1e-4,
    ("llama", torch.float64): 5e-6,
    ("gpt2", torch.float32): 1e-4,
    ("gpt2", torch.float64): 1e-8,
}
strengths = st.floats(0.0, 1.0) | st.sampled_from([0.0, 1e-8, 1e-3, 0.5, 1.0])
architectures = pytest.mark.parametrize("architecture", ARCHITECTURES)
precisions = pytest.mark.parametrize(("architecture", "dtype"), CLOSENESS)


@cache
def made(
    architecture: str, context: float = 0.3, memory: float = 0.6, dtype: torch.dtype = torch.float32
) -> HandWeightedModel:
    smaller = {"n_positions": 512, "words": ["was born in"]}
    return built(architecture, context, memory, dtype, **smaller)


def built(
    architecture: str, context: float, memory: float, dtype: torch.dtype, **options: Any
) -> HandWeightedModel:
    asked = {"architecture": architecture, "context": context, "memory": memory, "dtype": dtype}
    return hand_weighted(FACTS, answers=ANSWERS, **asked, **options)


def probability(model: RagModel, case: RagCase, *answers: str, book: str = "open") -> list[float]:
    prompt = model.tokenize(model.render(case, book))
    rows = tuple(PlanRow(model.reading(prompt, answer)) for answer in answers)
    return [reading.probability for reading in model.run(ProbePlan(rows))]


def assert_as_expected(
    model: HandWeightedModel, case: RagCase, subject: str, stated: list[str], within: float = 1e-4
) -> None:
    answers = [*stated, FACTS[subject], "Paris"]
    expected = [model.expected_probability(a, subject=subject, stated=stated) for a in answers]
    assert probability(model, case, *answers) == pytest.approx(expected, abs=within)


# --- the closed form -----------------------------------------------------------------------------


def test_the_gain_is_absent_at_zero_and_whole_at_one() -> None:
    assert gain(0.0) == 0.0
    assert gain(1.0) == pytest.approx(MAX_GAIN)


@given(context=strengths, memory=strengths)
def test_follow_is_the_odds_of_the_two_strengths(context: float, memory: float) -> None:
    steps = math.expm1(MAX_GAIN)
    wanted = (1 + context * steps) / (2 + (context + memory) * steps)
    assert expected_follow(context, memory) == pytest.approx(wanted, rel=1e-9)
    assert expected_follow(context, memory) + expected_follow(memory, context) == pytest.approx(1.0)


def test_the_closed_form_is_a_distribution() -> None:
    names = [f"answer {i}" for i in range(6)]
    form = ClosedForm(context=0.2, memory=0.9, n_answers=6, n_reserved=10, n_words=20)
    said = sum(form.probability(n, stated=[*names[:2], names[0]], fact=names[2]) for n in names)
    nothing = ClosedForm(context=0.2, memory=0.9, n_answers=6, n_reserved=0, n_words=0)
    assert said < 1.0
    assert sum(nothing.probability(n, stated=names[:2], fact=names[1]) for n in names) == (
        pytest.approx(1.0)
    )


# --- the model says what the closed form says ----------------------------------------------------


@architectures
def test_it_is_a_real_model_used_as_any_checkpoint(architecture: str) -> None:
    model = made(architecture)
    kind = {"llama": LlamaForCausalLM, "gpt2": GPT2LMHeadModel}[architecture]
    assert isinstance(model, RagModel)
    assert isinstance(model.model, kind)
    assert model.note == ""
    assert not model.model.training


@precisions
def test_closed_book_answers_are_the_facts(architecture: str, dtype: torch.dtype) -> None:
    model = made(architecture, dtype=dtype)
    cases = [RagCase(f"Where was {subject} born?", "Nothing.") for subject in FACTS]
    prompts = [model.tokenize(model.render(case, "closed")) for case in cases]
    assert [said.text for said in model.generate(prompts)] == list(FACTS.values())
    for case, (subject, fact) in zip(cases, FACTS.items(), strict=True):
        (p,) = probability(model, case, fact, book="closed")
        within = CLOSENESS[architecture, dtype]
        assert p == pytest.approx(model.expected_probability(fact, subject=subject), abs=within)
        assert p > 0.999


@precisions
@settings(max_examples=12)
@given(context=strengths, memory=strengths)
def test_a_conflict_is_split_as_the_dials_say(
    architecture: str, dtype: torch.dtype, context: float, memory: float
) -> None:
    model = built(architecture, context, memory, dtype)
    within = CLOSENESS[architecture, dtype]
    assert_as_expected(model, CONFLICT, "Eavan Boland", ["Rome"], within)
    stated, remembered = probability(model, CONFLICT, "Rome", "Dublin")
    assert stated / (stated + remembered) == pytest.approx(model.expected_follow, abs=within)


@architectures
@settings(max_examples=8)
@given(context=strengths, memory=strengths)
def test_in_agreement_the_paths_add_up(architecture: str, context: float, memory: float) -> None:
    model = hand_weighted(FACTS, context=context, memory=memory, architecture=architecture)
    case = RagCase(QUESTION, "Eavan Boland was born in Dublin.")
    wanted = model.expected_probability("Dublin", subject="Eavan Boland", stated=["Dublin"])
    assert probability(model, case, "Dublin") == pytest.approx([wanted], abs=1e-4)


@architectures
@pytest.mark.parametrize(
    "sentence",
    [
        "Eavan Boland was born in Rome.",
        "Eavan Boland, the poet, was born in Rome in the spring of that year.",
        "Historians agree that Eavan Boland comes from Rome",
        "Eavan Boland's place of birth: Rome!",
        "(Eavan Boland, born in Rome, worked with a friend.)",
        "In Ann Lee's time Eavan Boland, who wrote poems, was born in Rome, a fact few dispute.",
    ],
)
def test_it_reads_many_forms_of_sentence(architecture: str, sentence: str) -> None:
    assert_as_expected(made(architecture), RagCase(QUESTION, sentence), "Eavan Boland", ["Rome"])


@architectures
@settings(max_examples=15)
@given(
    others=st.lists(
        st.tuples(st.sampled_from(SUBJECTS[1:]), st.sampled_from(SAYABLE)), max_size=30
    ),
    place=st.integers(0, 30),
    as_passages=st.booleans(),
)
def test_sentences_about_others_are_ignored(
    architecture: str, others: list[tuple[str, str]], place: int, as_passages: bool
) -> None:
    texts = [f"{subject} was born in {answer}." for subject, answer in others]
    texts.insert(place, "Eavan Boland lives in Rome.")
    case = RagCase(QUESTION, texts if as_passages else " ".join(texts))
    assert_as_expected(made(architecture), case, "Eavan Boland", ["Rome"])


@architectures
@pytest.mark.parametrize(
    "context",
    [
        "Oscar Wilde was born in Rome. Ada Quill was born in Paris.",
        "Much has been said about Eavan Boland. Rome has a large market.",
        "Eavan Boland wrote poems\nRome has a large market",
        "A stranger nobody knows was born in Rome.",
        "Eavan Boland wrote. Zed Quill was born in Rome.",
        "The museum opens at nine every morning.",
    ],
)
def test_without_a_sentence_about_the_subject_memory_answers(
    architecture: str, context: str
) -> None:
    assert_as_expected(made(architecture), RagCase(QUESTION, context), "Eavan Boland", [])


@architectures
@settings(max_examples=8)
@given(stated=st.lists(st.sampled_from(SAYABLE), min_size=1, max_size=6))
def test_several_answers_share_the_context_path(architecture: str, stated: list[str]) -> None:
    passages = [f"Eavan Boland was born in {answer}." for answer in stated]
    case = RagCase(QUESTION, ["Ann was born in Paris.", *passages])
    assert_as_expected(made(architecture, 0.5, 1e-6), case, "Eavan Boland", stated)


@architectures
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_window_of_thousands_of_tokens_is_read_from_end_to_end(
    architecture: str, place: float
) -> None:
    model = hand_weighted(
        FACTS, answers=ANSWERS, context=0.3, memory=0.6, architecture=architecture
    )
    others = [f"{SUBJECTS[1 + i % 6]} was born in {SAYABLE[i % 9]}." for i in range(300)]
    others.insert(int(place * len(others)), "Eavan Boland was born in Rome.")
    case = RagCase(QUESTION, " ".join(others))
    assert 1500 < len(model.tokenize(model.render(case)).input_ids) < model.max_tokens
    assert_as_expected(model, case, "Eavan Boland", ["Rome"])


@architectures
@settings(max_examples=6)
@given(subject=st.sampled_from(SUBJECTS))
def test_names_that_hold_each_other_stay_apart(architecture: str, subject: str) -> None:
    case = RagCase(
        f"What do we know of {subject}?",
        "Ann Leeds is unlike Ann Lee. " + " ".join(f"{s} lives in Rome." for s in (subject,)),
    )
    assert_as_expected(made(architecture), case, subject, ["Rome"])


def test_every_name_is_one_token_with_its_own_characters() -> None:
    model = made("llama")
    for subject in SUBJECTS:
        for answer in SAYABLE:
            case = RagCase(f"Who is {subject}?", f"Indeed, {subject} was born in {answer}.")
            prompt = model.render(case)
            prompt = prompt.with_phrase("subject", subject, region="question")
            prompt = prompt.with_phrase("attribute", answer, region="context")
            tokenized = model.tokenize(prompt)
            for role, name in (("subject", subject), ("attribute", answer)):
                (position,) = tokenized.positions(role)
                assert tokenized.tokens[position] == name


def test_a_name_inside_a_longer_word_is_not_that_name() -> None:
    model = made("llama")
    prompt = model.tokenize(model.render(RagCase(QUESTION, "Ann Leeds saw Romeo in 21944.")))
    words = [prompt.tokens[position] for position in prompt.positions("context")]
    assert words == ["Ann", UNKNOWN, UNKNOWN, UNKNOWN, "in", UNKNOWN, "."]


def test_the_question_may_be_put_in_another_template() -> None:
    other = made("llama").with_template(
        Template(open_book="{context}\n\nQ: {question}\nA:", closed_book="Q: {question}\nA:")
    )
    assert isinstance(other, HandWeightedModel)
    assert_as_expected(other, CONFLICT, "Eavan Boland", ["Rome"])


# --- what the probes see -------------------------------------------------------------------------


@architectures
@pytest.mark.parametrize(("context", "memory"), [(1.0, 0.0), (0.75, 0.25), (0.2, 0.8), (0.0, 1.0)])
def test_context_reliance_is_the_planted_split(
    architecture: str, context: float, memory: float
) -> None:
    model = made(architecture, context, memory)
    reliance = context_reliance(model, CONFLICT)
    assert reliance.score == pytest.approx(expected_follow(context, memory), abs=1e-4)
    assert reliance.swap.mass > 0.99
    assert counterfactual_swap(model, CONFLICT).follow == pytest.approx(reliance.score)


@architectures
def test_without_either_path_reliance_is_undefined(architecture: str) -> None:
    reliance = context_reliance(made(architecture, 0.0, 0.0), CONFLICT)
    assert math.isnan(reliance.score)
    assert reliance.verdict is Verdict.UNGROUNDED


@architectures
def test_a_model_of_one_fact_finds_substitutes(architecture: str) -> None:
    model = hand_weighted(
        {"Ada Quill": "Oslo"}, answers=["Rome"], memory=0.25, architecture=architecture
    )
    reliance = context_reliance(model, "Where was Ada Quill born?", "Ada Quill was born in Rome.")
    assert reliance.score == pytest.approx(0.8, abs=1e-4)


@architectures
@pytest.mark.parametrize(("context", "memory"), [(1.0, 0.1), (0.1, 1.0), (0.0, 1.0)])
def test_knockouts_cut_one_path_each(architecture: str, context: float, memory: float) -> None:
    model = made(architecture, context, memory)
    case = RagCase(QUESTION, CONFLICT.context, context_answer="Rome", answer="Dublin")
    cut = attention_knockout(model, case, sources=("attribute", "subject"), window=1)
    without = model.expected_probability("Dublin", subject="Eavan Boland")
    attribute, subject = cut.probability
    # The last layer reads the context, the one before it recalls the fact.
    assert attribute == pytest.approx([cut.clean, cut.clean, without], abs=1e-4)
    assert subject[[0, 2]] == pytest.approx([cut.clean] * 2, abs=1e-5)
    assert subject[1] < 0.01
    if context == 0.0:
        assert cut.change("attribute") == pytest.approx(np.zeros(3), abs=1e-6)


@architectures
def test_a_cut_attribute_takes_the_context_answer_away(architecture: str) -> None:
    model = made(architecture, 1.0, 0.1)
    case = RagCase(QUESTION, CONFLICT.context)
    cut = attention_knockout(model, case, sources=("attribute", "context", "template"), window=None)
    assert cut.clean == pytest.approx(10 / 11, abs=1e-4)
    assert cut.change("attribute")[0] == pytest.approx(-1.0, abs=1e-5)
    assert cut.change("context")[0] == pytest.approx(-1.0, abs=1e-5)
    assert cut.change("template")[0] == pytest.approx(0.0, abs=1e-5)


@architectures
@pytest.mark.parametrize("corruption", ["mask", "gaussian"])
def test_causal_traces_show_where_each_path_runs(architecture: str, corruption: str) -> None:
    """A subject matters up to the layer that moves its fact, an attribute up to the last one."""
    model = made(architecture, 1.0, 0.0)
    for span, lasts in (("subject", 1), ("attribute", 2)):
        trace = causal_trace(model, CONFLICT, corrupt=span, corruption=corruption)
        assert trace.total_effect > 0.8
        (position,) = trace.prompt.positions(span)
        wanted = np.zeros_like(trace.indirect_effect)
        wanted[:lasts, position] = wanted[lasts:, -1] = trace.total_effect
        assert trace.indirect_effect == pytest.approx(wanted, abs=2e-3)


@architectures
@pytest.mark.parametrize("corruption", ["mask", "gaussian"])
def test_a_model_that_ignores_its_context_loses_nothing_with_it(
    architecture: str, corruption: str
) -> None:
    model = made(architecture, 0.0, 1.0)
    case = RagCase(QUESTION, CONFLICT.context, context_answer="Rome")
    trace = causal_trace(
        model,
        case,
        corrupt="attribute",
        corruption=corruption,
        noise=GaussianNoise(n_samples=200),
        positions=["attribute"],
        layers=[0],
    )
    assert trace.total_effect == pytest.approx(0.0, abs=1e-5)
    assert causal_trace(model, case, corrupt="subject", corruption=corruption).total_effect > 0.8


@architectures
def test_the_mlp_recalls_the_fact_at_the_subject(architecture: str) -> None:
    """Restored alone it gives all back: who is asked about, and so the sentence about them too."""
    for context, memory in ((0.0, 1.0), (1.0, 0.0)):
        model = made(architecture, context, memory)
        trace = causal_trace(
            model, CONFLICT, corrupt="subject", corruption="mask", component="mlp", window=1
        )
        (position,) = trace.prompt.positions("subject")
        wanted = np.zeros_like(trace.indirect_effect)
        wanted[0, position] = trace.total_effect
        assert trace.total_effect > 0.99
        assert trace.indirect_effect == pytest.approx(wanted, abs=1e-4)


@architectures
def test_contributions_are_what_the_heads_move(architecture: str) -> None:
    read = attention_contributions(made(architecture, 0.5, 1.0), CONFLICT)
    share = gain(0.5) / MAX_GAIN
    # An answer's axis and the axis that balances it; of a subject its code of norm 1 as well.
    assert read.of("attribute") == pytest.approx([0, 0, math.sqrt(2) * share], abs=1e-4)
    assert read.of("subject") == pytest.approx([0, math.sqrt(3), 0], abs=1e-4)


@architectures
def test_both_executors_read_the_same(architecture: str) -> None:
    model = made(architecture)
    slow = RagModel(model.model, model.tokenizer, executor="reference")
    for sources in (("attribute",), ("subject", "question")):
        quick, whole = (
            attention_knockout(each, CONFLICT, sources=sources, window=1) for each in (model, slow)
        )
        assert quick.probability == pytest.approx(whole.probability, abs=1e-5)


# --- how it is made ------------------------------------------------------------------------------


@architectures
def test_thousands_of_facts_are_set_in_a_moment(architecture: str) -> None:
    facts = {f"Anna Name{i}": f"Town{i % 200}" for i in range(3000)}
    started = time.process_time()
    model = hand_weighted(facts, architecture=architecture, memory=0.5)
    assert time.process_time() - started < 5.0
    asked = [f"Anna Name{i}" for i in range(0, 3000, 250)]
    cases = [RagCase(f"Where was {name} born?", f"{name} was born in Town7.") for name in asked]
    closed = model.generate([model.tokenize(model.render(case, "closed")) for case in cases])
    assert [said.text for said in closed] == [facts[name] for name in asked]
    (p,) = probability(model, cases[1], "Town7")
    assert p == pytest.approx(2 / 3, abs=1e-4)


@pytest.mark.parametrize("n_subjects", [2, 40, 3000])
def test_codes_are_unlike_each_other(n_subjects: int) -> None:
    facts = take_facts({f"Anna Name{i}": "Rome" for i in range(n_subjects)})
    circuit = Circuit(make_vocabulary(facts, Template()), 1.0, 1.0, 64, torch.float32)
    alike = circuit.codes @ circuit.codes.T
    assert torch.allclose(alike.diagonal(), torch.ones(n_subjects))
    assert alike.fill_diagonal_(0.0).max() < 0.6


def test_as_many_answers_as_there_is_room_for() -> None:
    facts = {f"Anna Name{i}": f"Town{i}" for i in range(MAX_ANSWERS)}
    model = hand_weighted(facts, n_positions=64)
    case = RagCase("Where was Anna Name9 born?", "Nothing.")
    assert probability(model, case, "Town9", book="closed")[0] > 0.999
    with pytest.raises(FactsError, match="1 more than the 1024"):
        hand_weighted(facts, answers=["Rome"])


@architectures
def test_no_random_number_is_drawn(architecture: str) -> None:
    before = torch.random.get_rng_state()
    first, second = (
        hand_weighted(FACTS, architecture=architecture).model.state_dict() for _ in range(2)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)


@architectures
def test_a_saved_model_loads_as_a_checkpoint(architecture: str, tmp_path: Path) -> None:
    model = made(architecture)
    model.model.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    loaded = RagModel.from_pretrained(str(tmp_path), device="cpu")
    assert AutoTokenizer.from_pretrained(tmp_path).unk_token == UNKNOWN
    answers = ("Rome", "Dublin", "New York")
    assert probability(loaded, CONFLICT, *answers) == probability(model, CONFLICT, *answers)


# --- what is refused -----------------------------------------------------------------------------

REFUSED = [
    ({"context": 1.5}, OptionError, "context has the value '1.5'"),
    ({"memory": -0.1}, OptionError, "memory has the value '-0.1'"),
    ({"context": math.nan}, OptionError, "'nan'"),
    ({"architecture": "bert"}, OptionError, "'bert'"),
    ({"dtype": torch.float16}, OptionError, "float16"),
    ({"n_positions": 3}, OptionError, "'3'"),
    ({"facts": {}}, FactsError, "no facts"),
    ({"facts": [("Ann", "Rome"), ("Ann", "Oslo")]}, FactsError, "'Ann' they say 'Rome', 'Oslo'"),
    ({"facts": {"Ann": "Rome", "Rome": "Ann"}}, FactsError, "a subject and an answer: 'Ann'"),
    ({"answers": ["Ann"]}, FactsError, "a subject and an answer: 'Ann'"),
    ({"facts": {"": "Rome"}}, FactsError, "subject '' has no letter"),
    ({"facts": {"Ann": " \t"}}, FactsError, "answer ' \\\\t' has no letter"),
    ({"facts": {"Ann  Lee": "Rome"}}, FactsError, "'Ann  Lee' has white space"),
    ({"facts": {"Ann": "Who"}}, FactsError, "'Who' is a word that the model uses"),
    ({"facts": {"Ann": "<eos>"}}, FactsError, "'<eos>' is a word that the model uses"),
]


@pytest.mark.parametrize(("wrong", "kind", "problem"), REFUSED)
def test_wrong_input_is_refused(
    wrong: dict[str, object], kind: type[RagShortcutError], problem: str
) -> None:
    with pytest.raises(kind, match=problem) as caught:
        hand_weighted(**({"facts": FACTS} | wrong))
    error = caught.value
    assert all((error.problem, error.where, error.expected, error.action))
    assert isinstance(error, (OptionError, ModelError))


def test_the_same_fact_twice_is_one_fact() -> None:
    assert take_facts([("Ann", "Rome"), ("Ann", "Rome")]).known == {"Ann": "Rome"}


def test_a_question_about_nobody_known_is_refused_by_name() -> None:
    model = made("llama")
    with pytest.raises(UnknownSubjectError, match="'Zed', 'Quill'"):
        context_reliance(model, "Where was Zed Quill born?", "Zed Quill was born in Rome.")
    with pytest.raises(UnknownSubjectError, match="names no subject"):
        model.tokenize(model.render(RagCase("Where was born?", "Here."), "closed"))


@architectures
def test_of_a_subject_that_nobody_knows_every_answer_is_as_likely(architecture: str) -> None:
    model = made(architecture, memory=1.0)
    named = RagCase(QUESTION, "Here.", subject="Eavan Boland")
    for other in invented_subjects("Eavan Boland"):
        asked = model.render(named.about(other), "closed")
        prompt = model.tokenize(asked.with_phrase("subject", other, region="question"))
        rows = tuple(PlanRow(model.reading(prompt, answer)) for answer in SAYABLE)
        said = [reading.probability for reading in model.run(ProbePlan(rows))]
        expected = model.expected_probability("Rome")
        assert said == pytest.approx([expected] * len(SAYABLE), abs=1e-4)


@pytest.mark.parametrize("answer", ["Xanadu", "Rome Xanadu"])
def test_an_answer_that_it_has_no_token_for_is_refused(answer: str) -> None:
    model = made("llama")
    prompt = model.tokenize(model.render(CONFLICT))
    with pytest.raises(AnswerNotFoundError, match="Xanadu"):
        model.reading(prompt, answer)


def test_nothing_is_expected_of_strangers() -> None:
    model = made("llama")
    with pytest.raises(AnswerNotFoundError, match="Xanadu"):
        model.expected_probability("Xanadu", subject="Ann")
    with pytest.raises(UnknownSubjectError, match="Zed"):
        model.expected_probability("Rome", subject="Zed")
