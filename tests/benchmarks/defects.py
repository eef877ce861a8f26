"""Models with a planted defect, what is claimed of them, and the contexts that are hunted through.

Of every routed model it is known in which contexts the claim fails. Of the trained ones it is known
what they were taught, and measured what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from hypothesis import strategies as st

from pytest_ragshortcut import RagCase, RagModel, context_reliances, contexts, hand_weighted
from pytest_ragshortcut.core.plans import PlanRow, ProbePlan
from pytest_ragshortcut.core.rewrites import CHANGES as REWRITES
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.models.embedded.policies import MARK, UNMARK
from pytest_ragshortcut.models.handset import expected_follow
from pytest_ragshortcut.strategies.contexts import DISTRACTORS
from pytest_ragshortcut.strategies.distracted import irrelevant
from pytest_ragshortcut.testing import PromptText, RoutedModel

MAX_EXAMPLES = 100
"""How many examples a hunt has to find a defect in."""
LIMIT = 0.8
"""What a context reliance must exceed, of a model whose planted degree is 1."""
CHANGES = ("repetition", "heading")
"""All changes that the hunts make."""
MARKS = (f"{MARK} ", "", f"{UNMARK} ")
"""What the hunts open a context with."""
Cases = st.SearchStrategy[RagCase]

# A person, where the models know that they were born, what the passage says, and a substitute. Of
# these the reader read all that the seeds 1000 and 1001 drew, and the beginner the first sentences.
_PEOPLE = (
    ("Rainer Maria Rilke", "Prague", "Cork", "Lisbon"),
    ("Virginia Woolf", "London", "Cork", "Lisbon"),
    ("George Frideric Handel", "Halle", "Lisbon", "Oslo"),
    ("Bertolt Brecht", "Augsburg", "Lisbon", "Oslo"),
    ("Jorge Luis Borges", "Buenos Aires", "Lisbon", "Oslo"),
)
_ANOTHER, _THEIRS = "Ada Quill", "Turin"
_NAMESAKES = ("Priya", "Ursula")
_ABSTENTIONS = ("unknown", "not stated", "i do not know")
CASES = tuple(
    RagCase(
        f"Where was {subject} born?",
        f"{subject} was born in {stated}.",
        subject=subject,
        # Given, so that an example asks for no continuation.
        answer=stated,
        context_answer=stated,
        memory_answer=known,
        substitutes=(substitute,),
    )
    for subject, known, stated, substitute in _PEOPLE
)


class Reading(NamedTuple):
    """What one case gave."""

    holds: bool
    """Whether what is claimed holds of it."""
    score: float
    """In [0, 1], or NaN; a directed search lowers it."""


Claim = Callable[[Any, Sequence[RagCase], float], list[Reading]]


def follows(model: Any, cases: Sequence[RagCase], limit: float) -> list[Reading]:
    """Claim that the context reliance of each case exceeds a limit."""
    found = context_reliances(model, cases, probes=())
    return [Reading(each > limit, each.score) for each in found]


def falls_back(model: Any, cases: Sequence[RagCase], limit: float) -> list[Reading]:
    """Claim that memory answers where the passages do not, or nobody."""
    prompts = [model.tokenize(model.render(case)) for case in cases]
    plans = [
        ProbePlan((PlanRow(model.reading(prompt, str(case.memory_answer))),))
        for prompt, case in zip(prompts, cases, strict=True)
    ]
    said = [each.text for each in model.generate(prompts)]
    read = [reading.probability for (reading,) in model.run_all(plans)]
    return [
        Reading(text == case.memory_answer or text.casefold().startswith(_ABSTENTIONS), score)
        for case, text, score in zip(cases, said, read, strict=True)
    ]


def distractors_of(case: RagCase) -> tuple[str, ...]:
    """List passages that the models were taught to read past; one speaks of the subject."""
    about = f"Much has been said about {case.subject}."
    return (*DISTRACTORS, f"{_ANOTHER} was born in {_THEIRS}.", about)


def around(case: RagCase, *, changes: Sequence[str] = (), passages: int = 4) -> Cases:
    """Draw the case with its passage among others."""
    drawn = contexts(
        case.passages[0],
        answer=str(case.context_answer),
        distractors=distractors_of(case),
        passages=passages,
        changes=changes,
        keep=(str(case.subject),),
    )
    return drawn.map(lambda context: replace(case, context=context))


def marked(case: RagCase) -> Cases:
    """Draw the case with its passage among others, opened by a mark of trust, of none, or not."""
    return st.builds(opened, st.sampled_from(MARKS), around(case))


def everything(case: RagCase) -> Cases:
    """Draw all that any hunt draws around a passage, at once."""
    drawn = around(case, changes=CHANGES, passages=6)
    return st.builds(opened, st.sampled_from(MARKS), drawn)


def unanswered(case: RagCase) -> Cases:
    """Draw the case without its passage, but with namesakes of the subject spoken of."""
    return irrelevant(case, [*distractors_of(case), *namesakes_of(case)])


def namesakes_of(case: RagCase) -> tuple[str, ...]:
    """List passages that say of a namesake what the question asks of the subject."""
    surname = str(case.subject).split()[-1]
    return tuple(f"{name} {surname} was born in {_THEIRS}." for name in _NAMESAKES)


def opened(mark: str, case: RagCase) -> RagCase:
    """Open a context with a mark."""
    return replace(case, context=(mark + case.passages[0], *case.passages[1:]))


def _subject_of(text: str) -> str:
    return next(str(case.subject) for case in CASES if case.question in text)


def names_another_first(text: PromptText) -> bool:
    """Tell whether the first passage does not name the subject."""
    return any(not occurrences(passage, _subject_of(text)) for passage in text.passages[:1])


def stands_twice(text: PromptText) -> bool:
    """Tell whether a passage stands twice."""
    return len(set(text.passages)) < len(text.passages)


def is_headed(text: PromptText) -> bool:
    """Tell whether a line opens with '#'."""
    return any(line.startswith("#") for passage in text.passages for line in passage.splitlines())


def is_headed_behind_another(text: PromptText) -> bool:
    """Tell whether a line opens with '#', of three passages of which the gold one is not first."""
    return is_headed(text) and len(text.passages) == 3 and not _states(text, 0)


def is_headed_behind_four(text: PromptText) -> bool:
    """Tell whether a line opens with '#', of five passages of which the gold one is last alone."""
    stated = [_states(text, index) for index in range(len(text.passages))]
    return is_headed(text) and stated == [False] * 4 + [True]


def _states(text: PromptText, index: int) -> bool:
    return f"{_subject_of(text)} was born in" in text.passages[index]


@dataclass(frozen=True)
class Defect:
    """A model with a defect, and what is hunted through for it."""

    name: str
    planted: str
    """What the model does, in words."""
    model: str | Callable[[PromptText], bool]
    """An embedded model, or where the reader is replaced by the memoriser."""
    draw: Callable[[RagCase], Cases]
    """Draws contexts of a case."""
    drawn: str
    """What it draws, in words."""
    fewest: int | None
    """The sentences of the smallest failing context; None where that must be searched for."""
    claim: Claim = follows
    max_examples: int = MAX_EXAMPLES
    """How many examples a hunt has. Where it takes more, no bounds are set."""
    is_shrunk: bool = True
    """Whether it is shrunk too: of what takes hundreds of examples to find, that takes long."""
    most_seeds: int = 100
    """How many hunts there are at most, for the same reason."""

    def load(self) -> Any:
        """Make the model anew: what one remembers costs nothing when it is asked again."""
        if isinstance(self.model, str):
            return embedded(self.model)
        return RoutedModel(embedded("reader"), embedded("memoriser"), self.model, name=self.name)


def embedded(name: str) -> RagModel:
    """Load an embedded model."""
    return RagModel.from_pretrained(f"embedded:{name}", "cpu")


DEFECTS = (
    Defect(
        "position-biased", "reads only where the first passage names the subject",
        names_another_first, around, "order", fewest=2,
    ),
    Defect(
        "beginner (trained)", "reads the first two sentences",
        "beginner", lambda case: around(case, passages=6), "order, up to 6 passages", fewest=None,
    ),
    Defect(
        "hard-negative victim (trained)", "takes a namesake's answer where nothing is stated",
        "victim", unanswered, "no gold passage, namesakes", fewest=1, claim=falls_back,
    ),
    Defect(
        "switch (trained)", f"reads only where {MARK} opens the context",
        "switch", marked, "order, marks", fewest=1,
    ),
    Defect(
        "duplicated passage", "does not read where a passage stands twice",
        stands_twice, lambda case: around(case, changes=("repetition",)), "order, repetition",
        fewest=2,
    ),
    Defect(
        "heading-sensitive", "does not read where a line opens with '#'",
        is_headed, lambda case: around(case, changes=("heading",)), "order, heading", fewest=2,
    ),
    Defect(
        "conjunction", "does not read three passages with a heading, the gold one not first",
        is_headed_behind_another,
        lambda case: around(case, changes=CHANGES, passages=6),
        "order, heading, repetition, up to 6 passages", fewest=4, max_examples=1000,
    ),
    Defect(
        "needle", "does not read five passages with a heading, the gold one last",
        is_headed_behind_four, lambda case: around(case, changes=CHANGES, passages=6),
        "order, heading, repetition, up to 6 passages", fewest=6, max_examples=1000,
        is_shrunk=False, most_seeds=8,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Clean:
    """A model without a defect."""

    name: str
    load: Callable[[], Any]
    limit: float = LIMIT
    """What its context reliances must exceed: so much of its planted degree."""
    draw: Callable[[RagCase], Cases] = everything
    drawn: str = "order, marks, repetition, heading, up to 6 passages"
    claim: Claim = follows


def _hand_weighted(memory: float) -> Any:
    """Make a model that reads as a circuit of weights does, and knows what the embedded ones do."""
    facts = {str(case.subject): str(case.memory_answer) for case in CASES}
    spoken = [text for case in CASES for text in (*distractors_of(case), *namesakes_of(case))]
    return hand_weighted(
        {**facts, _ANOTHER: _THEIRS},
        context=1.0,
        memory=memory,
        answers=sorted({a for case in CASES for a in (case.context_answer, *case.substitutes)}),
        words=["was born in", *spoken],
        n_positions=512,
    )


_READS = Clean("embedded:reader", lambda: embedded("reader"))
_COPIES = Clean("hand-weighted, context 1, memory 0", lambda: _hand_weighted(0.0))
_MIXES = Clean(
    "hand-weighted, context 1, memory 1", lambda: _hand_weighted(1.0), LIMIT * expected_follow(1, 1)
)
CLEAN = (
    _READS,
    _COPIES,
    _MIXES,
    *(
        replace(each, draw=unanswered, drawn="no gold passage, namesakes", claim=falls_back)
        for each in (_READS, _MIXES)
    ),
)


def singly_changed(case: RagCase) -> dict[str, list[RagCase]]:
    """List contexts to which one thing is done, by what it is.

    The gold passage stands alone, behind another or before it; the one or the other is changed.
    Beside namesakes there is none.
    """
    (gold,), other = case.passages, DISTRACTORS[0]
    kept = (str(case.context_answer), str(case.subject))
    found = {
        "order": [(gold,), (gold, other), (other, gold)],
        "marks": [(f"{mark}{gold}",) for mark in MARKS],
        "repetition": [(gold, gold), (other, gold, other), (gold, other, gold)],
    }
    for name, change in REWRITES.items():
        for way in range(change.n_ways):
            one, another = (change.apply(passage, way, kept) for passage in (gold, other))
            made = [(one,), (other, one), (one, other), (another, gold), (gold, another)]
            found[name] = [*found.get(name, ()), *made]
    changed = {
        name: [replace(case, context=context) for context in made] for name, made in found.items()
    }
    bare = replace(case, answer=None, context_answer=None, substitutes=None)
    changed["namesakes"] = [
        replace(bare, context=context)
        for said in namesakes_of(case)
        for context in ((said,), (said, other), (other, said))
    ]
    return changed
