"""The page: what it holds, that no text in it is obeyed, and that it draws what was read."""

from __future__ import annotations

import base64
import copy
import doctest
import hashlib
import json
import math
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting import samples

from pytest_ragshortcut.reporting import compare, gate_svg, heatmaps, html, svg
from pytest_ragshortcut.reporting.html import render_report
from pytest_ragshortcut.reporting.schema import Report

VOID = {"meta", "input", "wbr", "br", "link", "img"}
HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "javascript:alert(1)",
    "<!-- <!doctype html> ]]> {{ 7 * 7 }} {% raw %} &amp; &#0;",
    "\u202egnp.exe\u2066 שלום \u200f",
    "\x00\x07\x1b[31m\x7f\x85\ufffe",
    "\ud800 lone \udfff",
    "w" * 3000,
    "👩‍🚀 e\u0301 🏳️‍🌈",
    "line\r\nbreak\u2028and\tmore",
    "",
]


class Page(HTMLParser):
    """A page's elements, in order; refuses what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self._open), data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag: str) -> str:
        return "".join(data for opened, data in self.texts if tag in opened)


def a_report() -> Report:
    """One of everything: kinds, verdicts, claims, with and without explanations and scores."""
    check = samples.check
    undefined = check(score=None, verdict="UNGROUNDED", explained=False)
    undefined["unexplained"] = "the model was gone"
    report = samples.report(
        samples.of_test("test_a", check(score=0.9, held=True), outcome="passed"),
        samples.of_test("test_b", check(score=0.1), check(score=0.7)),
        samples.of_test(
            "test_c", undefined, check(kind="parametric", score=0.5, claims=("< 0.2",))
        ),
        samples.of_test("test_d", check(score=0.6, claims=(), explained=False)),
    )
    report["gate"] = samples.gate()
    report["gate"]["regressions"][1]["test"] = "test_release.py::test_b"
    return report


def an_older_report() -> Report:
    report = copy.deepcopy(a_report())
    report["tests"].pop()
    report["tests"][0]["checks"][0]["score"] = 0.95
    report["tests"].append(samples.of_test("test_gone"))
    return report


def with_text(value: Any, text: str, key: str = "") -> Any:
    """Put a text wherever a model, a passage or a project may put one."""
    if isinstance(value, str):
        if key == "waived":
            # A case is waived or is not, whatever is said of it.
            return value and value + text
        return value if key in ("kind", "book", "outcome") else text
    if isinstance(value, list):
        return [with_text(each, text, key) for each in value]
    if not isinstance(value, dict):
        return value
    named = key in ("shades", "missing", "notes", "found", "readings")
    changed = {
        f"{k}{text}" if named else k: with_text(v, text, "" if named else k)
        for k, v in value.items()
    }
    return changed | {text or "empty": [[0, 3]]} if key == "spans" else changed


def rows_of(page: str, table: str) -> list[str]:
    body = re.search(rf'<table id="{table}".*?<tbody>(.*?)</tbody>', page, re.DOTALL)[1]
    return re.findall(r"<tr.*?</tr>", body, re.DOTALL)


def cells_of(row: str) -> list[str]:
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", "", cell).split()) for cell in cells]


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(a_report())


@pytest.fixture(scope="module")
def compared() -> str:
    return render_report(a_report(), other=an_older_report())


@pytest.mark.parametrize("module", [compare, gate_svg, heatmaps, html, svg])
def test_the_examples_hold(module: Any) -> None:
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0


# --- What the page is made of


@pytest.mark.parametrize("which", ["page", "compared"])
def test_nothing_is_asked_of_the_network(which: str, request: pytest.FixtureRequest) -> None:
    text = request.getfixturevalue(which)
    parsed = Page(text)
    assert not {"link", "img", "iframe", "object", "embed", "form", "base", "image"} & {
        tag for tag, _ in parsed.elements
    }
    for tag, attributes in parsed.elements:
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#"), tag
        assert not [name for name in attributes if name.startswith("on")]
    style = parsed.text("style")
    assert "url(" not in style
    assert "@import" not in style
    assert "://" not in text


def test_the_policy_allows_the_pages_own_script_and_nothing_else(page: str) -> None:
    (policy,) = [
        meta["content"]
        for meta in Page(page).all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@pytest.mark.parametrize("which", ["page", "compared"])
def test_every_anchor_resolves_and_no_id_is_twice(
    which: str, request: pytest.FixtureRequest
) -> None:
    parsed = Page(request.getfixturevalue(which))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [attributes for _, attributes in parsed.elements]
    anchors = {a["href"][1:] for a in named if a.get("href")}
    labels = {a["aria-labelledby"] for a in named if "aria-labelledby" in a}
    assert anchors | labels <= set(ids)
    assert len(anchors) > 5


@pytest.mark.parametrize("which", ["page", "compared"])
def test_headings_are_in_order_and_there_are_landmarks(
    which: str, request: pytest.FixtureRequest
) -> None:
    parsed = Page(request.getfixturevalue(which))
    tags = [tag for tag, _ in parsed.elements]
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert {"header", "nav", "main", "footer"} <= set(tags)
    assert parsed.all("html")[0]["lang"] == "en"


@pytest.mark.parametrize("which", ["page", "compared"])
def test_every_drawing_says_what_it_is(which: str, request: pytest.FixtureRequest) -> None:
    text = request.getfixturevalue(which)
    drawings = Page(text).all("svg")
    assert {drawing["class"] for drawing in drawings} == {"plot", "map", "key", "change"}
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert drawing["aria-label"]
    n_described = sum(drawing["class"] != "key" for drawing in drawings)
    assert len(re.findall(r"<desc>[^<]+</desc>", text)) == n_described


def test_radio_buttons_of_two_runs_do_not_choose_for_each_other(compared: str) -> None:
    radios = [each for each in Page(compared).all("input") if each.get("type") == "radio"]
    groups = Counter(radio["name"] for radio in radios)
    # Four explained checks in each run, each with two shades.
    assert len(groups) == 8
    assert set(groups.values()) == {2}
    assert sum("checked" in radio for radio in radios) == 8


# --- What it says


def test_checks_stand_worst_first(page: str) -> None:
    scores = [cells_of(row)[2] for row in rows_of(page, "check-table")]
    # Failed: undefined, never compared, then 0.7, 0.3 and 0.1 on the wrong side; last what holds.
    assert scores == ["undefined", "0.60", "0.10", "0.50", "0.70", "0.90"]
    titles = re.findall(r'<section class="view case[^"]*" id="case-(\d+)"', page)
    assert titles == ["1", "2", "3", "4", "5", "6"]


def test_what_is_undefined_is_never_shown_as_zero() -> None:
    check = samples.check(score=None, verdict="UNGROUNDED")
    check["evidence"] = [{"probe": "p", "value": None, "reading": "r"}]
    check["swap"] = {
        "substitutes": ["Rome"],
        "substitute_probability": [None],
        "memory_probability": [None],
    }
    explained = check["explanation"]
    explained["shades"] = {"nothing": [None] * len(explained["tokens"])}
    explained["maps"][0]["values"] = [[None] * 4 for _ in range(4)]
    for line in explained["curves"][0]["lines"]:
        line["values"] = [None] * 4
    explained["pieces"][0] |= {"probability": None, "effect": None}
    text = render_report(samples.report(samples.of_test("test_it", check)))
    (row,) = rows_of(text, "check-table")
    assert cells_of(row)[2:4] == ["undefined", ""]
    case = text[text.index('<section class="view case') :]
    tables = "".join(re.findall(r"<table.*?</table>", case, re.DOTALL))
    assert not re.search(r">-?0(\.0+)?<", tables)
    assert tables.count("undefined</td>") == 5
    assert 'class="bar' not in case
    assert not re.search(r'class="[pn]\d', case)
    assert 'class="m c' not in re.sub(r'<svg class="key".*?</svg>', "", case, flags=re.DOTALL)
    assert "0 defined, 1 undefined" in text
    assert "0 hold, 0 fail" in text


def test_tiles_count_every_verdict(page: str) -> None:
    tiles = re.findall(
        r'<button[^>]*class="tile"[^>]*data-verdict="(\w+)"[^>]*>\s*<span class="count">(\d+)',
        page,
    )
    assert dict(tiles) == {
        "CONTEXT": "0",
        "MEMORY": "0",
        "SHORTCUT": "0",
        "MIXED": "5",
        "UNGROUNDED": "1",
        "UNDECIDED": "0",
    }


def test_the_histogram_counts_every_score_once(page: str) -> None:
    drawn = re.findall(r"<svg class=\"plot\".*?</svg>", page.split('id="checks"')[0], re.DOTALL)
    bars = [re.findall(r"<title>[\d.]+ to [\d.]+: (\d+) hold, (\d+) fail", each) for each in drawn]
    counts = [(sum(int(h) for h, _ in bar), sum(int(f) for _, f in bar)) for bar in bars]
    assert sorted(counts) == [(0, 1), (1, 3)]


def test_missing_and_unexplained_are_said_in_words() -> None:
    check = samples.check()
    check["explanation"]["missing"] = {"causal trace": "the window is too short"}
    other = samples.check(explained=False)
    other["unexplained"] = "out of memory"
    text = render_report(samples.report(samples.of_test("test_it", check, other)))
    assert "There is no causal trace: the window is too short" in text
    assert "It could not be explained: out of memory" in text


def test_a_score_beside_its_limit_has_enough_decimals() -> None:
    text = render_report(samples.report(samples.of_test("t", samples.check(score=0.79999))))
    assert cells_of(rows_of(text, "check-table")[0])[2] == "0.79999"


def test_a_report_of_nothing_is_a_page_too() -> None:
    empty = samples.report(samples.of_test("test_it"))
    empty["tests"], empty["models"] = [], []
    Page(text := render_report(empty, other=empty))
    assert "No checks were made" in text


# --- The gate


def gate_of(text: str) -> str:
    """The gate's section, with whitespace as it is seen."""
    section = re.search(r'<section class="gate".*?</section>', text, re.DOTALL)[0]
    return " ".join(section.split())


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", text.replace("<wbr>", "")).split())


