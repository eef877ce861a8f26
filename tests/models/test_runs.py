"""Runs whose states are kept: which are dropped, what flattening keeps, what sharing saves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_ragshortcut.core.plans import Corruption, Knockout, PlanRow, ProbePlan, Restoration
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.incremental.runs import KeptRun, RunStore, common_prefix

N_LAYERS, N_QUERIES = 2, 3
STATE_BYTES = 4 * N_LAYERS * (4 + 2 + 3)
"""What the states of a token take, at the least."""


def kept(ids: tuple[int, ...], first: int = 0, parent: KeptRun | None = None) -> KeptRun:
    """Make a run with states of its own from `first` on, unlike all others."""
    run = KeptRun(ids, first, parent, len(ids))
    n_own = len(ids) - first
    for _ in range(N_LAYERS):
        run.inputs.append(torch.rand(n_own, 4))
        run.keys.append(torch.rand(1, n_own, 2))
        run.values.append(torch.rand(1, n_own, 3))
        run.queries.append(torch.rand(2, min(n_own, N_QUERIES), 2))
    return run


def holder(run: KeptRun, position: int) -> KeptRun:
    while position < run.first:
        assert run.parent is not None
        run = run.parent
    return run


def states(run: KeptRun, position: int) -> list[torch.Tensor]:
    held, at = holder(run, position), position - holder(run, position).first
    return [
        torch.cat([held.inputs[i][at], held.keys[i][0, at], held.values[i][0, at]])
        for i in range(N_LAYERS)
    ]


@st.composite
def chains(draw: st.DrawFn) -> KeptRun:
    """Draw a run above up to three others, each flattened before the next one shares some of it."""
    length = draw(st.integers(2, 8))
    run = kept(tuple(range(length)))
    for generation in range(1, draw(st.integers(1, 4))):
        below = run.flattened()
        shared = draw(st.just(len(run.ids)) | st.integers(1, len(run.ids)))
        own = tuple(100 * generation + i for i in range(draw(st.integers(1, 5))))
        run = kept(run.ids[:shared] + own, shared, below)
    return run


@given(run=chains(), bounds=st.tuples(st.integers(0, 25), st.integers(0, 25)))
def test_providers_are_the_stretches_of_those_who_hold_them(
    run: KeptRun, bounds: tuple[int, int]
) -> None:
    start, stop = sorted(min(bound, len(run.ids)) for bound in bounds)
    found = run.providers(start, stop)
    assert [p for _, a, b in found for p in range(a, b)] == list(range(start, stop))
    assert all(each is holder(run, p) for each, a, b in found for p in range(a, b))
    assert all(a < b for _, a, b in found)
    assert run.providers(start) == run.providers(start, len(run.ids))


@given(run=chains())
def test_a_flattened_run_has_the_same_states_and_at_most_one_ancestor(run: KeptRun) -> None:
    flat = run.flattened()
    assert flat.ids == run.ids
    assert len(flat.lineage()) <= 2
    assert flat.flattened() is flat
    for position in range(len(run.ids)):
        pairs = zip(states(flat, position), states(run, position), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    for position in range(flat.first_query, len(run.ids)):
        held = holder(run, position)
        for found, expected in zip(flat.queries, held.queries, strict=True):
            one = found[:, position - flat.first_query]
            assert torch.equal(one, expected[:, position - held.first_query])


def test_a_run_that_goes_on_where_another_ends_keeps_the_queries_of_both() -> None:
    root = kept(tuple(range(9)))
    tail = kept((*root.ids, 20, 21), 9, root)
    assert tail.first_query == 9
    further = kept((*tail.ids, 30), 11, tail).flattened()
    assert (further.first, further.first_query) == (9, 9)
    # Between these and the parent's are tokens whose queries nobody kept.
    assert kept((*tail.ids, 30, 31, 32, 33), 11, tail).flattened().first_query == 12


def test_a_store_drops_the_least_recently_used_when_bytes_run_out() -> None:
    one, two, three = (kept((number,) * 4) for number in (1, 2, 3))
    assert one.n_bytes >= 4 * STATE_BYTES
    store = RunStore(max_bytes=2 * one.n_bytes)
    store.add(one)
    store.add(two)
    assert store.find(one.ids) is one
    store.add(three)
    assert store.find(two.ids) is None
    assert store.find(one.ids) is one
    assert store.find(three.ids) is three
    store.clear()
    assert len(store) == 0
    assert store.find(one.ids) is None


def test_a_large_run_takes_the_place_of_several() -> None:
    small = [kept((number,) * 3) for number in (1, 2, 3)]
    store = RunStore(max_bytes=3 * small[0].n_bytes)
    for run in small:
        store.add(run)
    assert len(store) == 3
    store.add(kept((4,) * 8))
    assert len(store) == 1
    assert store.find((4,) * 8) is not None


def test_a_store_keeps_the_last_run_however_large() -> None:
    store = RunStore(max_bytes=1)
    for number in range(3):
        store.add(kept((number,) * 4))
        assert len(store) == 1
    assert store.find((2,) * 4) is not None


def test_the_longest_prefix_is_that_of_the_run_that_shares_most() -> None:
    store = RunStore(max_bytes=1 << 20)
    assert store.longest_prefix((1, 2)) == (None, 0)
    runs = [kept((1, 2, 3, 4)), kept((1, 2, 5, 6, 7)), kept((9,))]
    for run in runs:
        store.add(run)
    assert store.longest_prefix((1, 2, 5, 6, 8)) == (runs[1], 4)
    assert store.longest_prefix((1, 2, 3)) == (runs[0], 3)
    assert store.longest_prefix((1, 2, 3, 4, 5)) == (runs[0], 4)
    assert store.longest_prefix((4, 1)) == (None, 0)


@settings(max_examples=100)
@given(
    acts=st.lists(st.tuples(st.sampled_from("add find".split()), st.integers(0, 30)), max_size=25),
    size=st.integers(1, 30),
)
def test_a_run_is_never_kept_without_those_it_needs_nor_beyond_the_bytes(
    acts: list[tuple[str, int]], size: int
) -> None:
    store = RunStore(max_bytes=size * STATE_BYTES)
    kept_now: list[KeptRun] = []
    for number, (act, which) in enumerate(acts):
        chosen = kept_now[which % len(kept_now)] if kept_now else None
        if act == "find" and chosen:
            assert store.find(chosen.ids) is chosen
        else:
            shared = 0 if chosen is None else which % (len(chosen.ids) + 1)
            parent = chosen if shared else None
            ids = (chosen.ids[:shared] if chosen else ()) + (1000 + number,)
            kept_now.append(kept(ids, shared, parent).flattened())
            store.add(kept_now[-1])
        kept_now = list(store._runs.values())
        assert sum(run.n_bytes for run in kept_now) <= store.max_bytes or len(store) == 1
        assert {r for run in kept_now for r in run.lineage()} <= set(kept_now)
        assert store.n_bytes == sum(run.n_bytes for run in kept_now)


@given(
    prompts=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), max_size=20),
    ids=st.lists(st.integers(0, 2), min_size=1, max_size=7).map(tuple),
)
def test_no_run_shares_more_than_the_longest_prefix(
    prompts: list[tuple[int, ...]], ids: tuple[int, ...]
) -> None:
    store = RunStore(max_bytes=8 * 6 * STATE_BYTES)
    for prompt in prompts:
        store.add(kept(prompt))
    run, shared = store.longest_prefix(ids)
    assert shared == max((common_prefix(each, ids) for each in store._runs), default=0)
    assert run is None if shared == 0 else run is not None and run.ids[:shared] == ids[:shared]


def test_what_rows_add_to_a_run_is_weighed_when_the_store_is_trimmed() -> None:
    one, two = kept((1,) * 4), kept((2,) * 4)
    store = RunStore(max_bytes=2 * one.n_bytes + 100)
    store.add(one)
    store.add(two)
    store.trim()
    assert len(store) == 2
    assert store.find(two.ids) is two
    two.components["mlp", 0, 1] = torch.rand(100)
    store.trim()
    assert store.find(one.ids) is None
    assert store.n_bytes == two.n_bytes


def test_to_keep_one_more_run_is_no_dearer_for_those_that_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weigh, weighed = KeptRun.n_bytes.fget, []
    assert weigh is not None

    def counted_weigh(run: KeptRun) -> int:
        weighed.append(run)
        return int(weigh(run))

    monkeypatch.setattr(KeptRun, "n_bytes", property(counted_weigh))
    store = RunStore(max_bytes=1 << 30)
    for number in range(100):
        store.add(kept((number, 1)))
    assert len(weighed) == 100


@contextmanager
def counted(executor: IncrementalExecutor) -> Iterator[list[int]]:
    """Count the tokens that pass through each layer's MLP."""
    counts = [0] * len(executor.architecture.layers)

    def count(layer: int, hidden: torch.Tensor) -> None:
        counts[layer] += hidden.shape[:-1].numel()

    with ExitStack() as stack:
        for index, layer in enumerate(executor.architecture.layers):
            assert layer.mlp is not None
            handle = layer.mlp.register_forward_pre_hook(
                lambda _, args, index=index: count(index, args[0])
            )
            stack.callback(handle.remove)
        yield counts


