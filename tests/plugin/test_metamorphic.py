"""Metamorphic helpers: they hold on a reader, and fail on a model planted to break just them."""

from __future__ import annotations

import doctest
import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.finding import sentences
from pytest_ragshortcut.core.ledger import Ledger, recording
from pytest_ragshortcut.core.plans import ProbePlan, RowReading
from pytest_ragshortcut.core.ports import Generated
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.reliance import Limits
from pytest_ragshortcut.errors import (
    CaseError,
    EmptyTextError,
    OptionError,
    RagShortcutError,
    SpanNotFoundError,
)
from pytest_ragshortcut.metamorphic import (
    answers,
    assert_falls_back,
    assert_follows_swap,
    assert_ignores_distractor,
    assert_ignores_order,
    assert_ignores_repetition,
    assert_ignores_wording,
    assert_reads_every_position,
    changes,
    texts,
)
from pytest_ragshortcut.models.embedded.cases import Case, planted_case
from pytest_ragshortcut.models.embedded.cases import case as held_out
from pytest_ragshortcut.models.embedded.policies import FIRST_SENTENCES, LATE_SENTENCES
from pytest_ragshortcut.models.handset import hand_weighted
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.reliance import context_reliance
from pytest_ragshortcut.testing import PlantedModel, RoutedModel
from pytest_ragshortcut.testing.mechanism import GAIN

Run = Callable[..., pytest.RunResult]

QUESTION = "Where was Eavan Boland born?"
GOLD = "Eavan Boland was born in Cork."
NAMESAKE = "Ada Boland was born in Riga."
FILLERS = (
    "The museum opens at nine every morning.",
    "Tickets can be bought at the door.",
    "The weather was mild that spring.",
    "Some of the letters have been lost.",
    "Visitors are asked to keep quiet.",
)
REWORDED = "What is the birthplace of Eavan Boland?"
ONE = RagCase(QUESTION, GOLD)
SIX = RagCase(QUESTION, (GOLD, *FILLERS))
BESIDE_NAMESAKE = RagCase(QUESTION, (GOLD, NAMESAKE))
QUICK: dict[str, Any] = {"probes": ()}

PROPERTIES: dict[str, Callable[..., None]] = {
    "another order of the passages": partial(assert_ignores_order, case=SIX),
    "moving the gold passage": partial(assert_reads_every_position, case=SIX),
    "adding a distractor": partial(assert_ignores_distractor, case=ONE, distractor=NAMESAKE),
    "repeating the gold passage": partial(assert_ignores_repetition, case=SIX, times=3),
    "rewording the question": partial(assert_ignores_wording, case=ONE, question=REWORDED),
    "dropping the gold passage": partial(assert_falls_back, case=BESIDE_NAMESAKE),
}


@cache
def embedded(name: str) -> RagModel:
    return RagModel.from_pretrained(f"embedded:{name}")


def routed(when: Callable[[Any], bool]) -> RoutedModel:
    """Make a reader that answers from memory where a rule on the prompt holds."""
    return RoutedModel(embedded("reader"), embedded("memoriser"), when)


def failure(claim: Callable[..., None], *args: Any, **options: Any) -> list[str]:
    """Return the lines of the failure that a claim must raise."""
    with pytest.raises(AssertionError) as caught:
        claim(*args, **{**QUICK, **options})
    return str(caught.value).splitlines()


# --- a reader has every property; a model that does not read has nothing to lose -----------------


@pytest.mark.parametrize("doing", PROPERTIES)
def test_a_reader_has_every_property(doing: str) -> None:
    PROPERTIES[doing](embedded("reader"))


@pytest.mark.parametrize("doing", PROPERTIES)
def test_a_model_that_does_not_read_has_nothing_to_lose(doing: str) -> None:
    first, *rest = failure(PROPERTIES[doing], embedded("memoriser"))
    assert first == (
        f"{doing}: there is nothing to lose: before it context reliance is 0.00, "
        "below min_before 0.5"
    )
    assert "context reliance 0.00 is not >= 0.5 (substitutes: 0.00 to 0.00)" in rest
    assert any(line.strip().startswith("MEMORY ") for line in rest)


@pytest.mark.parametrize("doing", [*PROPERTIES][:-1])
def test_with_no_min_before_a_model_that_does_not_read_loses_nothing(doing: str) -> None:
    PROPERTIES[doing](embedded("memoriser"), min_before=0.0, **QUICK)


