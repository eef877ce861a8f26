"""What the embedded models know and read, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_ragshortcut.models.embedded.forms import RELATIONS
from pytest_ragshortcut.models.embedded.world import facts


def describe(word: str = "") -> Iterator[str]:
    """List relation by relation the facts, and the forms of question and sentence.

    Args:
        word: only facts whose subject or answer contains it, any case; the forms of relations
            without such a fact are left out.
    """
    for name, relation in RELATIONS.items():
        known = [
            f"    {fact.subject}: {fact.answer}"
            for fact in facts()
            if fact.relation == name
            and word.casefold() in f"{fact.subject} {fact.answer}".casefold()
        ]
        if not known:
            continue
        yield f"{name} ({len(known)} facts; {{s}} is the subject, {{a}} the answer)"
        yield "  questions"
        yield from (f"    {form}" for form in relation.questions)
        yield "  sentences"
        yield from (f"    {form.replace('{app}', '')}." for form in dict.fromkeys(relation.cores))
        yield "  facts"
        yield from known
        yield ""
