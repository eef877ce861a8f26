"""A prompt as its reader sees it: its text, and beneath it the roles that its tokens play."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from pytest_ragshortcut.reporting.cells import width_of
from pytest_ragshortcut.reporting.look import Look
from pytest_ragshortcut.reporting.schema import ExplanationRecord

LETTERS = {"attribute": "A", "subject": "S", "readers": "R"}
"""Roles that are marked, and their letters."""

_NAMES = {"attribute": "attribute (context answer)"}
_INDENT = 2
_MAX_LINES = 8


@dataclass(frozen=True)
class _Glyph:
    """One character as it is shown."""

    text: str
    """Empty where a token has no text, or a line ends in place of a space."""
    position: int
    """Of its token."""
    is_space: bool = False
    """Whether it stands between words."""
    ends_line: bool = False


_Line = Sequence[_Glyph]
_Roles = Sequence[Sequence[str]]


def roles_of(explanation: ExplanationRecord) -> list[tuple[str, ...]]:
    """Return (n_tokens,) the marked roles that each token plays.

    Example:
        >>> roles_of({"tokens": ["In", " Cork", "?"], "spans": {"attribute": [[1, 2]]}})
        [(), ('attribute',), ()]
    """
    runs = {role: explanation["spans"].get(role, []) for role in LETTERS}
    return [
        tuple(role for role in LETTERS if any(start <= i < stop for start, stop in runs[role]))
        for i in range(len(explanation["tokens"]))
    ]


def prompt_lines(explanation: ExplanationRecord, look: Look) -> Iterator[str]:
    """Write the prompt, wrapped, with letters beneath the tokens that play a role.

    A long prompt is shortened to the lines that hold such tokens, and to what was left out.
    """
    roles = roles_of(explanation)
    lines = _wrapped(_glyphs(explanation["tokens"], look), look.width - _INDENT)
    is_shown = _chosen(lines, roles, look)
    seen = {glyph.position for line, s in zip(lines, is_shown, strict=True) if s for glyph in line}
    yield from _legend(roles, look)
    for shown, run in groupby(range(len(lines)), key=is_shown.__getitem__):
        if shown:
            for index in run:
                yield from _marked(lines[index], roles, look)
        else:
            left_out = {glyph.position for index in run for glyph in lines[index]} - seen
            dots = look.signs.ellipsis
            yield f"{' ' * _INDENT}{dots} {_tokens(len(left_out))} {dots}"


def _glyphs(tokens: Sequence[str], look: Look) -> Iterator[_Glyph]:
    for position, token in enumerate(tokens):
        is_blank = not token.strip(" ")
        for character in token:
            yield _Glyph(
                look.visible(character),
                position,
                is_space=character == " " and not is_blank,
                ends_line=character == "\n",
            )
        if not token:
            yield _Glyph("", position)


def _wrapped(glyphs: Iterable[_Glyph], width: int) -> list[list[_Glyph]]:
    """Break the prompt at its own line ends, and where a line is full before a word."""
    lines: list[list[_Glyph]] = [[]]
    for glyph in glyphs:
        lines[-1].append(glyph)
        while len(lines[-1]) > 1 and _width(lines[-1]) > width:
            lines[-1:] = _broken(lines[-1])
        if glyph.ends_line:
            lines.append([])
    return [line for line in lines if line]


def _broken(line: list[_Glyph]) -> tuple[list[_Glyph], list[_Glyph]]:
    """Break a line that is too long at its last space, which then is not shown, or at its end."""
    spaces = [index for index, glyph in enumerate(line) if glyph.is_space]
    if not spaces:
        return line[:-1], line[-1:]
    last = spaces[-1]
    # It stays with the word that it stands before: mostly they are one token.
    hidden = replace(line[last], text="", is_space=False)
    return line[:last], [hidden, *line[last + 1 :]]


def _width(line: _Line) -> int:
    return sum(width_of(glyph.text) for glyph in line)


def _chosen(lines: Sequence[_Line], roles: _Roles, look: Look) -> list[bool]:
    """Say which lines are shown: all of a short prompt, of a long one those with roles."""
    if len(lines) <= _MAX_LINES or look.verbosity >= 2:
        return [True] * len(lines)
    chosen = [any(roles[glyph.position] for glyph in line) for line in lines]
    for index, (before, behind) in enumerate(zip(chosen, chosen[2:], strict=False), start=1):
        # To say that one line is missing takes a line too.
        chosen[index] = chosen[index] or (before and behind)
    return chosen


def _legend(roles: _Roles, look: Look) -> Iterator[str]:
    """Name what is marked, as many entries a line as fit."""
    title = f"prompt of {_tokens(len(roles))}"
    line, width = look.paint(title, "title"), len(title)
    for role, letter in LETTERS.items():
        if not any(role in played for played in roles):
            continue
        name = f" {_NAMES.get(role, role)}"
        if width + 3 + len(letter + name) > look.width:
            yield line
            line, width = "", 0
        line += "   " + look.paint(letter, role) + name
        width += 3 + len(letter + name)
    yield line


def _marked(line: _Line, roles: _Roles, look: Look) -> Iterator[str]:
    """Write a line, and beneath it each role's letter; roles that overlap take several lines."""
    played = [_played(line, index, roles) for index in range(len(line))]
    yield " " * _INDENT + _painted([g.text for g in line], [r[:1] for r in played], look)
    for depth in range(max(map(len, played), default=0)):
        at_depth = [r[depth : depth + 1] for r in played]
        marks = [
            (LETTERS[role[0]] if role else " ") * width_of(glyph.text)
            for glyph, role in zip(line, at_depth, strict=True)
        ]
        last = max(index for index, role in enumerate(at_depth) if role)
        yield " " * _INDENT + _painted(marks[: last + 1], at_depth[: last + 1], look)


def _played(line: _Line, index: int, roles: _Roles) -> Sequence[str]:
    """Return the roles that a character shows: the space before a phrase is none of it."""
    played = roles[line[index].position]
    if not line[index].is_space:
        return played
    before = _played(line, index - 1, roles) if index else ()
    return tuple(role for role in played if role in before)


def _painted(texts: Sequence[str], roles: Sequence[Sequence[str]], look: Look) -> str:
    runs = groupby(zip(texts, roles, strict=True), key=lambda pair: pair[1])
    return "".join(
        look.paint("".join(text for text, _ in run), role[0] if role else "") for role, run in runs
    )


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"
