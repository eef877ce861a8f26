"""Where an answer came from, drawn for a terminal: prompt, map of tokens, curves, passages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_ragshortcut.reporting.layers import layer_curves, token_map
from pytest_ragshortcut.reporting.look import Look
from pytest_ragshortcut.reporting.prompt_text import prompt_lines
from pytest_ragshortcut.reporting.schema import CheckRecord
from pytest_ragshortcut.reporting.sources import source_bars, source_sentence


def draw(check: CheckRecord, look: Look, *, hints: Sequence[str] = ()) -> str:
    """Draw where a check's answer came from.

    Args:
        check: the check, explained or not.
        look: what the terminal can do; quiet (-1), it is told in one sentence.
        hints: lines of the caller's to end with, such as how to open the report. They are never
            wrapped, so that they can be copied.

    Returns:
        Lines no wider than the look, hints aside; colour adds escapes and changes no sign.
    """
    blocks: list[Iterable[str]] = [_told(check, look)]
    if look.verbosity >= 0:
        blocks += [*_drawn(check, look), _missing(check, look), map(look.visible, hints)]
    texts = ("\n".join(block) for block in blocks)
    return "\n\n".join(text for text in texts if text)


def _told(check: CheckRecord, look: Look) -> Iterator[str]:
    if check["explanation"] is None:
        if check["unexplained"]:
            yield from look.fold(f"Not explained: {check['unexplained']}")
        return
    yield from look.fold(source_sentence(check, look))
    if look.verbosity >= 1:
        yield from source_bars(check, look)


def _drawn(check: CheckRecord, look: Look) -> Iterator[Iterable[str]]:
    explanation = check["explanation"]
    if explanation is None:
        return
    yield prompt_lines(explanation, look)
    for some in explanation["maps"]:
        yield token_map(some, explanation, look)
    for curves in explanation["curves"]:
        yield layer_curves(curves, look)


def _missing(check: CheckRecord, look: Look) -> Iterator[str]:
    """Say what there is nothing of, and why."""
    for probe, why in (check["explanation"] or {"missing": {}})["missing"].items():
        yield from look.fold(f"No {probe}: {why}.")
