"""Explaining a reliance: every probe of the same answer, side by side, and what one cannot do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

import pytest_ragshortcut.probes.explanation as explanation_module
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.explanations import knockout_window, trace_forwards
from pytest_ragshortcut.core.plans import ProbePlan, RowReading
from pytest_ragshortcut.core.prompts import token_texts
from pytest_ragshortcut.core.results import Result, plain
from pytest_ragshortcut.errors import AdapterSelfCheckError, UnsupportedArchitectureError
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.attribution import attribute_context
from pytest_ragshortcut.probes.contributions import attention_contributions
from pytest_ragshortcut.probes.explanation import MAX_FORWARDS, explain_reliance
from pytest_ragshortcut.probes.knockout import attention_knockout
from pytest_ragshortcut.probes.reliance import context_reliance, parametric_reliance
from pytest_ragshortcut.probes.trace import causal_trace
from pytest_ragshortcut.testing import PlantedModel

CASE = RagCase(
    "Where was Ada Quill born?", ("It rained. Ada Quill was born in Rome.", "Cork is a city.")
)
PARTS = ("trace", "knockout_open", "knockout_closed", "contributions", "attribution")


class Planted(PlantedModel):
    """A planted model that counts its calls, and refuses rows that ask for some things."""

    def __init__(self, refused: tuple[str, ...] = ()) -> None:
        super().__init__(
            {"Ada Quill": "Oslo"}, answers=("Rome", "Cork", "Bonn", "Kiel", "Lima"),
            context_strength=1.0, memory_strength=0.6,
        )  # fmt: skip
        self.refused = refused
        self.calls: list[int] = []

    def run_all(self, plans: Sequence[ProbePlan]) -> tuple[tuple[RowReading, ...], ...]:
        self.calls.append(len(plans))
        rows = [row for plan in plans for row in plan.rows]
        if "knockouts" in self.refused and any(row.knockouts for row in rows):
            raise UnsupportedArchitectureError(model="planted", missing="context leaks")
        if "contributions" in self.refused and any(row.contributions for row in rows):
            raise AdapterSelfCheckError(model="planted", layer=1, error=0.5, max_error=0.1)
        return super().run_all(plans)


def same(one: Any, other: Any) -> bool:
    return bool(plain(one) == plain(other))


@pytest.mark.parametrize("measure", [context_reliance, parametric_reliance])
def test_every_part_is_what_its_probe_says_alone(measure: Any) -> None:
    model = Planted()
    reliance = measure(model, CASE)
    explained = explain_reliance(model, reliance)
    case = reliance.case
    assert explained.missing == {}
    assert same(explained.trace, causal_trace(model, case, corrupt="attribute", corruption="mask"))
    sources = ("subject", "attribute")
    cut = attention_knockout(model, case, sources=sources, window=1)
    assert same(explained.knockout_open, cut)
    closed = attention_knockout(model, case, sources=("subject",), window=1, book="closed")
    assert same(explained.knockout_closed, closed)
    assert same(explained.contributions, attention_contributions(model, case))
    assert same(explained.attribution, attribute_context(model, case))
    assert explained.prompt is reliance.prompt
    assert explained.title == reliance.title


def test_all_parts_are_asked_side_by_side() -> None:
    model = Planted()
    reliance = context_reliance(model, CASE, probes=())
    model.calls.clear()
    explain_reliance(model, reliance)
    assert model.calls == [len(PARTS)]


@pytest.mark.parametrize(
    ("refused", "lost", "reason"),
    [
        ("knockouts", ("knockout_open", "knockout_closed"), "context leaks"),
        ("contributions", ("contributions",), "do not add up"),
    ],
)
def test_what_a_model_cannot_do_is_missing_with_its_reason_and_spoils_nothing(
    refused: str, lost: tuple[str, ...], reason: str
) -> None:
    able, unable = Planted(), Planted((refused,))
    whole, rest = (explain_reliance(m, context_reliance(m, CASE)) for m in (able, unable))
    assert set(rest.missing) == {explanation_module.NAMES[name] for name in lost}
    assert all(reason in why for why in rest.missing.values())
    for name in PARTS:
        if name in lost:
            assert getattr(rest, name) is None
        else:
            assert same(getattr(rest, name), getattr(whole, name))


def test_a_deep_model_gets_windows_of_nine_layers_and_a_shallow_one_a_third() -> None:
    assert [knockout_window(n_layers) for n_layers in (1, 3, 6, 17, 18, 80)] == [1, 1, 2, 6, 9, 9]


def test_the_tokens_read_are_those_of_the_reliance_not_those_of_its_text(
    llama: RagModel, case: RagCase
) -> None:
    """A random model says what no tokenizer would make of the text."""
    asked = replace(case, answer=None, memory_answer=None, substitutes=("Rome",))
    reliance = context_reliance(llama, asked, probes=())
    said = reliance.prompt.answer_ids
    closed = llama.tokenize(llama.render(reliance.case, "closed"))
    remembered = llama.generate([closed])[0].token_ids
    again = llama.reading(closed, str(reliance.case.answer)).answer_ids
    assert again != said
    assert llama.reading(closed, str(reliance.case.memory_answer)).answer_ids != remembered
    explained = explain_reliance(llama, reliance)
    assert explained.missing == {}
    for name in PARTS:
        part: Result = getattr(explained, name)
        wanted = remembered if name == "knockout_closed" else said
        assert part.prompt.answer_ids == wanted
    assert explained.knockout_open is not None
    assert explained.attribution is not None
    clean = np.exp(tiny.by_hand(llama.model, reliance.prompt).sum())
    for part in (explained.trace, explained.knockout_open, explained.attribution):
        assert part is not None
        assert part.clean == pytest.approx(clean, rel=1e-9)


def test_an_answer_that_the_model_would_not_give_again_is_still_the_one_explained(
    llama: RagModel, case: RagCase
) -> None:
    asked = replace(case, answer=None, substitutes=("Rome",))
    reliance = context_reliance(llama, asked, probes=())
    other = tuple(reversed(reliance.prompt.answer_ids))
    assert other != reliance.prompt.answer_ids
    changed = replace(reliance, prompt=llama.reading(reliance.prompt, other))
    explained = explain_reliance(llama, changed)
    for name in set(PARTS) - {"knockout_closed"}:
        assert getattr(explained, name).prompt.answer_ids == other


def test_what_the_caller_gave_is_read_as_it_was(llama: RagModel, case: RagCase) -> None:
    given = replace(case, substitutes=("Rome",))
    reliance = context_reliance(llama, given, probes=())
    explained = explain_reliance(llama, reliance)
    assert explained.knockout_closed is not None
    assert explained.knockout_closed.prompt.answer_ids == llama.token_ids("Cork")
    assert explained.trace is not None
    assert explained.trace.prompt == reliance.prompt


def test_a_costly_trace_keeps_to_the_sites_that_can_matter(
    llama: RagModel, case: RagCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ("Cork is a city.", "Eavan Boland was born in Dublin. In Dublin, then.", "It rained.")
    asked = replace(case, context=context, substitutes=("Rome",))
    reliance = context_reliance(llama, asked, probes=())
    traces = {}
    for budget in (0.0, 1e9):
        monkeypatch.setattr(explanation_module, "MAX_FORWARDS", budget)
        traces[budget] = explain_reliance(llama, reliance).trace
    few, whole = traces[0.0], traces[1e9]
    assert few is not None
    assert whole is not None
    prompt = few.prompt
    text, offsets = prompt.text, prompt.offsets
    question = text.index("Question")
    ends = [text.index(passage) + len(passage) for passage in context]
    ends += [i + 6 for i in range(len(text)) if text.startswith("Dublin", i)]
    sites = {next(i for i, (_, stop) in enumerate(offsets) if stop == end) for end in ends}
    sites |= {*prompt.positions("subject"), *prompt.readers}
    assert all(offsets[p][0] >= question - 1 for p in prompt.positions("subject"))
    assert len(sites) == 3 + 2 + len(prompt.positions("subject")) + 2
    computed = np.isfinite(few.indirect_effect)
    assert set(np.flatnonzero(computed.all(axis=0)).tolist()) == sites
    assert set(np.flatnonzero(computed.any(axis=0)).tolist()) == sites
    assert np.isfinite(whole.indirect_effect).all()
    at = sorted(sites)
    assert few.indirect_effect[:, at] == pytest.approx(whole.indirect_effect[:, at], abs=1e-12)


@pytest.mark.parametrize("scale", [0.999, 1.001])
def test_the_budget_decides_where_it_is_reached(
    llama: RagModel, case: RagCase, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    reliance = context_reliance(llama, replace(case, substitutes=("Rome",)), probes=())
    n_tokens, first = len(reliance.prompt.input_ids), reliance.prompt.positions("attribute")[0]
    cost = trace_forwards(range(first, n_tokens), n_tokens=n_tokens, n_layers=llama.n_layers)
    monkeypatch.setattr(explanation_module, "MAX_FORWARDS", cost * scale)
    trace = explain_reliance(llama, reliance).trace
    assert trace is not None
    assert bool(np.isfinite(trace.indirect_effect).all()) == (scale > 1)
    assert 1.0 < MAX_FORWARDS < 100.0


@given(
    n_tokens=st.integers(1, 12), n_layers=st.integers(1, 6), positions=st.sets(st.integers(0, 11))
)
def test_a_traces_cost_is_the_token_layers_behind_every_restored_state(
    n_tokens: int, n_layers: int, positions: set[int]
) -> None:
    inside = {position for position in positions if position < n_tokens}
    token_layers = sum(
        1
        for position in inside
        for restored in range(n_layers)
        for layer in range(n_layers)
        for token in range(n_tokens)
        if layer > restored and token >= position
    )
    forwards = trace_forwards(inside, n_tokens=n_tokens, n_layers=n_layers)
    assert forwards == pytest.approx(token_layers / (n_tokens * n_layers))


def test_shades_are_sums_and_maxima_over_the_layers(llama: RagModel, case: RagCase) -> None:
    explained = explain_reliance(
        llama, context_reliance(llama, replace(case, substitutes=("Rome",)), probes=())
    )
    assert explained.trace is not None
    assert explained.contributions is not None
    cut = replace(explained.trace, indirect_effect=explained.trace.indirect_effect.copy())
    cut.indirect_effect[:, 2] = np.nan
    cut.indirect_effect[1:, 3] = np.nan
    shades = replace(explained, trace=cut).shades
    for token in range(len(explained.prompt.tokens)):
        layers = [v for v in cut.indirect_effect[:, token] if not np.isnan(v)]
        expected = max(layers) if layers else np.nan
        assert shades["causal trace"][token] == pytest.approx(expected, nan_ok=True)
        carried = sum(explained.contributions.summed[:, token])
        assert shades["attention contribution"][token] == pytest.approx(carried)
    assert replace(explained, trace=None, contributions=None).shades == {}


class Tags(HTMLParser):
    """Checks that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("refused", [(), ("knockouts",), ("knockouts", "contributions")])