def reading(ids: tuple[int, ...]) -> TokenizedPrompt:
    return tiny.prompt(ids, (5,))


BASE = tiny.ids(20)
OTHER = tiny.ids(20, seed=1)
# name -> the prompt, and how many of its tokens are not shared with BASE. A run has at least one
# token of its own, and sharing few of them is not worth it.
FOLLOWERS = {
    "extends it": (BASE + OTHER[:6], 6),
    "parts from it": (BASE[:12] + OTHER[:8], 8),
    "parts from it at the last token": (BASE[:19] + OTHER[:1], 1),
    "is a beginning of it": (BASE[:15], 1),
    "shares eight tokens": (BASE[:8] + OTHER[:5], 5),
    "shares too few tokens": (BASE[:7] + OTHER[:5], 12),
    "shares nothing": (OTHER, 20),
    "is the same": (BASE, 0),
}


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize("follower", FOLLOWERS)
def test_a_prompt_costs_the_tokens_behind_the_prefix_that_it_shares(
    name: str, follower: str
) -> None:
    ids, n_new = FOLLOWERS[follower]
    executor = tiny.incremental(name)
    with counted(executor) as counts:
        executor.run(ProbePlan((PlanRow(reading(BASE)),)))
        # In the last layer only the reader is more than keys and values.
        assert counts == [20, 20, 1]
        executor.run(ProbePlan((PlanRow(reading(ids)),)))
    is_new = ids != BASE
    assert counts == [20 + n_new, 20 + n_new, 1 + is_new]


