"""The hunts count what they say they count, and find what was planted."""

from __future__ import annotations

import doctest
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import defects, hunting, hunts
from benchmarks.defects import CASES, CLEAN, DEFECTS, Defect, Reading
from benchmarks.hunting import Asked, Found, Hunt
from pytest_ragshortcut import RagCase
from pytest_ragshortcut.core.work import Work

CASE = CASES[0]
(GOLD,) = CASE.passages
ONE, TWO, THREE = defects.DISTRACTORS[:3]


class Counting:
    """A model that computes nothing, and counts as one forward of one token whatever is asked."""

    n_layers = 1

    def __init__(self) -> None:
        self.n_asked = 0

    @property
    def work(self) -> Work:
        return Work(self.n_asked)

    def render(self, case: RagCase) -> RagCase:
        return case

    def tokenize(self, prompt: RagCase) -> Any:
        return type("Tokens", (), {"input_ids": (0,)})


def failing(fails: Callable[[tuple[str, ...]], bool]) -> defects.Claim:
    def claim(model: Counting, cases: Sequence[RagCase], limit: float) -> list[Reading]:
        model.n_asked += len(cases)
        return [Reading(not fails(case.passages), 1.0) for case in cases]

    return claim


def defect(named: str) -> Defect:
    (found,) = [each for each in DEFECTS if each.name == named]
    return found


def test_a_hunt_counts_examples_and_contexts() -> None:
    asked = Asked(Counting(), failing(lambda passages: len(passages) > 1))
    seen: list[RagCase] = []
    draw = defects.around(CASE).map(lambda case: seen.append(case) or case)
    found = hunting.hunt(asked, draw, 3)
    assert found.n_to_find is not None
    assert all(case.passages == (GOLD,) for case in seen[: found.n_to_find - 1])
    before, after = set(seen[: found.n_to_find]), set(seen[found.n_to_find :])
    assert found.n_further == len(after - before) > 0
    # Each context is asked about once, and each answer is paid for once.
    assert asked.model.n_asked == len(before | after) == len(asked.known)
    assert asked.costs == [1.0] * len(asked.costs)
    assert found.shrunk == replace(CASE, context=(GOLD, ONE))


def test_a_hunt_that_finds_nothing_says_so() -> None:
    asked = Asked(Counting(), failing(lambda _: False))
    assert hunting.hunt(asked, defects.around(CASE), 0, max_examples=20) == Hunt(None, 0, None)


def test_the_same_seed_hunts_alike() -> None:
    claim = failing(lambda passages: passages[0] != GOLD and len(passages) > 2)
    found = {hunting.hunt(Asked(Counting(), claim), defects.around(CASE), 5) for _ in range(2)}
    assert len(found) == 1


def test_parts_leave_sentences_out_and_keep_the_answer() -> None:
    headed = replace(CASE, context=(ONE, f"# Overview\n{GOLD}"))
    stating = {(GOLD,), (ONE, GOLD), (f"# Overview\n{GOLD}",)}
    assert {part.passages for part in hunting.parts(headed)} == stating
    bare = replace(headed, context_answer=None)
    silent = {(ONE,), ("# Overview",), (ONE, "# Overview")}
    assert {part.passages for part in hunting.parts(bare)} == stating | silent


@pytest.mark.parametrize("least", [1, 2, 3])
def test_the_fewest_sentences_that_fail_are_searched_for(least: int) -> None:
    asked = Asked(Counting(), failing(lambda passages: passages.index(GOLD) >= least - 1))
    longer = replace(CASE, context=(ONE, TWO, THREE, GOLD))
    assert hunting.searched(asked, longer) == least
    # What has as many sentences as the case itself is not tried: it is known to fail.
    assert {len(case.passages) for case in asked.known} == set(range(1, least + 1))


def test_a_context_is_bare_where_no_part_of_it_fails() -> None:
    asked = Asked(Counting(), failing(lambda passages: passages[0] != GOLD))
    assert hunting.is_bare(asked, replace(CASE, context=(ONE, GOLD)))
    assert not hunting.is_bare(asked, replace(CASE, context=(ONE, TWO, GOLD)))


ROUTED = [each for each in DEFECTS if callable(each.model)]


