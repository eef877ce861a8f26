"""The benchmarks run and are right; how fast anything is, no test says."""

from __future__ import annotations

import doctest
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from benchmarks import counts, models, outside, rows, run, scenes, suite, tables, timing
from benchmarks.models import Loaded
from benchmarks.products import Products
from pytest_ragshortcut.core.plans import (
    Corruption,
    Knockout,
    PlanRow,
    ProbePlan,
    Restoration,
)
from pytest_ragshortcut.models.rag_model import RagModel

_aten = torch.ops.aten
QUICK = run.settings_of(run._parser().parse_args(["--quick"]))


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return models.build("tiny", 2)


@pytest.fixture(scope="module")
def scene(loaded: Loaded) -> scenes.Scene:
    return scenes.find_scene(loaded, 32, n_samples=2)


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return suite.measure_all(QUICK)


def test_a_quick_run_measures_every_row_and_agrees_with_hooks(results: list[Any]) -> None:
    main, early = results
    assert [row["key"] for row in main["rows"]] == [row.key for row in rows.ROWS]
    assert [row["key"] for row in early["rows"]] == ["early"]
    for row in (*main["rows"], *early["rows"]):
        assert row["forwards"]["low"] <= row["forwards"]["median"] <= row["forwards"]["high"]
        assert row["check"]["max_difference"] < 1e-3, row["key"]
        assert row["check"]["n_values"] >= 2 or row["key"] == "setup"
        assert row["key"] == "early" or row["products"]["median"] > 0
    speed_ups = [against["key"] for row in main["rows"] for against in row["against"]]
    assert speed_ups == ["the same cells", "as shipped"]


def test_the_products_of_a_forward_are_its_own(loaded: Loaded) -> None:
    config = loaded.model.config
    products = Products(loaded)
    with products, torch.no_grad():
        loaded.model(input_ids=torch.ones(1, 6, dtype=torch.long), use_cache=False)
    per_layer, of_attention = 7, {_aten.bmm, _aten.matmul}
    noted = [p for p in products.noted if p.func.overloadpacket not in of_attention]
    assert len(noted) == per_layer * config.num_hidden_layers + 1
    weights = {parameter.data_ptr() for parameter in loaded.model.parameters()}
    for product in noted:
        tensors = [arg for arg in product.args if isinstance(arg, torch.Tensor)]
        assert any(tensor.data_ptr() in weights for tensor in tensors)
    products.again()


def test_results_survive_being_written_and_show_themselves(
    results: list[Any], tmp_path: Path
) -> None:
    twice = [*results, results[0] | {"n_tokens": 64}]
    stored = {
        "machine": run.describe("cpu", "float32"),
        "setup": "inside",
        "results": results,
        "growth": suite.growth(twice),
        "memory": [{"shape": "tiny", "n_layers": 2, "n_tokens": 32, "failed": "a reason"}],
        "tools": [{"tool": "a tool", "failed": "does not install"}],
    }
    path = run.store(stored, tmp_path)
    assert path.name == "tiny2-cpu-float32.json"
    assert str(Path.home()) not in path.read_text(encoding="utf-8")
    (read,) = run.read_stored(tmp_path)
    assert tables.full(read) == tables.full(stored)
    assert "does not install" in tables.full(read)
    assert "T=32" in tables.short(read)


def test_a_map_that_is_a_layer_off_is_found_out(scene: scenes.Scene) -> None:
    rag = RagModel(scene.loaded.model, scene.loaded.tokenizer)
    result = rows.run_map(rag, scene)
    shifted = replace(result, restored=result.restored[::-1])
    clock = timing.Clock()
    assert rows.check_map(scene, result, 4, clock).max_difference < 1e-6
    assert rows.check_map(scene, shifted, 4, clock).max_difference > 1e-3


@pytest.mark.parametrize("n_tokens", [scenes.MIN_TOKENS, 32, 100])
def test_a_scene_has_the_geometry_that_the_bounds_are_for(loaded: Loaded, n_tokens: int) -> None:
    prompt = scenes.find_scene(loaded, n_tokens, n_samples=1).open_book
    assert len(prompt.input_ids) == n_tokens
    start = n_tokens - scenes.SUBJECT_FROM_END
    assert prompt.spans["subject"] == ((start, start + 3),)
    assert prompt.readers == (n_tokens - 1,)
    assert set(prompt.positions("attribute")) < set(prompt.positions("passage_2"))
    assert set(rows.span_roles()) <= set(prompt.spans)


def test_gpt2_is_checked_by_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"n_embd": 32, "n_head": 4, "n_positions": 64, "vocab_size": 300}
    monkeypatch.setitem(models.SHAPES, "small", models.Shape("gpt2", sizes))
    small = models.build("small", 2)
    scene = scenes.find_scene(small, 32, n_samples=1)
    clock, rag = timing.Clock(), RagModel(small.model, small.tokenizer)
    for row in rows.ROWS[:5]:
        check = row.check(scene, row.run(rag, scene), 3, clock)
        assert check.max_difference < 1e-5, row.key


def test_the_count_of_a_map_is_the_formula() -> None:
    n_layers, n_samples, start = 5, 3, 8
    prompt = tiny.prompt(tiny.ids(12), (4,))
    n_tokens = len(prompt.input_ids)
    corruptions = [Corruption((start, start + 1), token_ids=(5, 6)) for _ in range(n_samples)]
    plan = [PlanRow(prompt), *(PlanRow(prompt, corruption) for corruption in corruptions)]
    plan += [
        PlanRow(prompt, corruption, (Restoration("residual", (layer,), (site,)),))
        for corruption in corruptions
        for layer in range(n_layers)
        for site in range(n_tokens)
    ]
    counter = counts.Counter(n_layers)
    counter.add_plan(ProbePlan(tuple(plan)))
    q = n_tokens - start
    cells = n_samples * q * (q + 1) // 2 * n_layers * (n_layers - 1) // 2
    assert counter.token_layers == n_tokens * n_layers + n_samples * q * n_layers + cells


def test_what_is_known_is_not_counted_again() -> None:
    prompt = tiny.prompt(tiny.ids(12), (4,))
    cut = PlanRow(prompt, knockouts=(Knockout((0, 1), prompt.readers, (3, 4)),))
    counter = counts.Counter(5, known=[prompt.input_ids])
    counter.add_plan(ProbePlan((PlanRow(prompt), cut)))
    assert counter.token_layers == 2
    counter.add_generated(prompt, (7, 8))
    assert counter.token_layers == 2 + 2 * 5


def test_a_tool_that_fails_leaves_its_last_line() -> None:
    with pytest.raises(outside.ToolError, match="no such thing"):
        outside._call([sys.executable, "-c", "raise ImportError('no such thing')"])


def test_the_readme_quotes_the_kept_results() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    quoted = text.split("<!-- costs -->\n")[1].split("<!-- end -->")[0]
    kept = [tables.short(stored) for stored in run.read_stored(run.RESULTS)]
    assert quoted.strip() in [each.strip() for each in kept]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_cuda_is_asked_for_where_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--device", "cuda", "--quick"]) == 0
    assert "no CUDA device" in capsys.readouterr().out


@pytest.mark.parametrize("module", [models, rows, scenes, tables, timing])
def test_examples(module: Any) -> None:
    assert doctest.testmod(module).failed == 0
