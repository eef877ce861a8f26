"""MLPs in pieces: the same numbers, hooks called once, and modules left as they were."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn

from pytest_ragshortcut.core.plans import Corruption, PlanRow, ProbePlan, Restoration
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.incremental import pieces
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.incremental.pieces import in_pieces, piece_tokens
from pytest_ragshortcut.models.reference import ReferenceExecutor


@pytest.fixture(autouse=True)
def three_tokens_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_MIN_TOKENS", 3)
    monkeypatch.setattr(pieces, "_MAX_NUMBERS", 1)


def test_a_wider_mlp_takes_fewer_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_MAX_NUMBERS", 1 << 20)
    assert [piece_tokens(nn.Linear(8, width)) for width in (64, 2048)] == [16384, 512]
    assert piece_tokens(nn.Identity()) == 3


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "mixtral", "opt"])
def test_a_plan_in_pieces_reads_as_the_reference_does(name: str) -> None:
    model = tiny.fresh(name)
    architecture = map_architecture(model)
    prompt = tiny.greedy_prompt(model, 11)
    corruption = Corruption((2,), token_ids=(3,))
    rows = [PlanRow(prompt), PlanRow(prompt, corruption)]
    rows += [
        PlanRow(prompt, corruption, (Restoration(component, (1,), (at,)),))
        for component in ("residual", "mlp")
        for at in (2, 5)
    ]
    plan = ProbePlan(tuple(rows))
    ours = IncrementalExecutor(model, architecture).run(plan)
    theirs = ReferenceExecutor(model, architecture).run(plan)
    found = [reading.logprobs.tolist() for reading in ours]
    expected = [reading.logprobs.tolist() for reading in theirs]
    assert found == [pytest.approx(values, abs=1e-4) for values in expected]


def test_an_mlp_is_called_in_pieces_and_its_hooks_once() -> None:
    mlp, sizes, hooked = _Recorded(), [], []
    mlp.seen = sizes
    mlp.register_forward_hook(lambda *_: hooked.append(1))
    tokens = torch.randn(1, 8, 4)
    with in_pieces({mlp: 3}):
        output = mlp(tokens)
    assert (sizes, hooked) == ([3, 3, 2], [1])
    assert torch.equal(output, 2 * tokens)


def test_what_is_no_list_of_packed_tokens_goes_through_whole() -> None:
    mlp, sizes = _Recorded(), []
    mlp.seen = sizes
    with in_pieces({mlp: 3}):
        mlp(torch.randn(2, 8, 4))
        mlp(torch.randn(8, 4))
        mlp(torch.randn(1, 2, 4))
    assert sizes == [8, 4, 2]


def test_an_mlp_that_returns_more_than_a_tensor_goes_through_whole() -> None:
    class Routed(nn.Module):
        def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, int]:
            return hidden, hidden.shape[1]

    mlp = Routed()
    with in_pieces({mlp: 3}):
        assert mlp(torch.randn(1, 8, 4))[1] == 8


@pytest.mark.parametrize("has_own", [False, True])
def test_the_module_is_left_as_it_was(has_own: bool) -> None:
    mlp = _Recorded()
    if has_own:
        mlp.forward = own = lambda hidden: hidden  # type: ignore[method-assign]
    before = dict(vars(mlp))
    with pytest.raises(KeyboardInterrupt), in_pieces({mlp: 3}):
        raise KeyboardInterrupt
    assert vars(mlp) == before
    if has_own:
        assert mlp.forward is own


class _Recorded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        self.seen.append(hidden.shape[1])
        return 2 * hidden
