"""The comparison of two arms under a protocol, and reliance with its evidence."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pytest_ragshortcut.core.arms import LIKE_FOR_LIKE, WADHWA_2024, Protocol
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.corruptions import GaussianNoise
from pytest_ragshortcut.core.results import plain
from pytest_ragshortcut.errors import AnswerNotFoundError, OptionError
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.arms import compare_arms
from pytest_ragshortcut.probes.contributions import attention_contributions
from pytest_ragshortcut.probes.knockout import attention_knockout
from pytest_ragshortcut.probes.reliance import PROBES, context_reliance
from pytest_ragshortcut.probes.swap import counterfactual_swap
from pytest_ragshortcut.probes.trace import causal_trace
from pytest_ragshortcut.testing import PlantedModel

FACTS = {"Ada Quill": "Oslo", "Bo Reed": "Lima", "Cy Dunn": "Kiel"}


def born(subject: str, place: str, **known: Any) -> RagCase:
    return RagCase(f"Where was {subject} born?", f"{subject} was born in {place}.", **known)


@pytest.fixture
def planted() -> PlantedModel:
    return PlantedModel(FACTS, answers=("Rome", "Cork"), context_strength=1.0, memory_strength=0.6)


def test_like_for_like_keeps_the_cases_in_which_both_arms_agree(planted: PlantedModel) -> None:
    cases = [born("Ada Quill", "Oslo"), born("Bo Reed", "Rome"), born("Cy Dunn", "Kiel")]
    result = compare_arms(planted, cases)
    assert (result.n_kept, result.n_cases) == (2, 3)
    assert result.protocol is LIKE_FOR_LIKE
    alone = compare_arms(planted, [cases[0], cases[2]])
    assert plain(result.open_book) == plain(alone.open_book)
    # Closed-book there is no attribute, and nothing stands in for it.
    assert math.isnan(result.closed_book.attribute_knockout)
    assert math.isnan(result.closed_book.attribute_contribution)
    assert not math.isnan(result.open_book.attribute_knockout)


def test_no_case_kept_is_an_error_that_says_of_how_many(planted: PlantedModel) -> None:
    with pytest.raises(OptionError, match="0 kept of 1"):
        compare_arms(planted, [born("Bo Reed", "Rome")])


def test_an_unknown_protocol_is_refused_with_the_known_ones(planted: PlantedModel) -> None:
    with pytest.raises(OptionError, match="like_for_like, wadhwa_2024"):
        compare_arms(planted, [born("Ada Quill", "Oslo")], protocol="fancy")


class Watched(PlantedModel):
    """A planted model that keeps the rows that it is asked to run, and the texts."""

    def run(self, plan: Any) -> Any:
        rows.extend(plan.rows)
        return super().run(plan)


rows: list[Any] = []


def test_the_paper_preset_asks_with_its_template_and_corrupts_context_and_subject() -> None:
    rows.clear()
    model = Watched(FACTS, answers=("Rome", "Cork"), context_strength=1.0, memory_strength=0.6)
    cases = [born("Ada Quill", "Oslo"), born("Bo Reed", "Rome")]
    result = compare_arms(model, cases, protocol="wadhwa_2024")
    assert (result.n_kept, result.n_cases) == (2, 2)
    assert result.protocol is WADHWA_2024
    texts = {row.prompt.text for row in rows}
    assert texts == {
        f"Information is below:\n{case.context}\nGiven the context information and not prior "
        f"knowledge, complete the following:\n{case.question}"
        for case in cases
    } | {case.question for case in cases}
    for row in rows:
        if row.corruption is not None:
            is_open = "context" in row.prompt.spans
            span = row.prompt.positions(*(("context", "subject") if is_open else ("subject",)))
            assert row.corruption.positions == span
    corrupted = [row for row in rows if row.corruption is not None and not row.restorations]
    assert len(corrupted) == 10 * len(texts)


def test_an_arm_is_the_mean_over_its_cases_of_the_probes(llama: RagModel, case: RagCase) -> None:
    noise = GaussianNoise(n_samples=2)
    protocol = Protocol(
        component="residual", mediation_window=1, knockout_window=2, noise=noise,
        top_share=0.5, same_answer=False,
    )  # fmt: skip
    other = replace(case, context="In Dublin Eavan Boland was born.")
    arm = compare_arms(llama, [case, other], protocol=protocol).open_book
    traces = [causal_trace(llama, c, noise=noise, positions=("subject",)) for c in (case, other)]
    effects = [t.indirect_effect[:, t.prompt.positions("subject")[-1]] for t in traces]
    assert arm.clean == pytest.approx(np.mean([trace.clean for trace in traces]))
    assert arm.total_effect == pytest.approx(np.mean([trace.total_effect for trace in traces]))
    assert arm.subject_effects == pytest.approx(np.mean(effects, axis=0))
    assert arm.subject_aie == arm.subject_effects.max()
    given = [attention_contributions(llama, c).of("attribute") for c in (case, other)]
    assert arm.attribute_contributions == pytest.approx(np.mean(given, axis=0))
    assert arm.attribute_contribution == pytest.approx(np.sort(np.ravel(given))[-3:].mean())
    cut = [attention_knockout(llama, c, window=2).change("subject") for c in (case, other)]
    assert arm.subject_cuts == pytest.approx(np.mean(cut, axis=0))
    assert arm.subject_knockout == arm.subject_cuts.min()


def test_the_evidence_is_read_and_does_not_enter_the_score(planted: PlantedModel) -> None:
    case = born("Ada Quill", "Rome", memory_answer="Oslo")
    whole, bare = context_reliance(planted, case), context_reliance(planted, case, probes=())
    assert whole.score == bare.score
    assert whole.verdict == bare.verdict
    assert len(whole.evidence) > len(bare.evidence) == 3
    assert whole.found["memory_answer"].how == "given"
    assert whole.found["answer"].how == "the model's greedy open-book answer"
    with pytest.raises(OptionError, match="knockout, contributions, mediation"):
        context_reliance(planted, case, probes=("fancy",))  # type: ignore[arg-type]


def test_a_score_compares_with_numbers_and_an_undefined_one_never_holds() -> None:
    defined = context_reliance(
        PlantedModel(FACTS, answers=("Rome",), context_strength=1.0), born("Ada Quill", "Rome")
    )
    assert defined > 0.5
    assert defined >= defined.score
    assert not defined < defined.score
    assert float(defined) == defined.score
    nothing = PlantedModel(
        FACTS, answers=("Rome", "Cork"), context_strength=0.0, memory_strength=0.0
    )
    undefined = context_reliance(nothing, born("Ada Quill", "Rome", memory_answer="Oslo"))
    assert math.isnan(undefined.score)
    assert not any((undefined > 0, undefined >= 0, undefined < 1, undefined <= 1))


def test_contributions_that_cannot_be_read_are_evidence_of_no_value() -> None:
    import tiny

    tokenizer = tiny.byte_level_tokenizer()
    built = tiny.fresh("falcon/alibi", vocab_size=len(tokenizer))
    case = born("Ada Quill", "Rome", memory_answer="Oslo", answer="Rome", substitutes=("Cork",))
    result = context_reliance(RagModel(built, tokenizer), case, probes=PROBES)
    (read,) = [e for e in result.evidence if e.probe.startswith("contribution")]
    assert math.isnan(read.value)
    assert "do not add up" in read.reading


@pytest.mark.parametrize("substitutes", [["Oslo"], ["oslo", "ROME"], []])
def test_substitutes_that_are_the_answers_themselves_are_refused(
    planted: PlantedModel, substitutes: list[str]
) -> None:
    case = born("Ada Quill", "Rome", memory_answer="Oslo", context_answer="Rome")
    with pytest.raises(AnswerNotFoundError, match="Pass substitutes="):
        counterfactual_swap(planted, case, substitutes)


def test_the_memorization_ratio_counts_what_a_greedy_reader_says(planted: PlantedModel) -> None:
    case = born("Ada Quill", "Rome", memory_answer="Oslo", context_answer="Rome")
    follows = counterfactual_swap(replace(planted, memory_strength=0.1), case, ["Cork", "Kiel"])
    assert (follows.n_substitute, follows.n_original, follows.memorization_ratio) == (2, 0, 0.0)
    stays = counterfactual_swap(replace(planted, context_strength=0.1), case, ["Cork", "Kiel"])
    assert (stays.n_substitute, stays.n_original, stays.memorization_ratio) == (0, 2, 1.0)
    neither = replace(planted, context_strength=0.1, memory_strength=0.1)
    assert math.isnan(counterfactual_swap(neither, case, ["Cork"]).memorization_ratio)
