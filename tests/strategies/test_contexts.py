"""Contexts around a gold passage: what they hold, what is done to them, what they shrink to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, find, given, seed, settings
from hypothesis import strategies as st

from pytest_ragshortcut import contexts
from pytest_ragshortcut.core.finding import sentences
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.errors import CaseError, SpanNotFoundError
from pytest_ragshortcut.strategies.assembly import Assembly, among
from pytest_ragshortcut.strategies.contexts import CHANGE_NAMES, DISTRACTORS, count_words

GOLD = "Eavan Boland was born in Dublin."
LONG = f"{GOLD} She was a poet. She taught there."
Context = tuple[str, ...]


@given(context=contexts(GOLD, answer="Dublin"))
def test_every_context_holds_the_gold_passage_once(context: Context) -> None:
    assert context.count(GOLD) == 1
    assert 1 <= len(context) <= 4
    assert set(context) <= {GOLD, *DISTRACTORS}
    assert len(set(context)) == len(context)


def test_contexts_reach_every_place_and_number() -> None:
    seen = set()

    @settings(max_examples=300, database=None)
    @given(context=contexts(GOLD, answer="Dublin"))
    def collect(context: Context) -> None:
        seen.add((len(context), context.index(GOLD)))

    collect()
    assert seen == {(n, place) for n in range(1, 5) for place in range(n)}


def test_contexts_reach_every_distractor_in_every_order() -> None:
    few = ("One.", "Two.")
    seen = _drawn(contexts(GOLD, answer="Dublin", distractors=few, passages=3))
    assert {context for context in seen if len(context) == 3} == {
        (GOLD, "One.", "Two."), (GOLD, "Two.", "One."), ("One.", GOLD, "Two."),
        ("Two.", GOLD, "One."), ("One.", "Two.", GOLD), ("Two.", "One.", GOLD),
    }  # fmt: skip


def test_shrinks_to_the_gold_passage_alone() -> None:
    assert find(contexts(GOLD, answer="Dublin"), lambda _: True) == (GOLD,)
    assert find(contexts(GOLD, answer="Dublin", changes="all"), lambda _: True) == (GOLD,)


def test_shrinks_to_the_fewest_passages_that_fail() -> None:
    found = find(contexts(GOLD, answer="Dublin"), lambda c: c[0] != GOLD and len(c) > 2)
    assert len(found) == 3
    assert found[1] == GOLD


def test_gold_passage_must_state_the_answer() -> None:
    with pytest.raises(SpanNotFoundError, match="Cork"):
        contexts(GOLD, answer="Cork")


def test_distractor_must_not_state_the_answer() -> None:
    with pytest.raises(CaseError, match="states the answer"):
        contexts(GOLD, answer="Dublin", distractors=["Dublin is old."])


@pytest.mark.parametrize("passages", [1, 2, 5])
@pytest.mark.parametrize("changes", [(), "all"])
def test_a_context_has_no_more_passages_than_allowed(passages: int, changes: str) -> None:
    drawn = contexts(GOLD, answer="Dublin", passages=passages, changes=changes)
    assert {len(context) for context in _drawn(drawn)} <= set(range(1, passages + 1))
    assert len(find(drawn, lambda context: len(context) == passages)) == passages


ADDITIONS = st.lists(st.tuples(st.text("ab D", max_size=5), st.integers(0, 1)), max_size=6)


@given(additions=ADDITIONS, passages=st.integers(1, 5), budget=st.none() | st.integers(6, 14))
@example(additions=[("a b c d", 0), ("a", 0)], passages=3, budget=8)
def test_what_was_added_last_is_left_out_until_a_context_fits(
    additions: list[tuple[str, int]], passages: int, budget: int | None
) -> None:
    """Against the definition: the longest beginning of what can be added that fits."""
    assembly = Assembly(GOLD, "D", (), passages, budget, count_words)
    new = list(dict.fromkeys(text for text, _ in additions))
    usable = [text for text in new if text.strip() and not occurrences(text, "D")]
    fitting = [
        usable[:n]
        for n in range(min(len(usable), passages - 1) + 1)
        if budget is None or sum(map(count_words, [GOLD, *usable[:n]])) <= budget
    ]
    context = assembly.context(additions, [])
    assert sorted(context) == sorted([GOLD, *fitting[-1]])
    gaps = dict(reversed(additions))
    assert set(context[: context.index(GOLD)]) == {text for text in fitting[-1] if gaps[text] == 1}


@given(base=st.lists(st.text(max_size=3), max_size=4), added=st.data())
def test_what_is_placed_among_others_leaves_their_order(base: list[str], added: Any) -> None:
    gaps = added.draw(st.lists(st.integers(0, len(base)), max_size=5))
    placed = among(base, [(f"added {n}", gap) for n, gap in enumerate(gaps)])
    assert sorted(number for number, _ in placed) == list(range(len(base) + len(gaps)))
    assert [text for number, text in placed if number < len(base)] == base
    for n, gap in enumerate(gaps):
        before = [number for number, _ in placed].index(len(base) + n)
        assert sum(number < len(base) for number, _ in placed[before:]) == gap


def test_a_strategy_of_distractors_may_draw_what_states_the_answer() -> None:
    """Nine in ten do, and no health check minds: they are left out, and so is what is blank."""
    often = st.sampled_from([*(f"Dublin is {n}." for n in range(9)), "Cork is old."])
    seen = _drawn(contexts(GOLD, answer="Dublin", distractors=often | st.just(" ")))
    assert seen == {(GOLD,), (GOLD, "Cork is old."), ("Cork is old.", GOLD)}
    always = contexts(GOLD, answer="Dublin", distractors=st.just("Dublin is old."))
    assert _drawn(always) == {(GOLD,)}


def test_a_strategy_of_distractors_draws_texts_nobody_wrote() -> None:
    numbered = st.integers(0, 99).map("Room {} is closed.".format)
    found = find(
        contexts(GOLD, answer="Dublin", distractors=numbered),
        lambda context: "Room 7 is closed." in context,
    )
    assert found == (GOLD, "Room 7 is closed.")


# What a change does to a passage, told from the outside.
TRACES: dict[str, Callable[[Context], bool]] = {
    "truncation": lambda context: LONG not in context and sentences(LONG)[0] in context,
    "repetition": lambda context: len(set(context)) < len(context),
    "heading": lambda context: any(p.endswith(f"\n{LONG}") and "#" in p for p in context),
    "metadata": lambda context: any("Source" in p and LONG in p for p in context),
    "whitespace": lambda context: any("was\tborn" in p for p in context),
    "markup": lambda context: f"<p>{LONG}</p>" in context,
    "case": lambda context: any("WAS BORN IN Dublin." in p for p in context),
    "unicode": lambda context: any("\u200b" in p for p in context),
    "script": lambda context: f"{LONG} Музей открыт каждый день." in context,
    "typo": lambda context: any("bron in Dublin" in p for p in context),
}


@pytest.mark.parametrize("name", CHANGE_NAMES)
def test_a_change_that_is_named_is_made_and_no_other(name: str) -> None:
    drawn = contexts(LONG, answer="Dublin", changes=[name], distractors=["One. Two.", "Three."])
    seen = _drawn(drawn, keeping=300)
    for other, is_made in TRACES.items():
        assert any(map(is_made, seen)) == (other == name), other
    assert any(LONG in context for context in seen)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    data=st.data(),
    answer=st.sampled_from(["Dublin", "poet", "1944", "Ireland"]),
    keep=st.lists(st.sampled_from(["Eavan Boland", "born", "She"]), max_size=2),
    passages=st.integers(1, 5),
    budget=st.none() | st.integers(18, 60),
)
def test_whatever_is_done_the_answer_stays_and_stands_nowhere_else(
    data: st.DataObject, answer: str, keep: list[str], passages: int, budget: int | None
) -> None:
    gold = "Eavan Boland, a poet, was born in Dublin, Ireland, in 1944. She left - didn't she?"
    drawn = contexts(
        gold,
        answer=answer,
        distractors=["Written 1943. Read 2021.", "A café. An Overview.", *DISTRACTORS],
        passages=passages,
        changes=["all", str.title, st.sampled_from([str.strip, lambda text: f"{text} Yes."])]
        if answer != "poet" and "born" not in keep
        else "all",
        keep=keep,
        max_tokens=budget,
    )
    context = data.draw(drawn)
    stating = [passage for passage in context if occurrences(passage, answer)]
    assert 1 <= len(context) <= passages
    assert budget is None or sum(map(count_words, context)) <= budget
    # More than one passage states it only where the gold passage stands again.
    assert stating
    for passage in stating:
        for text in (answer, *keep):
            assert text in passage
            assert occurrences(passage, text)
    others = len(context) - len(stating)
    assert len(set(stating)) <= passages - others


def test_changes_that_break_the_budget_are_not_made() -> None:
    exact = count_words(LONG)
    drawn = contexts(LONG, answer="Dublin", changes=["heading", "script"], max_tokens=exact)
    assert _drawn(drawn) == {(LONG,)}


def test_tokens_are_counted_as_the_caller_counts_them() -> None:
    drawn = contexts(GOLD, answer="Dublin", max_tokens=len(GOLD) + 40, count_tokens=len)
    seen = _drawn(drawn)
    assert {len("\n".join(context)) for context in seen} <= set(range(len(GOLD) + 41))
    assert {len(context) for context in seen} == {1, 2}


def shout(passage: str) -> str:
    return passage.upper()


def test_an_own_change_is_made() -> None:
    softly = st.sampled_from([lambda text: f"({text})", lambda text: f"[{text}]"])
    drawn = contexts(GOLD, answer="Dublin", changes=[str.strip, softly])
    assert find(drawn, lambda context: "[" in "".join(context)) == (f"[{GOLD}]",)
    lone = contexts(GOLD, answer="Dublin", changes=lambda text: f"{text} Yes.")
    assert find(lone, lambda context: context[0] != GOLD) == (f"{GOLD} Yes.",)


@pytest.mark.parametrize(
    ("change", "keep", "said"),
    [
        (shout, (), r"change shout takes 'Dublin' from the gold passage"),
        (st.just(shout), (), r"change shout takes 'Dublin' from the gold passage"),
        (lambda text: text.replace("Eavan", "E."), "Eavan Boland", r"takes 'Eavan Boland'"),
        (lambda text: f"{text} Dublin.", (), r"makes a distractor state 'Dublin'"),
        (lambda text: "", (), r"makes '' of"),
        (lambda text: None, (), r"makes None of"),
    ],
)
def test_an_own_change_that_breaks_a_passage_is_an_error_when_it_is_drawn(
    change: Any, keep: str, said: str
) -> None:
    with pytest.raises(CaseError, match=said):
        find(contexts(GOLD, answer="Dublin", changes=[change], keep=keep), lambda _: False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"passages": 0}, "passages is 0"),
        ({"passages": 2.0}, "passages is 2.0"),
        ({"passages": True}, "passages is True"),
        ({"distractors": ()}, "distractors is empty"),
        ({"distractors": ["Here.", " "]}, "distractors has the text ' '"),
        ({"distractors": ["Here.", 3]}, "distractors has the text 3"),
        ({"distractors": "dublin is old."}, "states the answer"),
        ({"changes": "headings"}, "'headings' is no change"),
        ({"changes": ["heading", 3]}, "3 is no change"),
        ({"keep": "Cork"}, "text to keep 'Cork'"),
        ({"keep": ["Boland", ""]}, "text to keep ''"),
        ({"max_tokens": 5}, "max_tokens is 5, and the gold passage alone has 6"),
        ({"max_tokens": 9, "count_tokens": len}, "max_tokens is 9, .* has 32"),
    ],
)
def test_what_cannot_be_drawn_is_refused_where_it_is_defined(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(CaseError, match=said):
        contexts(GOLD, answer="Dublin", **options)


def test_one_text_will_do_where_several_may_be() -> None:
    drawn = contexts(GOLD, answer="Dublin", distractors="One. Two.", changes="heading", keep="born")
    assert {passage for context in _drawn(drawn) for passage in context} >= {GOLD, "One. Two."}


# --- what a hunt costs ---


def _is_gold(passage: str) -> bool:
    return "Dublin" in passage


def _is_headed(passage: str) -> bool:
    return _is_gold(passage) and any(line.startswith("#") for line in passage.splitlines())


DEFECTS: dict[str, tuple[Callable[[Context], bool], Callable[[Context], bool]]] = {
    # What fails, and whether a context is one of the smallest that do.
    "a heading": (
        lambda context: any(map(_is_headed, context)),
        lambda context: context == (f"# Overview\n{LONG}",),
    ),
    "not in front": (
        lambda context: not _is_gold(context[0]),
        lambda context: context == (DISTRACTORS[0], LONG),
    ),
    "twice": (
        lambda context: len(set(context)) < len(context),
        lambda context: context == (LONG, LONG),
    ),
    "one distractor": (
        lambda context: DISTRACTORS[4] in context,
        lambda context: context == (LONG, DISTRACTORS[4]),
    ),
    "in the middle": (
        lambda context: len(context) > 2 and any(map(_is_gold, context[1:-1])),
        lambda context: len(context) == 3 and set(context) <= {LONG, *DISTRACTORS},
    ),
}
SEEDS = range(6)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        *(((), name) for name in ("not in front", "one distractor", "in the middle")),
        *(("all", name) for name in DEFECTS),
    ],
)
def test_a_defect_is_found_and_shrunk_in_few_contexts(name: str, changes: str) -> None:
    """A context costs a question to a model, so the different ones are what counts."""
    fails, is_smallest = DEFECTS[name]
    drawn = contexts(LONG, answer="Dublin", changes=changes)
    hunts = [_hunt(drawn, fails, number) for number in SEEDS]
    found = [hunt for hunt in hunts if hunt is not None]
    assert len(found) >= len(SEEDS) - 1
    for n_until_found, n_after, smallest in found:
        assert n_until_found <= 100
        assert n_after <= 60
        assert is_smallest(smallest)


def _hunt(
    strategy: st.SearchStrategy[Context], fails: Callable[[Context], bool], number: int
) -> tuple[int, int, Context] | None:
    """Count the different contexts until one fails, and from there on; and return the last."""
    seen: dict[Context, None] = {}
    failed: list[tuple[int, Context]] = []

    @seed(number)
    @settings(
        max_examples=100,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(context=strategy)
    def search(context: Context) -> None:
        seen[context] = None
        if fails(context):
            failed.append((len(seen), context))
            raise AssertionError

    try:
        search()
    except AssertionError:
        return failed[0][0], len(seen) - failed[0][0], failed[-1][1]
    return None


def _drawn(strategy: st.SearchStrategy[Context], keeping: int = 150) -> set[Context]:
    seen = set()

    @settings(max_examples=keeping, database=None, phases=[Phase.generate])
    @given(context=strategy)
    def collect(context: Context) -> None:
        seen.add(context)

    collect()
    return seen
