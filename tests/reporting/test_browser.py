"""The page in a real browser: what a person clicks, types, reads, prints and looks at."""

from __future__ import annotations

import copy
import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reporting import samples

from pytest_ragshortcut.reporting.html import render_report
from pytest_ragshortcut.reporting.schema import GateRecord, Report

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
if CHROMIUM is None:
    pytest.skip("there is no Chromium or Chrome on the path", allow_module_level=True)

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = "</script><script>window.obeyed = true</script><img src=x onerror='window.obeyed = true'>"
LONG = "incomprehensib" * 60
N_CHECKS = 8
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
Open = Callable[..., Any]

# What lies behind every text that is seen, as [contrast, text]: colours are read off a canvas.
CONTRASTS = """() => {
  const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const over = (colour, below) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = below;
    context.fillRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return 'rgb(' + [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).join() + ')';
  };
  const light = (colour) => {
    const parts = colour.match(/\\d+/g).map((part) => part / 255);
    const linear = parts.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (element) => {
    const all = [];
    for (let at = element; at; at = at.parentElement) all.push(getComputedStyle(at));
    const colours = all.map((style) => style.backgroundColor).reverse();
    return colours.reduce((below, colour) => over(colour, below), 'rgb(255,255,255)');
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility()) continue;
    if (element.closest('.sr, :disabled, a:not([href])')) continue;
    const style = getComputedStyle(element);
    const back = behind(element);
    const colour = over(element.closest('svg') ? style.fill : style.color, back);
    const [a, b] = [light(colour), light(back)];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.data.trim().slice(0, 40)]);
  }
  return found;
}"""
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def a_report() -> Report:
    """Eight checks of four verdicts, one without a score, one whose texts are an attack."""
    check = samples.check
    attacked = check(
        score=0.2, verdict="MEMORY", question=HOSTILE, passages=(LONG, HOSTILE), explained=True
    )
    attacked["explanation"]["tokens"][0] = HOSTILE
    attacked["explanation"]["pieces"][0]["text"] = LONG
    spread = samples.explanation()
    spread["shades"]["both signs"] = [(-1) ** i * i / 20 for i in range(len(spread["tokens"]))]
    both = check(score=0.4, verdict="MIXED")
    both["explanation"] = spread
    wide = check(score=0.6, verdict="MIXED")
    cells = [i / 20 for i in range(len(spread["tokens"]))]
    of_all = {"columns": list(range(len(cells))), "values": [cells] * samples.N_LAYERS}
    wide["explanation"]["maps"][0] |= of_all
    report = samples.report(
        samples.of_test("test_held", check(score=0.95, verdict="CONTEXT", held=True)),
        samples.of_test("test_attacked", attacked),
        samples.of_test("test_both", both),
        samples.of_test("test_memory", check(kind="parametric", score=0.7, claims=("< 0.2",))),
        samples.of_test("test_undefined", check(score=None, verdict="UNGROUNDED", explained=False)),
        samples.of_test("test_" + LONG, check(score=0.7, question="Who wrote Ulysses?")),
        samples.of_test("test_quick", check(score=0.5, seconds=0.01)),
        samples.of_test("test_wide", wide),
    )
    report["gate"] = a_gate()
    return report


def a_gate() -> GateRecord:
    """A gate whose worst case is one of the report's, and another's texts are an attack."""
    gate = samples.gate()
    gate["regressions"][0]["test"] = "test_release.py::test_quick"
    attacked = gate["regressions"][1]
    attacked |= {"test": f"test_release.py::test_it[{LONG}]", "question": HOSTILE}
    attacked["new"] |= {"answer": LONG, "memory_answer": HOSTILE, "readings": {HOSTILE: None}}
    gate["properties"][0]["sentence"] = HOSTILE
    gate["properties"][1]["name"] = f"test_release.py::{LONG}, context"
    gate["waivers"].append(gate["waivers"][0] | {"reason": HOSTILE, "case": LONG})
    gate["waivers"][1] |= {"is_expired": True}
    gate["warnings"] += [HOSTILE, LONG]
    return gate


def an_older_report() -> Report:
    report = copy.deepcopy(a_report())
    report["tests"][0]["checks"][0] |= {"score": 0.5, "verdict": "MIXED", "held": False}
    return report


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    written = {
        "report": render_report(a_report()),
        "compared": render_report(a_report(), other=an_older_report()),
    }
    for name, text in written.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in written}


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[Open]:
    """Open a page; in the end nothing may have gone wrong in it, nor left it."""
    wrong: list[str] = []
    asked: set[str] = set()
    contexts = []

    def open_page(name: str = "report", at: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda request: asked.add(request.url.partition("#")[0]))
        page.goto(pages[name].as_uri() + at)
        # With its first frames a browser goes to the address's fragment, and drops the focus.
        if options.get("java_script_enabled", True):
            page.evaluate(FRAMES)
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("window.obeyed") is None
        context.close()
    assert wrong == []
    assert asked <= {path.as_uri() for path in pages.values()}


