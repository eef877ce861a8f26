"""The probes on a tiny llama against loops written by hand over plain forwards."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.corruptions import GaussianNoise
from pytest_ragshortcut.core.plans import layer_window
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.errors import PlanError
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.contributions import attention_contributions
from pytest_ragshortcut.probes.knockout import attention_knockout
from pytest_ragshortcut.probes.swap import counterfactual_swap
from pytest_ragshortcut.probes.trace import causal_trace

NOISE = GaussianNoise(n_samples=2, seed=3)
N_LAYERS = 3


def read(llama: RagModel, prompt: TokenizedPrompt, **inputs: Any) -> float:
    """Return the probability of the answer from one plain forward."""
    return float(np.exp(tiny.by_hand(llama.model, prompt, **inputs).sum()))


def embedded(llama: RagModel, prompt: TokenizedPrompt) -> torch.Tensor:
    with torch.no_grad():
        return llama.model.get_input_embeddings()(torch.tensor([prompt.input_ids])).clone()


def module(llama: RagModel, component: str, layer: int) -> torch.nn.Module:
    block: Any = llama.model.model.layers[layer]
    return {"residual": block, "attention": block.self_attn, "mlp": block.mlp}[component]


def restored_by_hand(
    llama: RagModel, prompt: TokenizedPrompt, disturbed: torch.Tensor, component: str,
    layers: tuple[int, ...], position: int | list[int],
) -> float:  # fmt: skip
    kept: dict[int, torch.Tensor] = {}

    def keep(layer: int) -> Any:
        def hook(_: Any, __: Any, output: Any) -> None:
            kept[layer] = (output[0] if isinstance(output, tuple) else output)[0, position].clone()

        return hook

    def put_back(layer: int) -> Any:
        def hook(_: Any, __: Any, output: Any) -> None:
            (output[0] if isinstance(output, tuple) else output)[0, position] = kept[layer]

        return hook

    for make, inputs in ((keep, {}), (put_back, {"inputs_embeds": disturbed})):
        with ExitStack() as stack:
            for layer in layers:
                handle = module(llama, component, layer).register_forward_hook(make(layer))
                stack.callback(handle.remove)
            value = read(llama, prompt, **inputs)
    return value


@pytest.mark.parametrize(
    ("component", "window"), [("residual", 1), ("attention", 1), ("mlp", 2), ("mlp", 9)]
)
def test_a_trace_equals_a_loop_of_hooked_forwards(
    llama: RagModel, case: RagCase, component: Any, window: int
) -> None:
    sites = ("subject", "last", "attribute", 1)
    trace = causal_trace(
        llama, case, noise=NOISE, component=component, window=window, positions=sites
    )
    prompt, clean = trace.prompt, embedded(llama, trace.prompt)
    span = list(prompt.positions("subject"))
    sigma = float(clean[0, span].std(correction=0))
    drawn = 3.0 * sigma * np.random.default_rng(3).standard_normal((2, len(span), 32))
    disturbed = [clean.clone() for _ in drawn]
    for sample, noise in zip(disturbed, drawn, strict=True):
        sample[0, span] += torch.tensor(noise)
    corrupted = [read(llama, prompt, inputs_embeds=sample) for sample in disturbed]
    assert trace.clean == pytest.approx(read(llama, prompt), rel=1e-9)
    assert trace.corrupted == pytest.approx(np.mean(corrupted), rel=1e-9)
    assert trace.total_effect == pytest.approx(trace.clean - np.mean(corrupted), abs=1e-12)
    asked = sorted({p for site in sites for p in roles(prompt, site)})
    for layer in range(N_LAYERS):
        layers = layer_window(layer, window, N_LAYERS)
        for position in asked:
            expected = [
                restored_by_hand(llama, prompt, sample, component, layers, position)
                for sample in disturbed
            ]
            assert trace.restored[layer, position] == pytest.approx(np.mean(expected), rel=1e-8)
            effect = np.mean(expected) - np.mean(corrupted)
            assert trace.indirect_effect[layer, position] == pytest.approx(effect, abs=1e-12)
    others = [p for p in range(len(prompt.input_ids)) if p not in asked]
    assert np.isnan(trace.restored[:, others]).all()
    assert np.nanmax(np.abs(trace.indirect_effect)) > 1e-4


def roles(prompt: TokenizedPrompt, site: str | int) -> tuple[int, ...]:
    return prompt.positions(site) if isinstance(site, str) else (site,)


def test_runs_restored_together_equal_a_loop_of_hooked_forwards(
    llama: RagModel, case: RagCase
) -> None:
    asked = {"corrupt": "attribute", "corruption": "mask", "positions": ("attribute", "last")}
    case = replace(case, context_answer="born in Dublin")
    alone = causal_trace(llama, case, **asked)
    trace = causal_trace(llama, case, **asked, together=("attribute", "readers"))
    prompt = trace.prompt
    span = list(prompt.positions("attribute"))
    assert len(span) > 1
    ids = torch.tensor([prompt.input_ids])
    ids[0, span] = llama.mask_token()
    disturbed = llama.model.get_input_embeddings()(ids).detach()
    for layer in range(N_LAYERS):
        expected = restored_by_hand(llama, prompt, disturbed, "residual", (layer,), span)
        assert trace.restored[layer, span] == pytest.approx(expected, rel=1e-8)
        assert trace.indirect_effect[layer, span] == pytest.approx(
            expected - trace.corrupted, abs=1e-12
        )
    # "last" is the first of two readers, and the other was not asked for.
    last = prompt.positions("last")
    assert np.array_equal(trace.restored[:, last], alone.restored[:, last])
    assert not np.allclose(trace.restored[:, span], alone.restored[:, span], rtol=1e-3)
    with pytest.raises(PlanError, match="restored together"):
        causal_trace(llama, case, together=("attribute",), screen=2)


def test_an_explicit_noise_array_is_the_noise(llama: RagModel, case: RagCase) -> None:
    drawn = causal_trace(llama, case, noise=NOISE, positions=("last",))
    span = drawn.prompt.positions("subject")
    ids = [drawn.prompt.input_ids[position] for position in span]
    array = NOISE.draw(len(span), llama.embeddings(ids))
    given = causal_trace(llama, case, corruption=array, positions=("last",))
    assert given.corrupted == drawn.corrupted
    assert (given.corruption, given.n_samples) == ("noise", 2)
    nothing = causal_trace(llama, case, corruption=np.zeros_like(array), positions=("last",))
    assert nothing.total_effect == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(PlanError, match="the noise has the shape"):
        causal_trace(llama, case, corruption=array[:, 1:])


@pytest.mark.parametrize(
    ("corrupt", "roles"),
    [
        ("subject", ("subject",)),
        ("attribute", ("attribute",)),
        ("context", ("context",)),
        ("context+subject", ("context", "subject")),
    ],
)
def test_a_mask_takes_the_place_of_every_token_of_its_span(
    llama: RagModel, case: RagCase, corrupt: str, roles: tuple[str, ...]
) -> None:
    trace = causal_trace(llama, case, corrupt=corrupt, corruption="mask", positions=("last",))
    ids = list(trace.prompt.input_ids)
    for position in trace.prompt.positions(*roles):
        ids[position] = llama.mask_token()
    masked = read(llama, trace.prompt, input_ids=torch.tensor([ids]))
    assert trace.corrupted == pytest.approx(masked, rel=1e-9)
    assert (trace.corrupt, trace.corruption, trace.n_samples) == (corrupt, "mask", 1)
    assert trace.corrupted != trace.clean


def test_the_subject_everywhere_is_masked_in_the_context_too(
    llama: RagModel, case: RagCase
) -> None:
    trace = causal_trace(
        llama, case, corrupt="subject everywhere", corruption="mask", positions=("last",)
    )
    both = trace.prompt.positions("subject", "subject in context")
    in_context = set(trace.prompt.positions("subject in context"))
    assert in_context < set(trace.prompt.positions("context"))
    ids = list(trace.prompt.input_ids)
    for position in both:
        ids[position] = llama.mask_token()
    masked = read(llama, trace.prompt, input_ids=torch.tensor([ids]))
    assert trace.corrupted == pytest.approx(masked, rel=1e-9)


def test_a_replacement_puts_its_own_tokens_in_the_place_of_the_subject(
    llama: RagModel, case: RagCase
) -> None:
    n_span = len(llama.token_ids("Eavan Boland"))
    other = next(
        text
        for text in ("Dublin Dublin", "Dublin poet", "Eavan Dublin", "Boland Eavan")
        if len(llama.token_ids(text)) == n_span
    )
    trace = causal_trace(llama, case, corruption="replace", replace_with=other, positions=("last",))
    ids = list(trace.prompt.input_ids)
    pairs = zip(trace.prompt.positions("subject"), llama.token_ids(other), strict=True)
    for position, token in pairs:
        ids[position] = token
    replaced = read(llama, trace.prompt, input_ids=torch.tensor([ids]))
    assert trace.corrupted == pytest.approx(replaced, rel=1e-9)
    with pytest.raises(PlanError, match="cannot replace"):
        causal_trace(llama, case, corruption="replace", replace_with=f"{other} and more")
    with pytest.raises(PlanError, match="without replace_with"):
        causal_trace(llama, case, corruption="replace")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"corrupt": "verb"}, "names no span"),
        ({"corruption": "blur"}, "the corruption is 'blur'"),
        ({"window": 0}, "the restored window is 0"),
        ({"positions": ("verb",)}, "no span 'verb'"),
        ({"positions": (999,)}, "position 999 does not exist"),
        ({"component": "embedding"}, "names another component"),
    ],
)
def test_a_trace_of_what_does_not_exist_is_refused(
    llama: RagModel, case: RagCase, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(PlanError, match=problem):
        causal_trace(llama, case, **({"noise": NOISE} | options))


def test_closed_book_the_memory_answer_is_traced(llama: RagModel, case: RagCase) -> None:
    trace = causal_trace(llama, case, book="closed", noise=NOISE, positions=("subject",))
    assert trace.prompt.text == "Question: Where was Eavan Boland born?\nAnswer:"
    assert trace.prompt.answer_ids == llama.token_ids("Cork")
    with pytest.raises(PlanError, match="names no span"):
        causal_trace(llama, case, book="closed", corrupt="context", noise=NOISE)


def knocked_by_hand(
    llama: RagModel, prompt: TokenizedPrompt, cuts: list[tuple[int, int]], layers: tuple[int, ...]
) -> float:
    """Cut (source, target) edges through the mask that each attention module is given."""
    n_tokens = len(prompt.input_ids)
    lowest = torch.finfo(torch.float64).min
    mask = torch.full((n_tokens, n_tokens), lowest, dtype=torch.float64).triu(1)
    for source, target in cuts:
        if source != target:
            mask[target, source] = lowest

    def give(_: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        return args, kwargs | {"attention_mask": mask[None, None]}

    with ExitStack() as stack:
        for layer in layers:
            attention = module(llama, "attention", layer)
            handle = attention.register_forward_pre_hook(give, with_kwargs=True)
            stack.callback(handle.remove)
        return read(llama, prompt)


@pytest.mark.parametrize("window", [1, 2, 9, None])
@pytest.mark.parametrize("through_question", [False, True])
def test_a_knockout_equals_a_loop_of_masked_forwards(
    llama: RagModel, case: RagCase, window: int | None, through_question: bool
) -> None:
    sources = ("subject", "attribute", "context", "question", "template", "passage_1")
    result = attention_knockout(
        llama, case, sources=sources, window=window, through_question=through_question
    )
    prompt = result.prompt
    windows = [layer_window(c, window or 99, N_LAYERS) for c in range(N_LAYERS if window else 1)]
    if window is None:
        windows = [tuple(range(N_LAYERS))]
    assert result.probability.shape == (len(sources), len(windows))
    assert result.clean == pytest.approx(read(llama, prompt), rel=1e-9)
    for source, row in zip(sources, result.probability, strict=True):
        span = prompt.positions(source)
        cuts = [(s, reader) for s in span for reader in prompt.readers]
        if through_question:
            carriers = set(prompt.positions("question", "template")) - set(span)
            cuts += [(s, t) for s in span for t in carriers - set(prompt.readers)]
        expected = [knocked_by_hand(llama, prompt, cuts, layers) for layers in windows]
        assert row == pytest.approx(np.array(expected), rel=1e-8)
    assert result.change("subject")[0] == pytest.approx(result.probability[0, 0] / result.clean - 1)
    assert np.abs(result.relative_change).min(axis=1).max() > 1e-3
    assert result.route == ("through question" if through_question else "direct")


def test_a_knockout_of_a_window_of_no_layer_or_an_unknown_source_is_refused(
    llama: RagModel, case: RagCase
) -> None:
    with pytest.raises(PlanError, match="the knockout window is 0"):
        attention_knockout(llama, case, window=0)
    with pytest.raises(PlanError, match="no span 'passage_7'"):
        attention_knockout(llama, case, sources=("passage_7",))


def test_contributions_of_a_role_are_the_largest_of_its_tokens(
    llama: RagModel, case: RagCase
) -> None:
    result = attention_contributions(llama, case)
    positions = list(result.prompt.positions("attribute"))
    assert (result.of("attribute") == result.summed[:, positions].max(axis=1)).all()
    assert result.per_head.shape == (N_LAYERS, 4, len(result.prompt.input_ids))
    closed = attention_contributions(llama, case, book="closed")
    assert closed.summed.shape[1] < result.summed.shape[1]


def test_a_swap_reads_both_answers_in_the_swapped_prompt(llama: RagModel, case: RagCase) -> None:
    swap = counterfactual_swap(llama, case, ["Rome", "Oslo"])
    said = str(case.answer)
    for index, substitute in enumerate(("Rome", "Oslo")):
        text = (
            f"Context: Eavan Boland was born in {substitute}.\nCork is a city.\n"
            "Question: Where was Eavan Boland born?\nAnswer:"
        )
        start = llama.tokenizer(text)["input_ids"]
        probabilities = []
        for answer in (substitute, "Cork", said):
            ids = llama.tokenizer(f"{text} {answer}")["input_ids"]
            prompt = tiny.prompt(start, ids[len(start) :])
            probabilities.append(read(llama, prompt))
        assert swap.substitute_probability[index] == pytest.approx(probabilities[0], rel=1e-9)
        assert swap.memory_probability[index] == pytest.approx(probabilities[1], rel=1e-9)
        assert swap.answer_probability[index] == pytest.approx(probabilities[2], rel=1e-9)
        follow = probabilities[0] / sum(probabilities[:2])
        assert swap.follow_each[index] == pytest.approx(follow, rel=1e-9)
    assert swap.follow == pytest.approx(swap.follow_each.mean())
    assert swap.substitutes == ("Rome", "Oslo")