def test_a_page_without_a_gate_has_no_trace_of_one() -> None:
    text = render_report(a_report() | {"gate": None})
    assert 'id="gate"' not in text
    assert 'href="#gate"' not in text
    assert "INCONCLUSIVE" not in text


def test_the_gate_stands_before_the_checks_and_is_linked_to(page: str) -> None:
    assert page.index('id="overview"') < page.index('id="gate"') < page.index('id="checks"')
    assert '<a href="#gate">Gate</a>' in page
    assert ", gate FAIL</title>" in page


@pytest.mark.parametrize(
    ("outcome", "passes", "said"),
    [
        ("PASS", True, "✓ PASS"),
        ("FAIL", False, "✕ FAIL"),
        ("INCONCLUSIVE", True, "? INCONCLUSIVE, which passes"),
        ("INCONCLUSIVE", False, "? INCONCLUSIVE, which does not pass"),
    ],
)
def test_the_outcome_is_said_in_words_and_a_sign(outcome: str, passes: bool, said: str) -> None:
    gate = samples.gate() | {"outcome": outcome, "passes": passes}
    text = gate_of(render_report(a_report() | {"gate": gate}))
    banner = text[text.index('<div class="banner') : text.index("<h4")]
    assert plain(banner) == f"{said} {gate['sentence']} To do {gate['action']}"


