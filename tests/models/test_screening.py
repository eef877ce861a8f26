"""Gradient screening: the estimate is the derivative it says, however and wherever it is taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from transformers import PreTrainedModel
from untouched import failing, in_training, untouched

from pytest_ragshortcut.core.plans import Array, Component, Corruption, PlanRow, ProbePlan
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.screening import Screening
from pytest_ragshortcut.errors import ModelError, PlanError
from pytest_ragshortcut.models import screening as screening_module
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.executors import Executor
from pytest_ragshortcut.models.hooks import component_module
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.incremental.gradients import SuffixForward
from pytest_ragshortcut.models.incremental.memory import budget_of
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.models.reference import ReferenceExecutor
from pytest_ragshortcut.models.screening import estimate_effects

FIRST, SPAN = 7, (7, 8)


def noises(model: PreTrainedModel, n_samples: int = 2, size: float = 0.3) -> tuple[Corruption, ...]:
    width = model.config.get_text_config().hidden_size
    drawn = size * np.random.default_rng(1).standard_normal((n_samples, len(SPAN), width))
    return tuple(Corruption(SPAN, noise=noise) for noise in drawn)


def asked(
    model: PreTrainedModel,
    component: Component = "residual",
    corruptions: Sequence[Corruption] | None = None,
) -> Screening:
    prompt = tiny.greedy_prompt(model, n_prompt=11, n_answer=2)
    return Screening(prompt, tuple(corruptions or noises(model)), component)


def whole(model: PreTrainedModel, screening: Screening) -> Array:
    """Estimate from whole forwards."""
    architecture = map_architecture(model)
    executor = ReferenceExecutor(model, architecture)
    return estimate_effects(model, architecture, executor, screening)


def restricted(executor: IncrementalExecutor, screening: Screening) -> Array:
    """Estimate above a kept run; whole forwards are no way out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(screening_module, "_WholeForwards")
        return estimate_effects(executor.model, executor.architecture, executor, screening)


# The derivative, once more and by hand.

# Wide, for what is computed in float32; narrower where a wide step would cross a ReLU's bend.
STEP = 0.02
NARROWER = {"opt": 1e-4}


def differentiated(model: PreTrainedModel, screening: Screening) -> Array:
    """Move each state a little from corrupted towards clean, and see how fast p changes."""
    prompt, step = screening.prompt, NARROWER.get(model.config.model_type, STEP)
    layers = [
        component_module(layer, screening.component) for layer in map_architecture(model).layers
    ]
    clean = run(model, prompt, None, layers, {})[1]
    positions = range(FIRST, len(prompt.input_ids))
    cells = [(layer, p) for layer in range(len(layers)) for p in positions]
    total = np.zeros((len(layers), len(prompt.input_ids)))
    for corruption in screening.corruptions:
        for weight, steps in ((8, 1), (-8, -1), (-1, 2), (1, -2)):
            moved = dict.fromkeys(cells, (steps * step, clean))
            values, _ = run(model, prompt, corruption, layers, moved)
            for cell, value in zip(cells, values, strict=True):
                total[cell] += weight * value / (12 * step)
    return total / len(screening.corruptions)


