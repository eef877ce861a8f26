"""A fingerprint sees all that a model's answers depend on; a stamp, that it may have changed."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import Knockout, PlanRow, ProbePlan
from pytest_ragshortcut.models import embedded, loading
from pytest_ragshortcut.models import fingerprint as module
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.fingerprint import (
    Content,
    content_of,
    fingerprint,
    is_hooked,
    stamp,
)
from pytest_ragshortcut.models.reference import ReferenceExecutor

TOKENIZER = tiny.byte_level_tokenizer()


def printed(model: PreTrainedModel, tokenizer: Any = TOKENIZER) -> str | None:
    content = content_of(model, tokenizer).whole
    return content and fingerprint(model, content)


def test_one_model_built_twice_has_one_fingerprint() -> None:
    assert printed(tiny.fresh("llama")) == printed(tiny.fresh("llama"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("at", [0, -1])
def test_one_changed_value_of_any_weight_is_another_fingerprint(
    dtype: torch.dtype, at: int
) -> None:
    model = tiny.fresh("gpt2", dtype)
    seen = {printed(model)}
    names = [name for name, _ in model.named_parameters()]
    for name in names:
        weight = model.get_parameter(name).data.view(-1)
        before = weight[at].clone()
        weight[at] += 1
        seen.add(printed(model))
        weight[at] = before
    assert len(seen) == 1 + len(names)
    assert printed(model) == printed(tiny.fresh("gpt2", dtype))


def test_buffers_count_whether_they_are_saved_or_not() -> None:
    model = tiny.fresh("llama")
    before = printed(model)
    model.model.rotary_emb.inv_freq[0] *= 2
    doubled = printed(model)
    model.register_buffer("saved", torch.zeros(1))
    assert len({before, doubled, printed(model)}) == 3


def test_long_weights_are_read_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.fresh("llama")
    whole = printed(model)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 64)
    assert printed(model) == whole
    model.lm_head.weight.data[-1, -1] += 1
    assert printed(model) != whole


def test_weights_count_by_value_and_not_by_layout() -> None:
    model = tiny.fresh("llama")
    whole = printed(model)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data = parameter.data.T.contiguous().T
    assert printed(model) == whole


def test_tied_weights_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, ...]] = []
    content = module._content
    monkeypatch.setattr(
        module, "_content", lambda tensor: read.append(tuple(tensor.shape)) or content(tensor)
    )
    model = tiny.fresh("llama", tie_word_embeddings=True)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    printed(model)
    assert read.count((tiny.VOCABULARY, 32)) == 1


def test_reshaped_or_renamed_or_recast_weights_are_others() -> None:
    model = tiny.fresh("llama")
    model.register_buffer("a", torch.zeros(2, 3))
    seen = [printed(model)]
    for name, buffer in [
        ("a", torch.zeros(3, 2)), ("a", torch.zeros(3, 2, dtype=torch.int32)),
        ("b", torch.zeros(2, 3)),
    ]:  # fmt: skip
        del model.a
        model.register_buffer(name, buffer)
        seen.append(printed(model))
        model.register_buffer("a", None)
    assert len(set(seen)) == 4


def test_the_configuration_counts_and_its_folder_does_not() -> None:
    model = tiny.fresh("llama")
    whole = printed(model)
    model.config._name_or_path = "/somewhere/else"
    assert printed(model) == whole
    model.config.rms_norm_eps *= 2
    assert printed(model) != whole


def _attend_eagerly(model: PreTrainedModel, _: pytest.MonkeyPatch) -> None:
    model.set_attn_implementation("eager")


def _end_elsewhere(model: PreTrainedModel, _: pytest.MonkeyPatch) -> None:
    model.generation_config.eos_token_id = 3


def _run_under_another_torch(_: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.torch, "__version__", "0")


def _run_under_another_transformers(_: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.transformers, "__version__", "0")


def _run_another_version(_: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "version", lambda _: "0")


def _run_mended_code(_: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes
    mended = "reference.py"
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * (path.name == mended))


def _move_to_a_gpu(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(model), "device", property(lambda _: torch.device("cuda")))


def _round_products(_: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.torch, "get_float32_matmul_precision", lambda: "medium")


@pytest.mark.parametrize(
    "change",
    [
        _attend_eagerly, _end_elsewhere, _run_under_another_torch,
        _run_under_another_transformers, _run_another_version,
        _run_mended_code, _move_to_a_gpu, _round_products,
    ],
)  # fmt: skip
def test_circumstances_count(
    change: Callable[[PreTrainedModel, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.fresh("llama")
    whole = printed(model)
    change(model, monkeypatch)
    assert printed(model) != whole


def test_the_tokenizer_counts() -> None:
    model, seen = tiny.model("llama"), set()
    for build in tiny.TOKENIZERS.values():
        seen.add(printed(model, build()))
    ended = copy.deepcopy(TOKENIZER)
    ended.eos_token = "a"
    assert len(seen | {printed(model, ended)}) == len(tiny.TOKENIZERS) + 1


def test_what_cannot_be_read_is_like_no_other() -> None:
    """Two hooks, or two offloaded weights, may differ in ways that nothing here could see."""
    model = tiny.fresh("llama")
    whole = printed(model)
    handle = model.model.layers[0].register_forward_hook(lambda *_: None)
    assert printed(model) is None
    handle.remove()
    model.model.forward = model.model.forward
    assert printed(model) is None
    del model.model.forward
    assert printed(model) == whole
    model.lm_head.weight = nn.Parameter(torch.empty_like(model.lm_head.weight, device="meta"))
    assert printed(model) is None


def test_a_fingerprint_lasts_unless_something_has_no_content() -> None:
    model = tiny.fresh("llama")
    whole = printed(model)
    assert whole == printed(model)
    assert not is_hooked(model)
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        handle = getattr(model.model.layers[0], register)(lambda *_: None)
        assert is_hooked(model)
        assert printed(model) is None
        handle.remove()
    assert printed(model) == whole
    model.lm_head.weight = nn.Parameter(torch.empty_like(model.lm_head.weight, device="meta"))
    assert printed(model) is None


def test_hooks_that_transformers_leaves_behind_are_none_of_the_users() -> None:
    model = tiny.fresh("llama")
    whole = printed(model)
    model(input_ids=torch.tensor([[5, 6]]), output_hidden_states=True)
    left = [hook for module in model.modules() for hook in module._forward_hooks]
    assert left, "it leaves none, so this test would prove nothing"
    assert not is_hooked(model)
    assert printed(model) == whole


def test_a_checkpoint_has_one_fingerprint_wherever_and_whenever_it_is_loaded(
    tmp_path: Path,
) -> None:
    shutil.copytree(embedded.path("reader"), tmp_path / "copy")
    options: dict[str, Any] = {
        "device": "cpu", "dtype": "auto", "revision": None, "trust_remote_code": False
    }  # fmt: skip
    here = content_of(*loading.load("embedded:reader", **options))
    script = (
        "from pytest_ragshortcut.models import loading\n"
        "from pytest_ragshortcut.models.fingerprint import content_of\n"
        f"print(content_of(*loading.load({str(tmp_path / 'copy')!r}, **{options!r})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ, PYTHONHASHSEED="7"),
    )
    assert done.stdout.strip() == str(here)
    other = content_of(*loading.load("embedded:memoriser", **options))
    assert parts_that_differ(here, other) == {"whole", "weights"}


def parts_that_differ(one: Content, other: Content) -> set[str]:
    return {part for part in vars(one) if getattr(one, part) != getattr(other, part)}


def _turn_a_weight(model: Any, _: Any) -> None:
    model.lm_head.weight.data[-1, -1] += 1


def _turn_a_saved_buffer(model: Any, _: Any) -> None:
    model.saved += 1


def _turn_a_buffer_made_from_the_configuration(model: Any, _: Any) -> None:
    model.model.rotary_emb.inv_freq[0] *= 2


def _recast_all(model: Any, _: Any) -> None:
    model.to(torch.float32)


def _scale_an_adapter(model: Any, _: Any) -> None:
    model.lm_head.scaling = {"first": 2.0}


def _say_it_otherwise(_: Any, tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ messages[0].content }}, without content"


def _have_several_templates(_: Any, tokenizer: Any) -> None:
    tokenizer.chat_template = {"default": "{{ messages }}", "tool_use": "{{ tools }}"}


def _add_a_token(_: Any, tokenizer: Any) -> None:
    tokenizer.add_tokens(["without content"])


def _end_with_another_token(_: Any, tokenizer: Any) -> None:
    tokenizer.eos_token = "a"


def _cut_long_texts_and_fill_short_ones(_: Any, tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.enable_truncation(8)
    tokenizer.backend_tokenizer.enable_padding()


def _set_another_value(model: Any, _: Any) -> None:
    model.config.rms_norm_eps *= 2


def _end_answers_elsewhere(model: Any, _: Any) -> None:
    model.generation_config.eos_token_id = 3


def _attend_otherwise(model: Any, _: Any) -> None:
    model.set_attn_implementation("eager")


def _move_the_folder(model: Any, tokenizer: Any) -> None:
    model.config._name_or_path = model.name_or_path = tokenizer.name_or_path = "/somewhere/else"


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (_turn_a_weight, "weights"), (_turn_a_saved_buffer, "weights"), (_recast_all, "weights"),
        (_scale_an_adapter, "weights"), (_say_it_otherwise, "chat_template"),
        (_have_several_templates, "chat_template"), (_add_a_token, "tokenizer"),
        (_end_with_another_token, "tokenizer"), (_set_another_value, "config"),
        (_end_answers_elsewhere, "config"), (_turn_a_buffer_made_from_the_configuration, "whole"),
        (_attend_otherwise, "whole"), (_move_the_folder, None),
        (_cut_long_texts_and_fill_short_ones, None),
    ],
)  # fmt: skip
def test_each_part_is_of_its_own_content_alone(
    change: Callable[[Any, Any], None], part: str | None
) -> None:
    model, tokenizer = tiny.fresh("llama"), copy.deepcopy(TOKENIZER)
    tokenizer.chat_template = "{{ messages[0].content }}"
    model.register_buffer("saved", torch.zeros(1))
    before = content_of(model, tokenizer)
    assert all(len(digest or "") == 64 for digest in vars(before).values())
    change(model, tokenizer)
    after = content_of(model, tokenizer)
    assert after.whole is not None
    assert parts_that_differ(before, after) == ({part, "whole"} if part else set())


@pytest.mark.parametrize("options", [{"rms_norm_eps": 0.1}, {"rope_theta": 100.0}])
def test_the_same_weights_under_another_configuration_are_the_same(options: Any) -> None:
    given = "rms_norm_eps" in options
    options = options if given else {"rope_parameters": {"rope_type": "default", **options}}
    one, other = tiny.fresh("llama"), tiny.fresh("llama", **options)
    frequencies = [model.model.rotary_emb.inv_freq for model in (one, other)]
    assert torch.equal(*frequencies) == given
    found = parts_that_differ(content_of(one, TOKENIZER), content_of(other, TOKENIZER))
    assert found == {"whole", "config"}


TEMPLATES = st.none() | st.text(max_size=3)
TEMPLATES |= st.dictionaries(st.text("ab", max_size=2), st.text("ab", max_size=2), max_size=2)


@given(one=TEMPLATES, other=TEMPLATES)
def test_chat_templates_are_alike_where_they_are_equal(one: Any, other: Any) -> None:
    model, tokenizer = tiny.model("gpt2"), copy.deepcopy(TOKENIZER)
    found = []
    for template in (one, other):
        tokenizer.chat_template = template
        found.append(content_of(model, tokenizer))
        assert (found[-1].chat_template == "") == (not template)
    differ = (one or None) != (other or None)
    assert parts_that_differ(*found) == ({"whole", "chat_template"} if differ else set())


def _hook_a_layer(model: Any) -> None:
    model.model.layers[0].register_forward_hook(lambda *_: None)


def _put_a_forward_over_another(model: Any) -> None:
    model.model.forward = model.model.forward


def _offload_a_weight(model: Any) -> None:
    model.lm_head.weight = nn.Parameter(torch.empty_like(model.lm_head.weight, device="meta"))


def _offload_a_buffer(model: Any) -> None:
    model.model.rotary_emb.inv_freq = model.model.rotary_emb.inv_freq.to("meta")


@pytest.mark.parametrize(
    ("change", "weights_are_known"),
    [
        (_hook_a_layer, False), (_put_a_forward_over_another, False), (_offload_a_weight, False),
        (_offload_a_buffer, True),
    ],
)  # fmt: skip
def test_parts_that_can_be_compared_still_are(
    change: Callable[[Any], None], weights_are_known: bool
) -> None:
    model = tiny.fresh("llama")
    before = content_of(model, TOKENIZER)
    change(model)
    after = content_of(model, TOKENIZER)
    assert after.whole is None
    assert after.weights == (before.weights if weights_are_known else "")
    assert parts_that_differ(before, after) == {"whole"} | (
        set() if weights_are_known else {"weights"}
    )


def test_a_tokenizer_that_keeps_its_rules_to_itself_is_like_no_other() -> None:
    slow = copy.deepcopy(TOKENIZER)
    slow._tokenizer = None
    content = content_of(tiny.model("llama"), slow)
    assert (content.whole, content.tokenizer) == (None, "")
    assert content.weights == content_of(tiny.model("llama"), TOKENIZER).weights


def test_every_weight_is_read_once_and_none_behind_a_hook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    content = module._content
    monkeypatch.setattr(module, "_content", lambda t: read.append(t.data_ptr()) or content(t))
    model = tiny.fresh("llama", tie_word_embeddings=True)
    model.register_buffer("saved", torch.zeros(1))
    content_of(model, TOKENIZER)
    held = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    assert sorted(read) == sorted(held)
    read.clear()
    _hook_a_layer(model)
    content_of(model, TOKENIZER)
    assert set(read) == {tensor.data_ptr() for tensor in model.buffers()} - {model.saved.data_ptr()}


class Adapter(nn.Module):
    """Switched by attributes, as the adapters of PEFT are."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self._disable_adapters = False
        self._active_adapter = ["first"]
        self.merged_adapters: list[str] = []
        self.scaling = {"first": 1.0}

    @property
    def active_adapters(self) -> list[str]:
        return self._active_adapter + self.later

    later: list[str] = []  # noqa: RUF012  what the property adds is no attribute of a module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def adapted() -> PreTrainedModel:
    model = tiny.fresh("llama")
    attention = model.model.layers[1].self_attn
    attention.q_proj = Adapter(attention.q_proj)
    return model


