"""Changes that must not matter: order, a distractor, repetition, wording, position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.errors import CaseError, EmptyTextError, OptionError, quoted
from pytest_ragshortcut.metamorphic.texts import numbers
from pytest_ragshortcut.metamorphic.trials import Change, begin, several


def assert_ignores_order(
    model: ProbeModel,
    case: RagCase,
    order: Sequence[int] | None = None,
    *,
    max_drop: float = 0.1,
    min_before: float = 0.5,
    **options: Any,
) -> None:
    """Claim that the passages may stand in another order.

    Args:
        model: the model to ask.
        case: the case.
        order: the passages' indices as they shall stand, a permutation drawn by Hypothesis say;
            None reverses them.
        max_drop: how much of its context reliance the case may lose by the change.
        min_before: what the case as it is must have of it: below, there is nothing to lose.
        options: what context_reliance takes, probes and limits.

    Raises:
        AssertionError: if the case loses more, had nothing to lose, or a score is undefined.
        OptionError: if this is no order of the passages, or a limit is not in [0, 1].
        CaseError: if there is one passage, or the case cannot be completed.

    Example:
        >>> from pytest_ragshortcut.testing import PlantedModel
        >>> model = PlantedModel({"Ada Quill": "Oslo"}, ["Rome", "Cork"], context_strength=1.0)
        >>> passages = ["Ada Quill was born in Rome.", "The museum opens at nine."]
        >>> case = RagCase("Where was Ada Quill born?", passages, substitutes=["Cork"])
        >>> assert_ignores_order(model, case, [1, 0], probes=())
    """
    __tracebackhide__ = True
    passages = several(case, "no other order of its passages")
    indices = range(len(passages))
    chosen = list(reversed(indices)) if order is None else list(order)
    if sorted(chosen) != list(indices):
        raise OptionError(
            option="order",
            value=f"[{numbers(chosen)}]",
            expected=f"each of {numbers(indices)} once",
        )
    trial = begin(
        model,
        case,
        "another order of the passages",
        min_before=min_before,
        max_drop=max_drop,
        options=options,
    )
    moved = tuple(passages[index] for index in chosen)
    trial.require_kept([Change(f"the passages in the order {numbers(chosen)}", {"context": moved})])


def assert_ignores_distractor(
    model: ProbeModel,
    case: RagCase,
    distractor: str,
    *,
    at: int | None = None,
    max_drop: float = 0.1,
    min_before: float = 0.5,
    **options: Any,
) -> None:
    """Claim that one more passage may stand there, which does not state the answer.

    Beside what assert_ignores_order takes and raises, `at` is the index that the passage gets;
    None tries both ends, of which the worse is reported.

    Raises:
        OptionError: if the context has no such place.
        CaseError: if the distractor is empty, states the context answer or every substitute.
    """
    __tracebackhide__ = True
    if not distractor.strip():
        raise EmptyTextError(role="distractor", text=distractor)
    passages = case.passages
    ends = range(len(passages) + 1)
    if at is not None and at not in ends:
        raise OptionError(option="at", value=str(at), expected=f"one of {numbers(ends)}, or None")
    trial = begin(
        model,
        case,
        "adding a distractor",
        min_before=min_before,
        max_drop=max_drop,
        options=options,
    )
    trial.require_silent("distractor", distractor)
    changes = [
        Change(
            f"a passage more, at {place}: {quoted(distractor)}",
            {"context": (*passages[:place], distractor, *passages[place:])},
            place,
        )
        for place in ((ends[0], ends[-1]) if at is None else (at,))
    ]
    trial.require_kept(changes, added=("distractor", distractor))


def assert_ignores_repetition(
    model: ProbeModel,
    case: RagCase,
    gold: int | None = None,
    *,
    times: int = 2,
    max_drop: float = 0.1,
    min_before: float = 0.5,
    **options: Any,
) -> None:
    """Claim that the gold passage may stand there several times, one right behind the other.

    Beside what assert_ignores_order takes and raises, `gold` is the index of the gold passage,
    None the one that states the context answer; `times` is how often it stands there in all.

    Raises:
        OptionError: if it would not be repeated.
        CaseError: if the gold passage does not state the answer, or none is named and several do.
    """
    __tracebackhide__ = True
    if not isinstance(times, int) or times < 2:
        raise OptionError(option="times", value=str(times), expected="a whole number of at least 2")
    trial = begin(
        model,
        case,
        "repeating the gold passage",
        min_before=min_before,
        max_drop=max_drop,
        options=options,
    )
    index, passages = trial.gold(gold), case.passages
    repeated = (*passages[:index], *[passages[index]] * times, *passages[index + 1 :])
    text = f"passage {index} stands there {times} times: {quoted(passages[index])}"
    trial.require_kept([Change(text, {"context": repeated})])


def assert_ignores_wording(
    model: ProbeModel,
    case: RagCase,
    question: str,
    *,
    max_drop: float = 0.1,
    min_before: float = 0.5,
    **options: Any,
) -> None:
    """Claim that the question may be asked in other words.

    Takes and raises what assert_ignores_order does. The memory answer is asked for in these words
    too, unless the case names it.

    Raises:
        CaseError: if the question is empty, does not hold the subject, or gives the answer away.
    """
    __tracebackhide__ = True
    if not question.strip():
        raise EmptyTextError(role="reworded question", text=question)
    trial = begin(
        model,
        case,
        "rewording the question",
        min_before=min_before,
        max_drop=max_drop,
        options=options,
    )
    subject = str(trial.known.subject)
    if not occurrences(question, subject):
        raise CaseError(
            f"the reworded question {quoted(question)} does not hold the subject {quoted(subject)}",
            where="question",
            expected="Other words ask about the same subject, spelled as in the case",
            action="Put the subject into the question",
        )
    if not occurrences(case.question, trial.context_answer):
        trial.require_silent("reworded question", question)
    text = f"{quoted(question)} in place of {quoted(case.question)}"
    trial.require_kept([Change(text, {"question": question})], added=("question", question))


def assert_reads_every_position(
    model: ProbeModel,
    case: RagCase,
    gold: int | None = None,
    *,
    max_drop: float = 0.1,
    min_before: float = 0.5,
    **options: Any,
) -> None:
    """Claim that the gold passage may stand anywhere among the others.

    Beside what assert_ignores_order takes and raises, `gold` is the index of the gold passage,
    None the one that states the context answer. All positions are measured side by side; the
    worst is reported, with the score at each.

    Raises:
        CaseError: if there is one passage, the gold passage does not state the answer, or none is
            named and several do.
    """
    __tracebackhide__ = True
    passages = several(case, "so its gold passage has one position")
    trial = begin(
        model,
        case,
        "moving the gold passage",
        min_before=min_before,
        max_drop=max_drop,
        options=options,
    )
    index = trial.gold(gold)
    others = (*passages[:index], *passages[index + 1 :])
    changes = [
        Change(
            f"the gold passage, {index} as it is, stands at {place}",
            {"context": (*others[:place], passages[index], *others[place:])},
            place,
        )
        for place in range(len(passages))
    ]
    trial.require_kept(changes)