def run(
    model: PreTrainedModel,
    prompt: TokenizedPrompt,
    corruption: Corruption | None,
    modules: Sequence[nn.Module],
    moved: dict[tuple[int, int], tuple[float, list[torch.Tensor]]],
) -> tuple[Array, list[torch.Tensor]]:
    """Return p of one row for each moved state, and every layer's states in the first row."""
    rows = list(moved) or [(0, 0)]
    ids = torch.tensor([prompt.input_ids] * len(rows))
    states: list[torch.Tensor] = []

    def disturb(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        assert corruption is not None
        changed = output.clone()
        changed[:, list(corruption.positions)] += torch.tensor(corruption.noise)
        return changed

    def move(layer: int) -> Any:
        def hook(_: Any, __: Any, output: Any) -> Any:
            first = output[0] if isinstance(output, tuple) else output
            changed = first.clone()
            view = changed.view(len(rows), -1, changed.shape[-1])
            states.append(view[0].clone())
            for row, (at, position) in enumerate(rows):
                if at == layer and (at, position) in moved:
                    step, clean = moved[at, position]
                    own = view[row, position].clone()
                    view[row, position] = own + step * (clean[layer][position] - own)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return hook

    with ExitStack() as stack:
        if corruption is not None and corruption.noise is not None:
            handle = model.get_input_embeddings().register_forward_hook(disturb)
            stack.callback(handle.remove)
        if corruption is not None and corruption.token_ids is not None:
            ids[:, list(corruption.positions)] = torch.tensor(corruption.token_ids)
        for index, module in enumerate(modules):
            stack.callback(module.register_forward_hook(move(index)).remove)
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits[:, list(prompt.readers)]
    answer = torch.tensor(prompt.answer_ids).expand(len(rows), -1)[..., None]
    logprobs = torch.log_softmax(logits.double(), dim=-1).gather(-1, answer)[..., 0].sum(dim=-1)
    return logprobs.exp().numpy(), states


@pytest.mark.parametrize(
    "name",
    "llama gpt2 gemma2 mistral qwen3 gpt_neox opt olmo2 qwen3_moe gpt_oss gptj falcon mpt".split(),
)
def test_the_estimate_is_the_derivative_of_p(name: str) -> None:
    model = tiny.model(name)
    screening = asked(model)
    expected = differentiated(model, screening)
    largest = np.abs(expected).max()
    assert largest > 1e-4
    assert whole(model, screening) == pytest.approx(expected, rel=1e-4, abs=1e-4 * largest)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "opt", "mixtral", "falcon"])
@pytest.mark.parametrize("component", ["attention", "mlp"])
def test_so_it_is_for_what_sub_layers_compute(name: str, component: Component) -> None:
    model = tiny.model(name)
    screening = asked(model, component)
    expected = differentiated(model, screening)
    largest = np.abs(expected).max()
    assert largest > 1e-4
    assert whole(model, screening) == pytest.approx(expected, rel=1e-4, abs=1e-4 * largest)


def test_so_it_is_where_other_tokens_stand_in_the_place_of_the_span() -> None:
    model = tiny.model("llama")
    replaced = tuple(Corruption(SPAN, token_ids=ids) for ids in ((5, 6), (40, 41)))
    screening = asked(model, corruptions=replaced)
    expected = differentiated(model, screening)
    largest = np.abs(expected).max()
    assert largest > 1e-4
    assert whole(model, screening) == pytest.approx(expected, rel=1e-4, abs=1e-4 * largest)
    own = restricted(tiny.incremental("llama"), screening)
    assert own == pytest.approx(expected, rel=1e-4, abs=1e-4 * largest)


def test_a_small_corruption_is_undone_by_what_the_estimate_promises() -> None:
    """Where the model is all but linear, estimate and effect agree."""
    built, tokenizer = tiny.rag_parts()
    model = RagModel(built, tokenizer)
    screening = asked(built, corruptions=noises(built, 1, size=1e-4))
    estimate = model.estimate_effects([screening])[0]
    plain, disturbed = model.run(
        ProbePlan((PlanRow(screening.prompt), PlanRow(screening.prompt, screening.corruptions[0])))
    )
    # All of it, at the last layer, where the readers are restored.
    readers = list(screening.prompt.readers)
    lost = plain.probability - disturbed.probability
    assert estimate[-1, readers].sum() == pytest.approx(lost, rel=1e-2)


# Two ways to compute it.


@pytest.mark.parametrize("name", tiny.PACKABLE)
def test_above_a_kept_run_it_is_what_whole_forwards_give(name: str) -> None:
    model, executor = tiny.model(name), tiny.incremental(name)
    for component in ("residual", "attention", "mlp"):
        screening = asked(model, component)
        expected = whole(model, screening)
        # Gemma 2 takes the softmax in float32 whatever its weights are, and this one does not.
        close = 1e-6 if name == "gemma2" else tiny.closeness(name, model.dtype)
        assert restricted(executor, screening) == pytest.approx(expected, rel=1e-4, abs=close)
        assert (expected[:, :FIRST] == 0).all()
        assert np.abs(expected).max() > 1e-4