def test_whatever_there_is_can_be_shown_and_kept(refused: tuple[str, ...]) -> None:
    model = Planted(refused)
    explained = explain_reliance(model, context_reliance(model, CASE))
    again = json.loads(json.dumps(explained.to_dict(), allow_nan=False))
    assert again["missing"] == dict(explained.missing)
    parser = Tags()
    html = explained._repr_html_()
    parser.feed(html)
    assert parser.open == []
    assert html.count("<figure>") == len(explained.panels()) >= 3
    for panel in explained.panels():
        assert panel.values.shape == (len(panel.rows), len(panel.columns))


def test_the_curves_are_the_probes_own() -> None:
    explained = explain_reliance(Planted(), context_reliance(Planted(), CASE))
    cuts, carried = explained.curves
    assert [(c.role, c.book) for c in cuts.curves] == [
        ("subject", "open"), ("attribute", "open"), ("subject", "closed"),
    ]  # fmt: skip
    opened, closed, read = (getattr(explained, name) for name in PARTS[1:4])
    for curve, source in zip(cuts.curves, (opened, opened, closed), strict=True):
        assert np.array_equal(curve.values, source.change(curve.role))
    assert cuts.title.endswith("one layer at a time")
    wide = {name: replace(getattr(explained, name), window=4) for name in PARTS[1:3]}
    assert replace(explained, **wide).curves[0].title.endswith("windows of 4 layers")
    for curve in carried.curves:
        assert np.array_equal(curve.values, read.of(curve.role))
    drawn = cuts.panel()
    assert drawn.dashed == (False, False, True)
    assert drawn.columns == ("layer 0", "layer 1")
    alone = replace(explained, knockout_open=None, contributions=None).curves
    assert [(c.role, c.book) for (some,) in [alone] for c in some.curves] == [("subject", "closed")]


@pytest.mark.parametrize("name", tiny.TOKENIZERS)
def test_real_tokens_join_to_the_prompt(name: str) -> None:
    tokenizer = tiny.TOKENIZERS[name]()
    parts = tiny.fresh("llama", vocab_size=len(tokenizer), max_position_embeddings=512)
    model = RagModel(parts, tokenizer)
    texts = ["Naïve Eavan  Boland — 東京 🎈 in Cork.", " spaced ", "lines\n\nand\ttabs"]
    prompt = model.tokenize(model.render(RagCase("Where\u00a0was Ōe?", texts)))
    joined = token_texts(prompt)
    assert len(joined) == len(prompt.tokens)
    assert "".join(joined) == prompt.text
    reading = model.reading(prompt, "Eavan Boland was born")
    forced = token_texts(reading)
    assert len(forced) == len(reading.input_ids) > len(joined)
    assert (prompt.text + " Eavan Boland was born").startswith("".join(forced))
