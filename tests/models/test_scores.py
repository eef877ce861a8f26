"""Attention over sets of keys, merged, against one dense softmax over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_ragshortcut.models.incremental import scores
from pytest_ragshortcut.models.incremental.scores import Attended, Scoring, attend, merge

CLOSE = {torch.float64: 1e-12, torch.float32: 2e-5}


@dataclass(frozen=True)
class Keys:
    """One set of keys: its values, and which queries do not see which key."""

    key: torch.Tensor
    value: torch.Tensor
    hidden: torch.Tensor | None


@dataclass(frozen=True)
class Scene:
    query: torch.Tensor
    sets: tuple[Keys, ...]
    scoring: Scoring

    def attended(self, index: int) -> Attended:
        keys = self.sets[index]
        return attend(self.query, keys.key, keys.value, self.scoring, hidden=keys.hidden)

    def dense(self, *indices: int) -> Attended:
        return dense(self.query, [self.sets[index] for index in indices], self.scoring)


def dense(query: torch.Tensor, sets: Sequence[Keys], scoring: Scoring) -> Attended:
    """Attend to the union of the sets, query by query, in double precision."""
    shape = query.shape[:-1]
    output = torch.zeros(*shape, sets[0].value.shape[-1], dtype=torch.float64)
    log_total = torch.full(shape, -torch.inf, dtype=torch.float64)
    for at in torch.cartesian_prod(*(torch.arange(size) for size in shape)).tolist():
        batch, kv, _, row = at
        found, values = [], []
        for keys in sets:
            for index in range(keys.key.shape[-2]):
                blocked = keys.hidden is not None and bool(
                    keys.hidden[batch % len(keys.hidden), row, index]
                )
                if not blocked:
                    product = query[tuple(at)].double() @ keys.key[batch, kv, index].double()
                    found.append(capped(scoring, product * scoring.scale))
                    values.append(keys.value[batch, kv, index].double())
        if found:
            chosen = torch.stack(found)
            output[tuple(at)] = chosen.softmax(0) @ torch.stack(values)
            log_total[tuple(at)] = chosen.logsumexp(0)
    return Attended(output, log_total)


def capped(scoring: Scoring, score: torch.Tensor) -> torch.Tensor:
    cap = scoring.softcap
    return score if cap is None else cap * torch.tanh(score / cap)


def assert_equal(found: Attended, expected: Attended, close: float) -> None:
    torch.testing.assert_close(found.output.double(), expected.output, rtol=close, atol=close)
    torch.testing.assert_close(found.log_total.double(), expected.log_total, rtol=close, atol=close)


def drawn(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@st.composite
def scenes(draw: st.DrawFn, n_sets: int = 3) -> Scene:
    size = st.integers(1, 3)
    n_batch, n_kv, group, n_queries = draw(size), draw(size), draw(size), draw(st.integers(1, 5))
    width, value_width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    sets = []
    for _ in range(n_sets):
        n_keys = draw(st.integers(1, 6))
        share = draw(st.sampled_from([None, 0.0, 0.5, 1.0]))
        n_hidden = draw(st.sampled_from([1, n_batch]))
        hidden = None
        if share is not None:
            hidden = torch.rand(n_hidden, n_queries, n_keys, generator=generator) < share
        key, value = (drawn(generator, n_batch, n_kv, n_keys, w) for w in (width, value_width))
        sets.append(Keys(key.to(dtype), value.to(dtype), hidden))
    # Scores of hundreds overflow an exponential that the largest is not taken from.
    scale = draw(st.sampled_from([1.0, 0.1, 300.0]))
    return Scene(
        drawn(generator, n_batch, n_kv, group, n_queries, width).to(dtype),
        tuple(sets),
        Scoring(scale, draw(st.sampled_from([None, 2.0]))),
    )


@pytest.fixture(params=[False, True], ids=["plain", "fused where it can be"], scope="module")
def smallest_fused(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param:
            patch.setattr(scores, "_FUSED_QUERIES", 1)
            patch.setattr(scores, "_FUSED_KEYS", 1)
        yield


@pytest.mark.usefixtures("smallest_fused")
@settings(max_examples=100)
@given(scene=scenes(), order=st.permutations([0, 1, 2]))
def test_sets_merged_in_any_order_are_one_softmax_over_all_of_them(
    scene: Scene, order: list[int]
) -> None:
    close = CLOSE[scene.query.dtype] * max(1.0, scene.scoring.scale)
    for index in range(3):
        assert_equal(scene.attended(index), scene.dense(index), close)
    one, two, three = (scene.attended(index) for index in order)
    expected = scene.dense(0, 1, 2)
    assert_equal(merge(merge(one, two), three), expected, close)
    assert_equal(merge(one, merge(two, three)), expected, close)


@given(scene=scenes(n_sets=2))
def test_merging_is_commutative_to_the_last_bit(scene: Scene) -> None:
    one, two = scene.attended(0), scene.attended(1)
    forth, back = merge(one, two), merge(two, one)
    assert torch.equal(forth.output, back.output)
    assert torch.equal(forth.log_total, back.log_total)


@given(scene=scenes(n_sets=1))
def test_a_query_that_sees_no_key_has_no_output_and_adds_nothing(scene: Scene) -> None:
    seen = scene.attended(0)
    blind = attend(
        scene.query,
        scene.sets[0].key,
        scene.sets[0].value,
        scene.scoring,
        hidden=torch.ones(1, scene.query.shape[-2], scene.sets[0].key.shape[-2], dtype=torch.bool),
    )
    assert not blind.output.any()
    assert bool((blind.log_total == -torch.inf).all())
    for merged in (merge(seen, blind), merge(blind, seen)):
        assert torch.equal(merged.output, seen.output)
        assert torch.equal(merged.log_total, seen.log_total)


def scene_of(n_queries: int, n_keys: int, dtype: torch.dtype, softcap: float | None) -> Scene:
    generator = torch.Generator().manual_seed(7)
    query = drawn(generator, 2, 2, 3, n_queries, 8).to(dtype)
    key, value = (drawn(generator, 2, 2, n_keys, 8).to(dtype) for _ in range(2))
    hidden = torch.rand(2, n_queries, n_keys, generator=generator) < 0.3
    hidden[:, 2] = True
    return Scene(query, (Keys(key, value, hidden),), Scoring(0.5, softcap))


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("n_numbers", [1, 100, 257, 1000])
def test_blocks_of_any_size_give_the_same(
    n_numbers: int, softcap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene_of(9, 11, torch.float64, softcap)
    keys = scene.sets[0]
    calls: list[int] = []
    block = scores._attend_block

    def counted(query: torch.Tensor, *rest: object) -> Attended:
        calls.append(query.shape[-2])
        return block(query, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(scores, "_attend_block", counted)
    whole = scene.attended(0)
    causal = attend(
        scene.query, keys.key[..., :9, :], keys.value[..., :9, :], scene.scoring, causal=True
    )
    assert calls == [9, 9]
    calls.clear()
    monkeypatch.setattr(scores, "_MAX_SCORES", n_numbers)
    assert_equal(scene.attended(0), whole, 1e-13)
    assert sum(calls) == 9
    assert all(size == 1 or size * 2 * 2 * 3 * 11 <= n_numbers for size in calls)
    in_blocks = attend(
        scene.query, keys.key[..., :9, :], keys.value[..., :9, :], scene.scoring, causal=True
    )
    assert_equal(in_blocks, causal, 1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_causal_is_a_mask_of_what_stands_behind(dtype: torch.dtype, softcap: float | None) -> None:
    scene = scene_of(7, 7, dtype, softcap)
    keys = Keys(scene.sets[0].key, scene.sets[0].value, torch.ones(1, 7, 7).triu(1).bool())
    found = attend(scene.query, keys.key, keys.value, scene.scoring, causal=True)
    assert_equal(found, dense(scene.query, [keys], scene.scoring), CLOSE[dtype])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n_tokens", [64, 130])
def test_the_fused_kernel_gives_what_the_plain_product_gives(
    causal: bool, n_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene_of(n_tokens, n_tokens, torch.float32, None)
    keys = scene.sets[0]
    used: list[bool] = []
    fused = scores._fused

    def noted(*args: torch.Tensor, causal: bool) -> Attended:
        used.append(causal)
        return fused(*args, causal=causal)  # type: ignore[arg-type]

    monkeypatch.setattr(scores, "_fused", noted)
    one = attend(scene.query, keys.key, keys.value, scene.scoring, causal=causal)
    assert used == [causal]
    monkeypatch.setattr(scores, "_FUSED_KEYS", n_tokens + 1)
    two = attend(scene.query, keys.key, keys.value, scene.scoring, causal=causal)
    assert len(used) == 1
    torch.testing.assert_close(one.output, two.output, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(one.log_total, two.log_total, rtol=1e-5, atol=1e-5)
    double = attend(
        scene.query.double(), keys.key.double(), keys.value.double(), scene.scoring, causal=causal
    )
    torch.testing.assert_close(one.output.double(), double.output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_shares_are_summed_in_at_least_single_precision(dtype: torch.dtype) -> None:
    scene = scene_of(5, 6, dtype, None)
    found = scene.attended(0)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert found.output.dtype == found.log_total.dtype == wide
    expected = scene.dense(0)
    # One rounding of the scores and one of the weights: half precision has 8 or 11 bits.
    close = {torch.bfloat16: 6e-2, torch.float16: 8e-3}.get(dtype, 2e-5)
    torch.testing.assert_close(found.output.double(), expected.output, rtol=close, atol=close)


def test_many_sets_merged_one_by_one_lose_no_precision() -> None:
    generator = torch.Generator().manual_seed(3)
    query = drawn(generator, 1, 1, 1, 4, 8).float()
    sets = [
        Keys(drawn(generator, 1, 1, 1, 8).float(), drawn(generator, 1, 1, 1, 8).float(), None)
        for _ in range(200)
    ]
    scene = Scene(query, tuple(sets), Scoring(1.0))
    merged = scene.attended(0)
    for index in range(1, 200):
        merged = merge(merged, scene.attended(index))
    assert_equal(merged, scene.dense(*range(200)), 1e-5)
