"""One check in words: the explanation that a failing claim raises, and its verdict as a sentence.

Plain text without colour: it travels into logs, JUnit files and other tools.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from pytest_ragshortcut.core.reliance import SENTENCES, Verdict
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.core.words import apart
from pytest_ragshortcut.reporting.cells import fold, visible
from pytest_ragshortcut.reporting.excerpts import excerpt
from pytest_ragshortcut.reporting.schema import CheckRecord

_WIDTH = 88
_LABEL = 10
_MAX_LINES = 6
"""Of one passage. Many passages share _SCREEN lines."""
_SCREEN = 24
_MANY = 8
"""Passages, beyond which those that do not state the context answer are counted, not shown."""


def explain(
    check: CheckRecord, *, claim: tuple[str, float] | None = None, command: str | None = None
) -> str:
    """Explain a reliance score: the claim, the verdict, what was asked, and what each probe saw.

    Args:
        check: the score and its evidence.
        claim: the comparison that did not hold, (sign, limit).
        command: what runs the test that made it alone.

    Returns:
        Lines of which the first is the claim, short enough for pytest's summary.
    """
    blocks = [
        [_headline(check, claim), ""],
        [*_verdict(check), ""],
        [*_asked(check), ""],
        [*_swap(check), ""],
        [*_evidence(check), ""],
        list(_found(check)),
    ]
    if command:
        blocks.append(["", f"  this case alone:  {command}"])
    return "\n".join(visible(line) for block in blocks for line in block)


def sentence_of(check: CheckRecord) -> str:
    """Say the verdict, its numbers and its reason in one sentence."""
    spread = "".join(f", {text}" for text in [_spread(check)] if text)
    said = SENTENCES[Verdict(check["verdict"])].removesuffix(".")
    return visible(
        f"{said} ({check['kind']} reliance {number(check['score'])}{spread}), "
        f"because {check['reason']}."
    )


def number(value: float | None) -> str:
    """Write a reading with two decimals, or 'undefined'.

    Example:
        >>> number(0.8049), number(-0.001), number(None)
        ('0.80', '0.00', 'undefined')
    """
    if value is None or math.isnan(value):
        return "undefined"
    return f"{round(value, 2) + 0.0:.2f}"  # plus zero, so that nothing is shown as -0.00


def _headline(check: CheckRecord, claim: tuple[str, float] | None) -> str:
    spread = "".join(f" ({text})" for text in [_spread(check)] if text)
    if claim is None:
        return f"{check['kind']} reliance {number(check['score'])}{spread}: {check['verdict']}"
    sign, limit = claim
    score = exact(check["score"], [limit])
    # Rounded, a limit beside the score might seem to be on its other side.
    shown = f"{limit:g}" if float(f"{limit:g}") == limit else repr(limit)
    return f"{check['kind']} reliance {score} is not {sign} {shown}{spread}"


def _spread(check: CheckRecord) -> str:
    low, high = check["interval"]
    return "" if low is None else f"substitutes: {number(low)} to {number(high)}"


def exact(score: float | None, limits: Sequence[float]) -> str:
    """Write a score with as many decimals as keep it on its own side of its limits.

    Example:
        >>> exact(0.7999, [0.8, 0.2]), exact(0.8, [0.8]), exact(None, [])
        ('0.7999', '0.80', 'undefined')
        >>> exact(-0.00390625, [-0.0039])
        '-0.004'
    """
    return number(None) if score is None else apart(score, limits)


def _verdict(check: CheckRecord) -> Iterator[str]:
    yield from _field(check["verdict"], SENTENCES[Verdict(check["verdict"])])
    yield from _field("", f"Why: {check['reason']}.")


def _asked(check: CheckRecord) -> Iterator[str]:
    yield from _field("model", check["model"])
    yield from _field("question", _excerpt(check["question"], check["subject"], _MAX_LINES))
    yield from _passages(check)
    yield from _field(
        "it says",
        f"{check['answer']!r} with the context, {check['memory_answer']!r} "
        f"without; the context says {check['context_answer']!r}",
    )


def _passages(check: CheckRecord) -> Iterator[str]:
    passages, answer = check["passages"], check["context_answer"]
    n_lines = max(1, min(_MAX_LINES, _SCREEN // max(1, len(passages))))
    if len(passages) == 1:
        yield from _field("passage", _excerpt(passages[0], answer, n_lines))
        return

    def is_shown(index: int) -> bool:
        return len(passages) <= _MANY or bool(occurrences(passages[index], answer))

    for shown, run in groupby(range(len(passages)), key=is_shown):
        if shown:
            for index in run:
                yield from _field(f"passage {index}", _excerpt(passages[index], answer, n_lines))
        else:
            yield from _field("", f"… ({len(list(run))} passages without {answer!r}) …")


def _excerpt(text: str, phrase: str, n_lines: int) -> str:
    return excerpt(text, phrase, width=_WIDTH - _LABEL - 4, n_lines=n_lines)


def _swap(check: CheckRecord) -> Iterator[str]:
    swap = check["swap"]
    rows = [
        (repr(substitute), _probability(followed), _probability(kept))
        for substitute, followed, kept in zip(
            swap["substitutes"],
            swap["substitute_probability"],
            swap["memory_probability"],
            strict=True,
        )
    ]
    width = max((len(row[0]) for row in rows), default=0)
    yield f"  With {check['context_answer']!r} replaced in the context, the model gives"
    for text, followed, kept in rows:
        yield f"    {text:<{width}}  p {followed}    and {check['memory_answer']!r} p {kept}"


def _probability(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _evidence(check: CheckRecord) -> Iterator[str]:
    width = max((len(item["probe"]) for item in check["evidence"]), default=0)
    for item in check["evidence"]:
        yield f"  {item['probe']:<{width}}  {number(item['value']):>9}  {item['reading']}"


def _found(check: CheckRecord) -> Iterator[str]:
    width = max((len(role) for role in check["found"]), default=0)
    for role, found in check["found"].items():
        yield f"  {role:<{width}}  {found['text']!r}: {found['how']}"


def _field(label: str, text: str) -> Iterator[str]:
    lines = fold(visible(text), _WIDTH - _LABEL - 4)
    yield f"  {label:<{_LABEL}}  {lines[0]}"
    for line in lines[1:]:
        yield f"  {'':<{_LABEL}}  {line}"