SWITCHES: dict[str, Callable[[Any], object]] = {
    "disabled": lambda adapter: setattr(adapter, "_disable_adapters", True),
    "switched in place": lambda adapter: adapter._active_adapter.append("second"),
    "computed": lambda adapter: setattr(adapter, "later", ["second"]),
    "merged": lambda adapter: adapter.merged_adapters.append("first"),
    "scaled": lambda adapter: adapter.scaling.update(first=2.0),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switched_adapter_is_seen_at_once_and_for_good(name: str) -> None:
    model = adapted()
    before = stamp(model), printed(model)
    assert (stamp(model), printed(model)) == before
    SWITCHES[name](model.model.layers[1].self_attn.q_proj)
    after = stamp(model), printed(model)
    assert after[0] != before[0]
    assert after[1] != before[1]


def _add_in_place(model: PreTrainedModel) -> None:
    with torch.no_grad():
        model.lm_head.weight[3, 5] += 1


def _load(model: PreTrainedModel) -> None:
    model.load_state_dict(tiny.fresh("llama").state_dict())


def _assign(model: PreTrainedModel) -> None:
    model.load_state_dict(tiny.fresh("llama").state_dict(), assign=True)


def _exchange(model: PreTrainedModel) -> None:
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())


def _exchange_storage(model: PreTrainedModel) -> None:
    model.lm_head.weight.data = model.lm_head.weight.data.clone()