def test_prompts_of_one_plan_share_what_they_have_in_common() -> None:
    fork = BASE[:12] + OTHER[:8]
    prompts = [BASE, fork, fork[:16] + OTHER[10:14], BASE + OTHER[:3], BASE]
    executor = tiny.incremental("llama")
    with counted(executor) as counts:
        executor.run(ProbePlan(tuple(PlanRow(reading(ids)) for ids in prompts)))
    assert counts == [20 + 8 + 4 + 3, 20 + 8 + 4 + 3, 4]


def test_an_answer_that_grows_costs_one_token_a_step() -> None:
    executor = tiny.incremental("llama")
    with counted(executor) as counts:
        for stop in range(20, 30):
            ids = (BASE + OTHER)[:stop]
            executor.next_logits([ids])
            assert counts[:2] == [stop, stop]
            run = executor.keeper.store.find(ids)
            assert run is not None
            assert len(run.lineage()) <= 2


def test_nothing_is_shared_with_what_was_forgotten() -> None:
    executor = tiny.incremental("llama")
    with counted(executor) as counts:
        executor.next_logits([BASE])
        executor.forget()
        executor.next_logits([BASE + OTHER[:6]])
    assert counts[0] == 20 + 26


def rows(ids: tuple[int, ...], width: int) -> list[PlanRow]:
    """List rows that read a prompt's states on both sides of any fork."""
    prompt = tiny.prompt(ids, (5, 6))
    last = len(ids)
    noise = np.random.default_rng(0).standard_normal((2, width))
    corruptions = Corruption((4, 9), noise=noise), Corruption((last - 3,), token_ids=(8,))
    return [
        PlanRow(prompt, contributions=True),
        PlanRow(prompt, knockouts=(Knockout((1, 9, last - 2), prompt.readers, (0, 1, 2)),)),
        *(
            PlanRow(prompt, corruption, (Restoration(component, (0, 1), (6, last - 2)),))
            for corruption in corruptions
            for component in ("residual", "attention", "mlp")
        ),
    ]


@pytest.mark.parametrize(
    ("name", "dtype", "close", "memory"),
    [
        ("llama", torch.float32, 1e-5, None),
        *((name, None, 1e-10, None) for name in ("llama", "gpt2", "mistral", "gpt_oss")),
        # One run is kept at a time, and computed a few tokens at a time.
        ("llama", None, 1e-10, 20_000),
    ],
)
def test_prompts_that_share_read_what_they_read_alone(
    name: str, dtype: torch.dtype | None, close: float, memory: int | None
) -> None:
    width = int(tiny.model(name).config.get_text_config().hidden_size)
    fork = BASE[:12] + OTHER[:8]
    above = fork[:16] + OTHER[10:14]
    prompts = [BASE, BASE + OTHER[:6], fork, above, fork[:15], BASE[:7] + OTHER[:5], BASE]
    sharing = tiny.incremental(name, dtype, memory=memory)
    for ids in prompts:
        plan = ProbePlan(tuple(rows(ids, width)))
        alone = tiny.incremental(name, dtype).run(plan)
        for found, expected in zip(sharing.run(plan), alone, strict=True):
            assert found.logprobs == pytest.approx(expected.logprobs, abs=close)
            assert found.said == expected.said
            if expected.contributions is not None:
                assert found.contributions is not None
                for part in ("per_head", "summed"):
                    one, two = (getattr(r.contributions, part) for r in (found, expected))
                    assert one == pytest.approx(two, abs=close)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral"])
def test_a_prompt_above_a_shared_prefix_reads_what_a_plain_forward_reads(name: str) -> None:
    executor = tiny.incremental(name)
    executor.next_logits([BASE])
    for ids, _ in FOLLOWERS.values():
        (found,) = executor.run(ProbePlan((PlanRow(tiny.prompt(ids, (5, 6))),)))
        plain = tiny.by_hand(tiny.model(name), tiny.prompt(ids, (5, 6)))
        assert found.logprobs == pytest.approx(plain, abs=1e-5)
