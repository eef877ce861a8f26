"""Metamorphic properties: a case beside the same case changed, and what the change may cost."""

from pytest_ragshortcut.metamorphic.answers import (
    ABSTENTIONS,
    assert_falls_back,
    assert_follows_swap,
)
from pytest_ragshortcut.metamorphic.changes import (
    assert_ignores_distractor,
    assert_ignores_order,
    assert_ignores_repetition,
    assert_ignores_wording,
    assert_reads_every_position,
)

__all__ = [
    "ABSTENTIONS",
    "assert_falls_back",
    "assert_follows_swap",
    "assert_ignores_distractor",
    "assert_ignores_order",
    "assert_ignores_repetition",
    "assert_ignores_wording",
    "assert_reads_every_position",
]
