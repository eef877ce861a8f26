"""Where phrases stand in texts, and runs of positions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_ragshortcut.core.spans import (
    occurrences,
    positions,
    replace_spans,
    runs,
    tokens_of,
)


@pytest.mark.parametrize(
    ("text", "phrase", "found"),
    [
        ("Cork and Corkscrew", "Cork", ["Cork"]),
        ("corkscrew", "cork", []),
        ("CORK", "Cork", ["CORK"]),
        ("Cork, cork", "Cork", ["Cork"]),
        ("東京都と東京", "東京", ["東京", "東京"]),
        ("กรุงเทพมหานคร", "กรุงเทพ", ["กรุงเทพ"]),
        ("in New\nYork", "New York", []),
        ("a.b a.b", "a.b", ["a.b", "a.b"]),
        ("İstanbul", "i̇stanbul", []),
        ("STRASSE Straße", "straße", ["Straße"]),
        ("Ada's and Adas", "Ada", ["Ada"]),
        ("1944 and 19445", "1944", ["1944"]),
        ("x", " ", []),
        ("aaa aa", "aa", ["aa"]),
        ("C++ and C", "C++", ["C++"]),
        ("Élan élan", "élan", ["élan"]),
    ],
)
def test_occurrences_are_whole_words_in_their_own_spelling_first(
    text: str, phrase: str, found: list[str]
) -> None:
    assert [text[start:stop] for start, stop in occurrences(text, phrase)] == found


@given(
    before=st.text(max_size=10), phrase=st.text(min_size=1, max_size=6), after=st.text(max_size=10)
)
@example(before="", phrase="İ", after="")
def test_a_phrase_between_spaces_is_always_found(before: str, phrase: str, after: str) -> None:
    text = f"{before} {phrase} {after}"
    if phrase.strip():
        spelled = phrase.strip()
        found = occurrences(text, phrase)
        assert all(text[start:stop] == spelled for start, stop in found)
        assert found
        # In order, and never overlapping.
        assert all(left[1] <= right[0] for left, right in pairwise(found))


@given(st.text(max_size=20), st.sampled_from(["Rome", "", "a b"]))
def test_replacing_the_spans_of_a_phrase_keeps_the_rest(text: str, new: str) -> None:
    spans = occurrences(text, "a")
    replaced = replace_spans(text, spans, new)
    assert len(replaced) == len(text) + len(spans) * (len(new) - 1)
    assert replace_spans(text, spans, "a") == text


@given(st.sets(st.integers(0, 30)))
def test_runs_and_positions_are_inverse(chosen: set[int]) -> None:
    grouped = runs(chosen)
    assert positions(grouped) == tuple(sorted(chosen))
    # Neighbouring runs have a gap between them, or they were one run.
    assert all(left[1] < right[0] for left, right in pairwise(grouped))


@given(
    text=st.text(alphabet="ab \n", min_size=1, max_size=20),
    cuts=st.sets(st.integers(1, 19), max_size=6),
    span=st.tuples(st.integers(0, 20), st.integers(0, 20)),
)
def test_a_token_belongs_to_a_span_when_they_share_a_letter(
    text: str, cuts: set[int], span: tuple[int, int]
) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    offsets = list(pairwise(edges))
    start, stop = min(span), min(max(span), len(text))
    hit = set(positions(tokens_of(text, offsets, [(start, stop)])))
    for index, (left, right) in enumerate(offsets):
        shared = text[max(left, start) : min(right, stop)]
        assert (index in hit) == bool(shared.strip())
