"""Attention contributions: the parts must add up to what each layer adds to the residual stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import Contributions, PlanRow, ProbePlan
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.errors import AdapterSelfCheckError
from pytest_ragshortcut.models.architectures import first_tensor, map_architecture
from pytest_ragshortcut.models.contributions import (
    _observe,
    _project,
    _scale,
    _weights_and_values,
    read_contributions,
)
from pytest_ragshortcut.models.hooks import quiet
from pytest_ragshortcut.models.reference import ReferenceExecutor

# Where the residual stream can be read between attention and MLP: as the input of this child of
# the layer. Parallel layers have no such place; there the MLP's output is taken off the layer's.
_BEFORE_MLP = {
    "bloom": "post_attention_layernorm",
    "exaone4": "mlp",
    "gemma2": "pre_feedforward_layernorm",
    "gemma3_text": "pre_feedforward_layernorm",
    "gpt2": "ln_2",
    "gpt_bigcode": "ln_2",
    "gpt_neo": "ln_2",
    "mpt": "norm_2",
    "olmo2": "mlp",
    "olmo3": "mlp",
    "opt": "final_layer_norm",
    "opt/post-norm": "self_attn_layer_norm",
    "xglm": "final_layer_norm",
    "biogpt": "final_layer_norm",
    "gpt2/scaled": "ln_2",
}
# Under eager attention transformers adds this family's ALiBi bias twice.
_REFUSED = "falcon/alibi"
NAMES = [name for name in tiny.NAMES if name != _REFUSED]
_PARALLEL = {
    "codegen", "cohere", "cohere2", "falcon", "falcon/grouped", "gpt_neox", "gptj", "phi",
    "stablelm/parallel",
}  # fmt: skip
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 2e-4}


@contextmanager
def watched(modules: dict[str, nn.Module]) -> Iterator[dict[str, torch.Tensor]]:
    """Keep the first input and the output of some modules, as (n_tokens, d_model)."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            given = args[0] if args else next(iter(kwargs.values()))
            seen[f"{name} in"] = given.reshape(-1, given.shape[-1]).clone()
            out = first_tensor(output)
            seen[f"{name} out"] = out.reshape(-1, out.shape[-1]).clone()

        return hook

    with ExitStack() as stack:
        for name, module in modules.items():
            handle = module.register_forward_hook(keep(name), with_kwargs=True)
            stack.callback(handle.remove)
        yield seen


def added_by_attention(built: PreTrainedModel, name: str, prompt: TokenizedPrompt) -> list:
    """Read off each layer what its attention adds to the residual stream."""
    layers = [item.layer for item in map_architecture(built).layers]
    modules = {str(index): layer for index, layer in enumerate(layers)}
    between = _BEFORE_MLP.get(name, "post_attention_layernorm")
    for index, layer in enumerate(layers):
        inner = "mlp" if name in _PARALLEL else between
        modules[f"{index} between"] = layer.get_submodule(inner)
    # Falcon adds the attention output to the MLP's in place: the hook's copy comes before that.
    with watched(modules) as seen:
        tiny.by_hand(built, prompt)
    found = []
    for index in range(len(layers)):
        start, stop = seen[f"{index} in"], seen[f"{index} out"]
        if name in _PARALLEL:
            found.append(stop - start - seen[f"{index} between out"])
        else:
            found.append(seen[f"{index} between in"] - start)
    return found


def read(name: str, prompt: TokenizedPrompt, dtype: torch.dtype | None = None) -> Contributions:
    (reading,) = tiny.executor(name, dtype).run(ProbePlan((PlanRow(prompt, contributions=True),)))
    assert reading.contributions is not None
    return reading.contributions


@pytest.mark.parametrize("name", NAMES)
def test_scaled_parts_and_bias_add_up_to_what_joins_the_residual_stream(name: str) -> None:
    built = tiny.model(name)
    prompt = tiny.greedy_prompt(built, n_answer=3)
    readers, architecture = list(prompt.readers), map_architecture(built)
    added = added_by_attention(built, name, prompt)
    with quiet(built):
        own, weighted, alone = _observe(built, architecture, prompt)
        for index, layer in enumerate(architecture.layers):
            weights, values = _weights_and_values(architecture, weighted[index], alone[index])
            parts, bias = _project(layer, weights[:, readers], values)
            scale = _scale(layer, own[index].output[readers])
            summed = (parts * scale).sum(dim=(0, 2)) + (bias * scale)[:, 0]
            expected = added[index][readers]
            assert expected.norm(dim=-1).min() > 1e-2
            error = (summed - expected).norm(dim=-1).max() / expected.norm(dim=-1).max()
            tolerance = 2e-4 if tiny.leaves_softcap_out(name) else _TOLERANCE[built.dtype]
            assert float(error) < tolerance, f"layer {index}"


