"""Changes that must matter in a known way: the answer swapped, the gold passage dropped."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pytest_ragshortcut.assertions import RelianceCheck, assert_context_reliance
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.ledger import command_of_test, options_of_test
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.errors import CaseError, OptionError, RagShortcutError, quoted
from pytest_ragshortcut.metamorphic.texts import fields_of, lines, numbers, short_of
from pytest_ragshortcut.metamorphic.trials import (
    Trial,
    begin,
    claim,
    require_shares,
    several,
)
from pytest_ragshortcut.probes.explanation import explain_reliance
from pytest_ragshortcut.probes.reliance import context_reliance
from pytest_ragshortcut.reporting.records import explanation_record
from pytest_ragshortcut.reporting.text import explain

ABSTENTIONS = (
    "unknown", "none", "n/a", "sorry", "unfortunately", "unanswerable",
    "I do not know", "I don't know", "I am not sure", "I'm not sure",
    "I cannot", "I can't", "I am unable", "I'm unable", "I'm sorry", "I am sorry",
    "not stated", "not given", "not mentioned", "not specified", "not provided", "not known",
    "not enough information", "no answer", "no information", "there is no", "there's no",
    "it is not stated", "it is not given", "it is not mentioned", "it is not known",
    "the context does not", "the context doesn't", "the passages do not", "the passages don't",
)  # fmt: skip
"""How an answer begins that says there is none: as whole words, in any case."""


def assert_follows_swap(
    model: ProbeModel,
    case: RagCase,
    substitute: str | None = None,
    *,
    min_follow: float = 0.8,
    **options: Any,
) -> None:
    """Claim that the model says what the context says, where it says something else.

    The context answer is replaced everywhere in the context. The model must follow by probability,
    p(o') / (p(o') + p(m)), and its greedy answer must begin with the substitute o'.

    Args:
        model: the model to ask.
        case: the case.
        substitute: what to put in place of the context answer; None takes each of the case's
            substitutes, which are found where it names none.
        min_follow: the least mean follow.
        options: what context_reliance takes, probes and limits.

    Raises:
        AssertionError: if it does not follow, says something else, or follow is undefined.
        OptionError: if min_follow is not in [0, 1].
        CaseError: if the case cannot be completed, or the substitute is what it replaces.

    Example:
        >>> from pytest_ragshortcut.testing import PlantedModel
        >>> model = PlantedModel({"Ada Quill": "Oslo"}, ["Rome", "Cork"], context_strength=1.0)
        >>> case = RagCase("Where was Ada Quill born?", "Ada Quill was born in Rome.")
        >>> assert_follows_swap(model, case, "Cork", probes=())
    """
    __tracebackhide__ = True
    require_shares(min_follow=min_follow)
    if substitute is not None:
        case = replace(case, substitutes=(substitute,))
    check = assert_context_reliance(model, case, **options)
    swap, known = check.reliance.swap, check.reliance.case
    old, said = swap.context_answer, swap.substitutes
    if swap.n_substitute < len(said):
        said = _answers(model, [known.swapped(old, new) for new in swap.substitutes])
    pairs = list(zip(swap.substitutes, said, strict=True))
    told = list(
        fields_of(
            "swapped", [f"{new!r} in place of {old!r}: it says {text!r}" for new, text in pairs]
        )
    )
    short = short_of(check.reliance.score, min_follow=min_follow)
    claim(check, min_follow, f"swapping the answer: follow is {short}", told)
    for new, text in pairs:
        if not _opens(text, new):
            first = f"swapping the answer: with {new!r} in place of {old!r} it says {text!r}"
            raise AssertionError(lines(first, told, _broken(check, "says the substitute")))


def assert_falls_back(
    model: ProbeModel,
    case: RagCase,
    gold: int | None = None,
    *,
    abstentions: Sequence[str] = ABSTENTIONS,
    allow_memory: bool = True,
    min_before: float = 0.5,
    **options: Any,
) -> None:
    """Claim that without the gold passage the model says what it knows, or that it does not know.

    And not something out of the passages that are left. Its greedy answer is compared as text, in
    any case: it must begin with the closed-book answer, up to the first comma of that, or with an
    abstention, as whole words.

    Args:
        model: the model to ask.
        case: the case.
        gold: the index of the passage to drop; None drops all that state the context answer. Where
            one is named, it is for the caller to know that none of the others states the answer.
        abstentions: how an answer begins that says there is none.
        allow_memory: whether the closed-book answer will do.
        min_before: what context reliance the case as it is must have: below, the model would fall
            back for nothing.
        options: what context_reliance takes, probes and limits.

    Raises:
        AssertionError: if it says something else, or the case as it is has too low a reliance.
        OptionError: if min_before is not in [0, 1], or no answer could satisfy the claim.
        CaseError: if no passage would be left, the gold passage does not state the answer, or the
            case cannot be completed.
    """
    __tracebackhide__ = True
    _require_abstentions(abstentions, allow_memory=allow_memory)
    several(case, "without it the model would be asked closed-book")
    trial = begin(model, case, "dropping the gold passage", min_before=min_before, options=options)
    dropped = trial.stating() if gold is None else [trial.gold(gold)]
    left = _left(trial, dropped)
    (said,) = _answers(model, [replace(case, context=left)])
    memory = trial.before.reliance.swap.memory_answer
    accepted = [*abstentions, *([memory.split(",")[0]] if allow_memory else [])]
    if any(_opens(said, text) for text in accepted):
        return
    stated = [text for text in left if said and occurrences(text, said)]
    origin = ", which another passage states" if stated else ""
    may = f"may say {memory!r}, as closed-book, or abstain" if allow_memory else "may only abstain"
    told = [
        *fields_of("dropped", [f"passage {i}: {quoted(case.passages[i])}" for i in dropped]),
        *fields_of("left", [quoted(text) for text in stated or left]),
    ]
    first = f"dropping the gold passage: it says {said!r}{origin}; it {may}"
    raise AssertionError(lines(first, told, _taken(trial, left, said if stated else "")))


def _answers(model: ProbeModel, cases: Sequence[RagCase]) -> tuple[str, ...]:
    """Ask for the greedy answer to each case."""
    said = model.generate([model.tokenize(model.render(case)) for case in cases])
    return tuple(generated.text.strip() for generated in said)


def _opens(text: str, phrase: str) -> bool:
    """Whether a text begins with a phrase, as whole words, in any case and with any apostrophe.

    Example:
        >>> _opens("I don\N{RIGHT SINGLE QUOTATION MARK}t know.", "i don't know")
        True
        >>> _opens("Unknown to me", "unknown"), _opens("Nonesuch", "none")
        (True, False)
    """
    text, phrase = (each.strip().casefold().replace("’", "'") for each in (text, phrase))
    return any(start == 0 for start, _ in occurrences(text, phrase))


def _require_abstentions(abstentions: Sequence[str], *, allow_memory: bool) -> None:
    if isinstance(abstentions, str) or not all(text.strip() for text in abstentions):
        expected = "a list of texts with which an answer begins, none of them empty"
    elif not abstentions and not allow_memory:
        expected = "one text at least where allow_memory is False"
    else:
        return
    raise OptionError(option="abstentions", value=repr(abstentions), expected=expected)


def _left(trial: Trial, dropped: Sequence[int]) -> tuple[str, ...]:
    passages = enumerate(trial.case.passages)
    left = tuple(text for index, text in passages if index not in dropped)
    if not left:
        raise CaseError(
            f"nothing is left of the context without passages {numbers(dropped)}, which state "
            f"{quoted(trial.context_answer)}",
            where="gold",
            expected="A passage that does not state the context answer",
            action="Add one, or pass gold= if it is one passage alone that answers the question",
        )
    return left


def _broken(check: RelianceCheck, what: str) -> str:
    """Note on a check that more was claimed of it than its score, and explain it."""
    check.record["claims"].append(what)
    check.record["held"] = False
    return explain(check.record, command=command_of_test())


def _taken(trial: Trial, left: tuple[str, ...], said: str) -> str:
    """Explain an answer that a passage beside the gold one states; else say what was asked."""
    model, known = trial.model, trial.known
    case = replace(known, context=left, context_answer=said or None, answer=None)
    if said:
        with suppress(RagShortcutError):
            # Asked here and not by assert_...: no budget may keep a failure from being told.
            reliance = context_reliance(model, case, **options_of_test(trial.options))
            check = RelianceCheck(
                reliance,
                explain=lambda: dict(explanation_record(explain_reliance(model, reliance))),
            )
            asked = replace(trial.case, context=left, context_answer=said)
            trial.retell(check, asked, context_answer="what it says, as a passage does")
            return _broken(check, "falls back")
    told = [*fields_of("model", [model.name]), *fields_of("question", [case.question])]
    if command := command_of_test():
        told += ["", f"  this case alone:  {command}"]
    return "\n".join(told)