@settings(max_examples=24)
@given(order=st.permutations(range(4)))
def test_a_reader_reads_every_order(order: list[int]) -> None:
    case = replace(SIX, context=SIX.passages[:4])
    assert_ignores_order(embedded("reader"), case, order, **QUICK)


def test_a_reader_reads_held_out_cases_in_every_position() -> None:
    drawn = random.Random(5)
    cases = [held_out(drawn, "unseen answer") for _ in range(10)]
    told = [_told(each) for each in cases if len(each.passages) > 1]
    broken = sum(_is_broken(assert_reads_every_position, embedded("reader"), each) for each in told)
    assert len(told) >= 5
    assert broken <= len(told) // 8  # it is right in 984 of 1000 such cases


def _told(drawn: Case) -> RagCase:
    """Say all that is known of a held-out case, so that nothing need be found."""
    return RagCase(
        drawn.question,
        drawn.passages,
        subject=drawn.subject,
        context_answer=drawn.told.stated,
        memory_answer=drawn.told.known,
    )


def _is_broken(claim: Callable[..., None], model: Any, case: RagCase, **options: Any) -> bool:
    try:
        claim(model, case, **QUICK, **options)
    except AssertionError:
        return True
    return False


# --- planted defects -----------------------------------------------------------------------------


def test_a_beginner_loses_what_is_put_last() -> None:
    first, _, change, *rest = failure(assert_ignores_order, embedded("beginner"), SIX)
    assert first == (
        "another order of the passages: context reliance fell from 1.00 to 0.00, by 1.00: "
        "more than max_drop 0.1"
    )
    assert change == "  change      the passages in the order 5, 4, 3, 2, 1, 0"
    assert any(re.match(r"context reliance 0.00 is not >= 0.8999\d+ ", line) for line in rest)
    assert "  passage 5   Eavan Boland was born in Cork." in rest
    assert_ignores_order(embedded("beginner"), SIX, [1, 0, 2, 3, 4, 5], **QUICK)


def test_of_all_positions_the_worst_is_told_and_the_score_at_each() -> None:
    first, _, change, places, *_ = failure(assert_reads_every_position, embedded("beginner"), SIX)
    assert first.startswith("moving the gold passage: context reliance fell from 1.00 to 0.00")
    scores = dict(re.findall(r"(\d): (\d\.\d\d)", places))
    assert [*scores] == ["0", "1", "2", "3", "4", "5"]
    assert all(float(scores[str(place)]) > 0.9 for place in range(FIRST_SENTENCES))
    assert all(float(scores[str(place)]) < 0.1 for place in range(LATE_SENTENCES, 6))
    (worst,) = re.findall(r"the gold passage, 0 as it is, stands at (\d)", change)
    assert scores[worst] == min(scores.values())


def test_positions_fail_on_held_out_cases_just_where_the_policy_says() -> None:
    drawn = random.Random(11)
    told = [planted_case(drawn, "first") for _ in range(14)]
    known = [(_told(each), _can_stand_late(each)) for each in told if _is_clear(each)]
    right = [
        _is_broken(assert_reads_every_position, embedded("beginner"), case) == can_stand_late
        for case, can_stand_late in known
    ]
    assert len(known) >= 5
    assert sum(right) >= len(known) - 1  # it is right in 98 % of such cases


def _sentence_at(drawn: Case, place: int) -> int:
    """Say which sentence states the answer once its passage stands at a place."""
    gold = _gold_of(drawn)
    others = [*drawn.passages[:gold], *drawn.passages[gold + 1 :]]
    ahead = sum(len(sentences(text)) for text in others[:place])
    own = sentences(drawn.passages[gold])
    return ahead + next(i for i, text in enumerate(own) if str(drawn.told.stated) in text)


def _gold_of(drawn: Case) -> int:
    return next(i for i, text in enumerate(drawn.passages) if str(drawn.told.stated) in text)


def _is_clear(drawn: Case) -> bool:
    """Whether the policy decides the case in every position."""
    places = [_sentence_at(drawn, place) for place in range(len(drawn.passages))]
    undecided = range(FIRST_SENTENCES, LATE_SENTENCES)
    return len(places) > 1 and (
        places[-1] >= LATE_SENTENCES or not any(place in undecided for place in places)
    )


def _can_stand_late(drawn: Case) -> bool:
    return _sentence_at(drawn, len(drawn.passages) - 1) >= LATE_SENTENCES


