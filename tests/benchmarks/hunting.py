"""One hunt: what Hypothesis draws, when it first fails, and what it is shrunk to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations, permutations
from statistics import median
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings, target

from benchmarks.defects import (
    CASES,
    LIMIT,
    MAX_EXAMPLES,
    Cases,
    Claim,
    Clean,
    Defect,
    Reading,
    distractors_of,
)
from pytest_ragshortcut import RagCase
from pytest_ragshortcut.core.finding import sentences

MIN_FOUND = 0.95
"""The share of seeds in which a defect must be found."""
MAX_SENTENCES = 2
"""What it must be shrunk to, unless more are needed to show it."""
MAX_FURTHER = 60
"""How many contexts more the model may be asked about until then."""
_TOGETHER = 32


@dataclass(eq=False)
class Asked:
    """A model with what is claimed of it. It is asked about no case twice."""

    model: Any
    claim: Claim
    limit: float = LIMIT
    known: dict[RagCase, Reading] = field(default_factory=dict)
    costs: list[float] = field(default_factory=list)
    """Of each case asked by itself: plain forwards of its prompt."""

    def read(self, case: RagCase) -> Reading:
        """Ask about one case, as a test does."""
        if case not in self.known:
            before = self.model.work
            (self.known[case],) = self.claim(self.model, [case], self.limit)
            n_tokens = len(self.model.tokenize(self.model.render(case)).input_ids)
            work = self.model.work - before
            self.costs.append(work.forwards(n_tokens=n_tokens, n_layers=self.model.n_layers))
        return self.known[case]

    def read_all(self, cases: Sequence[RagCase]) -> list[Reading]:
        """Ask about many cases side by side."""
        new = [case for case in dict.fromkeys(cases) if case not in self.known]
        for start in range(0, len(new), _TOGETHER):
            some = new[start : start + _TOGETHER]
            self.known |= zip(some, self.claim(self.model, some, self.limit), strict=True)
        return [self.known[case] for case in cases]


@dataclass(frozen=True)
class Hunt:
    """What one seed came to."""

    n_to_find: int | None
    """The number of the first example that failed, from 1; None where none did."""
    n_further: int
    """Other contexts that the model was asked about until shrinking ended."""
    shrunk: RagCase | None
    """What it was shrunk to, where it was."""


def hunt(
    asked: Asked,
    draw: Cases,
    number: int,
    *,
    max_examples: int = MAX_EXAMPLES,
    phases: Sequence[Phase] = (Phase.generate, Phase.shrink),
    stops: bool = False,
) -> Hunt:
    """Let Hypothesis look for a case of which the claim does not hold.

    Args:
        asked: the model.
        draw: the cases.
        number: the seed.
        max_examples: how many examples to look at.
        phases: of Hypothesis. With Phase.target the search goes where the score is lower.
        stops: whether to look for no other failure once there is one, and shrink at once.
    """
    trail: list[RagCase] = []

    @seed(number)
    @settings(
        max_examples=max_examples,
        phases=phases,
        report_multiple_bugs=not stops,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(draw)
    def claim_holds(case: RagCase) -> None:
        trail.append(case)
        reading = asked.read(case)
        if Phase.target in phases:
            target(1.0 if math.isnan(reading.score) else 1.0 - reading.score)
        assert reading.holds

    try:
        claim_holds()
    except AssertionError:
        first = next(i for i, case in enumerate(trail) if not asked.known[case].holds)
        further = set(trail[first + 1 :]) - set(trail[: first + 1])
        return Hunt(first + 1, len(further), trail[-1] if Phase.shrink in phases else None)
    return Hunt(None, 0, None)


def n_sentences(case: RagCase) -> int:
    """Count the sentences of a context; a heading's lines are some."""
    return sum(len(sentences(passage)) for passage in case.passages)


def is_bare(asked: Asked, case: RagCase) -> bool:
    """Tell whether no part of a failing context fails."""
    return all(reading.holds for reading in asked.read_all(parts(case)))


def parts(case: RagCase) -> list[RagCase]:
    """List what is left of a case where sentences are left out, and its answer is still stated."""
    answer = case.context_answer
    pieces = [(i, text) for i, passage in enumerate(case.passages) for text in sentences(passage)]
    found = []
    for n_left in range(1, len(pieces)):
        for left in combinations(pieces, n_left):
            kept = dict.fromkeys(index for index, _ in left)
            context = ["\n".join(text for i, text in left if i == index) for index in kept]
            if answer is None or any(answer in passage for passage in context):
                found.append(replace(case, context=tuple(context)))
    return found


def searched(asked: Asked, case: RagCase) -> int:
    """Search all shorter contexts of the passages of a failing case for the fewest that fail."""
    plain = next(each for each in CASES if each.question == case.question)
    most = n_sentences(case)
    for n_others in range(most - 1):
        contexts = [
            (*others[:place], *plain.passages, *others[place:])
            for others in permutations(distractors_of(plain), n_others)
            for place in range(n_others + 1)
        ]
        read = asked.read_all([replace(plain, context=context) for context in contexts])
        if not all(reading.holds for reading in read):
            return n_others + 1
    return most