def test_each_property_has_its_numbers_its_reason_and_its_drawing(page: str) -> None:
    table = re.search(r'<table class="properties".*?</table>', gate_of(page))[0]
    rows = [cells_of(row) for row in re.findall(r"<tr.*?</tr>", table)[1:]]
    assert [row[1:4] for row in rows] == [["0.98", "0.79", "-0.19"], ["0.98", "0.98", "0.00"]]
    assert rows[0][0].endswith("context Reads 0.19 less, at least 0.11 less with 95 % confidence: "
                               "more than 0.05")  # fmt: skip
    assert [row[5] for row in rows] == [
        "9 of 4010.8 % to 38.5 %1 left out",
        "0 of 120.0 % to 26.5 %",
    ]
    assert [row[6] for row in rows] == ["✕ FAIL", "? INCONCLUSIVEnot deciding"]
    assert table.count('<svg class="change"') == 2
    assert "<desc>changed by -0.19, interval [-0.31, -0.11], margin -0.05</desc>" in table


def test_cases_that_fell_stand_worst_first_with_old_beside_new(page: str) -> None:
    blocks = re.findall(r'<details class="regression".*?</details>', gate_of(page))
    assert [block.startswith('<details class="regression" open>') for block in blocks] == [
        True, False, False,
    ]  # fmt: skip
    changes = [plain(re.search(r"<summary>(.*?)</summary>", block)[1]) for block in blocks]
    assert changes == [
        "undefined test_release.py::test_it[ada]",
        "-0.75 test_release.py::test_b",
        "-0.75 test_release.py::test_it[bob] waived: RAG-17: old name",
    ]
    rows = [cells_of(row) for row in re.findall(r"<tr.*?</tr>", blocks[1])]
    assert rows == [
        ["What is read", "Baseline", "Candidate"],
        ["verdict", "SHORTCUT", "MEMORY"],
        ["score", "1.00 [1.00, 1.00]", "0.25 [0.25, 0.25]"],
        ["it says", "Cork", "Dublin"],
        ["the context says", "Cork", "Cork"],
        ["without context", "Dublin", "Dublin"],
        ["swap: follow", "1.00", "0.25"],
        ["knockout attribute -&gt; answer", "-0.50", "-0.50"],
    ]