@pytest.mark.parametrize("name", NAMES)
def test_contributions_are_what_their_shapes_say_and_vary_by_token(name: str) -> None:
    built = tiny.model(name)
    prompt = tiny.greedy_prompt(built)
    config = built.config.get_text_config()
    found = read(name, prompt)
    n_layers = len(map_architecture(built).layers)
    heads = config.num_attention_heads
    assert found.per_head.shape == (n_layers, heads, len(prompt.input_ids))
    assert found.summed.shape == (n_layers, len(prompt.input_ids))
    assert found.per_head.min() >= 0.0
    assert np.isfinite(found.per_head).all()
    # The triangle inequality: heads may cancel, they cannot add more than their norms.
    assert (found.summed <= found.per_head.sum(axis=1) + 1e-6).all()
    assert (found.summed < found.per_head.sum(axis=1) * 0.999).any()
    assert found.summed.std() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_tokens_behind_the_reader_contribute_exactly_nothing(name: str) -> None:
    built = tiny.model(name)
    ids = tiny.ids(12)
    found = read(name, tiny.prompt(ids, (5,), n_prompt=9))
    assert (found.per_head[:, :, 9:] == 0.0).all()
    assert (found.summed[:, 9:] == 0.0).all()
    assert (found.summed[:, 8] > 0.0).all()
    assert built.training is False


@pytest.mark.parametrize("name", NAMES)
def test_several_readers_are_averaged(name: str) -> None:
    ids = tiny.ids(12)
    both = read(name, tiny.prompt(ids, (5, 6), n_prompt=10))
    one, other = (read(name, tiny.prompt(ids, (5,), n_prompt=n)) for n in (10, 11))
    close = 2e-5 if tiny.precise(name) == torch.float32 else 1e-6
    assert both.per_head == pytest.approx((one.per_head + other.per_head) / 2, abs=close)
    assert both.summed == pytest.approx((one.summed + other.summed) / 2, abs=close)
    assert np.abs(one.summed - other.summed).max() > 1e-3


def window_layers(name: str) -> Sequence[bool]:
    """Say of each layer whether it attends within the window."""
    if name == "gpt_neo":
        return (False, True, False, True)
    kinds = getattr(tiny.model(name).config, "layer_types", None)
    return tuple(kind == "sliding_attention" for kind in kinds) if kinds else (True,) * 3


@pytest.mark.parametrize(
    "name",
    ["mistral", "mixtral", "phi3", "starcoder2", "gemma2", "gemma3_text", "cohere2", "olmo3",
     "exaone4", "gpt_oss", "gpt_neo"],
)  # fmt: skip
def test_tokens_outside_a_sliding_window_contribute_exactly_nothing(name: str) -> None:
    ids = tiny.ids(12)
    found = read(name, tiny.prompt(ids, (5,)))
    first_seen = len(ids) - tiny.WINDOW
    for summed, is_sliding in zip(found.summed, window_layers(name), strict=True):
        assert (summed[first_seen:] > 0.0).all()
        assert ((summed[:first_seen] == 0.0).all()) == is_sliding


