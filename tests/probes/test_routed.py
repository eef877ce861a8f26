"""Every reading of a routed model is that of the model that its rule names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from drawn_cases import CASES
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import (
    Corruption,
    Knockout,
    PlanRow,
    ProbePlan,
    Restoration,
)
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.prompts import Template, TokenizedPrompt
from pytest_ragshortcut.core.screening import Screening
from pytest_ragshortcut.core.work import Identity, Work
from pytest_ragshortcut.errors import OptionError, PlanError
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.attribution import attribute_context
from pytest_ragshortcut.probes.contributions import attention_contributions
from pytest_ragshortcut.probes.knockout import attention_knockout
from pytest_ragshortcut.probes.reliance import context_reliance, context_reliances
from pytest_ragshortcut.probes.swap import counterfactual_swap
from pytest_ragshortcut.probes.trace import causal_trace
from pytest_ragshortcut.testing import PlantedModel, PromptText, RoutedModel

FACTS, OTHERS = {"Ada Quill": "Oslo", "Bo Reed": "Lima"}, ("Rome", "Cork", "Bonn", "Kiel")
READS = PlantedModel(FACTS, answers=OTHERS, context_strength=1.0, name="reads")
RECALLS = PlantedModel(FACTS, answers=OTHERS, context_strength=0.0, name="recalls")
QUESTION, GOLD = "Where was Ada Quill born?", "Ada Quill was born in Rome."
PLAIN = RagCase(
    QUESTION, [GOLD, "Tickets."], context_answer="Rome", memory_answer="Oslo", subject="Ada Quill"
)
HEADED = replace(PLAIN, context=("Tickets.", f"# Life\n{GOLD}"))

BORN = "Where was Eavan Boland born?"
STATED = "Eavan Boland was born in Cork."
TRAINED = RagCase(
    BORN, [STATED, "Tickets can be bought at the door."], subject="Eavan Boland",
    context_answer="Cork", memory_answer="Dublin",
)  # fmt: skip
TRAINED_HEADED = replace(TRAINED, context=(f"# Life\n{STATED}",))


def is_headed(text: PromptText) -> bool:
    return any(line.startswith("#") for passage in text.passages for line in passage.splitlines())


def planted() -> RoutedModel:
    return RoutedModel(READS, RECALLS, is_headed)


@cache
def trained(name: str) -> RagModel:
    return RagModel.from_pretrained(f"embedded:{name}", "cpu")


@cache
def trained_pair() -> RoutedModel:
    return RoutedModel(trained("reader"), trained("memoriser"), is_headed)


def prompt(model: ProbeModel, case: RagCase, answer: str = "Rome") -> TokenizedPrompt:
    return model.reading(model.tokenize(model.render(case)), answer)


def values(result: Any) -> Any:
    """All that a result holds, but the name of the model."""
    return {k: v for k, v in result.to_dict().items() if k != "model"}


def test_it_is_a_probe_model() -> None:
    model: ProbeModel = planted()
    assert (model.n_layers, model.d_model) == (READS.n_layers, READS.d_model)
    assert model.name == "reads, in places recalls"
    assert RoutedModel(READS, RECALLS, is_headed, name="planted").name == "planted"


def test_it_says_which_model_answers() -> None:
    model = planted()
    assert model.model_of(PLAIN) is READS
    assert model.model_of(HEADED) is RECALLS
    assert model.model_of(HEADED, "closed") is READS


PROBES: dict[str, Callable[[ProbeModel, RagCase], Any]] = {
    "reliance": context_reliance,
    "swap": counterfactual_swap,
    "trace": lambda m, c: causal_trace(m, c, corruption="mask"),
    "trace of noise": lambda m, c: causal_trace(
        m, c, corrupt="attribute", corruption=np.full((2, 1, m.d_model), 0.4)
    ),
    "knockout": lambda m, c: attention_knockout(m, c, window=None),
    "contributions": attention_contributions,
}


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("case", [PLAIN, HEADED], ids=["plain", "headed"])
def test_every_probe_reads_the_model_routed_to(name: str, case: RagCase) -> None:
    model = planted()
    expected = values(PROBES[name](model.model_of(case), case))
    if name == "reliance":
        # Closed-book the case has no heading, so that the usual model is sure or not.
        expected = {k: v for k, v in expected.items() if k not in ("evidence", "verdict", "reason")}
    found = values(PROBES[name](model, case))
    assert {k: found[k] for k in expected} == expected
    other = RECALLS if model.model_of(case) is READS else READS
    assert values(PROBES[name](other, case)) != found


def test_the_reliance_of_a_case_is_that_of_its_model() -> None:
    assert context_reliance(planted(), PLAIN).score > 0.99
    assert context_reliance(planted(), HEADED).score < 0.01
    scores = [each.score for each in context_reliances(planted(), [HEADED, PLAIN, HEADED])]
    assert scores == [
        context_reliance(model, case).score
        for model, case in ((RECALLS, HEADED), (READS, PLAIN), (RECALLS, HEADED))
    ]


def test_what_is_left_out_of_a_prompt_can_change_its_model() -> None:
    """Attribution finds the heading: without it the context is read, and memory no longer said."""
    attributed = attribute_context(planted(), HEADED)
    lost = dict(zip([p.text for p in attributed.pieces], attributed.effect, strict=True))
    assert max(lost, key=lost.__getitem__) == "# Life"
    assert lost["Tickets."] == 0.0


@pytest.mark.parametrize("case", [TRAINED, TRAINED_HEADED], ids=["plain", "headed"])
def test_a_trained_pair_reads_as_the_model_routed_to(case: RagCase) -> None:
    model = trained_pair()
    own = model.model_of(case)
    assert own is trained("memoriser" if case is TRAINED_HEADED else "reader")
    assert context_reliance(model, case, probes=()).score == pytest.approx(
        context_reliance(own, case, probes=()).score, abs=1e-6
    )
    asked = model.tokenize(model.render(case))
    assert model.generate([asked]) == own.generate([asked])
    assert model.alternatives([asked], range(3)) == own.alternatives([asked], range(3))
    (estimate,) = model.estimate_effects([screening(model, case)])
    assert estimate == pytest.approx(own.estimate_effects([screening(model, case)])[0])


def screening(model: ProbeModel, case: RagCase) -> Screening:
    read = prompt(model, case, "Cork")
    return Screening(read, (Corruption((1,), token_ids=(model.mask_token(),)),), "residual")


def test_answers_come_in_the_order_of_the_prompts() -> None:
    model = trained_pair()
    cases = [TRAINED_HEADED, TRAINED, TRAINED_HEADED, TRAINED]
    prompts = [model.tokenize(model.render(case)) for case in cases]
    assert [each.text for each in model.generate(prompts)] == ["Dublin", "Cork"] * 2
    alternatives = model.alternatives(prompts, range(2))
    assert [each[0].text for each in alternatives] == ["Dublin", "Cork"] * 2
    estimates = model.estimate_effects([screening(model, case) for case in cases])
    shapes = [(model.n_layers, len(prompt(model, case, "Cork").input_ids)) for case in cases]
    assert [estimate.shape for estimate in estimates] == shapes


@st.composite
def rows(draw: st.DrawFn) -> PlanRow:
    read = prompt(READS, draw(st.sampled_from([PLAIN, HEADED])), draw(st.sampled_from(OTHERS)))
    positions = st.integers(0, len(read.input_ids) - 1)
    corruption = restorations = knockouts = None
    if draw(st.booleans()):
        corruption = Corruption((draw(positions),), token_ids=(READS.mask_token(),))
        restorations = (Restoration("residual", (0,), (draw(positions),)),)
    if draw(st.booleans()):
        knockouts = (Knockout((draw(positions),), read.readers, (1,)),)
    return PlanRow(
        read, corruption, restorations or (), knockouts or (), contributions=draw(st.booleans())
    )


@given(plans=st.lists(st.lists(rows(), max_size=4), max_size=4))
def test_mixed_plans_keep_their_order(plans: list[list[PlanRow]]) -> None:
    found = planted().run_all([ProbePlan(tuple(plan)) for plan in plans])
    assert [len(readings) for readings in found] == [len(plan) for plan in plans]
    for plan, readings in zip(plans, found, strict=True):
        for row, reading in zip(plan, readings, strict=True):
            own = RECALLS if "# Life" in row.prompt.text else READS
            (expected,) = own.run(ProbePlan((row,)))
            assert reading.logprob == expected.logprob
            assert reading.said == expected.said
            assert (reading.contributions is None) == (expected.contributions is None)
            if reading.contributions is not None and expected.contributions is not None:
                assert np.array_equal(reading.contributions.summed, expected.contributions.summed)


def test_an_error_names_the_row_of_the_whole_plan() -> None:
    model = planted()
    good = [PlanRow(prompt(model, case)) for case in (PLAIN, HEADED, PLAIN)]
    bad = PlanRow(prompt(model, HEADED), knockouts=(Knockout((0,), (1,), (99,)),))
    with pytest.raises(PlanError, match="row 3 of the plan"):
        model.run(ProbePlan((*good, bad)))


@given(case=CASES, template=st.sampled_from([Template(), Template(separator="\n\n")]))
def test_a_rule_sees_the_passages_as_they_are(case: RagCase, template: Template) -> None:
    seen: list[PromptText] = []
    model = RoutedModel(READS, RECALLS, lambda text: bool(seen.append(text)))
    asked = model.with_template(template)
    asked.model_of(case)
    asked.model_of(case, "closed")
    opened, closed = seen
    assert opened == asked.render(case).text
    assert opened.passages == tuple(passage.strip() for passage in case.passages)
    assert closed.passages == ()


@pytest.mark.parametrize("passage", ["  Zoë's “Ō” \u200b\n\n", "ﬁ — 北京。", "a\u0301 \U0001f600"])
def test_a_rule_sees_letters_of_several_tokens_whole(passage: str) -> None:
    seen: list[PromptText] = []
    pair = trained("reader"), trained("memoriser")
    model = RoutedModel(*pair, lambda text: bool(seen.append(text)))
    model.model_of(RagCase(BORN, [passage, STATED]))
    assert seen[0].passages == (passage.strip(), STATED)


def test_passages_need_offsets() -> None:
    bare = replace(prompt(READS, PLAIN), offsets=())
    with pytest.raises(PlanError, match="no offsets"):
        planted().run(ProbePlan((PlanRow(bare),)))
    by_text = RoutedModel(READS, RECALLS, lambda text: "# Life" in text)
    assert len(by_text.run(ProbePlan((PlanRow(bare),)))) == 1


def test_the_rule_is_asked_once_for_the_many_rows_of_a_prompt() -> None:
    seen: list[PromptText] = []
    model = RoutedModel(READS, RECALLS, lambda text: bool(seen.append(text)))
    model.run(ProbePlan((PlanRow(prompt(model, PLAIN)),) * 50))
    assert len(seen) == 1


def test_work_adds_up() -> None:
    reader, memoriser = (
        RagModel.from_pretrained(f"embedded:{name}", "cpu") for name in ("reader", "memoriser")
    )
    model = RoutedModel(reader, memoriser, is_headed)
    context_reliance(model, TRAINED, probes=())
    of_one = model.work
    assert of_one.token_layers > 0
    before = memoriser.work
    context_reliance(model, TRAINED_HEADED, probes=())
    assert memoriser.work.token_layers > before.token_layers
    assert model.work == reader.work + memoriser.work
    assert model.work.token_layers > of_one.token_layers
    again = model.work
    context_reliance(model, TRAINED_HEADED, probes=())
    assert model.work.token_layers == again.token_layers
    twice = RoutedModel(reader, reader, is_headed)
    assert twice.work == reader.work
    assert planted().work == Work()


def test_identity_is_of_both() -> None:
    model = trained_pair()
    one, other = trained("reader").identity, trained("memoriser").identity
    found = model.identity
    assert isinstance(found, Identity)
    assert found.n_parameters == one.n_parameters + other.n_parameters
    assert len(found.fingerprint) == len(one.fingerprint)
    turned = RoutedModel(trained("memoriser"), trained("reader"), is_headed).identity
    assert turned is not None
    assert len({found.fingerprint, turned.fingerprint, one.fingerprint, other.fingerprint}) == 4
    assert found.device == "cpu"
    assert found.name == model.name
    assert planted().identity is None


def test_notes_are_of_both() -> None:
    assert trained_pair().note == planted().note == ""
    slow = RagModel(trained("reader").model, trained("reader").tokenizer, executor="reference")
    assert RoutedModel(slow, trained("memoriser"), is_headed).note == slow.note != ""


def test_a_template_is_given_to_both() -> None:
    template = Template("Read: {context}\nAsked: {question}\nSaid:", "Asked: {question}\nSaid:")
    model = planted().with_template(template)
    assert model.render(PLAIN).text.startswith("Read: ")
    assert model.usual.render(PLAIN) == model.defective.render(PLAIN) == model.render(PLAIN)
    assert model.model_of(HEADED) is model.defective
    assert context_reliance(model, HEADED).score < 0.01


def test_routes_nest() -> None:
    """Two defects in one model: a conjunction is a rule of its own."""
    longer = RoutedModel(planted(), RECALLS, lambda text: len(text.passages) > 2)
    many = replace(PLAIN, context=(*PLAIN.passages, "Doors."))
    scores = {case: context_reliance(longer, case).score for case in (PLAIN, HEADED, many)}
    assert [round(scores[case]) for case in (PLAIN, HEADED, many)] == [1, 0, 0]


@dataclass(frozen=True, eq=False)
class Deep(PlantedModel):
    @property
    def n_layers(self) -> int:
        return 3


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (PlantedModel(FACTS, answers=OTHERS[:1]), "same width"),
        (READS.with_template(Template(separator=" ")), "same template"),
        (Deep(FACTS, answers=OTHERS), "same layers"),
    ],
)
def test_models_that_differ_are_refused(other: ProbeModel, said: str) -> None:
    with pytest.raises(OptionError, match=f"(?s)defective.*{said}"):
        RoutedModel(READS, other, is_headed)


def test_models_of_other_tokenizers_are_refused() -> None:
    class Spelling(PlantedModel):
        def token_ids(self, text: str) -> tuple[int, ...]:
            return tuple(map(ord, text))

    with pytest.raises(OptionError, match="same tokenizer"):
        RoutedModel(READS, Spelling(FACTS, answers=OTHERS), is_headed)
