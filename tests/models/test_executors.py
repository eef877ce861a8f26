"""Nothing is computed twice, and nothing that a changed model would say otherwise is remembered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from pytest_ragshortcut.core.plans import Corruption, Knockout, PlanRow, ProbePlan, RowReading
from pytest_ragshortcut.core.prompts import Prompt, Template, TokenizedPrompt
from pytest_ragshortcut.errors import NonFiniteLogitsError, OptionError, PlanError
from pytest_ragshortcut.models.answers import Answers
from pytest_ragshortcut.models.executors import run_together
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.models.reference import ReferenceExecutor

WIDTH = 32


def built(seed: int = 0) -> Any:
    model = tiny.fresh("llama", vocab_size=len(tiny.byte_level_tokenizer()))
    if seed:
        with torch.no_grad():
            model.model.layers[1].mlp.down_proj.weight.add_(0.1 * seed)
    return model


def asked(model: Any = None, **options: Any) -> RagModel:
    return RagModel(model or built(), tiny.byte_level_tokenizer(), **options)


def plan(seed: int = 0) -> ProbePlan:
    prompt = tiny.prompt(tiny.ids(12, seed), (5, 6))
    noise = np.random.default_rng(seed).standard_normal((2, WIDTH))
    return ProbePlan(
        (
            PlanRow(prompt),
            PlanRow(prompt, Corruption((3, 4), noise=noise)),
            PlanRow(prompt, knockouts=(Knockout((2,), prompt.readers, (0, 1, 2)),)),
            PlanRow(prompt, contributions=True),
        )
    )


def broken(value: float = np.inf) -> ProbePlan:
    """A plan whose second row reads no number."""
    whole = plan()
    noise = np.full((1, WIDTH), value)
    return ProbePlan((whole.rows[0], PlanRow(whole.rows[0].prompt, Corruption((3,), noise=noise))))


def impossible() -> ProbePlan:
    prompt = tiny.prompt(tiny.ids(12), (5, 6))
    return ProbePlan((PlanRow(prompt), PlanRow(prompt, knockouts=(Knockout((99,), (3,), (0,)),))))


def values(readings: Sequence[RowReading]) -> np.ndarray:
    parts = [reading.logprobs for reading in readings]
    parts += [r.contributions.per_head.ravel() for r in readings if r.contributions is not None]
    return np.concatenate(parts)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each run of any executor had."""
    seen: list[int] = []
    for kind in (IncrementalExecutor, ReferenceExecutor):

        def run(self: Any, plan: ProbePlan, run: Any = kind.run) -> Any:
            seen.append(len(plan.rows))
            return run(self, plan)

        monkeypatch.setattr(kind, "run", run)
    return seen


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many sequences each step of an answer asked for, the executor's own check left out."""
    seen: list[int] = []
    next_logits = Answers._next_logits

    def counted(self: Answers, sequences: Any) -> Any:
        seen.append(len(sequences))
        return next_logits(self, sequences)

    monkeypatch.setattr(Answers, "_next_logits", counted)
    return seen


@pytest.mark.parametrize("executor", ["incremental", "reference"])
def test_a_plan_is_run_once_and_an_equal_one_not_at_all(executor: Any, runs: list[int]) -> None:
    model = asked(executor=executor)
    first = model.run(plan())
    again = model.run(plan())
    assert runs == [4]
    assert (values(first) == values(again)).all()
    assert [reading.said for reading in first] == [reading.said for reading in again]


def test_plans_that_are_missing_are_run_as_one_and_kept_one_by_one(runs: list[int]) -> None:
    model, alone = asked(), asked()
    expected = [alone.run(plan(seed)) for seed in range(4)]
    runs.clear()
    model.run(plan(1))
    found = model.run_all([plan(0), plan(1), plan(2), plan(0), plan(3)])
    assert runs == [4, 12]
    for one, other in zip(found, [expected[i] for i in (0, 1, 2, 0, 3)], strict=True):
        assert values(one) == pytest.approx(values(other), abs=1e-10)
    for seed in range(4):
        model.run(plan(seed))
    assert runs == [4, 12]
    assert model.run_all([]) == ()
    assert model.run(ProbePlan(())) == ()


def test_what_is_returned_cannot_change_what_is_remembered() -> None:
    model = asked()
    for _ in range(2):
        reading = model.run(plan())[3]
        assert reading.contributions is not None
        arrays = reading.logprobs, reading.contributions.per_head, reading.contributions.summed
        for array in arrays:
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0.0


