"""The explanation of one check: every branch of what it may say, and what of a text is left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reporting.samples import check

from pytest_ragshortcut.core.reliance import SENTENCES, Verdict
from pytest_ragshortcut.reporting.cells import fold, visible, width_of
from pytest_ragshortcut.reporting.excerpts import excerpt
from pytest_ragshortcut.reporting.text import explain, number, sentence_of

MARK = re.compile(r"… \((\d+) (words|characters)\) …")
CLAIM = (">", 0.8)


@pytest.mark.parametrize("score", [0.7999, 0.79999999, 0.5])
def test_the_headline_never_contradicts_itself(score: float) -> None:
    """'0.80 is not > 0.8' would be true and useless: decimals are added until it can be read."""
    first = explain(check(score=score), claim=CLAIM).splitlines()[0]
    shown = first.split("reliance ")[1].split(" is not")[0]
    assert float(shown) < 0.8


def test_a_score_at_its_limit_is_shown_as_it() -> None:
    assert "0.80 is not > 0.8" in explain(check(score=0.8), claim=CLAIM)


def test_a_limit_just_beside_the_score_is_shown_as_it_is() -> None:
    assert "0.80 is not > 0.80000001 " in explain(check(score=0.8), claim=(">", 0.80000001))


def test_undefined_is_said_and_never_a_number() -> None:
    text = explain(check(score=None, verdict="UNGROUNDED"), claim=CLAIM)
    assert text.startswith("context reliance undefined is not > 0.8\n")
    assert "undefined  no attention" in text
    assert "nan" not in text.casefold()


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_its_sentence(verdict: Verdict) -> None:
    record = check(verdict=str(verdict), score=0.25)
    words = " ".join(explain(record).split())
    assert f"{verdict} {SENTENCES[verdict]}" in words
    spoken = sentence_of(record)
    assert spoken.startswith(SENTENCES[verdict].removesuffix("."))
    assert spoken.endswith(f"because {record['reason']}.")
    assert "(context reliance 0.25, substitutes: 0.25 to 0.25)" in spoken


def test_an_undefined_score_has_no_spread() -> None:
    assert "(context reliance undefined), because" in sentence_of(check(score=None))


def test_it_is_told_in_order_and_ends_with_the_command() -> None:
    lines = explain(check(), claim=CLAIM, command='pytest "test_it.py::test_x"').splitlines()
    wanted = [
        "context reliance 0.50 is not > 0.8 (substitutes: 0.50 to 0.50)",
        "  MIXED       Both the context and parametric memory carry the answer.",
        "  model       embedded:reader",
        "  question    Where was Ada born?",
        "  passage     Ada was born in Cork.",
        "  it says     'Cork' with the context, 'Dublin' without; the context says 'Cork'",
        "  With 'Cork' replaced in the context, the model gives",
        "    'Oslo'  p 0.490    and 'Dublin' p 0.510",
        "  swap: follow                       0.50  over Rome, Oslo",
        "  subject  'Ada': the only name in the question",
        '  this case alone:  pytest "test_it.py::test_x"',
    ]
    assert [line for line in lines if line in wanted] == wanted
    assert lines[-1] == wanted[-1]


def test_without_a_claim_the_first_line_says_the_verdict() -> None:
    first = explain(check(kind="parametric", score=0.25)).splitlines()[0]
    assert first == "parametric reliance 0.25 (substitutes: 0.25 to 0.25): MIXED"


def test_what_no_probe_gave_takes_no_number() -> None:
    record = check()
    record["evidence"], record["found"] = [], {}
    record["swap"]["memory_probability"] = [None, 0.51]
    assert "p 0.500    and 'Dublin' p undefined" in explain(record)


@pytest.mark.parametrize("n_passages", [2, 8, 40])
def test_passages_keep_to_a_screen_and_the_answers_are_always_shown(n_passages: int) -> None:
    long = "So it went on and on, from day to day. " * 60
    stating = (n_passages // 2, n_passages - 1)
    passages = [
        f"{long}In year {index} she was in {'Cork' if index in stating else 'Rome'}. {long}"
        for index in range(n_passages)
    ]
    text = explain(check(passages=tuple(passages)), claim=CLAIM)
    assert len(text.splitlines()) < 60
    words = " ".join(text.split())
    for index in stating:
        assert f"In year {index} she was in Cork." in words
        assert f"  passage {index}" in text
    counted = sum(int(n) for n in re.findall(r"\((\d+) passages without 'Cork'\)", text))
    assert counted + len(re.findall(r"^  passage \d", text, flags=re.MULTILINE)) == n_passages


@given(question=st.text(), passage=st.text(), subject=st.text(min_size=1))
def test_no_text_moves_the_cursor_or_breaks_the_layout(
    question: str, passage: str, subject: str
) -> None:
    record = check(question=question, passages=(passage, "\x1b[31mCork\x9b"))
    record["subject"] = record["model"] = record["found"]["subject"]["how"] = subject
    record["evidence"][0]["reading"] = record["evidence"][0]["probe"] = question
    lines = explain(record, claim=CLAIM).split("\n")
    assert all(line.isprintable() for line in lines)
    asked = lines[lines.index("", 2) + 1 : lines.index("", lines.index("", 2) + 1)]
    assert all(width_of(line) <= 88 for line in asked)
    assert "  passage 1   \\x1b[31mCork\\x9b" in asked


WORDS = st.text("abcdefg", min_size=1, max_size=9)
SENTENCE = st.lists(WORDS, min_size=1, max_size=60).map(" ".join)
SENTENCES_OF_WORDS = st.lists(SENTENCE, max_size=20)
WIDE = st.text("東京都庁前", min_size=40, max_size=400)


@given(SENTENCES_OF_WORDS, SENTENCE, SENTENCES_OF_WORDS, st.integers(2, 8))
def test_every_word_is_shown_or_counted(
    before: list[str], holding: str, behind: list[str], n_lines: int
) -> None:
    sentence = f"{holding} Cork {holding}."
    text = "  ".join([*(f"{s}." for s in before), sentence, *(f"{s}!" for s in behind)])
    shown = excerpt(text, "Cork", width=74, n_lines=n_lines)
    assert _accounted(shown, text.split(), str.split) == len(text.split())
    assert len(fold(shown, 74)) <= n_lines + 2
    if width_of(sentence) < 74 * n_lines:
        assert sentence in shown
    assert "Cork" in shown


@given(WIDE, WIDE, st.integers(2, 8))
def test_where_words_are_wider_than_lines_characters_are_counted(
    before: str, behind: str, n_lines: int
) -> None:
    text = f"{before}Cork{behind}"
    shown = excerpt(text, "Cork", width=30, n_lines=n_lines)
    assert _accounted(shown, text, list) == len(text)
    assert len(fold(shown, 30)) <= n_lines + 2
    assert "Cork" in shown


def _accounted(shown: str, units: Sequence[str], parted: Callable[[str], Sequence[str]]) -> int:
    """Walk over an excerpt beside its text: what is shown is the text's own, in its order."""
    at = 0
    for index, part in enumerate(re.split(MARK, shown)):
        if index % 3 == 1:
            at += int(part)
        elif index % 3 == 0:
            mine = parted(part.strip())
            assert list(mine) == list(units[at : at + len(mine)])
            at += len(mine)
    return at