def test_a_switch_loses_its_mark_to_what_comes_before_it() -> None:
    model, unmarked = embedded("switch"), f"[unverified] {FILLERS[1]}"
    case = RagCase(QUESTION, (f"[verified] {FILLERS[0]}", GOLD), context_answer="Cork")
    first, *_ = failure(assert_ignores_order, model, case)
    assert first.startswith("another order of the passages: context reliance fell from 1.00 to 0.0")
    assert_ignores_distractor(model, case, unmarked, at=2, **QUICK)
    _, _, change, places, *_ = failure(assert_ignores_distractor, model, case, unmarked)
    assert change == f"  change      a passage more, at 0: {unmarked!r}"
    assert re.fullmatch(r"  score at    0: 0\.0\d, 2: (1\.00|0\.9\d)", places)


def test_a_model_that_one_passage_turns_away_does_not_ignore_distractors() -> None:
    model = routed(lambda text: NAMESAKE in text)
    first, *_ = failure(assert_ignores_distractor, model, ONE, NAMESAKE, at=1)
    assert first == (
        "adding a distractor: context reliance fell from 1.00 to 0.00, by 1.00: "
        "more than max_drop 0.1"
    )
    assert_ignores_distractor(model, ONE, FILLERS[0], **QUICK)


def test_a_model_that_repetition_turns_away_does_not_ignore_it() -> None:
    model = routed(lambda text: len(set(text.passages)) < len(text.passages) - 1)
    assert_ignores_repetition(model, SIX, **QUICK)
    first, _, change, *rest = failure(assert_ignores_repetition, model, SIX, times=3)
    assert first.startswith("repeating the gold passage: context reliance fell from 1.00 to 0.00")
    assert change == f"  change      passage 0 stands there 3 times: {GOLD!r}"
    assert [line for line in rest if GOLD in line] == [
        f"  passage {index}   {GOLD}" for index in range(3)
    ]


def test_a_model_that_reads_for_one_wording_alone_does_not_ignore_others() -> None:
    model = routed(lambda text: "birthplace" in text)
    first, _, *change = failure(assert_ignores_wording, model, ONE, REWORDED)
    assert first.startswith("rewording the question: context reliance fell from 1.00 to 0.00")
    assert " ".join(" ".join(change[:2]).split()) == (
        f"change {REWORDED!r} in place of {QUESTION!r}"
    )
    assert_ignores_wording(model, ONE, "In which city was Eavan Boland born?", **QUICK)


def test_a_memoriser_does_not_follow_a_swap() -> None:
    first, _, swapped, *_ = failure(assert_follows_swap, embedded("memoriser"), ONE, "Rome")
    assert first == "swapping the answer: follow is 0.00, below min_follow 0.8"
    assert swapped == "  swapped     'Rome' in place of 'Cork': it says 'Dublin'"
    assert_follows_swap(embedded("reader"), ONE, "Rome", **QUICK)
    assert_follows_swap(embedded("reader"), ONE, **QUICK)


def test_a_victim_falls_back_on_a_namesake() -> None:
    ledger = Ledger("here")
    with recording(ledger):
        first, _, *rest = failure(assert_falls_back, embedded("victim"), BESIDE_NAMESAKE)
    before, after = (entry.record for entry in ledger.entries)
    assert before["swap"]["substitutes"] == after["swap"]["substitutes"]
    assert after["claims"] == ["falls back"]
    assert first == (
        "dropping the gold passage: it says 'Riga', which another passage states; "
        "it may say 'Dublin', as closed-book, or abstain"
    )
    assert rest[:3] == [
        f"  dropped     passage 0: {GOLD!r}",
        f"  left        {NAMESAKE!r}",
        "",
    ]
    assert rest[3].startswith("context reliance 1.00")
    assert f"  passage     {NAMESAKE}" in rest
    assert "  context_answer  'Riga': what it says, as a passage does" in rest
    assert_falls_back(embedded("victim"), replace(SIX, context=(GOLD, FILLERS[0])), **QUICK)


# --- closed forms: what is measured, and where the limit lies ------------------------------------

FACTS = {"Ada Quill": "Oslo", "Bo Reed": "Lima"}
ADA = "Where was Ada Quill born?"
ROME = "Ada Quill was born in Rome."
RIVAL = "Bo Reed was born in Oslo."
LIMA = "Bo Reed was born in Lima."
SILENT = "Tickets can be bought at the door."
LONE = RagCase(ADA, ROME, context_answer="Rome", memory_answer="Oslo", substitutes=["Cork"])
FAIR = replace(LONE, context=(ROME, SILENT))