@pytest.mark.parametrize("executor", ["incremental", "reference"])
def test_an_error_is_that_of_the_plan_alone_and_takes_no_other_with_it(
    executor: Any, runs: list[int]
) -> None:
    for wrong, kind in ((broken(), NonFiniteLogitsError), (impossible(), PlanError)):
        model = asked(executor=executor)
        with pytest.raises(kind) as alone:
            model.run(wrong)
        with pytest.raises(kind) as among:
            model.run_all([plan(1), plan(2), wrong, plan(3)])
        assert str(among.value) == str(alone.value)
        runs.clear()
        expected = asked(executor=executor)
        for seed in (1, 2, 3):
            found = values(model.run(plan(seed)))
            # Those before it were kept, and the one behind it was not.
            assert runs == [4] * (seed == 3)
            assert found == pytest.approx(values(expected.run(plan(seed))), abs=1e-10)
            runs.clear()
        with pytest.raises(kind):
            model.run(wrong)


class Narrow:
    """An executor with room for so many rows, that refuses others as an allocator does."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self.calls: list[int] = []

    def run(self, plan: ProbePlan) -> tuple[RowReading, ...]:
        self.calls.append(len(plan.rows))
        if len(plan.rows) > self.max_rows:
            raise torch.OutOfMemoryError("out of memory")
        return tuple(RowReading(np.array([-1.0 * len(self.calls)])) for _ in plan.rows)


def test_plans_that_do_not_fit_together_are_run_apart() -> None:
    executor: Any = Narrow(4)
    assert [len(rows) for rows in run_together(executor, [plan(0), plan(1)])] == [4, 4]
    assert executor.calls == [8, 4, 4]
    with pytest.raises(torch.OutOfMemoryError):
        list(run_together(Narrow(3), [plan(0), plan(1)]))  # type: ignore[arg-type]


def test_an_error_of_the_code_is_not_tried_again() -> None:
    executor: Any = Narrow(4)
    executor.run = lambda _: executor.calls.append(1) or {}["no such key"]
    with pytest.raises(KeyError):
        list(run_together(executor, [plan(0), plan(1)]))
    assert executor.calls == [1]


def _train(model: Any) -> None:
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.add_(0.1)


def _exchange(model: Any) -> None:
    model.model.layers[0].input_layernorm.weight = torch.nn.Parameter(
        2 * model.model.layers[0].input_layernorm.weight
    )


def _hook(model: Any) -> None:
    model.model.layers[1].mlp.register_forward_hook(lambda _, __, output: 0.5 * output)


@pytest.mark.parametrize("change", [_train, _exchange, _hook])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_changed_model_answers_for_itself(change: Any, on_disk: bool, tmp_path: Path) -> None:
    model = built()
    cache = tmp_path if on_disk else None
    remembering = asked(model, cache=cache)
    prompt = remembering.tokenize(Prompt("Question: Where?", {}))
    before = values(remembering.run(plan())), remembering.generate([prompt])
    change(model)
    after = values(remembering.run(plan())), remembering.generate([prompt])
    fresh = asked(model)
    assert after[0] == pytest.approx(values(fresh.run(plan())), abs=1e-10)
    assert after[1] == fresh.generate([prompt])
    assert np.abs(after[0] - before[0]).max() > 1e-3


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_change_that_torch_does_not_count_is_seen_once_it_is_said(
    on_disk: bool, tmp_path: Path
) -> None:
    model = built()
    remembering = asked(model, cache=tmp_path if on_disk else None)
    before = values(remembering.run(plan()))
    model.model.layers[1].mlp.down_proj.weight.data += 0.1
    remembering.forget()
    after = values(remembering.run(plan()))
    assert after == pytest.approx(values(asked(model).run(plan())), abs=1e-10)
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize("executor", ["incremental", "reference"])
def test_a_hook_that_does_another_thing_is_asked_again(executor: Any, tmp_path: Path) -> None:
    """Steering: one hook, and a strength that nothing but the hook knows of."""
    model, strength = built(), [0.0]
    layer = model.model.layers[1].mlp
    layer.register_forward_hook(lambda _, __, output: output + strength[0])
    remembering = asked(model, executor=executor, cache=tmp_path)
    prompt = remembering.tokenize(Prompt("Question: Where?", {}))
    seen = []
    for value in (0.0, 1.0, 0.0):
        strength[0] = value
        seen.append(values(remembering.run(plan())))
        assert remembering.generate([prompt]) == asked(model, executor=executor).generate([prompt])
    assert np.abs(seen[1] - seen[0]).max() > 1e-3
    assert seen[2] == pytest.approx(seen[0], abs=1e-12)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_what_is_forgotten_is_run_again(runs: list[int], steps: list[int]) -> None:
    model = asked()
    prompt = model.tokenize(Prompt("Question: Where?", {}))
    for _ in range(2):
        model.run(plan())
        model.generate([prompt])
        model.forget()
    assert runs == [4, 4]
    assert len(steps) % 2 == 0
    assert steps[: len(steps) // 2] == steps[len(steps) // 2 :]


def test_another_template_of_the_model_remembers_with_it(runs: list[int], steps: list[int]) -> None:
    model = asked()
    template = Template(open_book="{context} {question} So", closed_book="{question} So")
    other = model.with_template(template)
    prompt = model.tokenize(Prompt("Question: Where?", {}))
    model.run(plan())
    said = model.generate([prompt])
    n_steps = len(steps)
    other.run(plan())
    assert other.generate([prompt]) == said
    assert (runs, len(steps)) == ([4], n_steps)


def prompts(model: RagModel) -> list[TokenizedPrompt]:
    texts = ("Question: Where?", "Context: Eavan Boland was born in Cork.", "What is the capital?")
    return [model.tokenize(Prompt(text, {})) for text in texts]


def test_answers_are_said_once_and_those_missing_together(steps: list[int]) -> None:
    model = asked()
    one, two, three = prompts(model)
    expected = [asked().generate([prompt])[0] for prompt in (one, two, three)]
    steps.clear()
    assert model.generate([two]) == (expected[1],)
    steps.clear()
    assert model.generate([one, two, three, one]) == (*expected, expected[0])
    assert steps[0] == 2
    steps.clear()
    assert model.generate([three, two]) == (expected[2], expected[1])
    assert steps == []


def test_alternatives_are_said_once(steps: list[int]) -> None:
    model = asked()
    some = prompts(model)[:2]
    alone = tuple(asked().alternatives([prompt], range(5))[0] for prompt in some)
    assert model.alternatives(some, range(5)) == alone
    steps.clear()
    assert model.alternatives(some, range(5)) == alone
    assert steps == []
    # Each range is a part of the same ranking.
    parts = [model.alternatives(some, ranks)[0] for ranks in (range(2), range(2, 5))]
    assert parts[0] + parts[1] == alone[0]


def test_where_an_answer_ends_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = asked()
    prompt = prompts(model)[0]
    (said,) = model.generate([prompt])
    monkeypatch.setattr(model.model.generation_config, "eos_token_id", said.token_ids[0])
    assert model.generate([prompt])[0].token_ids == ()


def test_another_run_finds_all_that_this_one_stored(
    tmp_path: Path, runs: list[int], steps: list[int]
) -> None:
    def everything(model: RagModel) -> Iterator[Any]:
        yield [values(readings).tolist() for readings in model.run_all([plan(0), plan(1)])]
        yield model.generate(prompts(model))
        yield model.alternatives(prompts(model), range(4))

    first = list(everything(asked(cache=tmp_path)))
    assert runs
    assert steps
    runs.clear()
    steps.clear()
    assert list(everything(asked(cache=str(tmp_path)))) == first
    assert (runs, steps) == ([], [])
    # Another model, and the same one on another executor, are not answered for.
    other = list(everything(asked(built(seed=1), cache=tmp_path)))
    assert other[0] != first[0]
    assert runs == [8]
    list(everything(asked(executor="reference", cache=tmp_path)))
    assert runs == [8, 8]


_ANOTHER_PROCESS = """
import sys
sys.path[:0] = sys.argv[2:]
import test_executors as shared
model = shared.asked(cache=sys.argv[1])
model._engine.executor.run = lambda plan: sys.exit("it was run again")
print(shared.values(model.run(shared.plan())).tobytes().hex())
"""


def test_another_process_finds_the_same_bits(tmp_path: Path) -> None:
    here = values(asked(cache=tmp_path).run(plan()))
    folders = [str(Path(__file__).parent), str(Path(tiny.__file__).parent)]
    done = subprocess.run(
        [sys.executable, "-c", _ANOTHER_PROCESS, str(tmp_path), *folders],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ, PYTHONHASHSEED="7"),
    )
    assert done.stdout.strip() == here.tobytes().hex(), done.stderr


def test_a_directory_that_cannot_be_written_to_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OptionError, match="rag-cache"):
        asked(cache=tmp_path / "file")


def test_the_weights_are_read_once_for_a_directory_and_never_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_ragshortcut.models import executors

    calls: list[int] = []
    real = executors.content_of
    monkeypatch.setattr(executors, "content_of", lambda *given: calls.append(1) or real(*given))
    for cache, expected in ((None, 0), (tmp_path, 1)):
        model = asked(cache=cache)
        for seed in (0, 1, 0):
            model.run(plan(seed))
        model.generate(prompts(model))
        assert len(calls) == expected
    _train(model.model)
    model.run(plan())
    assert len(calls) == 2
    # What hooks do has no content to compare, so that reading the weights would be for nothing.
    _hook(model.model)
    model.run(plan())
    assert len(calls) == 2


def test_why_a_model_is_slow_is_said() -> None:
    assert asked().note == ""
    assert "it was asked for" in asked(executor="reference").note
    own_attention = tiny.fresh("gptj", vocab_size=len(tiny.byte_level_tokenizer()))
    note = asked(own_attention).note
    assert "one whole forward for every restored site" in note
    assert "it was asked for" not in note