def test_the_kept_run_may_share_its_beginning_with_another() -> None:
    model, executor = tiny.model("mistral"), tiny.incremental("mistral")
    ids, others = tiny.ids(24, seed=3), tiny.ids(24, seed=4)
    for shared in (24, 12):
        before = tiny.prompt((*ids[:shared], *others[shared:20]), (5,))
        executor.run(ProbePlan((PlanRow(before),)))
    prompt = tiny.prompt((*ids[:12], *others[12:16], *ids[16:22]), (5, 6, 7))
    noise = noises(model)[0].noise
    for span in ((4, 5), (13, 14), (18, 19)):
        screening = Screening(prompt, (Corruption(span, noise=noise),), "residual")
        assert restricted(executor, screening) == pytest.approx(whole(model, screening), abs=1e-12)


@pytest.mark.parametrize("span", [(0, 1), (0, 9), (12, 13), (12, 14), (14, 15)])
def test_the_corruption_may_stand_anywhere(span: tuple[int, int]) -> None:
    model, executor = tiny.model("llama"), tiny.incremental("llama")
    # Three readers, 11 to 13, and two tokens that nobody reads from.
    prompt = tiny.prompt(tiny.ids(16), (5, 6, 7), n_prompt=12)
    (drawn, *_) = noises(model)
    screening = Screening(prompt, (Corruption(span, noise=drawn.noise),), "residual")
    if span[0] == 0:
        found = estimate_effects(executor.model, executor.architecture, executor, screening)
    else:
        found = restricted(executor, screening)
    assert found == pytest.approx(whole(model, screening), abs=1e-12)
    assert found.shape == (3, 16)
    assert (found[:, : span[0]] == 0).all()
    assert (found[:, 14:] == 0).all()
    assert found.any() == (span[0] < 14)


class Counted(SuffixForward):
    """Counts the rows of each pass."""

    passes: list[int]

    def __call__(self, rows: Any, ids: torch.Tensor) -> torch.Tensor:
        self.passes.append(len(rows))
        return super().__call__(rows, ids)


def test_memory_decides_how_many_rows_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model("llama")
    screening = asked(model, corruptions=noises(model, 5))
    expected = whole(model, screening)
    monkeypatch.setattr(screening_module, "SuffixForward", Counted)
    seen = []
    for memory in (1, 2_000_000, 1 << 40):
        monkeypatch.setattr(Counted, "passes", [], raising=False)
        executor = tiny.incremental("llama", memory=memory)
        assert restricted(executor, screening) == pytest.approx(expected, abs=1e-12)
        # One clean row each, beside the corrupted ones.
        assert sum(n - 1 for n in Counted.passes) == 5
        seen.append(len(Counted.passes))
    assert seen[0] == 5 > seen[1] > seen[2] == 1
    monkeypatch.setattr(screening_module, "budget_of", lambda model: budget_of(model, 1))
    assert whole(model, screening) == pytest.approx(expected, abs=1e-12)


def test_where_the_kept_run_gives_another_answer_whole_forwards_are_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = tiny.incremental("llama")
    model, screening = executor.model, asked(executor.model)
    expected = whole(model, screening)
    own = SuffixForward.__call__

    def check(replacement: Any) -> None:
        monkeypatch.setattr(SuffixForward, "__call__", replacement)
        found = estimate_effects(model, executor.architecture, executor, screening)
        assert (found == expected).all()

    check(lambda *args: 1.01 * own(*args))

    def fail(*_: Any) -> torch.Tensor:
        raise RuntimeError("no derivative is implemented")

    check(fail)

    def exhaust(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError):
        check(exhaust)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_changes_it_by_rounding(dtype: torch.dtype) -> None:
    expected = whole(tiny.model("llama"), asked(tiny.model("llama")))
    model = tiny.fresh("llama", dtype)
    screening = Screening(asked(tiny.model("llama")).prompt, noises(model), "residual")
    architecture = map_architecture(model)
    close = (1e-4 if dtype == torch.float32 else 0.2) * np.abs(expected).max()
    assert whole(model, screening) == pytest.approx(expected, abs=close)
    executor = IncrementalExecutor(model, architecture)
    found = estimate_effects(model, architecture, executor, screening)
    assert found == pytest.approx(expected, abs=close)