def test_a_case_that_fell_leads_to_its_own_section_where_there_is_one(page: str) -> None:
    blocks = re.findall(r'<details class="regression".*?</details>', gate_of(page))
    assert [re.findall(r'href="#(.*?)"', block) for block in blocks] == [[], ["case-3"], []]
    case = page[page.index('id="case-3"') : page.index('id="case-4"')]
    assert "test_<wbr>b" in case
    assert ">0.10<" in case, "the worse one of two checks of this case"


def test_of_many_cases_the_worst_twenty_are_seen_at_once() -> None:
    gate = samples.gate()
    gate["regressions"] = [
        gate["regressions"][1] | {"command": f"pytest -k {i}"} for i in range(1022)
    ]
    text = gate_of(render_report(a_report() | {"gate": gate}))
    first, _, rest = text.partition('<details class="more">')
    assert first.count('<details class="regression"') == 20
    assert rest.startswith(" <summary>1,002 more</summary>")
    assert rest.count('<details class="regression"') == 1002
    assert re.findall(r"pytest -k (\d+)", text) == [str(i) for i in range(1022)]


def test_waivers_warnings_and_what_was_asked_are_all_there() -> None:
    gate = samples.gate()
    gate["waivers"].append(gate["waivers"][0] | {"is_expired": True, "expires": "2025-12-31"})
    text = plain(gate_of(render_report(a_report() | {"gate": gate})))
    for said in (
        "RAG-17: old name Holds until 2027-01-31, leaves out 1 case Every case of it",
        "EXPIRED, held until 2025-12-31; 1 case counts again",
        "the device was cuda:0 and is cpu",
        "margin:0.05, floor:0.8, confidence:0.95, inconclusive:fail",
        "0.8: what a mean score must be above",
        "95 %; of several properties the intervals are wider",
        "Changes up to 0.0001 are rounding",
        "rag-baselines/released.json",
    ):
        assert said in text
    assert text.count("EXPIRED") == 1


def test_a_gate_of_nothing_is_shown_too() -> None:
    empty = {"properties": [], "regressions": [], "waivers": [], "warnings": [], "floor": None}
    text = render_report(a_report() | {"gate": samples.gate() | empty})
    Page(text)
    shown = plain(gate_of(text))
    assert "No case fell by more than the margin." in shown
    assert "Floor none" in shown
    assert "In what the two runs differ" not in shown


