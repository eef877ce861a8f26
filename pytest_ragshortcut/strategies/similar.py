"""Which passages are most like a text: the words they share, the rare ones counting most.

By BM25 where the package bm25s is installed, else by cosine. Nothing is drawn, and no model asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from math import log, sqrt

_WORD = re.compile(r"\w+")


def most_similar(text: str, corpus: Sequence[str], n: int) -> tuple[str, ...]:
    """Rank the passages of a corpus by likeness to a text; equals stay in the corpus' order.

    BM25 is that of Robertson and Zaragoza 2009 as the package bm25s computes it (extra [bm25]).

    Args:
        text: the question with its passages, say.
        corpus: passages.
        n: how many to return at most.

    Example:
        >>> most_similar("born in Cork", ["Tea is served.", "Cork is old.", "Born in Rome."], 2)
        ('Born in Rome.', 'Cork is old.')
    """
    scores = scored_by_bm25 if find_spec("bm25s") else scored_by_cosine
    likeness = scores(_words(text), [_words(passage) for passage in corpus])
    # Sorting is stable, so that equals keep their order.
    ranked = sorted(range(len(corpus)), key=lambda index: -likeness[index])
    return tuple(corpus[index] for index in ranked[:n])


def scored_by_cosine(query: Sequence[str], corpus: Sequence[Sequence[str]]) -> list[float]:
    """Score by the cosine of word counts, each times how rare the word is in the corpus.

    Rarity is log((1 + n) / (1 + n with the word)) + 1, so that a word of all passages still counts.

    Example:
        >>> [round(score, 3) for score in scored_by_cosine(["a", "b"], [["a"], ["b", "b"], ["c"]])]
        [0.707, 0.707, 0.0]
    """
    spread = Counter(word for words in corpus for word in set(words))
    rarity = {word: log((1 + len(corpus)) / (1 + n)) + 1 for word, n in spread.items()}
    # What no passage says is like none of them.
    asked = _weighed(query, rarity)
    return [_cosine(asked, _weighed(words, rarity)) for words in corpus]


def scored_by_bm25(query: Sequence[str], corpus: Sequence[Sequence[str]]) -> list[float]:
    """Score by BM25 with the defaults of the package bm25s, which must be installed.

    Example:
        >>> scored_by_bm25(["a"], [[], []])
        [0.0, 0.0]
    """
    if not query or not any(corpus):
        return [0.0] * len(corpus)
    ranker = import_module("bm25s").BM25()
    ranker.index([list(words) for words in corpus], show_progress=False)
    return [float(score) for score in ranker.get_scores(list(query))]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _weighed(words: Sequence[str], rarity: Mapping[str, float]) -> dict[str, float]:
    return {word: n * rarity[word] for word, n in Counter(words).items() if word in rarity}


def _cosine(left: Mapping[str, float], right: Mapping[str, float]) -> float:
    dot = sum(weight * right[word] for word, weight in left.items() if word in right)
    lengths = [sqrt(sum(w * w for w in side.values())) for side in (left, right)]
    return dot / (lengths[0] * lengths[1]) if dot else 0.0
