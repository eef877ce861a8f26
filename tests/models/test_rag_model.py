"""RagModel: what a probe is given of the user's model, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny
import torch

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import Corruption, Knockout, PlanRow, ProbePlan, Restoration
from pytest_ragshortcut.core.prompts import CHAT, PLAIN, Template, as_template
from pytest_ragshortcut.errors import (
    NonFiniteLogitsError,
    PromptTooLongError,
    TemplateError,
    TokenizerError,
    UnsupportedArchitectureError,
)
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.generation import MAX_ANSWER_TOKENS
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.models.reference import ReferenceExecutor

CASE = RagCase("Where was Eavan Boland born?", "Eavan Boland was born in Dublin in 1944.")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def asked(request: pytest.FixtureRequest) -> RagModel:
    return RagModel(*tiny.rag_parts(request.param))


def test_the_shape_of_the_model_is_its_own(asked: RagModel) -> None:
    assert (asked.n_layers, asked.d_model, asked.max_tokens) == (3, 32, 512)
    assert asked.template is PLAIN
    assert asked.name in {"LlamaForCausalLM", "GPT2LMHeadModel"}


def test_greedy_answers_are_those_of_step_by_step_argmax(asked: RagModel) -> None:
    prompt = asked.tokenize(asked.render(CASE))
    (generated,) = asked.generate([prompt])
    ids = list(prompt.input_ids)
    for token in generated.token_ids:
        with torch.no_grad():
            logits = asked.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        assert int(logits.argmax()) == token
        ids.append(token)
    assert 0 < len(generated.token_ids) <= MAX_ANSWER_TOKENS
    decoded = asked.tokenizer.decode(list(generated.token_ids))
    assert generated.text == decoded.strip()


def test_the_greedy_answer_is_read_as_said(asked: RagModel) -> None:
    prompt = asked.tokenize(asked.render(CASE))
    (generated,) = asked.generate([prompt])
    (reading,) = asked.run(ProbePlan((PlanRow(asked.reading(prompt, generated.token_ids)),)))
    assert reading.said


def test_alternatives_open_with_the_likeliest_tokens_in_order(asked: RagModel) -> None:
    prompt = asked.tokenize(asked.render(CASE))
    with torch.no_grad():
        logits = asked.model(input_ids=torch.tensor([prompt.input_ids])).logits[0, -1]
    firsts = logits.topk(5).indices.tolist()
    (said,) = asked.alternatives([prompt], range(5))
    opened = [generated.token_ids[0] for generated in said if generated.token_ids]
    assert opened == [token for token in firsts if token in opened]
    assert len(opened) >= 3


def test_generation_ignores_a_position_beyond_the_prompt(asked: RagModel) -> None:
    prompt = asked.tokenize(asked.render(CASE))
    reading = asked.reading(prompt, "Dublin in 1944")
    assert asked.generate([reading]) == asked.generate([prompt])


def test_embeddings_are_the_rows_of_the_embedding(asked: RagModel) -> None:
    weight = asked.model.get_input_embeddings().weight
    found = asked.embeddings([5, 9, 5])
    assert found.dtype == np.float64
    assert (found == weight[[5, 9, 5]].detach().numpy()).all()


def test_gemma_embeddings_are_scaled_as_its_first_layer_reads_them() -> None:
    built: Any = tiny.model("gemma")
    executor = tiny.executor("gemma")
    asked = RagModel.__new__(RagModel)
    asked.model, asked.architecture = built, executor.architecture
    expected = built.get_input_embeddings().weight[7].detach().numpy() * 32**0.5
    assert asked.embeddings([7])[0] == pytest.approx(expected, rel=1e-6)


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused_and_never_cut() -> None:
    built, tokenizer = tiny.rag_parts()
    asked = RagModel(built, tokenizer)
    room = asked.max_tokens - MAX_ANSWER_TOKENS
    base = len(asked.tokenize(asked.render(RagCase("Where?", "x"))).input_ids)
    fits = RagCase("Where?", "x" * (room - base + 1))
    too_long = RagCase("Where?", "x" * (room - base + 2))
    assert len(asked.tokenize(asked.render(fits)).input_ids) == room
    with pytest.raises(PromptTooLongError) as raised:
        asked.tokenize(asked.render(too_long))
    assert raised.value.n_tokens == asked.max_tokens + 1
    with pytest.raises(PromptTooLongError):
        asked.reading(asked.tokenize(asked.render(fits)), "y" * (MAX_ANSWER_TOKENS + 2))


def test_the_mask_token_is_the_first_of_its_kind_that_exists() -> None:
    built, tokenizer = tiny.rag_parts()
    assert RagModel(built, tokenizer).mask_token() == tokenizer.eos_token_id
    metaspace = tiny.metaspace_tokenizer()
    built = tiny.fresh("llama", vocab_size=len(metaspace))
    assert RagModel(built, metaspace).mask_token() == metaspace.unk_token_id


def test_a_stop_token_opens_no_alternative_and_ends_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built, tokenizer = tiny.rag_parts()
    asked = RagModel(built, tokenizer)
    prompt = asked.tokenize(asked.render(CASE))
    ((first,),) = asked.alternatives([prompt], range(1))
    monkeypatch.setattr(built.generation_config, "eos_token_id", [first.token_ids[0], 3])
    assert asked.alternatives([prompt], range(1))[0][0].token_ids == ()
    assert asked.generate([prompt])[0].text == ""


def test_another_template_asks_the_same_model() -> None:
    asked = RagModel(*tiny.rag_parts(), name="mine")
    template = Template(open_book="{context} {question} So", closed_book="{question} So")
    other = asked.with_template(template)
    assert other.model is asked.model
    assert other.name == "mine"
    assert other.render(CASE).text.endswith("born? So")
    assert asked.render(CASE).text.endswith("Answer:")


def test_templates_have_names() -> None:
    assert as_template(None) is as_template("plain") is PLAIN
    assert as_template("chat") is CHAT
    with pytest.raises(TemplateError, match="no template has this name"):
        as_template("fancy")
    with pytest.raises(TokenizerError, match="no chat template"):
        RagModel(*tiny.rag_parts(), template="chat")


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_weights_that_are_not_finite_are_refused_by_row(name: str) -> None:
    built = tiny.fresh(name, torch.float32)
    architecture = map_architecture(built)
    next(architecture.layers[1].mlp.parameters()).data[0] = float("nan")
    prompt = tiny.prompt(tiny.ids(8), (5,))
    with pytest.raises(NonFiniteLogitsError, match=r"torch\.float32") as raised:
        ReferenceExecutor(built, architecture).run(ProbePlan((PlanRow(prompt),)))
    assert raised.value.row == 0


def test_an_answer_is_not_generated_from_weights_that_are_not_finite() -> None:
    built = tiny.fresh("llama", vocab_size=len(tiny.byte_level_tokenizer()))
    built.get_output_embeddings().weight.data[3] = float("nan")
    asked = RagModel(built, tiny.byte_level_tokenizer())
    prompt = asked.tokenize(asked.render(RagCase("Where?", "Here.")))
    with pytest.raises(NonFiniteLogitsError):
        asked.generate([prompt])


def test_a_model_without_layers_is_refused() -> None:
    built = tiny.build("llama", vocab_size=99, hidden_size=32, num_attention_heads=4,
                       intermediate_size=48, num_hidden_layers=0)  # fmt: skip
    with pytest.raises(UnsupportedArchitectureError, match="no hidden layers"):
        map_architecture(built)


_MAMBA = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 3, "state_size": 4}
_LINEAR = tiny.ARCHITECTURES["llama"][1] | {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8,
    "shared_expert_intermediate_size": 16, "linear_num_key_heads": 2,
    "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "options"), [("mamba", _MAMBA), ("qwen3_next", _LINEAR)], ids=["mamba", "hybrid"]
)
def test_layers_without_attention_can_be_traced_but_not_cut(
    kind: str, options: dict[str, Any]
) -> None:
    built = tiny.build(kind, torch.float32, **options)
    executor = ReferenceExecutor(built, map_architecture(built))
    prompt = tiny.greedy_prompt(built)
    corruption = Corruption((3, 4), noise=np.ones((2, 32)))
    everywhere = tuple(range(len(prompt.input_ids)))
    clean, corrupted, restored = tiny.run(
        executor,
        PlanRow(prompt),
        PlanRow(prompt, corruption),
        PlanRow(prompt, corruption, (Restoration("residual", (0,), everywhere),)),
    )
    assert restored == pytest.approx(clean, abs=2e-5)
    assert np.abs(corrupted - clean).max() > 1e-3
    cut = PlanRow(prompt, knockouts=(Knockout((2,), prompt.readers, (0,)),))
    attention = PlanRow(prompt, restorations=(Restoration("attention", (0,), (2,)),))
    for row in (cut, PlanRow(prompt, contributions=True), attention):
        with pytest.raises(UnsupportedArchitectureError, match=r"layer 0 is .* without one"):
            executor.run(ProbePlan((row,)))
