"""The central property: the incremental executor reads what the reference executor reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_ragshortcut.core.plans import (
    COMPONENTS,
    Corruption,
    Knockout,
    PlanRow,
    ProbePlan,
    Restoration,
    layer_window,
)
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor

# These have attention code of their own, and run on the reference executor.
OWN_CODE = ("gpt_neo", "gptj", "codegen", "falcon", "bloom", "mpt", "xglm")
NAMES = tuple(name for name in tiny.NAMES if name.split("/")[0] not in OWN_CODE)
DIFFERENT = ("llama", "gpt2", "mistral", "gemma2", "gpt_oss", "deepseek_v3", "opt/post-norm")
MIN_SPAN = 0.05
# What these tiny models say hardly depends on the corruptions above.
SATURATED = {"stablelm/parallel", "ministral3"}


@cache
def incremental(name: str, dtype: torch.dtype | None = None) -> IncrementalExecutor:
    built = tiny.model(name, dtype)
    return IncrementalExecutor(built, map_architecture(built))


@pytest.fixture(autouse=True, scope="module")
def exact_softmax() -> Iterator[None]:
    """Keep eager attention from rounding a double-precision model's softmax to single."""
    rounding = torch.nn.functional.softmax

    def exact(scores: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        return rounding(scores, dim=dim, dtype=None if scores.dtype == torch.float64 else dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "softmax", exact)
        yield


def assert_agree(
    name: str,
    rows: list[PlanRow],
    dtype: torch.dtype | None = None,
    *,
    close: float | None = None,
) -> np.ndarray:
    plan = ProbePlan(tuple(rows))
    expected = tiny.executor(name, dtype).run(plan)
    found = incremental(name, dtype).run(plan)
    close = close or tiny.closeness(name, tiny.model(name, dtype).dtype)
    for row, one, other in zip(rows, expected, found, strict=True):
        assert other.logprobs == pytest.approx(one.logprobs, abs=close, rel=close), row
        assert other.said == one.said, row
    return np.array([reading.probability for reading in expected])


def width(name: str) -> int:
    return int(tiny.model(name).config.get_text_config().hidden_size)


def noise(name: str, n_span: int, seed: int = 0) -> np.ndarray:
    return 0.5 * np.random.default_rng(seed).standard_normal((n_span, width(name)))


def broad_rows(name: str, prompt: TokenizedPrompt, n_layers: int) -> list[PlanRow]:
    """List a causal map of two corruptions and all components, and knockouts of every kind."""
    corruptions = (
        Corruption((5, 6), noise=noise(name, 2)),
        Corruption((3, 9), token_ids=(7, 8)),
        Corruption((0, 1, 2), token_ids=(9, 10, 11)),
    )
    n_tokens = len(prompt.input_ids)
    rows = [PlanRow(prompt), *(PlanRow(prompt, corruption) for corruption in corruptions)]
    rows += [
        PlanRow(prompt, c, (Restoration(component, layer_window(layer, 2, n_layers), (p,)),))
        for c in corruptions
        for component in COMPONENTS
        for layer in range(n_layers)
        for p in range(0, n_tokens, 2)
    ]
    rows += [
        PlanRow(prompt, c, (Restoration("residual", (layer,), span),))
        for c in corruptions
        for layer in range(n_layers)
        for span in ((5, 6), (0, 1, 2, 3), prompt.readers)
    ]
    for sources in ((0, 1), (5,), (2, 7, 12)):
        for layer in range(n_layers):
            direct = Knockout(sources, prompt.readers, layer_window(layer, 2, n_layers))
            wide = Knockout(sources, (4, 8, n_tokens - 1), (layer,))
            mended = (Restoration("mlp", (0,), (7,)), Restoration("residual", (1,), (6, 9)))
            rows.append(PlanRow(prompt, knockouts=(direct,)))
            rows.append(PlanRow(prompt, knockouts=(wide, direct)))
            rows.append(PlanRow(prompt, corruptions[0], mended, (wide,)))
    return rows


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, None], ids=["float32", "widest"])
def test_a_broad_plan_reads_the_same_on_every_architecture(
    name: str, dtype: torch.dtype | None
) -> None:
    prompt = tiny.greedy_prompt(tiny.model(name), n_prompt=14, n_answer=2)
    n_layers = len(map_architecture(tiny.model(name)).layers)
    # Its experts' sums are rounded to twice what the others' are.
    single = 2e-5 if name == "granitemoe" else 1e-5
    close = single if dtype == torch.float32 else None
    probabilities = assert_agree(name, broad_rows(name, prompt, n_layers), dtype, close=close)
    if name not in SATURATED:
        assert np.ptp(probabilities) > MIN_SPAN


