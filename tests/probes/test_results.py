"""What every result can do: stay as it is, become JSON, show itself."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.figures import Curves, panels_html
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.results import Result
from pytest_ragshortcut.errors import MissingExtraError, UndefinedEffectError
from pytest_ragshortcut.probes.arms import compare_arms
from pytest_ragshortcut.probes.contributions import attention_contributions
from pytest_ragshortcut.probes.knockout import attention_knockout
from pytest_ragshortcut.probes.reliance import context_reliance
from pytest_ragshortcut.probes.swap import counterfactual_swap
from pytest_ragshortcut.probes.trace import causal_trace
from pytest_ragshortcut.testing import PlantedModel

MODEL = PlantedModel(
    {"Ada Quill": "Oslo"}, answers=("Rome", "Cork", "Bonn", "Kiel"), context_strength=0.8
)
CASE = RagCase(
    "Where was Ada Quill born?",
    "Ada Quill <script>alert(1)</script> & co. was born in Rome.",
    memory_answer="Oslo",
    context_answer="Rome",
)
PROBES: dict[str, Callable[[], Result]] = {
    "trace": lambda: causal_trace(MODEL, CASE, positions=("subject", "last")),
    "knockout": lambda: attention_knockout(MODEL, CASE),
    "knockout of all layers": lambda: attention_knockout(MODEL, CASE, window=None),
    "contributions": lambda: attention_contributions(MODEL, CASE),
    "swap": lambda: counterfactual_swap(MODEL, CASE),
    "reliance": lambda: context_reliance(MODEL, CASE),
}
ARMS = compare_arms(MODEL, [CASE], protocol="wadhwa_2024")
every_result = pytest.mark.parametrize("probe", PROBES)


@every_result
def test_a_result_is_frozen_and_knows_its_prompt(probe: str) -> None:
    result = PROBES[probe]()
    for item in fields(result):
        with pytest.raises(FrozenInstanceError):
            setattr(result, item.name, None)
    prompt = result.prompt
    assert prompt.tokens[prompt.positions("attribute")[0]] == "Rome"
    assert len(prompt.tokens) == len(prompt.input_ids)


@every_result
def test_a_result_becomes_strict_json_and_keeps_its_numbers(probe: str) -> None:
    result = PROBES[probe]()
    again = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert again == result.to_dict()
    assert again["probe"] == type(result).__name__
    assert again.keys() - {"probe"} == {item.name for item in fields(result)}
    for item in fields(result):
        value = getattr(result, item.name)
        if isinstance(value, np.ndarray):
            kept = np.array(again[item.name], dtype=float)
            assert kept == pytest.approx(value, nan_ok=True)
    ((start, stop),) = result.prompt.spans["attribute"]
    assert again["prompt"]["spans"]["attribute"] == [[start, stop]]


def test_both_arms_become_strict_json() -> None:
    again = json.loads(json.dumps(ARMS.to_dict(), allow_nan=False))
    assert again["probe"] == "ArmsResult"
    assert again["open_book"]["subject_cuts"] == pytest.approx(ARMS.open_book.subject_cuts)
    assert again["closed_book"]["attribute_cuts"] == [None] * MODEL.n_layers


def test_both_arms_are_drawn_as_curves_and_what_is_undefined_is_not() -> None:
    html = ARMS._repr_html_()
    parser = Tags()
    parser.feed(html)
    assert parser.open == []
    assert parser.seen <= {
        "div", "p", "b", "figure", "figcaption", "svg", "circle", "line", "text", "title"
    }  # fmt: skip
    panels = ARMS.panels()
    assert html.count("<circle ") == sum(int(np.isfinite(p.values).sum()) for p in panels) > 0
    # A line joins two neighbours, of which there is one pair in two layers.
    assert html.count("<line ") * MODEL.n_layers == html.count("<circle ")
    assert "nan" not in html
    heights = [float(y) for y in re.findall(r'cy="([^"]*)"', html)]
    assert all(0 <= height <= 140 for height in heights)


def test_higher_values_are_drawn_higher() -> None:
    drawn = Curves("t", np.array([[0.0, 0.5, math.nan, -0.5]]), ("a",), ("1", "2", "3", "4"),
                   (False,))  # fmt: skip
    first, second, last = re.findall(r'cy="([^"]*)"', panels_html("t", [drawn]))
    assert float(second) < float(first) < float(last)
    nothing = replace(drawn, values=np.full((1, 4), math.nan))
    assert "<circle" not in panels_html("t", [nothing])


def test_curves_below_zero_fill_the_drawing_too() -> None:
    drawn = Curves("t", np.array([[-0.9, 0.0]]), ("a",), ("1", "2"), (False,))
    low, high = re.findall(r'cy="([^"]*)"', panels_html("t", [drawn]))
    positive = replace(drawn, values=np.array([[0.0, 0.9]]))
    assert [low, high] == re.findall(r'cy="([^"]*)"', panels_html("t", [positive]))


def test_curves_are_plotted_one_below_the_other() -> None:
    pytest.importorskip("matplotlib")
    figure = ARMS.plot()
    assert len(figure.axes) == len(ARMS.panels())
    for axis, panel in zip(figure.axes, ARMS.panels(), strict=True):
        assert [text.get_text() for text in axis.get_legend().get_texts()] == list(panel.rows)
        drawn = [line.get_ydata() for line in axis.get_lines()][: len(panel.rows)]
        assert np.array_equal(np.array(drawn, dtype=float), panel.values, equal_nan=True)
    assert figure.get_suptitle() == "Wadhwa et al. 2024: 1 kept of 1"


class Tags(HTMLParser):
    """Collects what a browser would take as tags, and checks that each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@every_result
