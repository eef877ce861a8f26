"""Which characters a page, an XML file or a pipe can carry."""

from __future__ import annotations

import re

# What XML 1.0 calls a character; lone surrogates, which UTF-8 refuses, are none either.
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def portable(text: str) -> str:
    r"""Replace what XML or UTF-8 cannot carry by the replacement character U+FFFD.

    Example:
        >>> portable("a\x00b\ud800\n") == "a\ufffdb\ufffd\n"
        True
    """
    return _NO_CHARACTER.sub("\ufffd", text)