def test_without_the_phrase_the_middle_is_left_out() -> None:
    words = [f"word{index}" for index in range(300)]
    shown = excerpt(" ".join(words), "Cork", width=60, n_lines=4)
    first, (count, _), last = shown.split(" … ")[0], MARK.findall(shown)[0], shown.split(") … ")[1]
    assert first.split() == words[: len(first.split())]
    assert last.split() == words[-len(last.split()) :]
    assert len(first.split()) + int(count) + len(last.split()) == 300


def test_a_sentence_that_is_too_long_is_shown_on_both_sides_of_the_phrase() -> None:
    words = ["four"] * 200
    shown = excerpt(" ".join([*words, "Cork", *words]), "Cork", width=60, n_lines=2)
    before, behind = shown.split("Cork")
    assert before.count("four") == behind.count("four") > 8
    assert [int(count) for count, _ in MARK.findall(shown)] == [200 - before.count("four")] * 2


def test_the_first_statement_as_it_is_written_is_kept() -> None:
    """Any case stands for the phrase only where its own is nowhere."""
    text = "A cork was drawn. " + "So it went. " * 60 + "She was born in Cork. " + "So on. " * 60
    assert "She was born in Cork." in excerpt(text, "Cork", width=60, n_lines=3)
    assert "A cork was drawn." not in excerpt(text, "Cork", width=60, n_lines=1)


@given(st.text(), st.integers(2, 90))
def test_folded_lines_fit_and_hold_every_sign(text: str, width: int) -> None:
    shown = visible(text)
    lines = fold(shown, width)
    assert all(width_of(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(shown.split())


def test_a_reading_is_two_decimals_or_undefined() -> None:
    assert [number(value) for value in (1.005, -0.004, None, float("nan"))] == [
        "1.00", "0.00", "undefined", "undefined"
    ]  # fmt: skip