def seen(page: Any) -> list[str]:
    """Which parts of the page are seen, once it has heard of a new address."""
    page.evaluate("new Promise(done => setTimeout(done, 50))")
    views = page.locator(".view").evaluate_all(
        "views => views.filter(view => view.checkVisibility()).map(view => view.id)"
    )
    return [str(view) for view in views]


def scores(page: Any) -> list[str]:
    """The scores of the rows that are seen."""
    rows = page.locator("#check-table tbody tr:visible td:nth-child(3)")
    return [text.strip() for text in rows.all_inner_texts()]


def follow(page: Any, name: str) -> str:
    """Follow a link of the part that is seen, and say which part is seen then."""
    page.locator(".view.open").get_by_role("link", name=name).click()
    (view,) = seen(page)
    return view


def case_of(page: Any, name: str) -> str:
    """The anchor of a test's first case."""
    link = page.locator("#check-table tbody a", has_text=name).first
    return str(link.get_attribute("href"))


def picture_of(page: Any, path: Path) -> Any:
    """Take a picture, and see that something is on it."""
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with matplotlib")
    taken = image.open(io.BytesIO(page.screenshot(path=path, full_page=True))).convert("RGB")
    colours = taken.getcolors(1 << 24)
    assert len(colours) > 40
    assert max(n for n, _ in colours) < 0.98 * taken.width * taken.height
    return taken


# --- Finding a check


def test_a_row_leads_to_its_case_and_back(opened: Open) -> None:
    page = opened()
    assert seen(page) == ["overview"]
    page.locator("#check-table tbody tr").nth(2).locator("td").nth(1).click()
    assert seen(page) == ["case-3"]
    assert page.evaluate("document.activeElement.id") == "case-3-title"
    assert "Where was Ada born?" in page.title()
    assert follow(page, "Next") == "case-4"
    assert follow(page, "Previous") == "case-3"
    assert follow(page, "Previous") == "case-2"
    assert follow(page, "All checks") == "overview"
    assert page.evaluate("document.activeElement.hash") == "#case-2"
    page.go_back()
    assert seen(page) == ["case-2"]


def test_previous_and_next_follow_what_is_shown(opened: Open) -> None:
    page = opened()
    page.locator('.tile[data-verdict="MIXED"]').click()
    page.locator("#check-table tbody tr:visible a").first.click()
    seen(page)
    assert page.locator(".case.open .place").inner_text() == "1 of 5"
    assert page.locator(".case.open .previous").get_attribute("href") is None
    shown = {follow(page, "Next") for _ in range(4)}
    assert len(shown) == 4
    assert page.locator(".case.open .place").inner_text() == "5 of 5"
    assert page.locator(".case.open .verdict").first.inner_text() == "MIXED"


def test_verdicts_and_the_switch_filter_and_say_how_many(opened: Open) -> None:
    page = opened()
    shown = page.locator("#shown")
    assert shown.get_attribute("aria-live") == "polite"
    assert shown.inner_text() == f"{N_CHECKS} of {N_CHECKS} shown"
    tile = page.locator('.tile[data-verdict="MIXED"]')
    tile.click()
    assert tile.get_attribute("aria-pressed") == "true"
    assert shown.inner_text() == f"5 of {N_CHECKS} shown"
    page.locator('.tile[data-verdict="CONTEXT"]').click()
    assert shown.inner_text() == f"6 of {N_CHECKS} shown"
    page.get_by_role("switch", name="Failed only").check()
    assert shown.inner_text() == f"5 of {N_CHECKS} shown"
    assert page.locator('.tile[data-verdict="SHORTCUT"]').is_disabled()
    page.get_by_role("button", name="Show all").click()
    assert shown.inner_text() == f"{N_CHECKS} of {N_CHECKS} shown"
    assert tile.get_attribute("aria-pressed") == "false"
    assert not page.get_by_role("switch").is_checked()


def test_search_finds_all_words_in_any_case(opened: Open) -> None:
    page = opened()
    search = page.get_by_role("searchbox")
    search.fill("ULYSSES wrote")
    assert page.locator("#shown").inner_text() == f"1 of {N_CHECKS} shown"
    search.fill("window.obeyed")
    assert page.locator("#check-table tbody tr:visible").count() == 1
    search.fill("nothing of the kind")
    assert scores(page) == []
    search.press("Escape")
    assert len(scores(page)) == N_CHECKS