def test_html_shows_tokens_as_text_and_no_token_as_markup(probe: str) -> None:
    result = PROBES[probe]()
    # One token with markup in it, for the planted model splits words at signs.
    tokens = ("<img src=x onerror=alert(1)>", *result.prompt.tokens[1:])
    result = replace(result, prompt=replace(result.prompt, tokens=tokens, offsets=()))
    html = result._repr_html_()
    parser = Tags()
    parser.feed(html)
    assert parser.open == []
    assert parser.seen <= {
        "div", "p", "b", "figure", "figcaption", "svg", "rect", "text", "title"
    }  # fmt: skip
    shows_tokens = any(len(panel.columns) == len(tokens) for panel in result.panels())
    assert ("&lt;img src=x" in html) == shows_tokens
    assert "nan" not in re.findall(r'"([^"]*)"', html)


@every_result
def test_every_finite_cell_is_drawn_and_no_other(probe: str) -> None:
    result = PROBES[probe]()
    finite = sum(int(np.isfinite(panel.values).sum()) for panel in result.panels())
    assert result._repr_html_().count("<rect ") == finite > 0
    for panel in result.panels():
        assert panel.values.shape == (len(panel.rows), len(panel.columns))


@every_result
def test_a_plot_has_one_map_a_panel_with_its_labels(probe: str) -> None:
    pytest.importorskip("matplotlib")
    result = PROBES[probe]()
    figure = result.plot()
    maps = [axis for axis in figure.axes if axis.images]
    assert len(maps) == len(result.panels())
    for axis, panel in zip(maps, result.panels(), strict=True):
        assert [label.get_text() for label in axis.get_yticklabels()] == list(panel.rows)
        assert [label.get_text() for label in axis.get_xticklabels()] == list(panel.columns)
    assert figure.get_suptitle() == result.title


@every_result
def test_without_matplotlib_a_plot_says_what_to_install(
    probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pytest-ragshortcut\[plots\]"):
        PROBES[probe]().plot()


def test_a_restored_fraction_is_undefined_below_the_minimum_and_only_there() -> None:
    trace = causal_trace(MODEL, CASE, corrupt="attribute", corruption="mask")
    (attribute,), (last,) = trace.prompt.positions("attribute"), trace.prompt.positions("last")
    fraction = trace.restored_fraction()
    assert fraction[0, attribute] == pytest.approx(1.0)
    assert fraction[1, last] == pytest.approx(1.0)
    assert fraction[1, attribute] == pytest.approx(0.0)
    with pytest.raises(UndefinedEffectError, match="min_total_effect"):
        trace.restored_fraction(min_total_effect=trace.total_effect + 0.001)
    nothing = causal_trace(MODEL, CASE, corruption=np.zeros((1, 2, MODEL.d_model)))
    with pytest.raises(UndefinedEffectError):
        nothing.restored_fraction()


def test_a_result_of_nothing_but_nan_can_be_shown() -> None:
    trace = causal_trace(MODEL, CASE, positions=())
    assert np.isnan(trace.indirect_effect).all()
    assert "<rect" not in trace._repr_html_()
    assert isinstance(trace.prompt, TokenizedPrompt)
