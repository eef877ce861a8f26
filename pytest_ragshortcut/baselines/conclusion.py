"""What became of a whole gate: its outcome, whether that passes, why, and the one thing to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_ragshortcut.baselines.decision import Judged, Outcome, overall
from pytest_ragshortcut.baselines.policy import Policy
from pytest_ragshortcut.core.words import counted


@dataclass(frozen=True)
class Conclusion:
    """May it be released?"""

    outcome: Outcome
    passes: bool
    """Under the policy, which says what inconclusive means."""
    sentence: str
    action: str


def conclude(
    judged: Sequence[Judged],
    policy: Policy,
    *,
    failed: Sequence[str],
    expired: Sequence[str],
    path: Path,
) -> Conclusion:
    """Conclude from what became of every property.

    Args:
        judged: the properties.
        policy: what is tolerated.
        failed: the tests that failed by themselves; any fails the gate.
        expired: the tests of waivers whose last day is over; any fails the gate.
        path: the baseline's file, where waivers are written.

    Example:
        >>> conclude([], Policy(0.05), failed=[], expired=[], path=Path("a.json")).sentence
        'nothing was compared'
    """
    deciding = [each for each in judged if each.decides]
    outcome = Outcome.FAIL if failed or expired else overall(judged)
    some = [each for each in deciding if each.outcome is outcome]
    names = "; ".join(each.name for each in some)
    of_all = f"{len(some)} of {len(deciding)} {'property' if len(deciding) == 1 else 'properties'}"
    if failed:
        n_failed = counted(len(failed), "test")
        sentence = (
            f"{n_failed} failed by {'itself' if len(failed) == 1 else 'themselves'}: {failed[0]}"
        )
        action = "Look at why it failed: the gate is asked once every test passes"
    elif expired:
        sentence = f"a waiver has expired: {', '.join(dict.fromkeys(expired))}"
        action = f"Mend the model, or renew the waiver with its reason in {path}"
    elif not deciding:
        sentence = "nothing was compared"
        action = "Run the suite that the baseline was saved with"
    elif outcome is Outcome.FAIL:
        sentence = f"{of_all} shown not to be good enough: {names}"
        action = _look(some, path)
    elif outcome is Outcome.INCONCLUSIVE:
        sentence = f"{of_all} neither shown to be good enough nor not to be: {names}"
        action = _compare_more(some, path)
    else:
        sentence = f"{of_all} shown to be no worse than is tolerated"
        action = "Release it; --rag-update makes it the next baseline"
    is_let_through = outcome is Outcome.INCONCLUSIVE and policy.inconclusive == "warn"
    if is_let_through:
        sentence += "; the policy lets it pass"
    if n_waived := sum(each.evidence.n_waived for each in judged):
        sentence += f"; {counted(n_waived, 'case')} {'is' if n_waived == 1 else 'are'} waived"
    return Conclusion(outcome, outcome is Outcome.PASS or is_let_through, sentence, action)


def _look(some: Sequence[Judged], path: Path) -> str:
    if any(each.evidence.fell.most for each in some):
        return f"Look at the cases that fell; one that may be so gets a waiver in {path}"
    return "Look at the lowest scores: no case fell, and yet they are too low"


def _compare_more(some: Sequence[Judged], path: Path) -> str:
    more = [each.n_more for each in some if each.n_more and each.more_would is Outcome.PASS]
    if len(more) < len(some):
        return _look(some, path)
    where = "" if len(some) == 1 else " of each"
    return f"Compare about {counted(max(more), 'more case')}{where}"