@dataclass(frozen=True)
class Found:
    """What all hunts for one defect came to."""

    defect: Defect
    hunts: tuple[Hunt, ...]
    """One a seed."""
    stopping: tuple[Hunt, ...]
    """The same seeds, shrinking what is found at once."""
    directed: tuple[Hunt, ...]
    """The same seeds, searching where the score is lower; not shrunk."""
    bare: tuple[bool, ...]
    """Of each that was shrunk: whether no part of what is left fails."""
    fewest: tuple[int, ...]
    """Likewise: with how many sentences its case can fail."""
    forwards: float
    """What an example costs, in plain forwards of its prompt; the median."""

    @property
    def n_found(self) -> int:
        """In how many seeds it was found."""
        return sum(each.n_to_find is not None for each in self.hunts)

    @property
    def shrunk(self) -> list[RagCase]:
        """What the defect was shrunk to, where it was."""
        return [each.shrunk for each in self.hunts if each.shrunk is not None]

    @property
    def left(self) -> list[int]:
        """How many sentences were left of each."""
        return [n_sentences(case) for case in self.shrunk]

    @property
    def missed(self) -> list[str]:
        """Which bounds it misses; where it may take long, there are none."""
        if self.defect.max_examples > MAX_EXAMPLES:
            return []
        n_hunts = len(self.hunts)
        longer = sum(
            n > MAX_SENTENCES and not is_bare
            for n, is_bare in zip(self.left, self.bare, strict=True)
        )
        costlier = sum(each.n_further > MAX_FURTHER for each in self.hunts)
        problems = {
            f"found in {self.n_found} of {n_hunts}": self.n_found < MIN_FOUND * n_hunts,
            f"{longer} of {n_hunts} over {MAX_SENTENCES} sentences, and a part fails": longer,
            f"{costlier} of {n_hunts} over {MAX_FURTHER} contexts": costlier,
        }
        return [problem for problem, is_one in problems.items() if is_one]

    @property
    def directed_wins(self) -> tuple[int, int]:
        """In how many seeds the directed search found it sooner, and in how many later."""
        pairs = [
            (one.n_to_find or math.inf, other.n_to_find or math.inf)
            for one, other in zip(self.hunts, self.directed, strict=True)
        ]
        return sum(b < a for a, b in pairs), sum(b > a for a, b in pairs)


def measure(defect: Defect, n_seeds: int) -> Found:
    """Hunt for a defect, once a seed; the cases take turns."""
    asked = Asked(defect.load(), defect.claim)
    drawn = [defect.draw(case) for case in CASES]
    seeds = range(min(n_seeds, defect.most_seeds))

    def hunts(*phases: Phase, **options: Any) -> tuple[Hunt, ...]:
        options |= {"phases": phases, "max_examples": defect.max_examples}
        return tuple(hunt(asked, drawn[k % len(CASES)], k, **options) for k in seeds)

    shrink = (Phase.shrink,) if defect.is_shrunk else ()
    found = hunts(Phase.generate, *shrink)
    shrunk = [each.shrunk for each in found if each.shrunk is not None]
    return Found(
        defect=defect,
        hunts=found,
        stopping=hunts(Phase.generate, *shrink, stops=True) if shrink else (),
        directed=hunts(Phase.generate, Phase.target),
        bare=tuple(is_bare(asked, case) for case in shrunk),
        fewest=tuple(defect.fewest or searched(asked, case) for case in shrunk),
        forwards=median(asked.costs),
    )


@dataclass(frozen=True)
class Alarms:
    """What a model without a defect was asked, and where the claim did not hold of it."""

    clean: Clean
    n_examples: int
    n_different: int
    lowest: float
    """The lowest score."""
    failing: tuple[RagCase, ...]


@cache
def _all_draws(
    draw: Callable[[RagCase], Cases], n_seeds: int, n_examples: int
) -> tuple[RagCase, ...]:
    strategies = [draw(case) for case in CASES]
    return tuple(
        case
        for number in range(n_seeds)
        for case in _draws(strategies[number % len(CASES)], number, n_examples)
    )


def raised(clean: Clean, n_seeds: int, n_examples: int) -> Alarms:
    """Hunt through a model without a defect.

    What is drawn hangs on no reading as long as none fails, so it is drawn first and asked
    together: what holds of all that is drawn holds in the hunt.
    """
    asked = Asked(clean.load(), clean.claim, clean.limit)
    drawn = _all_draws(clean.draw, n_seeds, n_examples)
    different = list(dict.fromkeys(drawn))
    read = asked.read_all(different)
    return Alarms(
        clean=clean,
        n_examples=len(drawn),
        n_different=len(different),
        lowest=min(reading.score for reading in read),
        failing=tuple(
            case for case, reading in zip(different, read, strict=True) if not reading.holds
        ),
    )


def _draws(draw: Cases, number: int, n_draws: int) -> list[RagCase]:
    """Return the cases that Hypothesis draws where every one of them holds."""
    drawn: list[RagCase] = []

    @seed(number)
    @settings(
        max_examples=n_draws,
        phases=(Phase.generate,),
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(draw)
    def collect(case: RagCase) -> None:
        drawn.append(case)

    collect()
    return drawn