def test_an_undefined_change_is_never_drawn_as_zero() -> None:
    gate = samples.gate()
    undefined = {"change": None, "change_interval": [None, None], "candidate": None}
    gate["properties"] = [gate["properties"][0] | undefined]
    table = gate_of(render_report(a_report() | {"gate": gate}))
    drawn = re.search(r'<svg class="change".*?</svg>', table)[0]
    assert 'class="range"' not in drawn
    assert 'class="mean"' not in drawn
    assert "changed by undefined, interval undefined" in drawn
    assert len(re.findall(r'class="num undefined"[^>]*>undefined<', table)) == 2


@given(
    ends=st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(sorted),
    margin=st.floats(0, 0.5),
    other=st.floats(-1, 1),
)
def test_a_change_is_drawn_on_its_own_side_of_the_margin(
    ends: list[float], margin: float, other: float
) -> None:
    low, change, high = ends
    gate = samples.gate() | {"margin": margin}
    gate["properties"][0] |= {"change": change, "change_interval": [low, high]}
    gate["properties"][1] |= {"change": other, "change_interval": [other, other]}
    drawn = str(gate_svg.interval(gate["properties"][0], gate))
    at = {name: float(x) for name, x in re.findall(r'class="(\w+)" d="M([\d.-]+) ', drawn)}
    wide = float(re.search(r'class="range" d="M[\d.-]+ \d+h([\d.]+)', drawn)[1])
    places = {"margin": -margin, "even": 0.0, "mean": change, "range": low}
    for one, x in places.items():
        assert 0 <= at[one] <= 230
        for two, y in places.items():
            assert (at[one] - at[two]) * (x - y) >= 0
    unit = (at["even"] - at["margin"]) / margin if margin > 0.05 else None
    if unit:
        assert at["mean"] - at["even"] == pytest.approx(change * unit, rel=0.05, abs=0.3)
        assert wide == pytest.approx(max(1.0, (high - low) * unit), rel=0.05, abs=0.3)


# --- Nothing in it is obeyed


def shape_of(text: str) -> tuple[Counter[str], set[tuple[str, ...]]]:
    """Count elements, but those that follow from a text's length, lines and underscores."""
    elements = [e for e in Page(text).elements if e[0] not in ("s", "wbr", "text")]
    return Counter(tag for tag, _ in elements), {(tag, *sorted(a)) for tag, a in elements}


@pytest.fixture(scope="module")
def harmless() -> Any:
    return shape_of(
        render_report(with_text(a_report(), "x"), other=with_text(an_older_report(), "x"))
    )


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_stay_texts(text: str, harmless: Any) -> None:
    _stays_text(text, harmless)


@settings(max_examples=25)
@given(text=st.text(st.characters(codec=None, exclude_categories=()), max_size=40))
def test_any_text_stays_a_text(text: str, harmless: Any) -> None:
    _stays_text(text, harmless)


def _stays_text(text: str, harmless: Any) -> None:
    page = render_report(with_text(a_report(), text), other=with_text(an_older_report(), text))
    page.encode()
    assert shape_of(page) == harmless
    parsed = Page(page)
    expected = " ".join(svg.visible(text).split())
    seen = {" ".join(data.split()) for opened, data in parsed.texts if opened[-1:] == ("code",)}
    assert expected in seen | {""}
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


def test_long_passages_are_all_there() -> None:
    passage = "<b>" + "word " * 10_000
    text = render_report(samples.report(samples.of_test("t", samples.check(passages=(passage,)))))
    assert passage in Page(text).text("li")


# --- What is drawn is what was read

VALUES = st.none() | st.floats(-1, 1).map(lambda value: round(value, 3))


@st.composite
def maps(draw: st.DrawFn) -> dict[str, Any]:
    n_rows, n_columns = draw(st.integers(1, 5)), draw(st.integers(1, 90))
    row = st.lists(VALUES, min_size=n_columns, max_size=n_columns)
    start = draw(st.integers(0, 20))
    return {
        "title": "t",
        "unit": "u",
        "rows": [f"layer {i}" for i in range(n_rows)],
        "columns": list(range(start, start + n_columns)),
        "values": draw(st.lists(row, min_size=n_rows, max_size=n_rows)),
    }