def test_an_answer_less_likely_than_float32_can_say_still_has_an_estimate() -> None:
    model = tiny.fresh("llama", torch.float32)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(4)
    prompt = asked(model).prompt
    logits = model(input_ids=torch.tensor([prompt.input_ids])).logits[0, list(prompt.readers)]
    unlikely = tiny.prompt(
        prompt.input_ids, tuple(logits.argmin(dim=-1).tolist()), n_prompt=prompt.n_prompt
    )
    with torch.no_grad():
        logprob = tiny.by_hand(model, unlikely).sum()
    assert np.float32(np.exp(logprob)) == 0.0
    assert whole(model, Screening(unlikely, noises(model), "residual")).any()


# What it cannot do, and what it leaves behind.


def test_a_screening_that_does_not_fit_the_model_is_refused() -> None:
    model = tiny.model("llama")
    prompt = asked(model).prompt
    for corruption in (Corruption((99,), token_ids=(5,)), Corruption((3,), noise=np.ones((1, 5)))):
        with pytest.raises(PlanError):
            whole(model, Screening(prompt, (corruption,), "residual"))


def test_a_gradient_that_is_no_number_is_refused() -> None:
    model = tiny.fresh("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="a gradient of LlamaForCausalLM is not finite") as caught:
        whole(model, asked(tiny.model("llama")))
    assert "float32" in caught.value.action


def executors_of(model: PreTrainedModel) -> Iterator[Executor]:
    architecture = map_architecture(model)
    yield ReferenceExecutor(model, architecture)
    yield IncrementalExecutor(model, architecture)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "opt", "qwen3_moe"])
def test_a_model_in_training_is_screened_without_dropout_and_left_in_training(name: str) -> None:
    model = in_training(name)
    screening = asked(tiny.model(name))
    expected = whole(tiny.model(name), screening)
    for executor in executors_of(model):
        with untouched(model):
            found = estimate_effects(model, map_architecture(model), executor, screening)
        assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("outside", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_estimate_needs_no_gradients_to_be_on(outside: Any, frozen: bool) -> None:
    model = tiny.fresh("llama").requires_grad_(not frozen)
    screening = asked(tiny.model("llama"))
    expected = whole(tiny.model("llama"), screening)
    for executor in executors_of(model):
        with outside(), untouched(model):
            found = estimate_effects(model, map_architecture(model), executor, screening)
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("error", [ValueError("stop"), KeyboardInterrupt()], ids=repr)
def test_an_exception_leaves_the_model_as_it_was(name: str, error: BaseException) -> None:
    model = in_training(name)
    architecture = map_architecture(model)
    screening = asked(tiny.model(name))
    places = [architecture.embedding, architecture.layers[1].layer, architecture.layers[2].mlp]
    for executor in executors_of(model):
        estimate_effects(model, architecture, executor, screening)
        for module in places:
            assert module is not None
            # The clean run is kept: the first call is the one with gradients.
            with untouched(model), failing(module, error, call=1), pytest.raises(type(error)):
                estimate_effects(model, architecture, executor, screening)


@pytest.mark.parametrize("error", [ValueError("stop"), KeyboardInterrupt()], ids=repr)
def test_so_does_one_on_the_way_back(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    model = in_training("llama")

    def stop(*_: Any, **__: Any) -> None:
        raise error

    for executor in executors_of(model):
        monkeypatch.setattr(torch.autograd, "grad", stop)
        with untouched(model), pytest.raises(type(error)):
            estimate_effects(model, map_architecture(model), executor, asked(tiny.model("llama")))


def test_a_hook_of_the_users_own_stays_and_is_called() -> None:
    model = tiny.fresh("llama")
    calls = []
    model.model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    for executor in executors_of(model):
        calls.clear()
        estimate_effects(model, map_architecture(model), executor, asked(tiny.model("llama")))
        assert calls
    calls.clear()
    model(input_ids=torch.tensor([[5, 6]]))
    assert calls == [1]


def test_a_rag_model_answers_several_screenings_in_order() -> None:
    built, tokenizer = tiny.rag_parts()
    model = RagModel(built, tokenizer)
    screenings = [asked(built, component) for component in ("residual", "mlp")]
    found = model.estimate_effects(screenings)
    for one, screening in zip(found, screenings, strict=True):
        assert one == pytest.approx(whole(built, screening), abs=1e-12)
    assert model.estimate_effects([]) == ()
