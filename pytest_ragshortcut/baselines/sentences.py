"""What became of a property, in words: what its cases show, and what they still allow."""

from __future__ import annotations

from pytest_ragshortcut.baselines.claims import Claim
from pytest_ragshortcut.baselines.decision import Judged, Outcome
from pytest_ragshortcut.core.sequential import percent
from pytest_ragshortcut.core.words import apart, counted

_NOTHING = "nothing to compare: every case is waived, or has no score in the baseline"
_SEEN = 0.0005
"""A smaller change is none in three decimals."""


def sentence_of(judged: Judged) -> str:
    """Say why a property passes, fails or is inconclusive, and how many cases would decide.

    Example:
        >>> from pytest_ragshortcut.baselines.claims import Pair
        >>> from pytest_ragshortcut.baselines.decision import judge
        >>> from pytest_ragshortcut.baselines.policy import Policy
        >>> print(sentence_of(judge({"a": [Pair(1.0, 1.0)] * 40}, Policy(0.05), tolerance=0.0)[0]))
        unchanged on average, but 40 cases still allow 0.099 worse, more than 0.05; 0 of 40 cases \
fell by more than 0.05, which still allows 8.8 %; about 42 more cases like these would pass
    """
    if not judged.evidence.counted:
        return _NOTHING
    match judged.outcome:
        case Outcome.PASS:
            parts = _shown(judged)
        case Outcome.FAIL:
            parts = [_against(judged, claim) for claim in refuted(judged)]
        case Outcome.INCONCLUSIVE:
            parts = [*_open(judged), _more(judged)]
    n_undefined = judged.evidence.n_undefined
    if n_undefined:
        possible = "best" if judged.outcome is Outcome.FAIL else "worst"
        some = counted(n_undefined, "case")
        parts.append(f"{some} without a score count as the {possible} possible")
    return "; ".join(parts)


def refuted(judged: Judged) -> list[Claim]:
    """List what is asked of a property and is shown to be wrong."""
    claims = judged.evidence.claims
    return [each for each in claims if len(claims) * each.p_right(1.0) <= judged.alpha_fail]


def changed(change: float) -> str:
    """Write a mean change.

    Example:
        >>> changed(-0.19), changed(0.0), changed(0.25)
        ('0.190 worse on average', 'unchanged on average', '0.250 better on average')
    """
    if abs(change) < _SEEN:
        return "unchanged on average"
    return f"{abs(change):.3f} {'worse' if change < 0.0 else 'better'} on average"


def beside(value: float, limit: float) -> str:
    """Write a number with three decimals, or as many as keep it on its own side of a limit.

    Example:
        >>> beside(0.0148, 0.0142), beside(0.25, 0.05)
        ('0.015', '0.250')
        >>> beside(0.01424, 0.0142)
        '0.01424'
    """
    return apart(value, [limit], decimals=3)


def _shown(judged: Judged) -> list[str]:
    evidence, policy = judged.evidence, judged.evidence.policy
    low = evidence.change.lower(alpha=judged.alpha_pass, first=-policy.margin)
    worst = f"at most {beside(-low, policy.margin)} worse"
    if low >= 0.0:
        worst = f"at least {beside(low, 0.0)} better"
    parts = [f"{changed(evidence.change.least.mean)}, {worst}"]
    if policy.floor is not None:
        low = evidence.candidate.lower(alpha=judged.alpha_pass, first=policy.floor)
        least = beside(low, policy.floor)
        parts.append(f"a mean score of at least {least}, the floor is {policy.floor:g}")
    return [*parts, _fallen(judged)]


def _against(judged: Judged, claim: Claim) -> str:
    evidence, policy = judged.evidence, judged.evidence.policy
    alpha = judged.alpha_fail / len(evidence.claims)
    if claim.about == "margin":
        high = evidence.change.upper(alpha=alpha, first=-policy.margin)
        least = f"at least {beside(-high, policy.margin)} worse, more than {policy.margin:g}"
        return f"{changed(evidence.change.most.mean)}, {least}"
    if claim.about == "floor" and policy.floor is not None:
        high = evidence.candidate.upper(alpha=alpha, first=policy.floor)
        most = beside(high, policy.floor)
        return f"a mean score of at most {most}, the floor is {policy.floor:g}"
    rate, limit = evidence.fell, policy.fell or 0.0
    low, _ = rate.interval(low=alpha, high=alpha)
    return (
        f"{rate.least} of {rate.n} cases fell by more than {policy.margin:g}, at least "
        f"{_share(low, limit)} of all, more than {percent(limit)}"
    )


def _open(judged: Judged) -> list[str]:
    evidence, policy = judged.evidence, judged.evidence.policy
    alpha = judged.alpha_pass
    waiting = {each.about for each in evidence.claims if each.p_wrong(1.0) > alpha}
    parts = []
    if "margin" in waiting:
        low = evidence.change.lower(alpha=alpha, first=-policy.margin)
        allowed = f"{beside(-low, policy.margin)} worse, more than {policy.margin:g}"
        some = f"{counted(len(evidence.counted), 'case')} still allow {allowed}"
        parts.append(f"{changed(evidence.change.least.mean)}, but {some}")
    if "floor" in waiting and policy.floor is not None:
        low = evidence.candidate.lower(alpha=alpha, first=policy.floor)
        parts.append(
            f"a mean score of {evidence.candidate.least.mean:.3f}, which may be as low as "
            f"{beside(low, policy.floor)}, the floor is {policy.floor:g}"
        )
    parts.append(_fallen(judged))
    if policy.fell is not None and "fell" in waiting:
        parts[-1] += f", more than {percent(policy.fell)}"
    return parts


def _fallen(judged: Judged) -> str:
    """Say how many cases fell, and what share of all cases that still allows."""
    rate, policy = judged.evidence.fell, judged.evidence.policy
    _, high = rate.interval(low=judged.alpha_fail, high=judged.alpha_pass)
    allowed = _share(high, policy.fell if policy.fell is not None else 2.0)
    return (
        f"{rate.most} of {rate.n} cases fell by more than {policy.margin:g}, which still "
        f"allows {allowed}"
    )


def _share(share: float, limit: float) -> str:
    """Write a share in percent, on its own side of a limit."""
    texts = (f"{100.0 * share:.{decimals}f}" for decimals in range(1, 17))
    side = share > limit, share < limit
    for text in texts:
        written = float(text) / 100.0
        is_seen = written > 0.0 or share == 0.0
        if is_seen and (written > limit, written < limit) == side:
            return f"{text} %"
    return f"{100.0 * share!r} %"


def _more(judged: Judged) -> str:
    if judged.n_more is None:
        return "not even a million more cases like these would decide"
    more = counted(judged.n_more, "more case")
    return f"about {more} like these would {str(judged.more_would).lower()}"