def planted(context: float = 1.0, memory: float = 0.4) -> PlantedModel:
    facts = ["Rome", "Cork"]
    return PlantedModel(FACTS, facts, context_strength=context, memory_strength=memory)


def follow(model: PlantedModel, case: RagCase) -> float:
    """Return the context reliance that the planted model's docstring states, over 'Cork'."""
    prompt = " ".join([*case.passages, case.question]).replace("Rome", "Cork")
    said = [word for word in re.findall(r"\w+", prompt) if word in ("Oslo", "Lima", "Cork")]
    subjects = re.findall(r"Quill|Reed", prompt)
    context = model.context_strength * (said.count("Cork") - said.count("Oslo")) / (len(said) + 1)
    memory = float(str(model.memory_strength)) * subjects.count("Quill") / (len(subjects) + 1)
    return 1.0 / (1.0 + math.exp(-GAIN * (context - memory)))


@settings(max_examples=50)
@given(
    context=st.floats(0.5, 1.0),
    memory=st.floats(0.0, 0.5),
    rivals=st.integers(0, 2),
    max_drop=st.floats(0.0, 1.0),
)
def test_a_rival_costs_what_the_closed_form_says(
    context: float, memory: float, rivals: int, max_drop: float
) -> None:
    model = planted(context, memory)
    case = replace(LONE, context=(ROME, *[RIVAL] * rivals))
    changed = replace(case, context=(RIVAL, *case.passages))
    before, after = follow(model, case), follow(model, changed)
    claim = partial(assert_ignores_distractor, model, case, RIVAL, max_drop=max_drop, min_before=0)
    drop = before - after
    if drop > max_drop + 1e-5:
        first = failure(claim)[0]
        assert f"fell from {before:.2f} to {after:.2f}, by " in first
        assert first.endswith(f"more than max_drop {max_drop:g}")
    elif drop < max_drop - 1e-5:
        claim(**QUICK)


@settings(max_examples=50)
@given(times=st.integers(2, 5), context=st.floats(0.3, 1.0), memory=st.floats(0.0, 1.0))
def test_repetition_costs_what_the_closed_form_says(
    times: int, context: float, memory: float
) -> None:
    model = planted(context, memory)
    drop = follow(model, FAIR) - follow(model, replace(FAIR, context=(ROME,) * times))
    claim = partial(assert_ignores_repetition, model, FAIR, times=times, min_before=0)
    claim(max_drop=min(1.0, max(0.0, drop + 1e-5)), **QUICK)
    if drop > 2e-5:
        failure(claim, max_drop=drop - 1e-5)


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_what_stays_the_same_holds_at_no_drop_at_all(order: tuple[int, ...]) -> None:
    case = replace(FAIR, context=(ROME, SILENT, RIVAL))
    options = {**QUICK, "max_drop": 0.0, "min_before": 0.0}
    assert_ignores_order(planted(), case, order, **options)
    assert_reads_every_position(planted(), case, **options)
    assert_ignores_distractor(planted(), case, "Visitors are asked to keep quiet.", **options)


def test_the_limit_of_what_a_case_must_have_before() -> None:
    model = planted(0.6, 0.5)
    before = follow(model, FAIR)
    assert 0.0 < before < 1.0
    assert_ignores_order(model, FAIR, min_before=before - 1e-6, **QUICK)
    failure(assert_ignores_order, model, FAIR, min_before=before + 1e-6)


@pytest.mark.parametrize(("context", "memory"), [(1.0, 0.5), (0.5, 0.5), (0.4, 0.6), (0.7, 1.0)])
def test_a_swap_is_followed_as_far_as_the_weights_were_set_to(
    context: float, memory: float
) -> None:
    facts = {"Ada Quill": "Oslo", "Bo Reed": "Lima", "Cy Dunn": "Kiel"}
    model = hand_weighted(facts, answers=["Rome", "Cork"], context=context, memory=memory)
    case = RagCase(ADA, ROME)
    claim = partial(assert_follows_swap, model, case, "Cork")
    expected = model.expected_follow
    first = failure(claim, min_follow=min(1.0, expected + 1e-3))[0]
    assert first.startswith("swapping the answer: follow is ")
    says_the_substitute = model.expected_probability(
        "Cork", subject="Ada Quill", stated=["Cork"]
    ) > model.expected_probability("Oslo", subject="Ada Quill", stated=["Cork"])
    if says_the_substitute:
        claim(min_follow=expected - 1e-3, **QUICK)