def test_llama_contributions_equal_weights_times_values_through_o_proj() -> None:
    built: Any = tiny.fresh("llama")
    built.set_attn_implementation("eager")
    prompt = tiny.greedy_prompt(built)
    n_heads, n_groups, width = 4, 2, 8
    modules = {f"{i} v": layer.self_attn.v_proj for i, layer in enumerate(built.model.layers)}
    ids = torch.tensor([prompt.input_ids])
    with watched(modules) as seen, torch.no_grad():
        attentions = built(input_ids=ids, use_cache=False, output_attentions=True).attentions
    found = read("llama", prompt)
    for index, layer in enumerate(built.model.layers):
        values = seen[f"{index} v out"].view(-1, n_groups, width)
        output = layer.self_attn.o_proj.weight.view(32, n_heads, width)
        per_head, summed = [], []
        for reader in prompt.readers:
            vectors = torch.stack(
                [
                    attentions[index][0, head, reader][:, None]
                    * (values[:, head // (n_heads // n_groups)] @ output[:, head].T)
                    for head in range(n_heads)
                ]
            )
            per_head.append(vectors.norm(dim=-1))
            summed.append(vectors.sum(dim=0).norm(dim=-1))
        expected_heads = torch.stack(per_head).mean(dim=0).detach().numpy()
        expected_sum = torch.stack(summed).mean(dim=0).detach().numpy()
        # Some are above 5, where neighbouring floats are 5e-7 apart.
        assert found.per_head[index] == pytest.approx(expected_heads, rel=1e-6, abs=1e-6)
        assert found.summed[index] == pytest.approx(expected_sum, rel=1e-6, abs=1e-6)


def test_the_sinks_of_gpt_oss_take_their_share_of_the_attention() -> None:
    built: Any = tiny.fresh("gpt_oss")
    prompt = tiny.greedy_prompt(built)
    shares = []
    for sink in (-30.0, 3.0, 10.0):
        for layer in built.model.layers:
            layer.self_attn.sinks.data.fill_(sink)
        found = read_contributions(built, map_architecture(built), prompt)
        shares.append(found.summed[0].sum())
    assert shares[0] > shares[1] > 2 * shares[2] > 0.0


def test_granite_parts_carry_the_residual_multiplier() -> None:
    prompt = tiny.prompt(tiny.ids(10), (5,))
    plain, scaled = (
        tiny.fresh("granite", residual_multiplier=multiplier) for multiplier in (1.0, 0.25)
    )
    one, quarter = (read_contributions(m, map_architecture(m), prompt) for m in (plain, scaled))
    assert quarter.summed[0] == pytest.approx(one.summed[0] / 4, rel=1e-6)
    assert one.summed[0].max() > 1e-2


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "gpt_oss", "qwen2_moe", "falcon"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_lower_precision_reads_about_the_same(name: str, dtype: torch.dtype) -> None:
    prompt = tiny.prompt(tiny.ids(10), (5,))
    exact, rounded = read(name, prompt), read(name, prompt, dtype)
    close = 0.15 if dtype == torch.bfloat16 else 1e-3
    # The first layer alone: what bfloat16 rounds there grows from layer to layer.
    assert rounded.summed[0] == pytest.approx(exact.summed[0], abs=close * exact.summed[0].max())


def test_an_output_projection_of_which_the_map_knows_nothing_is_refused() -> None:
    built: Any = tiny.fresh("llama")

    class Squared(nn.Linear):
        def forward(self, heads: torch.Tensor) -> torch.Tensor:
            return super().forward(heads) ** 2

    original = built.model.layers[1].self_attn.o_proj
    squared = Squared(32, 32, bias=False, dtype=torch.float64)
    squared.weight = original.weight
    built.model.layers[1].self_attn.o_proj = squared
    prompt = tiny.prompt(tiny.ids(10), (5,))
    with pytest.raises(AdapterSelfCheckError, match="layer 1") as raised:
        read_contributions(built, map_architecture(built), prompt)
    assert raised.value.error > raised.value.max_error


def test_attention_that_computes_something_else_when_it_returns_weights_is_refused() -> None:
    built = tiny.model(_REFUSED)
    ids = torch.tensor([tiny.ids(10)])
    with torch.no_grad():
        own = built(input_ids=ids, use_cache=False).logits
        with_weights = built(input_ids=ids, use_cache=False, output_attentions=True).logits
    assert (own - with_weights).abs().max() > 0.1
    with pytest.raises(AdapterSelfCheckError, match="layer 0"):
        read(_REFUSED, tiny.prompt(tiny.ids(10), (5,)))


def test_the_answer_is_read_beside_the_contributions() -> None:
    executor: ReferenceExecutor = tiny.executor("llama")
    prompt = tiny.greedy_prompt(executor.model)
    plain, asked = executor.run(ProbePlan((PlanRow(prompt), PlanRow(prompt, contributions=True))))
    assert plain.contributions is None
    assert (asked.logprobs == plain.logprobs).all()
    assert asked.contributions is not None