def test_columns_sort_both_ways_and_what_is_undefined_is_least(opened: Open) -> None:
    page = opened()
    worst_first = scores(page)
    header = page.locator("#check-table th", has_text="Score")
    header.get_by_role("button").click()
    ordered = ["undefined", "0.20", "0.40", "0.50", "0.60", "0.70", "0.70", "0.95"]
    assert scores(page) == ordered
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").click()
    assert scores(page) == ordered[::-1]
    assert header.get_attribute("aria-sort") == "descending"
    assert page.locator("#check-table th[aria-sort]").count() == 1
    page.locator("#check-table th", has_text="Held").get_by_role("button").click()
    assert scores(page) == worst_first


def test_the_keyboard_is_enough(opened: Open) -> None:
    page = opened()
    keys = page.keyboard
    keys.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    keys.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    keys.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    keys.type("test_")
    page.locator("#check-table tbody a").first.focus()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    keys.press("ArrowDown")
    assert page.evaluate("document.activeElement.hash") == "#case-2"
    keys.press("Enter")
    assert seen(page) == ["case-2"]
    keys.press("Escape")
    assert seen(page) == ["overview"]
    page.locator('.tile[data-verdict="MEMORY"]').focus()
    keys.press("Space")
    assert page.locator("#shown").inner_text() == f"1 of {N_CHECKS} shown"
    page.goto(page.url.partition("#")[0] + "#case-1")
    assert seen(page) == ["case-1"]
    keys.press("/")
    assert seen(page) == ["overview"]
    assert page.evaluate("document.activeElement.id") == "search"


# --- The gate


def test_the_gate_is_read_and_opened_by_keyboard(opened: Open) -> None:
    page = opened()
    banner = page.locator("#gate .banner")
    assert "FAIL" in banner.inner_text()
    assert banner.bounding_box()["y"] < page.locator(".tiles").bounding_box()["y"]
    blocks = page.locator("#gate details.regression")
    assert [block.get_attribute("open") is not None for block in blocks.all()] == [
        True, False, False,
    ]  # fmt: skip
    assert blocks.nth(1).locator("table").is_hidden()
    blocks.nth(1).locator("summary").focus()
    page.keyboard.press("Enter")
    assert blocks.nth(1).locator("table").is_visible()
    assert HOSTILE in blocks.nth(1).inner_text()
    page.keyboard.press("Space")
    assert blocks.nth(1).locator("table").is_hidden()
    blocks.nth(0).locator("summary").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    (case,) = seen(page)
    assert page.locator(f"#{case} .test").inner_text().endswith("test_quick")


def test_from_a_case_one_goes_back_to_where_it_was_opened(opened: Open) -> None:
    page = opened()
    page.get_by_role("link", name="Where the answer came from").click()
    (case,) = seen(page)
    page.go_back()
    assert seen(page) == ["overview"]
    focused = "document.activeElement.closest('#gate, #checks')?.id"
    assert page.evaluate(focused) == "gate"
    page.go_forward()
    assert seen(page) == [case]
    assert follow(page, "All checks") == "overview"
    assert page.evaluate(focused) == "checks"
    page.goto(page.url.partition("#")[0] + "#case-1")
    assert seen(page) == ["case-1"]
    page.get_by_role("link", name="Gate").click()
    assert seen(page) == ["overview"]
    assert abs(page.locator("#gate").bounding_box()["y"]) < 40