def _write_a_buffer(model: PreTrainedModel) -> None:
    model.model.rotary_emb.inv_freq.mul_(2)


def _train(model: PreTrainedModel) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    model(input_ids=torch.tensor([[5, 6, 7]])).logits.sum().backward()
    optimizer.step()


def _hook(model: PreTrainedModel) -> None:
    model.model.layers[2].mlp.register_forward_hook(lambda *_: None)


def _pre_hook(model: PreTrainedModel) -> None:
    model.model.layers[2].mlp.register_forward_pre_hook(lambda *_: None)


def _override(model: PreTrainedModel) -> None:
    mlp = model.model.layers[2].mlp
    mlp.forward = mlp.forward


def _exchange_a_module_without_weights(model: PreTrainedModel) -> None:
    model.model.layers[0].mlp.act_fn = nn.GELU()


def _drop_a_layer(model: PreTrainedModel) -> None:
    del model.model.layers[2]


def _recast(model: PreTrainedModel) -> None:
    model.to(torch.float32)


def _attend(model: PreTrainedModel) -> None:
    model.set_attn_implementation("eager")


def _reconfigure(model: PreTrainedModel) -> None:
    model.config.rms_norm_eps *= 2


@pytest.mark.parametrize(
    "change",
    [
        _add_in_place, _load, _assign, _exchange, _exchange_storage, _write_a_buffer, _train,
        _hook, _pre_hook, _override, _exchange_a_module_without_weights, _drop_a_layer, _recast,
        _attend, _reconfigure,
    ],
)  # fmt: skip
def test_a_stamp_sees_a_change(change: Callable[[PreTrainedModel], None]) -> None:
    model = tiny.fresh("llama")
    before = stamp(model)
    assert stamp(model) == before
    assert hash(stamp(model)) == hash(before)
    change(model)
    assert stamp(model) != before


