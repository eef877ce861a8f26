"""From pairs of scores to an outcome: is each property shown to be no worse, or shown to be worse?

A property passes where all that the policy asks of it is shown, and fails where the contrary of any
part is shown; between the two it is inconclusive. Of several properties the largest evidence is
tested first (Holm 1979), so that the chance of passing any property that should not pass is half of
what the confidence leaves, however many decide; and so is that of failing any that should not fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from pytest_ragshortcut.baselines.claims import (
    Claim,
    Means,
    Pair,
    Rate,
    changes_of,
    fallen,
    n_needed,
    scores_of,
)
from pytest_ragshortcut.baselines.policy import Policy
from pytest_ragshortcut.errors import OptionError


class Outcome(StrEnum):
    """What the cases say of a property, or of the whole gate."""

    PASS = "PASS"  # noqa: S105
    """All that is asked is shown."""
    FAIL = "FAIL"
    """Something that is asked is shown to be wrong."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """Neither."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the cases of one property say of each thing that is asked."""

    pairs: Sequence[Pair]
    policy: Policy
    tolerance: float

    @cached_property
    def counted(self) -> tuple[Pair, ...]:
        """The pairs that are compared."""
        return tuple(pair for pair in self.pairs if pair.counts)

    @cached_property
    def change(self) -> Means:
        """Candidate minus baseline."""
        return changes_of(self.counted, self.policy, tolerance=self.tolerance)

    @cached_property
    def candidate(self) -> Means:
        """The candidate's scores."""
        return scores_of(self.counted, self.policy)

    @cached_property
    def fell(self) -> Rate:
        """How many cases fell by more than the margin."""
        return fallen(self.counted, margin=self.policy.margin, tolerance=self.tolerance)

    @property
    def n_undefined(self) -> int:
        """How many have no score any more."""
        return sum(pair.candidate is None for pair in self.counted)

    @property
    def n_waived(self) -> int:
        """How many cases may be worse."""
        return sum(pair.is_waived for pair in self.pairs)

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """All that the policy asks."""
        asked = [self.change.claims_above("margin", -self.policy.margin)]
        if self.policy.floor is not None:
            asked.append(self.candidate.claims_above("floor", self.policy.floor))
        if self.policy.fell is not None:
            asked.append(self.fell.claim_below("fell", self.policy.fell))
        return tuple(asked)

    def p_wrong(self, times: float = 1.0) -> float:
        """Return the p-value of "something that is asked is wrong": that of the weakest claim."""
        return max(claim.p_wrong(times) for claim in self.claims)

    def p_right(self, times: float = 1.0) -> float:
        """Return the p-value of "all that is asked is right": any claim may refute it."""
        return min(1.0, len(self.claims) * min(claim.p_right(times) for claim in self.claims))


@dataclass(frozen=True, eq=False)
class Judged:
    """One property, what became of it, and how strictly it was tested."""

    name: str
    evidence: Evidence
    outcome: Outcome
    decides: bool
    alpha_pass: float
    """The error allowed on the side of passing it, for lower bounds."""
    alpha_fail: float
    """The error allowed on the side of failing it, for upper bounds."""

    @property
    def n_more(self) -> int | None:
        """About how many further cases like these would decide; None where no million would."""
        return self._more[0]

    @property
    def more_would(self) -> Outcome:
        """What they would decide."""
        return self._more[1]

    @cached_property
    def _more(self) -> tuple[int | None, Outcome]:
        evidence, n = self.evidence, len(self.evidence.counted)
        if self.outcome is not Outcome.INCONCLUSIVE:
            return 0, self.outcome
        if not n:
            return None, self.outcome
        to_pass = n_needed(n, lambda times: evidence.p_wrong(times) <= self.alpha_pass)
        to_fail = n_needed(n, lambda times: evidence.p_right(times) <= self.alpha_fail)
        if to_pass is not None and (to_fail is None or to_pass <= to_fail):
            return to_pass - n, Outcome.PASS
        return (None, self.outcome) if to_fail is None else (to_fail - n, Outcome.FAIL)