@pytest.mark.parametrize("planted", ROUTED, ids=lambda each: each.name)
def test_a_rule_is_what_its_words_say(planted: Defect) -> None:
    headed = f"# Notes\n{GOLD}"
    fails = {
        "position-biased": {(ONE, GOLD), (ONE, headed, TWO)},
        "duplicated passage": {(GOLD, GOLD), (ONE, GOLD, ONE)},
        "heading-sensitive": {(headed,), (ONE, headed, TWO), (f"# A\n{ONE}", GOLD)},
        "conjunction": {(ONE, headed, TWO), (ONE, TWO, headed), (f"# A\n{ONE}", GOLD, TWO)},
        "needle": {(ONE, TWO, THREE, ONE, headed)},
    }[planted.name]
    holds = {
        "position-biased": {(GOLD, ONE), (headed, ONE), (defects.distractors_of(CASE)[-1], GOLD)},
        "duplicated passage": {(GOLD, headed), (GOLD, ONE, TWO)},
        "heading-sensitive": {(GOLD,), (f"OVERVIEW\n{GOLD}", "C# is a language.")},
        "conjunction": {(ONE, GOLD, TWO), (headed, ONE, TWO), (ONE, headed), (headed, ONE, headed)},
        "needle": {(ONE, TWO, headed, GOLD, ONE), (ONE, TWO, GOLD, ONE, headed)},
    }[planted.name]
    model = planted.load()
    read = {
        context: model.model_of(replace(CASE, context=context)) is model.usual
        for context in fails | holds
    }
    assert read == dict.fromkeys(fails, False) | dict.fromkeys(holds, True)


def test_a_planted_defect_is_found_and_shrunk_to_the_smallest_context_that_shows_it() -> None:
    found = hunting.measure(defect("heading-sensitive"), 2)
    assert found.n_found == 2
    assert found.bare == (True, True)
    assert found.fewest == (2, 2)
    assert found.missed == []
    assert [case.passages for case in found.shrunk] == [
        (f"# Overview\n{case.passages[0]}",) for case in CASES[:2]
    ]
    assert found.forwards > 0


def test_a_namesake_is_what_misleads_the_victim() -> None:
    found = hunting.measure(defect("hard-negative victim (trained)"), 1)
    assert found.missed == []
    assert found.shrunk[0].passages[0] in defects.namesakes_of(CASE)


def test_a_model_without_a_defect_raises_no_alarm_and_one_with_it_does() -> None:
    reads = hunting.raised(CLEAN[0], 1, 12)
    assert reads.n_examples == 12 >= reads.n_different > 1
    assert reads.failing == ()
    assert reads.lowest > defects.LIMIT
    recalls = replace(CLEAN[0], load=lambda: defects.embedded("memoriser"))
    assert len(hunting.raised(recalls, 1, 12).failing) == reads.n_different


def found(*tried: Hunt, bare: tuple[bool, ...], **changed: Any) -> Found:
    fewest = (2,) * len(bare)
    return Found(replace(DEFECTS[0], **changed), tried, tried, tried, bare, fewest, 1.5)


NONE = Hunt(None, 0, None)
SHORT = Hunt(3, 9, replace(CASE, context=(ONE, GOLD)))
LONG = Hunt(7, 61, replace(CASE, context=(ONE, TWO, GOLD)))


def test_a_bound_that_is_missed_is_named() -> None:
    assert found(*[SHORT] * 20, bare=(True,) * 20).missed == []
    assert found(*[SHORT] * 19, NONE, bare=(True,) * 19).missed == []
    unfound = found(*[SHORT] * 18, NONE, NONE, bare=(True,) * 18)
    assert unfound.missed == ["found in 18 of 20"]
    costly = "1 of 1 over 60 contexts"
    too_long = "1 of 1 over 2 sentences, and a part fails"
    assert found(LONG, bare=(False,)).missed == [too_long, costly]
    assert found(LONG, bare=(True,)).missed == [costly]
    assert found(LONG, bare=(False,), max_examples=1000).missed == []


def test_a_target_helps_where_more_seeds_were_sooner_than_chance_would_have_it() -> None:
    sooner = replace(found(*[LONG] * 6, bare=(True,) * 6), directed=(SHORT,) * 6)
    assert sooner.directed_wins == (6, 0)
    assert replace(sooner, directed=(NONE,) * 3 + (LONG,) * 3).directed_wins == (0, 3)
    # All of six coins alike, of which one half would have been the other way round.
    assert hunts.by_chance(6, 0) == hunts.by_chance(0, 6) == 2 / 2**6
    assert hunts.by_chance(3, 3) == 1.0
    assert doctest.testmod(hunts).failed == 0
    for shown, directed in (("yes", SHORT), ("not shown", LONG), ("it harms", NONE)):
        text = hunts.report([replace(sooner, directed=(directed,) * 6)], {}, [])
        assert f"| {shown} |" in " ".join(text.split())


def test_the_report_shows_every_hunt_and_every_alarm() -> None:
    hunted = [found(SHORT, LONG, NONE, bare=(True, True))]
    alarms = [hunting.Alarms(CLEAN[0], 40, 30, 0.5, (LONG.shrunk,))]
    text = hunts.report(hunted, {"heading": (4, 5)}, alarms)
    row, *_ = [line for line in text.splitlines() if line.startswith("| position-biased |")]
    assert "| 2 of 3 | 7, 101 of 100 " in row
    assert "| 35, 61 " in row
    assert "| 2.5, 3 " in row
    assert "| 2 of 2 | 1 of 2 " in row
    assert "1 of 3 over 60 contexts" in row
    assert "| heading | 4    | 5  |" in text
    assert repr(LONG.shrunk) in text