def test_a_swap_that_is_followed_by_halves_is_not_said() -> None:
    model = planted(0.5, 0.42)
    expected = follow(model, LONE)
    assert 0.2 < expected < 0.5
    ledger = Ledger("here")
    with recording(ledger):
        first, _, *rest = failure(assert_follows_swap, model, LONE, min_follow=0.2)
    assert first == "swapping the answer: with 'Cork' in place of 'Rome' it says 'Oslo'"
    assert f"context reliance {expected:.2f} (" in rest[2]
    (entry,) = ledger.entries
    assert entry.record["claims"] == [">= 0.2", "says the substitute"]
    assert not entry.record["held"]
    ledger.settle()


def test_without_the_gold_passage_a_copier_says_what_is_left() -> None:
    case = replace(FAIR, context=(ROME, LIMA))
    first, *_ = failure(assert_falls_back, planted(1.0, 0.6), case, min_before=0.0)
    assert first.startswith("dropping the gold passage: it says 'Lima', which another passage")
    assert_falls_back(planted(1.0, 0.6), FAIR, **QUICK)


# --- falling back --------------------------------------------------------------------------------


class Saying(PlantedModel):
    """A planted model whose greedy answer is this text where the context states no answer."""

    def generate(self, prompts: Sequence[TokenizedPrompt]) -> tuple[Generated, ...]:
        said = super().generate(prompts)
        return tuple(
            Generated(SAID[0], ()) if "Context:" in p.text and "Rome" not in p.text else each
            for p, each in zip(prompts, said, strict=True)
        )


SAID = [""]


@pytest.mark.parametrize(
    ("said", "is_memory", "abstains"),
    [
        ("Oslo", True, False),
        ("oslo, Norway", True, False),
        ("Oslofjord", False, False),
        ("unknown", False, True),
        ("Unknown to the passages.", False, True),
        (" I don’t know where.", False, True),
        ("NOT STATED", False, True),
        ("None of the passages says so.", False, True),
        ("Nonesuch", False, False),
        ("It is Lima", False, False),
        ("In Oslo", False, False),
        ("The town is unknown", False, False),
        ("", False, False),
    ],
)
def test_what_counts_as_falling_back(said: str, is_memory: bool, abstains: bool) -> None:
    model = Saying(FACTS, ["Rome", "Cork"], context_strength=1.0, memory_strength=0.4)
    SAID[0] = said
    broken = _is_broken(assert_falls_back, model, FAIR)
    assert broken is not (is_memory or abstains)
    assert _is_broken(assert_falls_back, model, FAIR, allow_memory=False) is not abstains
    own = {"abstentions": ["It is"], "allow_memory": False}
    assert _is_broken(assert_falls_back, model, FAIR, **own) is not said.startswith("It is")


def test_an_answer_that_stands_nowhere_is_told_without_a_swap() -> None:
    model = Saying(FACTS, ["Rome", "Cork"], context_strength=1.0, memory_strength=0.4)
    SAID[0] = "Kiel"
    with recording(Ledger("here", lambda: "pytest here")) as ledger:
        told = failure(assert_falls_back, model, FAIR, allow_memory=False)
    assert told == [
        "dropping the gold passage: it says 'Kiel'; it may only abstain",
        "",
        f"  dropped     passage 0: {ROME!r}",
        f"  left        {SILENT!r}",
        "",
        "  model       planted",
        f"  question    {ADA}",
        "",
        "  this case alone:  pytest here",
    ]
    assert len(ledger.entries) == 1


def test_a_closed_book_answer_is_compared_up_to_its_first_comma() -> None:
    case = replace(BESIDE_NAMESAKE, memory_answer="Dublin, Riga")
    assert_falls_back(embedded("reader"), case, **QUICK)
    failure(assert_falls_back, embedded("victim"), case)


def test_every_passage_that_states_the_answer_is_dropped_unless_one_is_named() -> None:
    case = replace(FAIR, context=(ROME, SILENT, "Rome is a city."))
    assert_falls_back(planted(), case, **QUICK)
    first, *_ = failure(assert_falls_back, planted(), case, 0)
    assert first.startswith("dropping the gold passage: it says 'Rome', which another passage")


# --- what is kept from one case to the other -----------------------------------------------------


