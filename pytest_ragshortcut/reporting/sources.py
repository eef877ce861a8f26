"""Which piece of the context an answer came from: in a sentence, and as a bar a piece."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pytest_ragshortcut.reporting.look import Look
from pytest_ragshortcut.reporting.schema import CheckRecord, PieceRecord
from pytest_ragshortcut.reporting.text import number

_ACCOUNTS = 0.5
"""Share of p(answer) left without a piece, below which the piece accounts for the answer."""
_ELSEWHERE = ("MEMORY", "UNGROUNDED", "UNDECIDED")
"""Verdicts under which an answer may hang on a piece and yet not have come from it."""
_QUOTED = 160
_BAR, _LABEL = 10, 13


def source_sentence(check: CheckRecord, look: Look) -> str:
    """Say which passage, and which sentence of it, the answer came from.

    Returns:
        Nothing where no piece was left out.
    """
    pieces = [p for p in _pieces(check) if p["probability"] is not None]
    passages = sorted((p for p in pieces if p["sentence"] is None), key=_left)
    if not passages:
        return ""
    before = _before(pieces)
    needed = [p for p in passages if _accounts(p, before)]
    if not needed:
        which = "No passage" if len(passages) == 1 else "No passage by itself"
        without = f"without {_name(passages[0])} {_change(passages[0], before)}"
        return f"{which} accounts for the answer ({without})."
    strongest = _sentence_of(needed[0], pieces, before)
    verb = "hangs on" if check["verdict"] in _ELSEWHERE else "came from"
    quoted = look.cut(" ".join(strongest["text"].split()), _QUOTED)
    also = f" It needs {_listed(needed[1:])} too." if needed[1:] else ""
    return (
        f'The answer {verb} {_name(strongest)}: "{quoted}" '
        f"(without it {_change(strongest, before)}).{also}"
    )


def source_bars(check: CheckRecord, look: Look) -> Iterator[str]:
    """Draw what the answer loses without each piece, as a bar a piece."""
    pieces = _pieces(check)
    if not pieces:
        return
    effects = [_signed(piece["effect"]) for piece in pieces]
    largest = max((abs(p["effect"]) for p in pieces if p["effect"] is not None), default=0.0)
    yield from look.fold("what the answer loses without it, in nats of log-odds:", indent=2)
    for piece, effect in zip(pieces, effects, strict=True):
        share = (piece["effect"] or 0.0) / (largest or 1.0)
        bar = (look.signs.bar if share > 0 else "-") * round(_BAR * abs(share))
        name = _name(piece) if piece["sentence"] is None else f"  sentence {piece['sentence']}"
        line = f"  {look.pad(name, _LABEL)}{bar:<{_BAR}} {effect:>{max(map(len, effects))}}"
        line += "" if piece["probability"] is None else f"  p {number(piece['probability'])}"
        room = look.width - len(line) - 2
        text = look.cut(" ".join(piece["text"].split()), room) if room >= _LABEL else ""
        yield f"{line}  {text}".rstrip()


def _pieces(check: CheckRecord) -> Sequence[PieceRecord]:
    return check["explanation"]["pieces"] if check["explanation"] else []


def _left(piece: PieceRecord) -> tuple[float, float]:
    """Order pieces by what is left without them; where p is the same, by log-odds."""
    return piece["probability"] or 0.0, -(piece["effect"] or 0.0)


def _before(pieces: Sequence[PieceRecord]) -> float | None:
    """Return p(answer) with nothing left out: a record holds it as p without and log-odds lost.

    It is read off the piece that matters least, where it is least sensitive to rounding.
    """
    defined = [
        (abs(effect), math.log(p / (1.0 - p)) + effect)
        for p, effect in ((piece["probability"], piece["effect"]) for piece in pieces)
        if p is not None and effect is not None and 0.0 < p < 1.0
    ]
    # Beyond 700 nats exp overflows; p is 0 or 1 long before.
    return 1.0 / (1.0 + math.exp(-max(-700.0, min(defined)[1]))) if defined else None


def _accounts(piece: PieceRecord, before: float | None) -> bool:
    return _left(piece)[0] < _ACCOUNTS * (1.0 if before is None else before)


def _sentence_of(
    passage: PieceRecord, pieces: Sequence[PieceRecord], before: float | None
) -> PieceRecord:
    """Return a passage's strongest sentence if it accounts for the answer, else the passage."""
    inside = [p for p in pieces if p["passage"] == passage["passage"] and p["sentence"] is not None]
    strongest = min(inside, key=_left, default=passage)
    return strongest if _accounts(strongest, before) else passage


def _name(piece: PieceRecord) -> str:
    passage = f"passage {piece['passage']}"
    return passage if piece["sentence"] is None else f"{passage}, sentence {piece['sentence']}"


def _listed(pieces: Sequence[PieceRecord]) -> str:
    *first, last = (_name(piece) for piece in sorted(pieces, key=lambda piece: piece["passage"]))
    return f"{', '.join(first)} and {last}" if first else last


def _change(piece: PieceRecord, before: float | None) -> str:
    after = number(piece["probability"])
    if before is None:
        return f"p is {after}"
    if number(before) == after:
        return f"p stays {after}"
    return f"p {'falls' if _left(piece)[0] < before else 'rises'} from {number(before)} to {after}"


def _signed(effect: float | None) -> str:
    """Write an effect in at most six columns; an undefined one is left out."""
    if effect is None:
        return ""
    text = f"{round(effect, 2) + 0.0:+.2f}"
    return text if len(text) <= 6 else f"{effect:+.3g}"
