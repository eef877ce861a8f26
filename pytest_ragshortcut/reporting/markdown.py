"""Texts as GitHub's Markdown takes them: nothing in them is read as more than text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pytest_ragshortcut.reporting.characters import portable

# Whatever Markdown or HTML reads as more than itself. As a reference it is text to both, and a
# newline so written ends neither a row nor a block.
_MARKUP = re.compile(r"[\\`*_~$|\[\]<>&\n\r]")

IN_CELL, IN_DETAILS = 120, 2000
"""How many characters of a text there is room for."""


def escaped(text: str) -> str:
    """Escape a text for Markdown and HTML alike.

    Example:
        >>> escaped("a|b <i>")
        'a&#124;b &#60;i&#62;'
    """
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", portable(text))


def code(text: str) -> str:
    """Write a name.

    Example:
        >>> code("test_it")
        '<code>test&#95;it</code>'
    """
    return f"<code>{escaped(text)}</code>"


def shortened(text: str, n_characters: int) -> str:
    """Cut a text that is too long.

    Example:
        >>> shortened("Clonmacnoise", 8)
        'Clonmac…'
    """
    return text if len(text) <= n_characters else text[: n_characters - 1] + "…"


def row(cells: Sequence[str]) -> str:
    r"""Write a row of a Markdown table; its cells are escaped already.

    Example:
        >>> row(["a", "b"])
        '| a | b |\n'
    """
    return f"| {' | '.join(cells)} |\n"


def html_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Write a table where Markdown is not read; its cells are escaped already.

    Example:
        >>> list(html_table((), [("a", "b")]))
        ['<table>', '<tr><td>a</td><td>b</td></tr>', '</table>']
    """
    yield "<table>"
    if titles:
        yield "<tr>" + "".join(f"<th>{title}</th>" for title in titles) + "</tr>"
    for cells in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield "</table>"
