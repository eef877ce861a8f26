"""What a model says of itself: how much it has computed, and which model it is."""

from __future__ import annotations

import copy
import json
from dataclasses import FrozenInstanceError
from importlib.metadata import version
from typing import Any

import pytest
import tiny
import torch
from transformers import GPTQConfig

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import PlanRow, ProbePlan
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.work import Identity
from pytest_ragshortcut.errors import TemplateError
from pytest_ragshortcut.models import fingerprint
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.reporting.schema import ModelRecord

CASE = RagCase("Where was Eavan Boland born?", "Eavan Boland was born in Cork.")


def prompt_of(model: RagModel) -> TokenizedPrompt:
    return model.reading(model.tokenize(model.render(CASE)), "Cork")


def load(executor: Any = "auto") -> RagModel:
    return RagModel.from_pretrained("embedded:reader", device="cpu", executor=executor)


@pytest.mark.parametrize("executor", ["incremental", "reference"])
def test_a_plain_forward_costs_one_forward_and_asked_again_nothing(executor: str) -> None:
    model = load(executor)
    prompt = prompt_of(model)
    assert model.identity.executor == executor
    before = model.work
    model.run(ProbePlan((PlanRow(prompt),)))
    spent = model.work - before
    # The incremental executor leaves the last layer to the readers alone, and saves that much.
    n_tokens = len(prompt.input_ids)
    assert (spent.computed, spent.remembered) == (1, 0)
    forwards = spent.forwards(n_tokens=n_tokens, n_layers=model.n_layers)
    assert (1.0 - 1.0 / model.n_layers) <= forwards <= 1.0 + 1.0 / n_tokens
    before = model.work
    model.run(ProbePlan((PlanRow(prompt),)))
    assert (model.work - before).remembered == 1
    assert (model.work - before).token_layers == 0


def test_what_was_counted_survives_a_change_of_the_model() -> None:
    model = load()
    plan = ProbePlan((PlanRow(prompt_of(model)),))
    model.run(plan)
    before = model.work
    with torch.no_grad():
        next(model.model.parameters()).mul_(1.5)
    model.run(plan)
    assert model.work.computed == before.computed + 1
    assert model.work.token_layers > before.token_layers
    model.forget()
    assert model.work.computed == before.computed + 1


def test_the_identity_is_of_the_content() -> None:
    model = load()
    identity = model.identity
    assert (identity.name, identity.device, identity.dtype) == ("embedded:reader", "cpu", "float32")
    parameters = {p.data_ptr(): p.numel() for p in model.model.parameters()}
    assert identity.n_parameters == sum(parameters.values())
    assert identity.n_bytes >= 4 * identity.n_parameters
    assert identity.fingerprint == load().identity.fingerprint
    assert identity.fingerprint in identity.line
    with torch.no_grad():
        next(model.model.parameters()).mul_(1.5)
    assert model.identity.fingerprint != identity.fingerprint


def parts(identity: Identity) -> dict[str, str]:
    names = ("weights", "tokenizer", "chat_template", "config")
    return {name: getattr(identity, name) for name in names}


def own(**options: Any) -> RagModel:
    """Wrap a model and a tokenizer that a test may change."""
    model, tokenizer = tiny.rag_parts()
    return RagModel(copy.deepcopy(model), copy.deepcopy(tokenizer), **options)


def test_an_identity_is_what_a_report_holds_of_a_model() -> None:
    identity = own().identity
    assert [*vars(identity), "n_copies"] == [*ModelRecord.__annotations__]
    # Workers send it to the process that started them, which takes no subclasses of builtins.
    values = [*vars(identity).values(), *identity.libraries.items()]
    flat = [each for value in values for each in (value if type(value) is tuple else [value])]
    assert {type(value) for value in flat} == {str, int, dict}
    assert json.loads(json.dumps(vars(identity))) == vars(identity)
    with pytest.raises(FrozenInstanceError):
        identity.weights = ""  # type: ignore[misc]
    again = own().identity
    assert again == identity
    assert hash(again) == hash(identity)


def test_an_identity_names_the_libraries_that_run_the_model() -> None:
    found = own().identity.libraries
    assert list(found) == ["torch", "transformers", "pytest-ragshortcut"]
    for library, said in found.items():
        # A build of torch may say for what it was built, and its package not.
        assert said.partition("+")[0] == version(library).partition("+")[0]