def read_back(drawn: str, n_rows: int) -> dict[tuple[int, int], int | None]:
    """Read a map's shades from its strokes: (row, token) -> signed level, None where hatched."""
    read: dict[tuple[int, int], int | None] = {}
    for band in re.findall(r"<svg.*?</svg>", drawn):
        columns = json.loads(Page(band).all("svg")[0]["data-map"])["columns"]
        read |= {(y, position): 0 for y in range(n_rows) for position in columns}
        for sign, level, path in re.findall(r'<path class="([pn])(\d+)" d="([^"]*)"', band):
            for x, y, n in re.findall(r"M(\d+) (\d+)\.5h(\d+)", path):
                for position in columns[int(x) : int(x) + int(n)]:
                    read[n_rows - 1 - int(y), position] = int(
                        f"{'-' if sign == 'n' else ''}{level}"
                    )
        for path in re.findall(r'<path class="none" d="([^"]*)"', band):
            for x, y in re.findall(r"M(\d+) (\d+)l1-1", path):
                read[n_rows - int(y), columns[int(x)]] = None
    return read


@settings(max_examples=50)
@given(record=maps())
def test_a_heat_map_can_be_read_back(record: dict[str, Any]) -> None:
    """Every cell's shade is its share of the largest, the lowest layer at the bottom."""
    drawn = str(heatmaps.heat_map(record, samples.explanation()))
    read = read_back(drawn, len(record["rows"]))
    cells = {
        (y, position): value
        for y, row in enumerate(record["values"])
        for position, value in zip(record["columns"], row, strict=True)
    }
    limit = max((abs(value) for value in cells.values() if value is not None), default=0) or 1
    assert read.keys() == cells.keys()
    for cell, value in cells.items():
        if value is None:
            assert read[cell] is None
        else:
            assert abs(read[cell] - heatmaps.LEVELS * value / limit) <= 0.5


@settings(max_examples=20)
@given(record=maps())
def test_a_heat_map_holds_its_values(record: dict[str, Any]) -> None:
    drawn = str(heatmaps.heat_map(record, samples.explanation()))
    bands = [json.loads(each["data-map"]) for each in Page(drawn).all("svg")]
    assert [position for band in bands for position in band["columns"]] == record["columns"]
    for y, row in enumerate(record["values"]):
        assert [value for band in bands for value in band["values"][y]] == row


def test_every_column_is_labelled_with_its_token_and_role() -> None:
    explanation = samples.explanation()
    drawn = str(heatmaps.heat_map(explanation["maps"][0], explanation))
    labels = [" ".join(text.split()) for opened, text in Page(drawn).texts if opened[-1] == "text"]
    assert [label for label in labels if label.startswith("layer")] == samples_layers()
    assert labels[-4:] == ["Cork", ".", "Ada", ":"]
    assert labels[-7:-4] == ["A", "S", "R"]


def samples_layers() -> list[str]:
    return [f"layer {layer}" for layer in range(samples.N_LAYERS)]


@given(tokens=st.lists(st.text(max_size=6), min_size=1, max_size=12), value=VALUES)
def test_a_shaded_prompt_is_the_prompt(tokens: list[str], value: float | None) -> None:
    explanation = samples.explanation()
    explanation["tokens"], explanation["spans"] = tokens, {"passage_0": [[0, 1]]}
    explanation["shades"] = {"one": [value] * len(tokens), "two": [0.5] * len(tokens)}
    drawn = heatmaps.shaded_prompt(explanation)
    parsed = Page(str(drawn))
    inside = [data for opened, data in parsed.texts if opened == ("i",)]
    assert "".join(inside) == svg.visible("".join(tokens))
    assert len(parsed.all("i")) == len(tokens)
    share = "--h0:var(--hatch);" if value is None else f"--v0:{math.copysign(1, value):g};"
    style = "--v1:1" if value == 0 else f"{share}--v1:1"
    assert {token["style"] for token in parsed.all("i")} == {style}


