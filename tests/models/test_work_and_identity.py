"""What a model says of itself: how much it has computed, and which model it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import PlanRow, ProbePlan
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.errors import TemplateError
from pytest_ragshortcut.models.rag_model import RagModel

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


def test_a_caller_may_write_the_prompts() -> None:
    def written(case: RagCase, book: str) -> str | None:
        if book == "closed":
            return None
        return "Read this.\n" + "\n--\n".join(case.passages) + f"\nAsked: {case.question} Say:"

    case = RagCase(CASE.question, ["It rained.", "Eavan Boland was born in Cork."])
    model = load().with_rendering(written)
    prompt = model.with_template("plain").render(case)
    assert prompt.text == written(case, "open")
    for role, text in (("passage_1", case.passages[1]), ("question", case.question)):
        ((start, stop),) = prompt.spans[role]
        assert prompt.text[start:stop] == text
    assert model.render(case, "closed") == load().render(case, "closed")
    with pytest.raises(TemplateError, match="lacks the question"):
        model.with_rendering(lambda case, book: "\n".join(case.passages)).render(case)