def test_both_cases_are_measured_over_the_same_substitutes() -> None:
    ledger = Ledger("here")
    with recording(ledger):
        assert_reads_every_position(embedded("reader"), SIX, **QUICK)
        ledger.settle()
    before, after = (entry.record for entry in ledger.entries)
    assert before["swap"]["substitutes"] == after["swap"]["substitutes"]
    assert [entry["claims"][0][:2] for entry in (before, after)] == [">=", ">="]
    assert after["case"] == repr(replace(SIX, context=tuple(after["passages"])))
    how = {role: found["how"] for role, found in after["found"].items()}
    assert how["subject"] == "before the change, the only name in the question"
    assert how["substitutes"].startswith("before the change, what the model says of subjects")
    assert how["memory_answer"] == "the model's greedy closed-book answer"
    assert how["answer"] == "the model's greedy open-book answer"


def test_what_a_caller_gives_is_told_as_given() -> None:
    case = replace(SIX, subject="Eavan Boland", context_answer="Cork", substitutes=["Rome", "Oslo"])
    ledger = Ledger("here", options={"probes": ()})
    with recording(ledger):
        assert_ignores_order(embedded("reader"), case)
    after = ledger.entries[-1].record
    for role in ("subject", "context_answer", "substitutes"):
        assert after["found"][role]["how"] == "given"
    assert [item["probe"] for item in after["evidence"]] == [
        "swap: follow",
        "swap: mass",
        "closed book",
    ], "the running test's own probes are read, where the call names none"


class Counting(PlantedModel):
    """A planted model that keeps the prompts that it is asked to continue."""

    def generate(self, prompts: Sequence[TokenizedPrompt]) -> tuple[Generated, ...]:
        continued.extend(prompt.text for prompt in prompts)
        return super().generate(prompts)


continued: list[str] = []


def test_nothing_is_looked_for_twice() -> None:
    continued.clear()
    words = ["Rome", "Cork", "Kiel", "Bern"]
    model = Counting(FACTS, words, context_strength=1.0, memory_strength=0.4)
    case = replace(FAIR, substitutes=None)
    assert_ignores_order(model, case, min_before=0.0, **QUICK)
    asked = continued.copy()
    continued.clear()
    context_reliance(model, case, **QUICK)
    assert any("Ada Quill" not in text for text in continued), "substitutes are looked for"
    changed = model.render(replace(case, context=(SILENT, ROME))).text
    assert asked == [*continued, changed], "its own answer is asked for anew, and nothing else"


def test_a_substitute_that_the_distractor_states_is_left_out_of_both_scores() -> None:
    words = ["Rome", "Cork", "Lima"]
    model = PlantedModel(FACTS, words, context_strength=1.0, memory_strength=0.4)
    case = replace(LONE, substitutes=("Cork", "Lima"))
    ledger = Ledger("here")
    with recording(ledger):
        first, *rest = failure(assert_ignores_distractor, model, case, LIMA, max_drop=0.0)
    assert ledger.entries[-1].record["swap"]["substitutes"] == ["Cork"]
    changed = replace(LONE, context=(LIMA, ROME))
    assert f"from {follow(model, LONE):.2f} to {follow(model, changed):.2f}" in first
    assert "  substitutes     'Cork': given, but for 'Lima', which the distractor states" in rest


def test_what_was_lost_is_lost_over_the_substitutes_that_are_left() -> None:
    model, case = embedded("mixture-50"), replace(ONE, substitutes=("Rome", "Riga"))
    whole = context_reliance(model, case, **QUICK).score
    alone = context_reliance(model, replace(case, substitutes=("Rome",)), **QUICK).score
    assert abs(whole - alone) > 0.01
    ledger = Ledger("here")
    with recording(ledger):
        _is_broken(assert_ignores_distractor, model, case, distractor=NAMESAKE, min_before=0)
    (claim,) = ledger.entries[-1].record["claims"]
    assert float(claim.removeprefix(">= ")) == pytest.approx(alone - 0.1, abs=2e-6)


class Watched(PlantedModel):
    """A planted model that keeps the prompts in which something is cut."""

    def run(self, plan: ProbePlan) -> tuple[RowReading, ...]:
        cut.update(row.prompt.text for row in plan.rows if row.knockouts)
        return super().run(plan)


cut: set[str] = set()


def test_evidence_is_read_of_the_case_as_it_is_and_of_the_worst_alone() -> None:
    cut.clear()
    model = Watched(FACTS, ["Rome", "Cork"], context_strength=1.0, memory_strength=0.4)
    case = replace(FAIR, context=(ROME, SILENT, LIMA, *FILLERS))
    ledger = Ledger("here")
    with recording(ledger):
        assert_reads_every_position(model, case)
    shown = [replace(case, context=entry.record["passages"]) for entry in ledger.entries]
    assert cut == {model.render(each).text for each in shown}


