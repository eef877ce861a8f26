"""Cutting a context into pieces and leaving one out; log-odds near both ends; the strongest."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_ragshortcut.core.attribution import (
    AttributionResult,
    Piece,
    log_odds,
    log_odds_lost,
    pieces_of,
    without,
)
from pytest_ragshortcut.core.finding import sentences
from pytest_ragshortcut.core.prompts import TokenizedPrompt

# Few letters, so that sentences repeat; all that ends a sentence or a line, or only looks so.
PASSAGES = st.text("ab.!。' \t\n\r\x0b\x1c\x1f\u2028", min_size=1).filter(str.strip)
CONTEXTS = st.lists(PASSAGES, min_size=1, max_size=3)
WORDS = st.sampled_from(["One.", "Two!", "Two!", "Is it three?", "Four. "]).map(str.strip)
SPACES = st.sampled_from([" ", "  ", "\n", "\n\n", " \r\n"])


@given(context=CONTEXTS)
def test_pieces_are_the_passages_and_the_sentences_of_those_that_have_several(
    context: list[str],
) -> None:
    pieces = pieces_of(context)
    for index, passage in enumerate(context):
        whole, *parts = (piece for piece in pieces if piece.passage == index)
        assert (whole.sentence, whole.text) == (None, passage)
        wanted = sentences(passage) if len(sentences(passage)) > 1 else ()
        assert tuple(part.text for part in parts) == wanted
        assert [part.sentence for part in parts] == list(range(len(parts)))
        ends = [end for part in parts for end in (part.start, part.stop)]
        assert ends == sorted(ends)
    assert all(context[p.passage][p.start : p.stop] == p.text for p in pieces)
    assert pieces_of(context, "passages") == tuple(p for p in pieces if p.sentence is None)


@given(context=CONTEXTS)
def test_leaving_a_passage_out_leaves_the_others_as_they_are(context: list[str]) -> None:
    for piece in pieces_of(context, "passages"):
        rest = context[: piece.passage] + context[piece.passage + 1 :]
        assert without(context, piece) == tuple(rest)


@given(context=CONTEXTS)
def test_leaving_a_sentence_out_leaves_the_other_sentences(context: list[str]) -> None:
    parts = [piece for piece in pieces_of(context) if piece.sentence is not None]
    assume(parts)
    for piece in parts:
        rest = without(context, piece)
        assert len(rest) == len(context)
        for index, (old, new) in enumerate(zip(context, rest, strict=True)):
            if index != piece.passage:
                assert new == old
        kept = list(sentences(context[piece.passage]))
        del kept[piece.sentence]
        assert sentences(rest[piece.passage]) == tuple(kept)


@given(context=CONTEXTS)
def test_one_stretch_is_cut_the_sentence_and_white_space_beside_it(context: list[str]) -> None:
    for piece in pieces_of(context):
        if piece.sentence is None:
            continue
        old, new = context[piece.passage], without(context, piece)[piece.passage]
        size = len(old) - len(new)
        cuts = [
            (start, start + size)
            for start in range(piece.start + 1)
            if start + size >= piece.stop and old[:start] + old[start + size :] == new
        ]
        assert any(old[start:stop].strip() == piece.text for start, stop in cuts)
        if old == old.strip():
            assert new == new.strip()


@given(
    texts=st.lists(WORDS, min_size=2, max_size=5),
    spaces=st.lists(SPACES, min_size=4, max_size=4),
    index=st.integers(0, 4),
)
def test_what_remains_is_joined_as_it_was(texts: list[str], spaces: list[str], index: int) -> None:
    index %= len(texts)
    spaces = spaces[: len(texts) - 1]
    passage = texts[0] + "".join(s + t for s, t in zip(spaces, texts[1:], strict=True))
    piece = next(p for p in pieces_of([passage]) if p.sentence == index)
    del texts[index]
    if index in (0, len(spaces)):
        del spaces[min(index, len(spaces) - 1)]
    else:
        before, behind = spaces[index - 1 : index + 1]
        stays = behind if "\n" in behind and "\n" not in before else before
        spaces[index - 1 : index + 1] = [stays]
    expected = texts[0] + "".join(s + t for s, t in zip(spaces, texts[1:], strict=True))
    assert without([passage], piece) == (expected,)


def test_equal_sentences_are_two_pieces() -> None:
    passage = "Here. There. Here.\nNowhere."
    _, first, _, second, _ = pieces_of([passage])
    assert first.text == second.text
    assert (first.start, second.start) == (0, 13)
    assert without([passage], first) == ("There. Here.\nNowhere.",)
    assert without([passage], second) == ("Here. There.\nNowhere.",)


def test_nothing_is_left_of_the_only_passage() -> None:
    (whole,) = pieces_of(["Here."])
    assert without(["Here."], whole) == ()
    assert without(["Here.", " There. "], Piece(1, 0, "There.", 1, 7)) == ("Here.",)


def exact_log_odds(logprob: float) -> float:
    with localcontext() as context:
        context.prec = 400
        p = Decimal(logprob).exp()
        return float((p / (1 - p)).ln())


@given(
    logprob=st.floats(-300.0, -1e-300) | st.floats(-2.0, -1e-3) | st.floats(1.0, 250.0).map(
        lambda exponent: -(10.0**-exponent)
    )
)  # fmt: skip
def test_log_odds_are_exact_from_the_smallest_p_to_the_largest(logprob: float) -> None:
    expected = exact_log_odds(logprob)
    # Beside p = 1/2 they vanish, and the log-probability itself is rounded.
    assert float(log_odds(np.array(logprob))) == pytest.approx(expected, rel=1e-13, abs=1e-15)


def test_log_odds_of_certainty_are_infinite_and_rounding_above_it_is_certainty() -> None:
    odds = log_odds(np.array([0.0, 1e-7, -np.inf]))
    assert odds.tolist() == [math.inf, math.inf, -math.inf]


@given(clean=st.floats(-50, -1e-9), cut=st.floats(-50, -1e-9))
def test_what_is_lost_is_gained_the_other_way(clean: float, cut: float) -> None:
    (lost,), (gained,) = (log_odds_lost(a, np.array([b])) for a, b in ((clean, cut), (cut, clean)))
    assert lost == -gained
    assert (lost > 0.0) == (log_odds(np.array(clean)) > log_odds(np.array(cut)))


@pytest.mark.parametrize(
    ("clean", "cut"), [(0.0, -1.0), (-1.0, 0.0), (-1.0, -math.inf), (0.0, 0.0), (-math.inf, -1.0)]
)
def test_a_loss_of_infinite_odds_is_undefined(clean: float, cut: float) -> None:
    lost = log_odds_lost(clean, np.array([cut, -2.0]))
    assert math.isnan(lost[0])
    assert math.isnan(lost[1]) == (clean in (0.0, -math.inf))


CONTEXT = ("One. Two.", "Three.")
WHOLE_0, ONE, TWO, WHOLE_1 = pieces_of(CONTEXT)


def result(clean: float, cut: list[float], **options: Any) -> AttributionResult:
    """Make a result of log-probabilities."""
    return AttributionResult(
        prompt=TokenizedPrompt("x", (1, 2), ("a", "b"), {}, 2, (3,)),
        clean=math.exp(clean),
        pieces=options.get("pieces", (WHOLE_0, ONE, TWO, WHOLE_1)),
        probability=np.exp(cut),
        effect=log_odds_lost(clean, np.array(cut)),
    )


@pytest.mark.parametrize(
    ("clean", "cut", "strongest"),
    [
        (-0.1, [-9.0, -0.2, -3.0, -0.3], TWO),
        # A passage of one sentence competes with the sentences of another.
        (-0.1, [-9.0, -0.2, -3.0, -5.0], WHOLE_1),
        (-1.0, [-9.0, -1.0, -0.5, -0.9], None),
        (-1.0, [-0.5, -0.5, -0.5, -0.5], None),
        # At both ends of the range: odds are infinite, or probabilities all alike.
        (0.0, [-9.0, -0.2, -3.0, -0.1], TWO),
        (0.0, [0.0, 0.0, 0.0, 0.0], None),
        (-1.0, [-9.0, 0.0, -math.inf, -2.0], TWO),
        (-800.0, [-900.0, -801.0, -802.0, -799.0], TWO),
        (-1e-20, [-1e-5, -1e-20, -1e-19, -1e-18], WHOLE_1),
    ],
)
def test_the_strongest_piece_is_that_of_the_largest_positive_effect(
    clean: float, cut: list[float], strongest: Piece | None
) -> None:
    assert result(clean, cut).strongest == strongest


def test_without_sentences_the_strongest_is_a_passage() -> None:
    assert result(-0.1, [-9.0, -3.0], pieces=(WHOLE_0, WHOLE_1)).strongest == WHOLE_0
    assert result(-0.1, [], pieces=()).strongest is None


def test_a_result_is_frozen_json_and_drawn() -> None:
    shown = result(-0.1, [-9.0, -0.2, 0.0, -0.3])
    with pytest.raises(FrozenInstanceError):
        shown.clean = 0.0  # type: ignore[misc]
    again = json.loads(json.dumps(shown.to_dict(), allow_nan=False))
    assert again == shown.to_dict()
    assert again["effect"][2] is None
    assert [piece["text"] for piece in again["pieces"]] == ["One. Two.", "One.", "Two.", "Three."]
    (panel,) = shown.panels()
    assert panel.values.shape == (len(panel.rows), len(panel.columns)) == (1, 4)
    assert panel.columns == ("passage 0", "sentence 0.0", "sentence 0.1", "passage 1")
    html = shown._repr_html_()
    assert html.count("<rect ") == 3
    assert f"{shown.clean:.3f}" in html