def judge(
    properties: Mapping[str, Sequence[Pair]], policy: Policy, *, tolerance: float
) -> list[Judged]:
    """Decide every property.

    Args:
        properties: name -> its cases.
        policy: what is asked.
        tolerance: changes up to this are rounding.

    Raises:
        OptionError: if the policy's primary property is none of these.

    Example:
        >>> same = {"test_a": [Pair(1.0, 1.0)] * 90, "test_b": [Pair(1.0, 1.0)] * 20}
        >>> [str(each.outcome) for each in judge(same, Policy(0.05), tolerance=0.0)]
        ['INCONCLUSIVE', 'INCONCLUSIVE']
        >>> [each.n_more for each in judge(same, Policy(0.05), tolerance=0.0)]
        [6, 76]
    """
    found = {name: Evidence(pairs, policy, tolerance) for name, pairs in properties.items()}
    deciding = _deciding(found, policy)
    alpha = (1.0 - policy.confidence) / 2.0
    passed = holm({name: found[name].p_wrong() for name in deciding}, alpha)
    failed = holm({name: found[name].p_right() for name in deciding}, alpha)
    judged = []
    for name, evidence in found.items():
        if name in deciding:
            (is_pass, alpha_pass), (is_fail, alpha_fail) = passed[name], failed[name]
        else:
            alpha_pass = alpha_fail = alpha
            is_pass = bool(evidence.counted) and evidence.p_wrong() <= alpha
            is_fail = bool(evidence.counted) and evidence.p_right() <= alpha
        outcome = Outcome.PASS if is_pass else Outcome.FAIL if is_fail else Outcome.INCONCLUSIVE
        judged.append(Judged(name, evidence, outcome, name in deciding, alpha_pass, alpha_fail))
    return judged


def overall(judged: Sequence[Judged]) -> Outcome:
    """Return the outcome of all properties that decide; FAIL where there is none.

    Example:
        >>> overall([])
        <Outcome.FAIL: 'FAIL'>
    """
    outcomes = {each.outcome for each in judged if each.decides}
    if not outcomes or Outcome.FAIL in outcomes:
        return Outcome.FAIL
    return Outcome.INCONCLUSIVE if Outcome.INCONCLUSIVE in outcomes else Outcome.PASS


def holm(p_values: Mapping[str, float], alpha: float) -> dict[str, tuple[bool, float]]:
    """Reject as many hypotheses as the chance of rejecting any true one allows.

    Args:
        p_values: hypothesis -> its p-value.
        alpha: that chance.

    Returns:
        hypothesis -> whether it is rejected, and at which level it was tested.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure".

    Example:
        >>> {name: is_rejected for name, (is_rejected, _) in
        ...  holm({"a": 0.03, "b": 0.01, "c": 0.2}, 0.05).items()}
        {'b': True, 'a': False, 'c': False}
    """
    tested: dict[str, tuple[bool, float]] = {}
    ordered = sorted(p_values, key=lambda name: p_values[name])
    for place, name in enumerate(ordered):
        level = alpha / (len(ordered) - place)
        if p_values[name] > level:
            return tested | dict.fromkeys(ordered[place:], (False, level))
        tested[name] = True, level
    return tested


def _deciding(found: Mapping[str, Evidence], policy: Policy) -> set[str]:
    """Choose the properties that the gate depends on: of those that have anything to compare."""
    if policy.primary is None:
        return {name for name, evidence in found.items() if evidence.counted}
    named = {name for name in found if policy.primary in _names(name)}
    if not named:
        expected = f"a primary property: the name of one of {', '.join(found) or 'no test'}"
        raise OptionError(
            option="--rag-compare-fail", value=f"primary:{policy.primary}", expected=expected
        )
    return {name for name in named if found[name].counted}


def _names(name: str) -> set[str]:
    """List what a property may be called: whole, without its kind, or by its function alone."""
    test, _, _ = name.partition(", ")
    kind = name.partition(" (")[0]
    return {name, test, kind, test.rpartition("::")[2]}
