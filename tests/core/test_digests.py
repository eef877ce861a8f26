"""A plan's digest: the same for plans that must read alike, another for any other plan."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.digests import plan_digest
from pytest_ragshortcut.core.plans import Corruption, Knockout, PlanRow, ProbePlan, Restoration
from pytest_ragshortcut.core.prompts import TokenizedPrompt

# A plan as nested tuples, which Python compares. So few values that many plans nearly coincide.
INTEGERS = st.lists(st.integers(0, 2), max_size=2).map(tuple)
PROMPTS = st.tuples(INTEGERS, st.integers(1, 2), INTEGERS)
NOISE = st.none() | st.tuples(st.sampled_from([(1, 2), (2, 1), (2,)]), st.integers(0, 1))
CORRUPTIONS = st.none() | st.tuples(INTEGERS, NOISE, st.none() | INTEGERS)
RESTORATIONS = st.tuples(st.sampled_from(["mlp", "attention"]), INTEGERS, INTEGERS)
KNOCKOUTS = st.tuples(INTEGERS, INTEGERS, INTEGERS)
ROWS = st.tuples(
    PROMPTS,
    CORRUPTIONS,
    st.lists(RESTORATIONS, max_size=2).map(tuple),
    st.lists(KNOCKOUTS, max_size=2).map(tuple),
    st.booleans(),
)
PLANS = st.lists(ROWS, max_size=3).map(tuple)


def prompt(input_ids: Any = (5, 6), n_prompt: int = 2, answer_ids: Any = (7,)) -> TokenizedPrompt:
    return TokenizedPrompt("a b", input_ids, ("a", "b"), {}, n_prompt, answer_ids)


def build(content: Any) -> ProbePlan:
    return ProbePlan(tuple(build_row(*row) for row in content))


def build_row(of: Any, corrupted: Any, restored: Any, cut: Any, contributions: bool) -> PlanRow:
    corruption = None
    if corrupted is not None:
        positions, noise, token_ids = corrupted
        values = None if noise is None else np.full(noise[0], noise[1], dtype=np.float64)
        corruption = Corruption(positions, values, token_ids)
    return PlanRow(
        prompt(*of),
        corruption,
        tuple(Restoration(*each) for each in restored),
        tuple(Knockout(*each) for each in cut),
        contributions,
    )


@given(one=PLANS, other=PLANS)
def test_two_plans_have_one_digest_exactly_if_they_ask_the_same(one: Any, other: Any) -> None:
    assert (plan_digest(build(one)) == plan_digest(build(other))) == (one == other)
    assert plan_digest(build(one)) == plan_digest(build(one))


@given(content=PLANS, data=st.data())
def test_one_change_anywhere_is_another_digest(content: Any, data: st.DataObject) -> None:
    whole = (*content, data.draw(ROWS))
    changed = data.draw(ROWS)
    at = data.draw(st.integers(0, len(whole) - 1))
    other = (*whole[:at], changed, *whole[at + 1 :])
    assert (plan_digest(build(whole)) == plan_digest(build(other))) == (whole[at] == changed)


ROW = PlanRow(
    prompt(),
    Corruption((0, 1), noise=np.arange(6.0).reshape(2, 3)),
    (Restoration("mlp", (0, 1), (1,)),),
    (Knockout((0,), (1,), (0, 1)),),
)
OTHER: dict[type, dict[str, Any]] = {
    TokenizedPrompt: {"input_ids": (5, 7), "n_prompt": 1, "answer_ids": (8,)},
    Corruption: {"positions": (1, 0), "noise": np.zeros((2, 3)), "token_ids": (3, 4)},
    Restoration: {"component": "residual", "layers": (0,), "positions": (0,)},
    Knockout: {"sources": (1,), "targets": (0,), "layers": (1,)},
    PlanRow: {
        "prompt": prompt((9,)),
        "corruption": None,
        "restorations": (),
        "knockouts": (),
        "sources": (1,),
    },
}
PARTS: dict[type, tuple[Any, Any]] = {
    TokenizedPrompt: (ROW.prompt, lambda part: replace(ROW, prompt=part)),
    Corruption: (ROW.corruption, lambda part: replace(ROW, corruption=part)),
    Restoration: (ROW.restorations[0], lambda part: replace(ROW, restorations=(part,))),
    Knockout: (ROW.knockouts[0], lambda part: replace(ROW, knockouts=(part,))),
    PlanRow: (ROW, lambda part: part),
}
UNREAD = {
    "text": "c d",
    "tokens": ("c", "d"),
    "spans": {"last": ((1, 2),)},
    "offsets": ((0, 1), (2, 3)),
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, field.name) for kind in PARTS for field in fields(kind)]
)
def test_every_field_counts_but_what_is_only_shown(kind: type, name: str) -> None:
    part, placed = PARTS[kind]
    unread = UNREAD if kind is TokenizedPrompt else {}
    value = getattr(part, name)
    # A new field that is no flag must be named above: what would be another value of it?
    flipped = {name: not value} if isinstance(value, bool) else {}
    other = {**OTHER[kind], **unread, **flipped}[name]
    before = plan_digest(ProbePlan((ROW,)))
    after = plan_digest(ProbePlan((placed(replace(part, **{name: other})),)))
    assert (before == after) == (name in unread)


@dataclass(frozen=True, eq=False)
class _WiderRow(PlanRow):
    summed: bool = False


@dataclass(frozen=True)
class _WiderKnockout(Knockout):
    heads: tuple[int, ...] = ()


def test_a_field_that_a_part_gains_counts_at_once() -> None:
    rows = [_WiderRow(prompt(), summed=summed) for summed in (False, True)]
    rows += [
        PlanRow(prompt(), knockouts=(_WiderKnockout((0,), (1,), (0,), h),)) for h in [(), (1,)]
    ]
    assert len({plan_digest(ProbePlan((row,))) for row in rows}) == 4


def test_a_wider_prompt_hides_only_what_is_only_shown() -> None:
    """Names that a prompt may hide are no names that a row may hide."""

    @dataclass(frozen=True, eq=False)
    class Row(PlanRow):
        tokens: tuple[int, ...] = ()

    one, other = (ProbePlan((Row(prompt(), tokens=tokens),)) for tokens in ((1,), (2,)))
    assert plan_digest(one) != plan_digest(other)


def noisy(noise: np.ndarray) -> str:
    return plan_digest(ProbePlan((PlanRow(prompt(), Corruption((0, 1), noise)),)))


def test_noise_counts_by_shape_type_and_value_and_not_by_layout() -> None:
    noise = np.arange(6.0).reshape(2, 3)
    assert noisy(noise) == noisy(np.asfortranarray(noise)) == noisy(noise.copy())
    assert noisy(noise) == noisy(np.arange(12.0)[::2].reshape(2, 3) / 2)
    others = [noise.reshape(3, 2), noise.astype(np.float32), noise.view(np.int64), noise.T.copy()]
    others += [np.nextafter(noise, np.inf)]
    assert len({noisy(noise), *map(noisy, others)}) == 6


def test_ids_count_by_value_and_not_by_their_integer_type() -> None:
    plain = plan_digest(ProbePlan((PlanRow(prompt((5, 6))),)))
    assert plan_digest(ProbePlan((PlanRow(prompt(tuple(np.array([5, 6])))),))) == plain


def test_what_rows_share_is_read_once() -> None:
    reads = []

    class Noise(np.ndarray):
        def tobytes(self, *args: Any) -> bytes:
            reads.append(1)
            return super().tobytes(*args)

    shared = Corruption((0,), noise=np.ones((1, 4)).view(Noise))
    rows = tuple(PlanRow(ROW.prompt, shared, (Restoration("mlp", (i,), (0,)),)) for i in range(50))
    apart = tuple(
        replace(row, prompt=prompt(), corruption=Corruption((0,), noise=np.ones((1, 4))))
        for row in rows
    )
    assert plan_digest(ProbePlan(rows)) == plan_digest(ProbePlan(apart))
    assert len(reads) == 1


def test_a_part_without_a_plain_form_is_refused() -> None:
    with pytest.raises(TypeError):
        plan_digest(ProbePlan((PlanRow(prompt(({1},))),)))


def test_another_process_finds_the_same_digest() -> None:
    script = (
        "from pytest_ragshortcut.core.digests import plan_digest\n"
        "from pytest_ragshortcut.core.plans import *\n"
        "from pytest_ragshortcut.core.prompts import TokenizedPrompt\n"
        "of = TokenizedPrompt('other', (5, 6), (), {}, 2, (7,))\n"
        "noise = np.arange(6.0).reshape(2, 3)\n"
        "row = PlanRow(of, Corruption((0, 1), noise=noise), (Restoration('mlp', (0, 1), (1,)),),\n"
        "    (Knockout((0,), (1,), (0, 1)),))\n"
        "print(plan_digest(ProbePlan((row,))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ, PYTHONHASHSEED="7"),
    )
    assert done.stdout.strip() == plan_digest(ProbePlan((ROW,)))
