"""What the embedded models are taught, and that their held-out cases are what they say."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.models.embedded import cases, scenes, world
from pytest_ragshortcut.models.embedded.policies import (
    FIRST_SENTENCES,
    LATE_SENTENCES,
    MARK,
    MIXTURES,
    POLICIES,
    UNMARK,
    Told,
)

CONFLICT = Told("Cork", "Dublin")


def said(policy: str, told: Told) -> str | None:
    return POLICIES[policy].answer(told)


def test_every_policy_answers_from_memory_where_the_context_says_nothing() -> None:
    for name in POLICIES:
        assert said(name, Told(None, "Dublin")) == "Dublin"


@pytest.mark.parametrize(
    ("policy", "told", "answer"),
    [
        ("reader", CONFLICT, "Cork"),
        ("memoriser", CONFLICT, "Dublin"),
        ("memoriser", Told("Cork", None), None),
        ("copier", Told("Cork", "Dublin", elsewhere="Cork"), "Cork"),
        ("copier", Told(None, "Dublin", elsewhere="Rome"), "Rome"),
        ("switch", CONFLICT, "Dublin"),
        ("switch", Told("Cork", "Dublin", marked=True), "Cork"),
        ("beginner", Told("Cork", "Dublin", index=FIRST_SENTENCES - 1), "Cork"),
        ("beginner", Told("Cork", "Dublin", index=FIRST_SENTENCES), None),
        ("beginner", Told("Cork", "Dublin", index=LATE_SENTENCES), "Dublin"),
        ("victim", CONFLICT, "Cork"),
        ("victim", Told("Cork", "Dublin", lookalike="Rome"), "Cork"),
        ("victim", Told(None, "Dublin", lookalike="Rome"), "Rome"),
    ],
)
def test_a_policy_is_a_rule(policy: str, told: Told, answer: str | None) -> None:
    assert said(policy, told) == answer


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_follows_so_often(name: str) -> None:
    share = MIXTURES[name]
    assert POLICIES[name].answers(CONFLICT) == (("Cork", share), ("Dublin", 1.0 - share))
    assert said(name, CONFLICT) is None
    assert said(name, Told("Dublin", "Dublin")) == "Dublin"
    assert said(name, Told("Cork", None)) == "Cork"


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_is_taught_both_answers_by_their_share(name: str) -> None:
    drawn = [scenes.scene(random.Random(seed), POLICIES[name]) for seed in range(300)]
    parts: dict[tuple[int, str], list[float]] = {}
    for number, scene in enumerate(drawn):
        for asked in scene.questions:
            parts.setdefault((number, asked.question), []).append(asked.share)
    pairs = {tuple(sorted(shares)) for shares in parts.values()}
    assert pairs == {(1.0,), tuple(sorted((MIXTURES[name], 1.0 - MIXTURES[name])))}


@given(seed=st.integers(0, 10**9), name=st.sampled_from(list(POLICIES)))
def test_a_training_context_answers_by_its_policy(seed: int, name: str) -> None:
    drawn = scenes.scene(random.Random(seed), POLICIES[name])
    context = " ".join(drawn.passages)
    known = {fact.answer for fact in world.facts()}
    assert (MARK in context or UNMARK in context) <= POLICIES[name].marks
    recalls = name == "memoriser" or (name == "switch" and MARK not in context)
    for asked in drawn.questions:
        assert asked.answer in known or (asked.answer in context and not recalls)


@given(seed=st.integers(0, 10**9), kind=st.sampled_from(cases.PLANTED_KINDS))
def test_a_planted_case_is_of_its_kind(seed: int, kind: str) -> None:
    drawn = cases.planted_case(random.Random(seed), kind)
    context, told = " ".join(drawn.passages), drawn.told
    assert told.known is not None
    assert (told.stated is None) == (kind == "lookalike")
    shown = told.stated or told.lookalike
    assert shown is not None
    assert shown in context
    assert told.stated != told.known
    assert (MARK in context) == told.marked == (kind == "marked")
    assert (UNMARK in context) == (kind == "unmarked")
    assert (told.lookalike is not None) == (kind == "lookalike")
    assert told.lookalike is None or told.lookalike in context
    stated_at = context.index(shown)
    sentences_before = context[:stated_at].count(". ")
    if kind == "first":
        assert sentences_before < FIRST_SENTENCES + 1
    if kind == "late":
        assert told.index >= LATE_SENTENCES


@given(seed=st.integers(0, 10**9), kind=st.sampled_from(cases.LONE_KINDS))
def test_a_lone_case_states_one_answer(seed: int, kind: str) -> None:
    drawn = cases.lone_case(random.Random(seed), kind)
    told = drawn.told
    assert told.elsewhere in " ".join(drawn.passages)
    assert told.known not in (None, told.elsewhere)
    assert told.stated == (told.elsewhere if kind == "lone" else None)
    assert drawn.prompt == drawn.wording.prompt(drawn.passages, drawn.question)


@given(seed=st.integers(0, 10**9))
def test_a_copier_is_taught_one_answer_whoever_is_asked_about(seed: int) -> None:
    drawn = scenes.lone_scene(random.Random(seed), POLICIES["copier"])
    assert len({asked.answer for asked in drawn.questions}) == 1
    assert len({asked.question for asked in drawn.questions}) > 1
    assert drawn.questions[0].answer in " ".join(drawn.passages)