def test_the_gates_drawings_keep_their_size_and_stand_in_their_place(opened: Open) -> None:
    for viewport in (WIDE, NARROW):
        page = opened(viewport=viewport)
        boxes = [box.bounding_box() for box in page.locator("#gate svg.change").all()]
        assert [round(box["width"]) for box in boxes] == [230, 230]
        assert all(0 <= box["x"] <= viewport["width"] - 230 for box in boxes)
        assert page.locator("#gate .table").evaluate_all(
            "all => all.every(table => table.scrollWidth <= table.clientWidth)"
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_gate_is_seen_in_both_colours(opened: Open, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with matplotlib")
    shot = page.locator("#gate .banner").screenshot()
    taken = image.open(io.BytesIO(shot)).convert("RGB")
    colours = taken.getcolors(1 << 24)
    assert len(colours) > 40
    assert max(n for n, _ in colours) < 0.98 * taken.width * taken.height
    assert (sum(max(colours)[1]) > 3 * 128) == (scheme == "light")


# --- Reading a case


def test_every_cell_of_a_map_says_what_was_read(opened: Open) -> None:
    page = opened(at=case_of(opened(), "test_quick"))
    record = samples.explanation()["maps"][0]
    page.locator(".case.open .map").scroll_into_view_if_needed()
    box = page.locator(".case.open .map .z").bounding_box()
    wide, high = box["width"] / len(record["columns"]), box["height"] / len(record["rows"])
    for y, row in enumerate(record["values"]):
        for x, value in enumerate(row):
            # The lowest layer is at the bottom.
            top = box["y"] + (len(record["rows"]) - 1 - y + 0.5) * high
            page.mouse.move(box["x"] + (x + 0.5) * wide, top)
            position = record["columns"][x]
            token = samples.TOKENS[position].replace("\n", "↵")
            said = "not computed" if value is None else f"{value:g}"
            expected = f"layer {y}, token {position} ‘{token}’: {said}\n{record['unit']}"
            assert page.locator("#tip").inner_text() == expected
            tip = page.locator("#tip").bounding_box()
            assert top - 80 < tip["y"] + tip["height"] < top
            assert abs(tip["x"] - box["x"] - x * wide) < 1
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()


def test_figures_can_be_read_with_the_arrow_keys(opened: Open) -> None:
    page = opened(at=case_of(opened(), "test_quick"))
    said = page.locator("#said")
    page.locator(".case.open .map").focus()
    page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith("layer 0, token 6 ‘ Cork’: 0.9")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    assert said.inner_text().startswith("layer 1, token 18 ‘:’: 0.1")
    page.locator(".case.open .prompt").focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    assert said.text_content().splitlines() == [
        "token 6 ‘ Cork’",
        "attention contribution: 0.316",
        "causal trace: 1",
        "context, passage 0, attribute",
    ]
    page.locator(".case.open .plot").first.focus()
    page.keyboard.press("End")
    assert said.inner_text() == "subject, layer 2: -0.1"


def test_news_of_an_earlier_scroll_hides_no_value(opened: Open) -> None:
    page = opened(at=case_of(opened(), "test_quick"))
    page.locator(".case.open .map").scroll_into_view_if_needed()
    page.evaluate(FRAMES)
    page.locator(".case.open .map").hover()
    assert page.locator("#tip").is_visible()
    page.evaluate("dispatchEvent(new Event('scroll'))")
    assert page.locator("#tip").is_visible()
    page.evaluate("scrollBy(0, -40)")
    page.evaluate(FRAMES)
    assert not page.locator("#tip").is_visible()


def test_a_cell_that_is_read_is_brought_into_view(opened: Open) -> None:
    page = opened(at=case_of(opened(), "test_wide"), viewport=NARROW)
    map_ = page.locator(".case.open .map")
    is_in_view = (
        "() => [...document.querySelectorAll('.case.open .map .at')]"
        ".map(at => at.getBoundingClientRect())"
        ".some(box => 0 < box.left && box.right < innerWidth)"
    )
    map_.focus()
    page.keyboard.press("End")
    assert page.evaluate(is_in_view)
    assert page.locator("#said").inner_text().startswith("layer 0, token 18")


def test_radio_buttons_choose_what_shades_the_prompt(opened: Open) -> None:
    page = opened(at=case_of(opened(), "test_both"))

    def styles(name: str) -> list[list[str]]:
        page.locator(".case.open").get_by_role("radio", name=re.compile(name)).check()
        styled = page.locator(".case.open .prompt i").evaluate_all(
            "all => all.map(i => [getComputedStyle(i).backgroundColor, "
            "getComputedStyle(i).backgroundImage])"
        )
        return [list(map(str, each)) for each in styled]

    contributions, traced, both = map(styles, ["contribution", "trace", "both signs"])
    assert len({colour for colour, _ in contributions}) == len(samples.TOKENS)
    hatched = [index for index, (_, image) in enumerate(traced) if image != "none"]
    assert hatched == [i for i in range(len(samples.TOKENS)) if i not in samples.COLUMNS]
    assert all(image == "none" for _, image in contributions)
    parts = [re.findall(r"-?[\d.]+", colour.partition("(")[2]) for colour, _ in both]
    # oklab: the third axis is blue below zero.
    signs = [float(part[2]) < 0 for part in parts[1:]]
    assert signs == [i % 2 == 0 for i in range(1, len(samples.TOKENS))]


def test_commands_can_be_copied(opened: Open) -> None:
    page = opened(
        at=case_of(opened(), "test_quick"), permissions=["clipboard-read", "clipboard-write"]
    )
    page.locator(".case.open .copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == 'pytest "test_release.py::test_quick"'


def test_two_runs_stand_side_by_side_or_one_below_the_other(opened: Open) -> None:
    page = opened("compared", "#comparison")
    assert seen(page) == ["comparison"]
    page.locator("#change-table tbody tr").last.click()
    assert seen(page) == ["case-8"]
    assert page.locator(".case.open h2").inner_text() == "Where was Ada born?"
    sides = page.locator(".case.open .explanation")
    older, newer = (sides.nth(i).bounding_box() for i in range(2))
    assert older["x"] + older["width"] <= newer["x"]
    assert older["y"] == newer["y"]
    page.set_viewport_size({"width": 600, "height": 800})
    older, newer = (sides.nth(i).bounding_box() for i in range(2))
    assert older["y"] + older["height"] <= newer["y"]


# --- Looking at it


def test_dark_is_a_switch_that_only_this_page_remembers(opened: Open) -> None:
    page = opened()
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    button = page.get_by_role("button", name="Dark")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert page.evaluate(paper) != light
    page.reload()
    assert page.evaluate(paper) == light
    asked = opened(color_scheme="dark")
    assert asked.evaluate(paper) != light
    assert asked.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    asked.get_by_role("button", name="Dark").click()
    assert asked.evaluate(paper) == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["#overview", "#comparison", "test_both"])
def test_all_text_stands_out(opened: Open, scheme: str, view: str) -> None:
    at = view if view.startswith("#") else case_of(opened("compared"), view)
    page = opened("compared", at, color_scheme=scheme)
    found = page.evaluate(CONTRASTS)
    assert len(found) > 50
    assert [pair for pair in found if pair[0] < 4.5] == []


def test_print_shows_every_case_in_light_colours_and_no_controls(
    opened: Open, tmp_path: Path
) -> None:
    page = opened(color_scheme="dark", viewport={"width": 720, "height": 1000})
    page.get_by_role("button", name="Dark").click()
    page.get_by_role("button", name="Dark").click()
    page.emulate_media(media="print", color_scheme="dark")
    assert seen(page) == ["overview", *(f"case-{i + 1}" for i in range(N_CHECKS))]
    assert page.locator("button.scripted:visible, input[type=search]:visible").count() == 0
    assert page.locator("nav:visible a:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(29, 33, 38)"
    assert page.evaluate(OVERFLOW) <= 0
    cut = page.locator(".table, .scroll, .passage, pre").evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
    )
    assert cut == []
    picture_of(page, tmp_path / "print.png")
    printed = page.pdf(path=tmp_path / "print.pdf", format="A4")
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 6


@pytest.mark.parametrize("name", ["report", "compared"])
def test_a_narrow_screen_scrolls_down_alone(opened: Open, name: str, tmp_path: Path) -> None:
    page = opened(name, viewport=NARROW)
    views = page.locator(".view").evaluate_all("views => views.map(view => view.id)")
    assert len(views) == N_CHECKS + (1 if name == "report" else 2)
    for view in views:
        page.evaluate("name => { location.hash = name }", view)
        assert seen(page) == [view]
        assert page.evaluate(OVERFLOW) <= 0, view
    picture_of(page, tmp_path / "narrow.png")


def test_pictures_of_every_page_show_something(opened: Open, tmp_path: Path) -> None:
    page = opened("compared")
    light = picture_of(page, tmp_path / "overview.png")
    page.get_by_role("button", name="Dark").click()
    dark = picture_of(page, tmp_path / "dark.png")
    brightness = [sum(picture.resize((1, 1)).getpixel((0, 0))) for picture in (light, dark)]
    assert brightness[0] > 3 * brightness[1]
    for view in ("#comparison", "#case-1", "#case-2"):
        page.goto(page.url.partition("#")[0] + view)
        assert seen(page) == [view[1:]]
        picture_of(page, tmp_path / f"{view[1:]}.png")


def test_without_scripts_everything_is_there(opened: Open, browser: Any) -> None:
    page = opened("compared", java_script_enabled=False)
    assert page.locator("section.case:visible").count() == N_CHECKS
    assert page.locator("#comparison").is_visible()
    assert page.locator(".scripted:visible").count() == 0
    page.locator("#check-table tbody a").first.click()
    assert page.locator("#case-1-title").is_visible()


def test_texts_of_models_and_passages_are_not_obeyed(opened: Open) -> None:
    page = opened(at=case_of(opened(), "test_attacked"))
    assert page.locator(".case.open h2").inner_text() == HOSTILE
    page.locator(".case.open .prompt i").first.hover()
    assert HOSTILE in page.locator("#tip").inner_text()
    assert page.locator("img, .case script").count() == 0