def test_an_undefined_score_never_holds() -> None:
    silent = PlantedModel(FACTS, ["Rome", "Cork"], context_strength=0.0, memory_strength=0.0)
    options = {"limits": Limits(min_mass=0.3), "max_drop": 1.0}
    model = RoutedModel(planted(), silent, lambda text: len(text.passages) > 1)
    first = failure(assert_ignores_distractor, model, LONE, SILENT, **options)[0]
    assert re.fullmatch(
        r"adding a distractor: context reliance was 0\.99 and becomes undefined", first
    )
    first = failure(assert_ignores_order, model, FAIR, min_before=0.0, **options)[0]
    assert first == (
        "another order of the passages: there is nothing to lose: before it context reliance is "
        "undefined, where min_before is 0"
    )
    options.pop("max_drop")
    first = failure(assert_follows_swap, silent, LONE, min_follow=0.0, **options)[0]
    assert first == "swapping the answer: follow is undefined, where min_follow is 0"


def test_an_undefined_position_is_the_worst() -> None:
    silent = PlantedModel(FACTS, ["Rome", "Cork"], context_strength=0.0, memory_strength=0.0)
    model = RoutedModel(
        planted(), silent, lambda text: text.passages[1:2] == (ROME[:-6] + "Cork.",)
    )
    model = RoutedModel(planted(), silent, lambda text: text.passages[:1] == (SILENT,))
    _, _, change, places, *_ = failure(
        assert_reads_every_position, model, FAIR, limits=Limits(min_mass=0.3)
    )
    assert change.endswith("stands at 1")
    assert places == "  score at    0: 0.99, 1: undefined"


# --- misuse --------------------------------------------------------------------------------------

TWICE = replace(FAIR, context=(ROME, SILENT, "Rome is a city."))


@pytest.mark.parametrize(
    ("claim", "error", "said"),
    [
        (
            partial(assert_ignores_order, case=LONE),
            CaseError,
            "has one passage, and no other order",
        ),
        (partial(assert_ignores_order, case=FAIR, order=[0]), OptionError, "each of 0, 1 once"),
        (partial(assert_ignores_order, case=FAIR, order=[0, 0]), OptionError, "'[0, 0]'"),
        (partial(assert_ignores_order, case=FAIR, max_drop=1.5), OptionError, "max_drop"),
        (partial(assert_ignores_order, case=FAIR, min_before=-1), OptionError, "min_before"),
        (partial(assert_ignores_order, case=FAIR, max_drop=math.nan), OptionError, "max_drop"),
        (partial(assert_ignores_order, case=FAIR, max_drop="0.1"), OptionError, "max_drop"),
        (partial(assert_ignores_distractor, case=FAIR, distractor=" "), EmptyTextError, "distract"),
        (
            partial(assert_ignores_distractor, case=FAIR, distractor="Rome is a city."),
            CaseError,
            "the distractor 'Rome is a city.' states the context answer 'Rome'",
        ),
        (
            partial(assert_ignores_distractor, case=FAIR, distractor="Cork is a city."),
            CaseError,
            "the distractor 'Cork is a city.' states every substitute: 'Cork'",
        ),
        (
            partial(assert_ignores_distractor, case=FAIR, distractor=RIVAL, at=3),
            OptionError,
            "at takes one of 0, 1, 2, or None",
        ),
        (partial(assert_ignores_repetition, case=FAIR, times=1), OptionError, "at least 2"),
        (partial(assert_ignores_repetition, case=FAIR, times=2.5), OptionError, "whole number"),
        (
            partial(assert_ignores_repetition, case=FAIR, gold=1),
            CaseError,
            "passage 1 does not state the context answer 'Rome'",
        ),
        (partial(assert_ignores_repetition, case=FAIR, gold=-1), CaseError, "Name it: gold=0, say"),
        (
            partial(assert_ignores_repetition, case=TWICE),
            CaseError,
            "passages 0, 2 state the context answer 'Rome'",
        ),
        (partial(assert_ignores_wording, case=FAIR, question=""), EmptyTextError, "reworded"),
        (
            partial(assert_ignores_wording, case=FAIR, question="Where was he born?"),
            CaseError,
            "does not hold the subject 'Ada Quill'",
        ),
        (
            partial(assert_ignores_wording, case=FAIR, question="Was Ada Quill born in Rome?"),
            CaseError,
            "the reworded question 'Was Ada Quill born in Rome?' states the context answer",
        ),
        (partial(assert_follows_swap, case=FAIR, min_follow=80), OptionError, "min_follow"),
        (partial(assert_follows_swap, case=FAIR, substitute=" "), EmptyTextError, "substitute"),
        (partial(assert_follows_swap, case=FAIR, substitute="Rome"), CaseError, "substitute"),
        (partial(assert_reads_every_position, case=LONE), CaseError, "has one position"),
        (partial(assert_reads_every_position, case=TWICE), CaseError, "passages 0, 2 state"),
        (partial(assert_falls_back, case=LONE), CaseError, "Add passages: RagCase"),
        (
            partial(assert_falls_back, case=replace(LONE, context=(ROME, "Rome is a city."))),
            CaseError,
            "nothing is left of the context without passages 0, 1, which state 'Rome'",
        ),
        (partial(assert_falls_back, case=FAIR, abstentions="none"), OptionError, "a list of texts"),
        (
            partial(assert_falls_back, case=FAIR, abstentions=[""]),
            OptionError,
            "none of them empty",
        ),
        (
            partial(assert_falls_back, case=FAIR, abstentions=[], allow_memory=False),
            OptionError,
            "one text at least where allow_memory is False",
        ),
    ],
)
def test_misuse_is_refused_by_name(
    claim: Callable[..., None], error: type[RagShortcutError], said: str
) -> None:
    with pytest.raises(error, match=re.escape(said)):
        claim(planted(), **QUICK)


