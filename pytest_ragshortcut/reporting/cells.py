"""Text in a terminal: what may be shown of it, and how many columns it takes."""

from __future__ import annotations

from unicodedata import category, east_asian_width

_PICTURES = {"\n": "␊", "\r": "␍", "\t": "␉"}
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, *, unicode: bool = True) -> str:
    r"""Write out what would move the cursor, turn the text or not be seen: one line, no escapes.

    Args:
        text: any text, lone surrogates and control characters included.
        unicode: whether characters beyond ASCII may stay.

    Example:
        >>> visible("Zoë\n\x1b[31m"), visible("Zoë\n", unicode=False)
        ('Zoë␊\\x1b[31m', 'Zo\\xeb\\n')
    """
    signs = _PICTURES if unicode else _ESCAPES
    return "".join(signs.get(character) or _written(character, unicode) for character in text)


def width_of(text: str) -> int:
    """Count the columns of a visible text: East Asian wide characters take two, accents none.

    Example:
        >>> width_of("Cork"), width_of("東京"), width_of("e\u0301")
        (4, 4, 1)
    """
    return len(text) if text.isascii() else sum(map(_width, text))


def cut(text: str, width: int, *, ellipsis: str = "…") -> str:
    """Shorten a visible text to at most so many columns.

    Example:
        >>> cut("Clonmacnoise", 8), cut("Cork", 8)
        ('Clonmac…', 'Cork')
    """
    if width_of(text) <= width:
        return text
    return _head(text, max(0, width - width_of(ellipsis))) + ellipsis[:width]


def pad(text: str, width: int, *, ellipsis: str = "…") -> str:
    """Make a visible text take exactly so many columns.

    Example:
        >>> pad("東京都庁", 6), pad("Cork", 6)
        ('東京… ', 'Cork  ')
    """
    shown = cut(text, width, ellipsis=ellipsis)
    return shown + " " * (width - width_of(shown))


def fold(text: str, width: int) -> list[str]:
    """Wrap a visible text between its words, and within those that are wider than a line.

    Args:
        text: a visible text; its spaces may become line ends.
        width: columns of a line, at least 2.

    Returns:
        One line at least; none wider than the width.

    Example:
        >>> fold("born in Clonmacnoise", 8)
        ['born in', 'Clonmacn', 'oise']
    """
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if width_of(joined) <= width:
            lines[-1] = joined
        else:
            lines += _pieces(word, width)
    return [line for line in lines if line] or [""]


def _written(character: str, unicode: bool) -> str:
    """Write one character out unless it is seen as it is."""
    if character.isprintable() and (unicode or character.isascii()):
        return character
    return character.encode("unicode-escape").decode("ascii")


def _width(character: str) -> int:
    if east_asian_width(character) in "FW":
        return 2
    return 0 if category(character) in ("Mn", "Me") else 1


def _head(text: str, width: int) -> str:
    """Return as many of the first characters as so many columns hold."""
    taken = 0
    for index, character in enumerate(text):
        taken += _width(character)
        if taken > width:
            return text[:index]
    return text


def _pieces(word: str, width: int) -> list[str]:
    pieces = []
    while word:
        # At least one character, so that a wide one in a narrow column comes to an end.
        piece = _head(word, width) or word[0]
        pieces.append(piece)
        word = word[len(piece) :]
    return pieces
