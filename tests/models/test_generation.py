"""Where a greedy answer ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_ragshortcut.models.generation import trimmed


def _cut(text: str) -> str:
    """Trim a text whose tokens are its characters."""
    pieces = list(text)

    def decode(ids: Sequence[int]) -> str:
        return "".join(pieces[i] for i in ids)

    return decode(trimmed(range(len(pieces)), decode))


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (" Dublin", " Dublin"),
        (" Dublin.", " Dublin"),
        (" Dublin\nQuestion: Who", " Dublin"),
        (" Dublin. He was the", " Dublin"),
        (" St. Louis. It", " St. Louis"),
        (" J. R. R. Tolkien.", " J. R. R. Tolkien"),
        (" 3.14 is pi. And", " 3.14 is pi"),
        (" 1944. In", " 1944"),
        ("\n\nDublin\nmore", "\n\nDublin"),
        (' "Dublin"', ' "Dublin'),
        ("\n", ""),
        (" . .", ""),
        ("巴黎。他", "巴黎"),
    ],
)
def test_an_answer_ends_with_its_line_or_sentence(said: str, answer: str) -> None:
    assert _cut(said) == answer