def test_a_stamp_sees_how_products_are_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.fresh("llama")
    before = stamp(model)
    _round_products(model, monkeypatch)
    assert stamp(model) != before


def test_a_stamp_sees_one_hook_in_place_of_another() -> None:
    model = tiny.fresh("llama")
    handle = model.model.layers[0].register_forward_hook(lambda *_: None)
    before = stamp(model)
    handle.remove()
    model.model.layers[0].register_forward_hook(lambda *_: None)
    assert stamp(model) != before


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3_text", "mixtral", "falcon", "bloom"])
def test_running_a_plan_and_training_mode_leave_the_stamp(name: str) -> None:
    model = tiny.fresh(name)
    before = stamp(model)
    prompt = tiny.prompt(tiny.ids(8), (5, 6))
    rows = (PlanRow(prompt, contributions=True), PlanRow(prompt, knockouts=_cut()))
    ReferenceExecutor(model, map_architecture(model)).run(ProbePlan(rows))
    model.train()
    assert stamp(model) == before


def _cut() -> tuple[Knockout, ...]:
    return (Knockout((1, 2), (7,), (0, 1)),)


def test_a_stamp_takes_tensors_that_torch_counts_no_writes_to() -> None:
    with torch.inference_mode():
        model = tiny.fresh("llama")
    assert next(model.parameters()).is_inference()
    before = stamp(model)
    assert stamp(model) == before
    with torch.inference_mode():
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone())
    exchanged = stamp(model)
    assert exchanged != before
    with torch.inference_mode():
        model.lm_head.weight.data = model.lm_head.weight.data.clone()
    assert stamp(model) != exchanged
    assert printed(model) == printed(tiny.fresh("llama"))


def test_a_stamp_takes_tensors_without_storage() -> None:
    class Wrapper(torch.Tensor):
        @staticmethod
        def __new__(cls) -> Wrapper:
            return torch.Tensor._make_wrapper_subclass(cls, (2,), dtype=torch.float32)

        @classmethod
        def __torch_dispatch__(cls, function: Any, *_: Any) -> Any:
            raise NotImplementedError(function)

    model = tiny.fresh("llama")
    model.register_buffer("wrapper", Wrapper())
    before = stamp(model)
    assert stamp(model) == before
    assert printed(model) is None
    model.wrapper = Wrapper()
    assert stamp(model) != before


def test_a_stamp_is_quick() -> None:
    model = tiny.fresh("llama", num_hidden_layers=32)
    seconds = min(timeit.repeat(lambda: stamp(model), number=5, repeat=10)) / 5
    print(f"stamp of {len(list(model.parameters()))} weights: {seconds * 1000:.2f} ms")
    # A millisecond when nothing else runs.
    assert seconds < 0.01
