"""What a plan asks, as a key: plans that must read alike share one, and no others do."""

from __future__ import annotations

import json
from dataclasses import fields
from hashlib import sha256
from typing import Any

import numpy as np

from pytest_ragshortcut.core.plans import Corruption, ProbePlan
from pytest_ragshortcut.core.prompts import TokenizedPrompt

_SHARED = (TokenizedPrompt, Corruption)
"""What a plan's many rows have in common: read once a plan."""

_UNREAD = frozenset({"text", "tokens", "spans", "offsets"})
"""What a prompt says to people and probes, and to no executor."""


def plan_digest(plan: ProbePlan) -> str:
    """Return the SHA-256, in hex, of everything in a plan that its readings depend on.

    Every field of every part counts, those of subclasses too, and so does order; of a prompt its
    text, tokens and spans do not. What is asked is named, not who answers: a key for readings
    names the model and the executor beside it.

    Raises:
        TypeError: if a part is no plain value, array or dataclass.

    Example:
        >>> from pytest_ragshortcut.core.plans import PlanRow
        >>> def digest(text, answer_id):
        ...     prompt = TokenizedPrompt(text, (5, 6), ("a", "b"), {}, 2, (answer_id,))
        ...     return plan_digest(ProbePlan((PlanRow(prompt),)))
        >>> digest("Where?", 7) == digest("Who?", 7), digest("Where?", 7) == digest("Where?", 8)
        (True, False)
    """
    return _Encoder().digest(plan)


class _Encoder:
    """Gives JSON the dataclasses and arrays that it has no form for, each shared object once."""

    def __init__(self) -> None:
        # By identity, which is safe for one call: the plan keeps the objects alive.
        self._shared: dict[int, dict[str, str]] = {}
        self._names: dict[type, tuple[str, ...]] = {}

    def digest(self, value: object) -> str:
        """Hash a value. JSON tells types apart, and escapes text, so that no two look alike."""
        # A plan of tuples and frozen parts has no circle to look for.
        encoded = json.dumps(
            value, default=self._plain, separators=(",", ":"), check_circular=False
        )
        return sha256(encoded.encode("ascii")).hexdigest()

    def _plain(self, value: Any) -> object:
        if id(value) in self._shared:
            return self._shared[id(value)]
        kind = type(value)
        if kind not in self._names:
            if isinstance(value, np.ndarray | np.generic):
                return _numbers(value)
            self._names[kind] = _read_names(value)
        parts = [getattr(value, name) for name in self._names[kind]]
        if not isinstance(value, _SHARED):
            return {kind.__name__: parts}
        self._shared[id(value)] = {kind.__name__: self.digest(parts)}
        return self._shared[id(value)]


def _numbers(value: np.ndarray[Any, Any] | np.generic) -> object:
    if isinstance(value, np.generic):
        return value.item()
    return {"array": [value.dtype.str, value.shape, sha256(value.tobytes()).hexdigest()]}


def _read_names(value: Any) -> tuple[str, ...]:
    """List the fields that count, of a dataclass; anything else raises TypeError."""
    unread = _UNREAD if isinstance(value, TokenizedPrompt) else frozenset()
    return tuple(field.name for field in fields(value) if field.name not in unread)