def test_a_subject_that_the_question_does_not_hold_is_refused_as_ever() -> None:
    with pytest.raises(SpanNotFoundError):
        assert_ignores_order(planted(), replace(FAIR, subject="Bo Reed"), **QUICK)


@pytest.mark.parametrize("module", [answers, changes, texts])
def test_the_examples_of_a_module_hold(module: Any) -> None:
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0


# --- in a run ------------------------------------------------------------------------------------

PRELUDE = f"""
from pytest_ragshortcut.metamorphic import *
FILLERS = {FILLERS!r}
SIX = RagCase(QUESTION, ("Eavan Boland was born in Cork.", *FILLERS))
"""


def test_in_a_run_two_checks_are_kept_and_both_are_compared(run: Run) -> None:
    body = """
def test_it(rag_model):
    assert_reads_every_position(rag_model, SIX)
"""
    result = run(PRELUDE + body, "--rag-probes=none")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*1.00*>= 0.5*", "*1.00*>= 0.8999*", "2 checks, 0 failed*"])


def test_in_a_run_a_failure_ends_in_the_users_line_and_is_drawn(run: Run) -> None:
    body = """
def test_it(rag_model):
    assert_reads_every_position(rag_model, SIX)
"""
    result = run(PRELUDE + body, "--rag-model=embedded:beginner", "--tb=short")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*.py:*: in test_it",
            "E*AssertionError: moving the gold passage: context reliance fell from 1.00 to 0.00*",
            "E*score at    0: 1.00,*",
            "E*context reliance 0.00 is not >= 0.89999*",
            '*this case alone:  pytest "*::test_it"*',
            "*where the answer came from*",
            "2 checks, 1 failed*",
        ]
    )
    result.stdout.no_fnmatch_line("*changes.py*")
    result.stdout.no_fnmatch_line("*trials.py*")


def test_in_a_run_a_fall_on_a_namesake_is_drawn_for_the_passage_it_came_from(run: Run) -> None:
    body = f"""
def test_it(rag_model):
    assert_falls_back(rag_model, RagCase(QUESTION, ({GOLD!r}, {NAMESAKE!r})))
"""
    result = run(PRELUDE + body, "--rag-model=embedded:victim")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*it says 'Riga', which another passage states*", "*where the answer came from*",
         "*Context: Ada Boland was born in Riga*", "*falls back  FAILS*"]
    )  # fmt: skip


@pytest.mark.parametrize(("model", "outcome"), [("reader", "passed"), ("beginner", "failed")])
def test_in_a_property_based_test_the_change_is_drawn(run: Run, model: str, outcome: str) -> None:
    body = """
from hypothesis import Phase, given, settings, strategies as st
@settings(database=None, derandomize=True, max_examples=8, phases=(Phase.generate, Phase.shrink))
@given(order=st.permutations(range(6)))
def test_it(rag_model, order):
    assert_ignores_order(rag_model, SIX, order)
"""
    result = run(PRELUDE + body, f"--rag-model=embedded:{model}", "--rag-probes=none")
    result.assert_outcomes(**{outcome: 1})
    if outcome == "failed":
        result.stdout.fnmatch_lines(["*another order of the passages: context reliance fell*"])