@pytest.mark.parametrize("name", NAMES)
def test_contributions_are_the_same_on_every_architecture(name: str) -> None:
    prompt = tiny.greedy_prompt(tiny.model(name), n_prompt=14, n_answer=2)
    early = tiny.prompt((*prompt.input_ids, 5, 6, 7), prompt.answer_ids, n_prompt=12)
    plan = ProbePlan((PlanRow(prompt, contributions=True), PlanRow(early, contributions=True)))
    closeness = 2e-4 if tiny.leaves_softcap_out(name) else 2e-6
    for one, other in zip(tiny.executor(name).run(plan), incremental(name).run(plan), strict=True):
        assert one.contributions is not None
        assert other.contributions is not None
        for part in ("per_head", "summed"):
            expected, found = getattr(one.contributions, part), getattr(other.contributions, part)
            assert expected.max() > 0.01
            # The reference takes its weights from eager attention, rounded to single precision.
            assert found == pytest.approx(expected, abs=closeness * expected.max())


N_TOKENS = 13
POSITIONS = st.sets(st.integers(0, N_TOKENS - 1), min_size=1, max_size=6).map(
    lambda chosen: tuple(sorted(chosen))
)


@st.composite
def drawn_rows(draw: st.DrawFn, name: str) -> list[PlanRow]:
    """Draw rows over prompts that share beginnings and read answers of several lengths."""
    n_layers = len(map_architecture(tiny.model(name)).layers)
    layers = st.builds(
        layer_window, st.integers(0, n_layers - 1), st.integers(1, 4), st.just(n_layers)
    )
    base = tiny.ids(N_TOKENS, seed=draw(st.integers(0, 2)))
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        fork = draw(st.integers(1, N_TOKENS))
        ids = base[:fork] + tiny.ids(N_TOKENS, seed=draw(st.integers(3, 5)))[fork:]
        n_answer = draw(st.integers(1, 4))
        n_prompt = draw(st.integers(max(1, N_TOKENS - 5), N_TOKENS - n_answer + 1))
        prompt = tiny.prompt(ids, tiny.ids(n_answer, seed=9), n_prompt=n_prompt)
        span = draw(st.none() | POSITIONS)
        corruption = None
        if span and draw(st.booleans()):
            corruption = Corruption(span, noise=noise(name, len(span), draw(st.integers(0, 1))))
        elif span:
            corruption = Corruption(span, token_ids=tiny.ids(len(span), seed=7))
        restorations = st.builds(Restoration, st.sampled_from(COMPONENTS), layers, POSITIONS)
        knockouts = st.builds(Knockout, POSITIONS, POSITIONS, layers)
        rows.append(
            PlanRow(
                prompt,
                corruption,
                tuple(draw(st.lists(restorations, max_size=3))),
                tuple(draw(st.lists(knockouts, max_size=2))),
            )
        )
    return rows


@pytest.mark.parametrize("name", DIFFERENT)
def test_any_plan_reads_the_same(name: str) -> None:
    @settings(max_examples=60)
    @given(rows=drawn_rows(name))
    def agree(rows: list[PlanRow]) -> None:
        assert_agree(name, rows)

    agree()


@settings(max_examples=120)
@given(data=st.data(), name=st.sampled_from(NAMES))
def test_any_plan_reads_the_same_on_any_architecture(data: st.DataObject, name: str) -> None:
    assert_agree(name, data.draw(drawn_rows(name)))


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt_oss"])
@pytest.mark.parametrize("memory", [1, 200_000, 2_000_000])
def test_a_small_memory_gives_the_same_readings_in_more_passes(name: str, memory: int) -> None:
    built = tiny.model(name)
    prompt = tiny.greedy_prompt(built, n_prompt=14, n_answer=2)
    other = tiny.greedy_prompt(built, n_prompt=11, n_answer=1, seed=4)
    rows = broad_rows(name, prompt, 3) + broad_rows(name, replace(other), 3)[:40]
    rows = [row for row in rows if max(_positions(row)) < len(row.prompt.input_ids)]
    small = IncrementalExecutor(built, map_architecture(built), memory=memory)
    plan = ProbePlan(tuple(rows))
    roomy = incremental(name).run(plan)
    for one, two in zip(roomy, small.run(plan), strict=True):
        assert two.logprobs == pytest.approx(one.logprobs, abs=1e-10)


def _positions(row: PlanRow) -> list[int]:
    found = [0, *(row.corruption.positions if row.corruption else ())]
    found += [p for r in row.restorations for p in r.positions]
    return found + [p for k in row.knockouts for p in (*k.sources, *k.targets)]


def test_bfloat16_readings_differ_by_rounding_alone() -> None:
    name, dtype = "llama", torch.bfloat16
    prompt = tiny.greedy_prompt(tiny.model(name), n_prompt=14, n_answer=2)
    plan = ProbePlan(tuple(broad_rows(name, prompt, 3)))
    expected = tiny.executor(name, dtype).run(plan)
    found = incremental(name, dtype).run(plan)
    differences = [abs(a.probability - b.probability) for a, b in zip(expected, found, strict=True)]
    assert np.median(differences) < 0.01
    assert max(differences) < 0.1
