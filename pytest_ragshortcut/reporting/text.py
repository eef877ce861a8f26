"""The explanation of one check in plain text, for a failure message or a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from textwrap import wrap

from pytest_ragshortcut.core.reliance import SENTENCES, Reliance

_WIDTH = 88
_LABEL = 10


def explain(
    reliance: Reliance, *, claim: tuple[str, float] | None = None, test: str | None = None
) -> str:
    """Explain a reliance score: the claim, the verdict, what was asked, and what each probe saw.

    Args:
        reliance: the score and its evidence.
        claim: the comparison that did not hold, (sign, limit).
        test: the node id of the test that made it.
    """
    blocks = [
        [_headline(reliance, claim)],
        [*_verdict(reliance), ""],
        [*_asked(reliance), ""],
        [*_swap(reliance), ""],
        [*_evidence(reliance), ""],
        list(_found(reliance)),
    ]
    if test:
        blocks.append(["", f'  this case alone:  pytest "{test}"'])
    return "\n".join(line for block in blocks for line in block)


def number(value: float | None) -> str:
    """Write a reading with two decimals, or 'undefined'.

    Example:
        >>> number(0.8049), number(-0.001), number(None)
        ('0.80', '0.00', 'undefined')
    """
    if value is None or math.isnan(value):
        return "undefined"
    return f"{round(value, 2) + 0.0:.2f}"  # plus zero, so that nothing is shown as -0.00


def _headline(reliance: Reliance, claim: tuple[str, float] | None) -> str:
    score = _exact(reliance.score, claim[1] if claim else 0.0)
    low, high = reliance.interval
    spread = "" if math.isnan(low) else f" (substitutes: {number(low)} to {number(high)})"
    if claim is None:
        return f"{reliance.kind} reliance {score}{spread}: {reliance.verdict}\n"
    sign, limit = claim
    return f"{reliance.kind} reliance {score} is not {sign} {limit:g}{spread}\n"


def _exact(score: float, limit: float) -> str:
    """Write a score with as many decimals as set it apart from its limit."""
    if math.isnan(score):
        return "undefined"
    texts = (f"{score:.{decimals}f}" for decimals in range(2, 17))
    return next((t for t in texts if score == limit or float(t) != limit), repr(score))


def _verdict(reliance: Reliance) -> Iterator[str]:
    yield from _field(str(reliance.verdict), SENTENCES[reliance.verdict])
    yield from _field("", f"Why: {reliance.reason}.")


def _asked(reliance: Reliance) -> Iterator[str]:
    case = reliance.case
    yield from _field("model", reliance.model)
    yield from _field("question", case.question)
    for index, passage in enumerate(case.passages):
        label = "passage" if len(case.passages) == 1 else f"passage {index}"
        yield from _field(label, passage)
    yield from _field(
        "it says",
        f"{case.answer!r} with the context, {case.memory_answer!r} "
        f"without; the context says {case.context_answer!r}",
    )


def _swap(reliance: Reliance) -> Iterator[str]:
    swap = reliance.swap
    rows = [
        (repr(substitute), follow_probability, memory_probability)
        for substitute, follow_probability, memory_probability in zip(
            swap.substitutes, swap.substitute_probability, swap.memory_probability, strict=True
        )
    ]
    width = max(len(row[0]) for row in rows)
    yield f"  With {swap.context_answer!r} replaced in the context, the model gives"
    for text, followed, kept in rows:
        yield f"    {text:<{width}}  p {followed:.3f}    and {swap.memory_answer!r} p {kept:.3f}"


def _evidence(reliance: Reliance) -> Iterator[str]:
    width = max(len(item.probe) for item in reliance.evidence)
    for item in reliance.evidence:
        yield f"  {item.probe:<{width}}  {number(item.value):>9}  {item.reading}"


def _found(reliance: Reliance) -> Iterator[str]:
    width = max(len(role) for role in reliance.found)
    for role, found in reliance.found.items():
        yield f"  {role:<{width}}  {found.text!r}: {found.how}"


def _field(label: str, text: str) -> Iterator[str]:
    lines = wrap(text, _WIDTH - _LABEL - 4) or [""]
    yield f"  {label:<{_LABEL}}  {lines[0]}"
    for line in lines[1:]:
        yield f"  {'':<{_LABEL}}  {line}"
