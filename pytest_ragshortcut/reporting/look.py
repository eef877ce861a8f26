"""What a terminal can do, and the signs and colours that are used there: nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_ragshortcut.reporting.cells import cut, fold, pad, visible

_MIN_WIDTH = 40

# Each sets its text and its background, so that both light and dark terminals show it as meant.
_STYLES = {
    "title": "1",
    "subject": "30;46",
    "attribute": "30;43",
    "readers": "30;42",
    "zero": "38;5;255;48;5;255",
    "gain 1": "38;5;153;48;5;153",
    "gain 2": "38;5;111;48;5;111",
    "gain 3": "38;5;32;48;5;32",
    "gain 4": "38;5;19;48;5;19",
    "loss 1": "38;5;16;48;5;224",
    "loss 2": "38;5;16;48;5;217",
    "loss 3": "38;5;231;48;5;167",
    "loss 4": "38;5;231;48;5;124",
}


@dataclass(frozen=True)
class Signs:
    """The signs of a drawing."""

    shades: str
    """From nothing to all of a cell."""
    bars: str
    """From nothing to a full bar, in one line."""
    bar: str
    """One column of a lying bar."""
    unknown: str
    """Where nothing was computed."""
    ellipsis: str


_UNICODE = Signs(" ░▒▓█", " ▁▂▃▄▅▆▇█", "█", "·", "…")
_ASCII = Signs(" .:*#", " 123456789", "#", "?", "...")


@dataclass(frozen=True)
class Look:
    """How a drawing may look."""

    width: int
    """Columns, at least 40."""
    colour: bool
    unicode: bool
    """Whether blocks, lines and any text of a prompt can be written; else ASCII alone."""
    verbosity: int
    """As pytest counts: -1 the sentence alone, 0 compact, 1 every position, 2 numbers too."""

    @property
    def signs(self) -> Signs:
        """The signs that the terminal can write."""
        return _UNICODE if self.unicode else _ASCII

    def paint(self, text: str, style: str) -> str:
        r"""Colour a text, where there is colour; its columns stay the same.

        Example:
            >>> Look(80, True, True, 0).paint("Cork", "attribute")
            '\x1b[30;43mCork\x1b[0m'
        """
        code = _STYLES.get(style) if self.colour and text else None
        return f"\x1b[{code}m{text}\x1b[0m" if code else text

    def visible(self, text: str) -> str:
        """Write a text out as far as it must be here."""
        return visible(text, unicode=self.unicode)

    def cut(self, text: str, width: int) -> str:
        """Shorten a text, made visible, to so many columns."""
        return cut(self.visible(text), width, ellipsis=self.signs.ellipsis)

    def pad(self, text: str, width: int) -> str:
        """Make a text, made visible, take exactly so many columns."""
        return pad(self.visible(text), width, ellipsis=self.signs.ellipsis)

    def fold(self, text: str, *, indent: int = 0) -> list[str]:
        """Wrap a text, made visible, to the width behind an indent; its white space may change."""
        flat = " ".join(text.split())
        return [" " * indent + line for line in fold(self.visible(flat), self.width - indent)]


def look_of(stream_encoding: str | None, width: int, colour: bool, verbosity: int) -> Look:
    """Decide how to draw on a stream.

    Args:
        stream_encoding: its encoding; None where nobody knows.
        width: its columns; at least 40 are drawn.
        colour: whether it takes colour.
        verbosity: as pytest counts.

    Example:
        >>> look_of("utf-8", 80, False, 0).unicode, look_of("cp437", 80, False, 0).unicode
        (True, False)
    """
    can = _can_write(stream_encoding or "ascii")
    return Look(max(width, _MIN_WIDTH), colour, can, verbosity)


def _can_write(encoding: str) -> bool:
    # Of Python's encodings those that have all these signs have every character of a prompt.
    signs = _UNICODE
    used = signs.shades + signs.bars + signs.bar + signs.unknown + signs.ellipsis
    try:
        (used + visible("\n\r\t")).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
