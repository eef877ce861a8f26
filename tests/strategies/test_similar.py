"""Which passages are most like a text, with bm25s and without it."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.strategies import similar
from pytest_ragshortcut.strategies.similar import (
    most_similar,
    scored_by_bm25,
    scored_by_cosine,
)

WORDS = st.sampled_from("a b c d e".split())
TEXTS = st.lists(WORDS, max_size=5)
CORPORA = st.lists(TEXTS, max_size=6)
CORPUS = (
    "Tea is served at four.",
    "Galway lies in Connacht.",
    "The museum opens at nine.",
    "Limerick lies in Munster, on the Shannon.",
    "Galway lies in Connacht, and so does Sligo.",
)


@pytest.fixture(params=["bm25s", "cosine"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "bm25s":
        pytest.importorskip("bm25s")
    else:
        monkeypatch.setattr(similar, "find_spec", lambda _: None)


@given(query=TEXTS, corpus=CORPORA)
def test_cosine_is_that_of_weighed_counts(query: list[str], corpus: list[list[str]]) -> None:
    """Against the definition, as arrays over all words that the corpus has."""
    words = sorted({word for text in corpus for word in text})
    counts = np.array([[text.count(word) for word in words] for text in [query, *corpus]])
    counts = counts.reshape(len(corpus) + 1, len(words))
    spread = (counts[1:] > 0).sum(axis=0)
    weighed = counts * (np.log((1 + len(corpus)) / (1 + spread)) + 1)
    norms = np.linalg.norm(weighed, axis=1)
    products = weighed[1:] @ weighed[0]
    expected = np.divide(
        products, norms[1:] * norms[0], out=np.zeros(len(corpus)), where=products > 0
    )
    assert scored_by_cosine(query, corpus) == pytest.approx(expected.tolist())


@given(query=TEXTS, corpus=CORPORA)
def test_bm25_is_that_of_its_formula(query: list[str], corpus: list[list[str]]) -> None:
    """Robertson and Zaragoza 2009, with Lucene's inverse document frequency; k1 1.5 and b 0.75."""
    pytest.importorskip("bm25s")
    mean = sum(map(len, corpus)) / max(len(corpus), 1)

    def score(text: list[str]) -> float:
        total = 0.0
        for word in query:
            n = sum(word in other for other in corpus)
            rarity = log(1 + (len(corpus) - n + 0.5) / (n + 0.5))
            if count := text.count(word):
                total += rarity * count / (count + 1.5 * (0.25 + 0.75 * len(text) / mean))
        return total

    expected = [score(text) for text in corpus]
    assert scored_by_bm25(query, corpus) == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("_both_ways")
def test_the_passages_that_share_the_rare_words_come_first() -> None:
    ranked = most_similar("Cork lies in Munster.", CORPUS, 5)
    assert ranked[0] == CORPUS[3]
    assert set(ranked[1:3]) == {CORPUS[1], CORPUS[4]}
    assert ranked[3:] == (CORPUS[0], CORPUS[2])
    assert most_similar("Cork lies in Munster.", CORPUS, 2) == ranked[:2]


@pytest.mark.usefixtures("_both_ways")
@given(corpus=st.lists(TEXTS.map(" ".join), max_size=6), n=st.integers(1, 7), query=TEXTS)
def test_equals_stay_in_order_whatever_is_asked(
    corpus: list[str], n: int, query: list[str]
) -> None:
    numbered = [f"{text} {'!' * index}" for index, text in enumerate(corpus)]
    ranked = most_similar(" ".join(query), numbered, n)
    assert ranked == most_similar(" ".join(query), numbered, 99)[:n]
    assert len(ranked) == min(n, len(corpus))
    places = [numbered.index(text) for text in ranked]
    for text in set(corpus):
        # The same words, so the same likeness.
        same = [place for place in places if corpus[place] == text]
        assert same == sorted(same)
    if not set(query) & {word for text in corpus for word in text.split()}:
        assert places == list(range(len(ranked)))


@pytest.mark.usefixtures("_both_ways")
def test_case_and_signs_do_not_matter() -> None:
    assert most_similar("CORK!", ["Tea.", "cork, perhaps"], 1) == ("cork, perhaps",)


def test_bm25_ranks_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "find_spec", lambda name: object() if name == "bm25s" else None)
    monkeypatch.setattr(similar, "scored_by_bm25", lambda query, corpus: [0.0, 2.0, 1.0])
    assert most_similar("one", ["one", "two", "three"], 3) == ("two", "three", "one")
    monkeypatch.setattr(similar, "find_spec", lambda _: None)
    assert most_similar("one", ["two", "one", "three"], 3) == ("one", "two", "three")