def test_a_changed_part_is_named_by_the_identity() -> None:
    model = own()
    seen = [model.identity]
    assert [len(part) for part in parts(seen[0]).values()] == [12, 12, 0, 12]
    assert set("".join(parts(seen[0]).values())) <= set("0123456789abcdef")

    def changed() -> list[str]:
        seen.append(model.identity)
        before, after = parts(seen[-2]), parts(seen[-1])
        return [name for name in before if before[name] != after[name]]

    model.run(ProbePlan((PlanRow(prompt_of(model)),)))
    assert changed() == []
    assert seen[-1] == seen[-2]
    with torch.no_grad():
        model.model.get_output_embeddings().weight[0, 0] += 1
    assert changed() == ["weights"]
    model.model.config.rms_norm_eps *= 2
    assert changed() == ["config"]
    # No stamp sees a tokenizer change.
    model.tokenizer.chat_template = "{{ messages[0].content }}"
    model.forget()
    assert changed() == ["chat_template"]
    model.tokenizer.add_tokens(["Boland"])
    model.forget()
    assert changed() == ["tokenizer"]
    assert len({identity.fingerprint for identity in seen}) == 5
    handle = model.model.get_input_embeddings().register_forward_hook(lambda *_: None)
    assert changed() == ["weights"]
    assert (seen[-1].weights, seen[-1].fingerprint) == ("", "changing")
    handle.remove()
    assert changed() == ["weights"]
    assert seen[-1] == seen[-3]


def test_a_text_cut_elsewhere_makes_no_other_tokenizer() -> None:
    """Whoever tokenizes last leaves truncation in the tokenizer, and this package turns it off."""
    model = own()
    model.tokenizer.backend_tokenizer.enable_truncation(8)
    before = model.identity
    prompt_of(model)
    model.forget()
    assert model.tokenizer.backend_tokenizer.truncation is None
    assert model.identity == before


def test_an_identity_reads_what_a_cache_read_already(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    content = fingerprint._content
    monkeypatch.setattr(fingerprint, "_content", lambda t: read.append(t.data_ptr()) or content(t))
    model = own(cache=tmp_path)
    model.run(ProbePlan((PlanRow(prompt_of(model)),)))
    assert len(set(read)) == len(read) > 0
    n_read = len(read)
    assert all(parts(model.with_template("plain").identity)[part] for part in ("weights", "config"))
    assert len(read) == n_read


@pytest.mark.parametrize(
    ("config", "method"),
    [
        (GPTQConfig(bits=4), "gptq"), ({"quant_method": "bitsandbytes"}, "bitsandbytes"),
        ({"bits": 4}, ""), (None, ""),
    ],
)  # fmt: skip
def test_the_quantization_is_named_as_transformers_names_it(config: Any, method: str) -> None:
    model = own()
    assert model.identity.quantization == ""
    model.model.config.quantization_config = config
    found = model.identity.quantization
    assert (found, type(found)) == (method, str)


def test_the_chat_template_is_no_part_of_how_a_prompt_is_worded() -> None:
    plain = load()
    chatting = copy.deepcopy(plain.tokenizer)
    chatting.chat_template = "<<{{ messages[0].content }}>>"
    model = RagModel(plain.model, chatting, "chat")
    for book in ("open", "closed"):
        worded = model.worded(CASE, book).text
        assert model.render(CASE, book).text == f"<<{worded}>>"
        assert plain.worded(CASE, book) == plain.render(CASE, book)


def test_a_caller_may_write_the_prompts() -> None:
    def written(case: RagCase, book: str) -> str | None:
        if book == "closed":
            return None
        return "Read this.\n" + "\n--\n".join(case.passages) + f"\nAsked: {case.question} Say:"

    case = RagCase(CASE.question, ["It rained.", "Eavan Boland was born in Cork."])
    model = load().with_rendering(written)
    prompt = model.with_template("plain").render(case)
    assert prompt.text == written(case, "open")
    assert model.worded(case) == prompt
    for role, text in (("passage_1", case.passages[1]), ("question", case.question)):
        ((start, stop),) = prompt.spans[role]
        assert prompt.text[start:stop] == text
    assert model.render(case, "closed") == load().render(case, "closed")
    with pytest.raises(TemplateError, match="lacks the question"):
        model.with_rendering(lambda case, book: "\n".join(case.passages)).render(case)