def test_curves_of_both_books_share_a_scale_and_break_where_nothing_is() -> None:
    record = samples.explanation()["curves"][0]
    record["lines"][1]["values"] = [-0.9, None, -0.9, -0.1]
    drawn = dict(svg.curves(record))
    assert list(drawn) == ["open-book", "closed-book"]
    heights = {
        name: float(re.search(r"M[\d.]+ ([\d.]+)m", mark)[1])
        for plot in drawn.values()
        for mark in re.findall(r'<path class="m.*?</path>', plot)
        for name in re.findall(r"<title>(.*)</title>", mark)
    }
    assert heights["subject, layer 0: -0.9"] == heights["attribute, layer 2: -0.9"]
    closed = {name: y for name, y in heights.items() if name.endswith(": -0.4")}
    (between,) = closed.values()
    assert heights["attribute, layer 0: 0"] < between < heights["subject, layer 0: -0.9"]
    subject = re.findall(r'<path class="l c1" d="([^"]*)"', drawn["open-book"])[0]
    assert (subject.count("M"), subject.count("L")) == (2, 1)
    assert len(heights) == 4 + 3 + 4


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4))
def test_an_axis_spans_its_values_and_zero(values: list[float]) -> None:
    record = samples.explanation()["curves"][0]
    record["lines"] = [{"label": "a", "book": "open", "values": values}]
    ((_, plot),) = svg.curves(record)
    marks = re.findall(r'class="m c0" d="M([\d.-]+) ([\d.-]+)m', plot)
    assert len(marks) == len(values)
    assert all(12 <= float(y) <= 230 - 36 for _, y in marks)
    assert plot.count('class="zero"') == 1


# --- Two runs


def test_changes_stand_worst_first() -> None:
    check = samples.check

    def of(**scores: float | None) -> Report:
        kinds = {"p": ("parametric", ("< 0.2",))}
        tests = []
        for name, score in scores.items():
            kind, claims = kinds.get(name[0], ("context", ("> 0.8",)))
            tests.append(
                samples.of_test(
                    name, check(kind=kind, score=score, claims=claims, held=False, explained=False)
                )
            )
        return samples.report(*tests)

    older = of(gone=0.9, worse=0.9, better=0.1, p_worse=0.1, same=0.5, lost=0.5, found=None)
    newer = of(worse=0.6, better=0.9, p_worse=0.3, same=0.5, lost=None, found=0.5, new=0.5)
    text = render_report(newer, other=older)
    rows = [cells_of(row) for row in rows_of(text, "change-table")]
    names = [row[0].removeprefix("test_release.py::") for row in rows]
    assert names == ["lost", "worse", "p_worse", "same", "better", "found"]
    assert [row[4] for row in rows] == [
        "undefined", "-0.30", "+0.20", "+0.00", "+0.80", "undefined",
    ]  # fmt: skip
    assert rows[0][2:4] == ["0.50", "undefined"]
    assert "1 check only in this run" in text
    assert "1 check only in the older run" in text
    assert "6 checks are in both runs" in text


def test_checks_of_one_case_are_matched_by_kind_and_in_turn() -> None:
    first = [
        samples.check(score=0.1),
        samples.check(kind="parametric", score=0.2, claims=("< 0.5",)),
    ]
    then = [samples.check(score=0.3), samples.check(score=0.4), first[1]]
    rows = compare.rows_of(samples.report(samples.of_test("t", *then)))
    found = compare.compare(rows, samples.report(samples.of_test("t", *first)))
    assert {(row.older["score"], row.check["score"]) for row in found.matched} == {
        (0.1, 0.3),
        (0.2, 0.2),
    }
    assert [row.check["score"] for row in found.only_here] == [0.4]
    assert not found.only_there


def test_each_explained_case_has_both_explanations(compared: str) -> None:
    cases = compared.split('<section class="view case')[1:]
    both = [case for case in cases if case.count('<div class="explanation">') == 2]
    assert len(both) == 4
    assert all("Older run" in case and "This run" in case for case in both)


def test_a_headline_of_checks_that_hold_does_not_hide_a_gate_that_fails() -> None:
    report = samples.report(samples.of_test("a", samples.check(score=0.9, held=True)))
    assert "The one check holds<" in render_report(report)
    assert "The one check holds<" in render_report({**report, "gate": samples.gate(passes=True)})
    failing = render_report({**report, "gate": samples.gate()})
    assert "The one check holds; the release gate does not pass<" in failing
