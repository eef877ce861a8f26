"""How a check was asked, in short: checks that differ in it are no measure of two models."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from hashlib import sha256

from pytest_ragshortcut.core.reliance import Limits

_N_DIGITS = 12


def asking_of(prompts: Iterable[str], limits: Limits | None = None) -> str:
    """Return twelve hex digits of prompts and of the limits that are not the usual ones.

    Example:
        >>> asking_of(["Who?"]) == asking_of(["Who?"], Limits())
        True
        >>> asking_of(["Who?"]) == asking_of(["Where?"])
        False
        >>> asking_of(["Who?"]) == asking_of(["Who?"], Limits(min_mass=0.1))
        False
    """
    chosen, usual = limits or Limits(), Limits()
    # Those left as they are say nothing, so that a limit more changes no digest.
    unusual = [
        (each.name, getattr(chosen, each.name))
        for each in fields(Limits)
        if getattr(chosen, each.name) != getattr(usual, each.name)
    ]
    # Escaped to ASCII: what repr escapes changes with Python's version of Unicode.
    told = json.dumps([list(prompts), unusual])
    return sha256(told.encode("ascii")).hexdigest()[:_N_DIGITS]
