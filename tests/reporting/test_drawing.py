"""The drawing of one check: what it says is in the record, and it fits whatever the terminal."""

from __future__ import annotations

import doctest
import importlib
import math
import re
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from _pytest._io.wcwidth import wcswidth
from hypothesis import given
from hypothesis import strategies as st
from reporting.samples import check, explanation

from pytest_ragshortcut.reporting.cells import cut, pad, visible, width_of
from pytest_ragshortcut.reporting.drawing import draw
from pytest_ragshortcut.reporting.look import Look, look_of
from pytest_ragshortcut.reporting.schema import CheckRecord, Numbers, PieceRecord

PLAIN = Look(80, colour=False, unicode=True, verbosity=0)
QUIET = Look(400, colour=False, unicode=True, verbosity=-1)
ALL = Look(100, colour=False, unicode=True, verbosity=1)
NUMBERS = Look(100, colour=False, unicode=True, verbosity=2)
PAINTED = re.compile(r"\x1b\[[1-9][0-9;]*m[^\x1b\n]+\x1b\[0m")
LETTERS = {"attribute": "A", "subject": "S", "readers": "R"}
MODULES = ["cells", "excerpts", "look", "prompt_text", "text"]

NASTY = st.sampled_from(
    ["\n", "\t", "\r\n", "\x1b[31m", "\x00", "東京", "e\u0301", "\u0301", "\u202e", "\ud800", "é",
     "\U0001f600", "…", "[", "A", " ", "", "\u3000", "\x9b", "█"]
) | st.text(max_size=6)  # fmt: skip
VALUE = st.none() | st.floats(-2, 2) | st.floats(-1e9, 1e9)
WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=12).map(" {}".format), min_size=1)
PROBABILITY = st.floats(0.001, 0.999)


def spans_in(n_tokens: int) -> st.SearchStrategy[dict[str, list[list[int]]]]:
    run = st.tuples(st.integers(0, n_tokens - 1), st.integers(1, 4)).map(
        lambda pair: [pair[0], min(n_tokens, sum(pair))]
    )
    return st.dictionaries(st.sampled_from([*LETTERS, "question"]), st.lists(run, max_size=3))


@st.composite
def checks(draw: Any) -> CheckRecord:
    """Draw explained checks in which any text and any number may stand anywhere."""
    tokens = draw(st.lists(NASTY, min_size=1, max_size=60))
    n_layers = draw(st.integers(1, 40))
    columns = sorted(draw(st.sets(st.integers(0, len(tokens) - 1), max_size=20)))

    def numbers(size: int) -> Numbers:
        return draw(st.lists(VALUE, min_size=size, max_size=size))

    record = check(verdict=draw(st.sampled_from(["CONTEXT", "MEMORY"])))
    layers = [f"layer {index}" for index in range(n_layers)]
    books = st.sampled_from(["open", "closed"])
    record["explanation"] = {
        "tokens": tokens,
        "spans": draw(spans_in(len(tokens))),
        "shades": {},
        "maps": [
            {
                "title": draw(NASTY),
                "unit": draw(NASTY),
                "rows": layers,
                "columns": columns,
                "values": [numbers(len(columns)) for _ in layers],
            }
        ],
        "curves": [
            {
                "title": "cut " * draw(st.integers(1, 30)),
                "unit": "p(answer)",
                "points": layers,
                "lines": [
                    {"label": draw(NASTY), "book": draw(books), "values": numbers(n_layers)}
                    for _ in range(draw(st.integers(0, 3)))
                ],
            }
        ],
        "pieces": [
            {
                "passage": passage,
                "sentence": sentence,
                "text": "".join(draw(st.lists(NASTY, max_size=30))),
                "probability": draw(st.none() | st.floats(0, 1)),
                "effect": draw(st.none() | st.floats(-1000, 1000)),
            }
            for passage in range(draw(st.integers(0, 3)))
            for sentence in (None, 0, 1)
        ],
        "missing": draw(st.dictionaries(NASTY, NASTY, max_size=2)),
    }
    return record


@given(checks(), st.integers(40, 200), st.booleans(), st.integers(-1, 3))
def test_any_record_fits_any_terminal(
    record: CheckRecord, width: int, unicode: bool, verbosity: int
) -> None:
    plain = draw(record, Look(width, False, unicode, verbosity))
    assert all(line.isprintable() for line in plain.split("\n"))
    assert all(wcswidth(line) <= width for line in plain.split("\n"))
    for encoding in ["utf-8"] if unicode else ["ascii", "cp1252", "cp437"]:
        plain.encode(encoding)
    coloured = draw(record, Look(width, True, unicode, verbosity))
    assert "\x1b" not in PAINTED.sub("", coloured), "an escape that is not closed on its line"
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain, "colour alone said something"


@given(st.text())
def test_visible_text_takes_the_columns_that_pytest_counts(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert visible(text, unicode=False).isascii()
    # pytest composes letters before it counts: syllables of Korean may come out narrower.
    assert wcswidth(shown) <= width_of(shown)
    assert width_of(cut(shown, 9)) <= 9
    assert width_of(pad(shown, 9)) == 9


@pytest.mark.parametrize(
    ("encoding", "can"),
    [("utf-8", True), ("UTF-16", True), ("gb18030", True), ("cp1252", False), ("cp437", False),
     ("gbk", False), ("ascii", False), (None, False), ("no-such-encoding", False)],
)  # fmt: skip
def test_signs_are_chosen_by_what_the_stream_can_write(encoding: str | None, can: bool) -> None:
    look = look_of(encoding, 12, True, 1)
    assert look == Look(40, colour=True, unicode=can, verbosity=1)


# The prompt


def explained(**fields: Any) -> CheckRecord:
    record = check()
    empty = {"spans": {}, "shades": {}, "maps": [], "curves": [], "pieces": [], "missing": {}}
    record["explanation"] = {**explanation(), **empty, **fields}
    return record


def prompt_of(record: CheckRecord, look: Look) -> list[str]:
    """Return the lines of the prompt, without the legend and the indent."""
    first, *lines = draw(record, look).split("\n\n")[0].split("\n")
    assert first.startswith("prompt of ")
    return [line[2:] for line in lines]


def test_letters_stand_beneath_the_tokens_that_play_their_role() -> None:
    record = explained(spans=explanation()["spans"])
    assert draw(record, PLAIN).split("\n") == [
        "prompt of 19 tokens   A attribute (context answer)   S subject   R readers",
        "  Context: Ada was born in Cork.␊",
        "                           AAAA",
        "  Question: Where was Ada born?␊",
        "                      SSS",
        "  Answer:",
        "        R",
    ]


@given(st.data(), WORDS, st.integers(40, 100))
def test_above_each_letter_stand_the_tokens_of_its_role(
    data: st.DataObject, tokens: list[str], width: int
) -> None:
    spans = data.draw(spans_in(len(tokens)))
    lines = prompt_of(explained(tokens=tokens, spans=spans), Look(width, False, True, 2))
    found: Counter[str] = Counter()
    text = ""
    for line in lines:
        if set(line) <= set(" ASR"):
            for above, letter in zip(text.ljust(len(line)), line, strict=False):
                found[letter] += above != " "
        else:
            text = line
    for role, letter in LETTERS.items():
        played = {i for start, stop in spans.get(role, []) for i in range(start, stop)}
        assert found[letter] == sum(len(tokens[i].strip()) for i in played)


@given(WORDS, st.integers(40, 100))
def test_no_character_of_a_prompt_is_lost(tokens: list[str], width: int) -> None:
    lines = prompt_of(explained(tokens=tokens), Look(width, False, True, 2))
    assert "".join("".join(lines).split()) == "".join("".join(tokens).split())
    assert not any(line.startswith(" ") for line in lines[1:])


@given(st.data(), st.integers(150, 400), st.integers(40, 120))
def test_a_long_prompt_keeps_its_roles_and_counts_the_rest(
    data: st.DataObject, n_tokens: int, width: int
) -> None:
    tokens = [f" w{index}" for index in range(n_tokens)]
    spans = data.draw(spans_in(n_tokens))
    shown = prompt_of(explained(tokens=tokens, spans=spans), Look(width, False, True, 0))
    words = {word for line in shown for word in line.split() if word.startswith("w")}
    counted = [int(n) for n in re.findall(r"… (\d+) tokens? …", "\n".join(shown))]
    assert len(words) + sum(counted) == n_tokens
    for role in LETTERS:
        for start, stop in spans.get(role, []):
            assert {f"w{index}" for index in range(start, stop)} <= words
    whole = prompt_of(explained(tokens=tokens, spans=spans), Look(width, False, True, 2))
    assert {word for line in whole for word in line.split()} >= {token[1:] for token in tokens}


def test_a_token_that_is_shown_in_part_is_not_counted_as_left_out() -> None:
    tokens = ["Cork", "x" * 500, *[" y" * 20] * 9, " end"]
    record = explained(tokens=tokens, spans={"attribute": [[0, 1]], "readers": [[11, 12]]})
    first, marks, gap, last, _ = prompt_of(record, PLAIN)
    assert first == "Cork" + "x" * 74
    assert marks == "AAAA"
    assert gap == f"… {9 - math.ceil(last.count('y') / 20)} tokens …"


def test_of_a_long_prompt_without_roles_nothing_is_shown() -> None:
    record = explained(tokens=[f" w{index}" for index in range(300)])
    assert prompt_of(record, PLAIN) == ["… 300 tokens …"]


def test_in_ascii_a_prompt_is_written_out() -> None:
    record = explained(tokens=["Zoë", "\n", "\x1b[0m"])
    assert prompt_of(record, Look(80, False, False, 0)) == ["Zo\\xeb\\n", "\\x1b[0m"]


# The map


def map_of(columns: list[Numbers]) -> dict[str, Any]:
    rows = [list(row) for row in zip(*columns, strict=True)]
    return {
        "title": "the map",
        "unit": "p(answer) given back",
        "rows": [f"layer {index}" for index in range(len(rows))],
        "columns": list(range(len(columns))),
        "values": rows,
    }


def rows_of(record: CheckRecord, title: str, look: Look) -> dict[str, str]:
    """Return what stands behind each row's label: cells, then the strongest in words."""
    _, block = draw(record, look).split(f"{title}\n")
    room = max(10, min(24, look.width // 4 + 1))
    lines = block.split("\n\n")[0].split("\n")[1:]
    return {line[2 : 2 + room].strip(): line[4 + room :] for line in lines}


def shown_tokens(record: CheckRecord, look: Look) -> list[str]:
    labels = (re.fullmatch(r"\d+ +(t\d+)", label) for label in rows_of(record, "the map", look))
    return [label[1] for label in labels if label]


@pytest.mark.parametrize("unicode", [True, False])
def test_shades_are_quarters_of_the_strongest(unicode: bool) -> None:
    column = [0.8, 0.6, 0.4, 0.2, 0.09, -0.09, -0.2, -0.8, None]
    record = explained(tokens=["Cork"], maps=[map_of([column])])
    rows = rows_of(record, "the map", Look(100, False, unicode, 0))
    signs = "█▓▒░  -=·" if unicode else "#*:.  -=?"
    cells = "".join(sign * 3 for sign in signs)
    assert rows["0  Cork"] == f"{cells}   0.80 layer 0"
    drawn = draw(record, Look(100, False, unicode, 0))
    assert f"scale: {signs[0]} = 0.80 p(answer) given back; - below zero, = far below; " in drawn
    assert f"{signs[-1]} not computed" in drawn


def test_colours_grow_with_the_shades_and_leave_what_is_unknown() -> None:
    column = [0.8, 0.6, 0.4, 0.2, 0.0, -0.2, -0.4, -0.6, -0.8]
    record = explained(tokens=["Cork"], maps=[map_of([[*column, None]])])
    drawn = draw(record, Look(100, True, True, 0))
    (row,) = [line for line in drawn.split("\n") if line.startswith("  0  Cork")]
    cells = re.findall(r"\x1b\[([0-9;]+)m([^\x1b]+)\x1b\[0m", row)
    assert [text for _, text in cells] == [sign * 3 for sign in "█▓▒░ --=="]
    assert len({code for code, _ in cells}) == len(column)
    assert row.endswith("\x1b[0m···   0.80 layer 0")


def test_a_weak_effect_does_not_fill_a_cell_for_being_alone() -> None:
    record = explained(tokens=["Cork"], maps=[map_of([[0.025, 0.0]])])
    assert rows_of(record, "the map", PLAIN)["0  Cork"].startswith("░░░   ")


def test_a_map_of_nothing_says_so() -> None:
    assert "nowhere more than 0.01" in draw(explained(maps=[map_of([[0.008]])]), PLAIN)
    assert "nothing of it was computed" in draw(explained(maps=[map_of([[None]])]), PLAIN)


@given(st.lists(st.integers(-100, 100), min_size=13, max_size=30, unique_by=abs))
def test_the_strongest_dozen_is_shown_in_the_order_of_the_prompt(hundredths: list[int]) -> None:
    effects = [value / 100 for value in hundredths]
    tokens = [f"t{index}" for index in range(len(effects))]
    record = explained(tokens=tokens, maps=[map_of([[effect, 0.0] for effect in effects])])
    shown = shown_tokens(record, PLAIN)
    dozen = sorted(range(len(effects)), key=lambda index: -abs(effects[index]))[:12]
    full = max(0.1, *map(abs, effects))
    assert shown == [f"t{i}" for i in sorted(dozen) if abs(effects[i]) >= 0.125 * full]
    assert shown_tokens(record, ALL) == tokens


@given(st.lists(st.floats(-1, 1).filter(lambda v: abs(v) > 0.1), min_size=1, max_size=120))
def test_neighbours_that_share_a_cell_show_their_strongest(values: list[float]) -> None:
    record = explained(tokens=["Cork"], maps=[map_of([values])])
    look = Look(40, False, True, 1)
    (row,) = [r for label, r in rows_of(record, "the map", look).items() if "Cork" in label]
    strongest = max(values, key=abs)
    cells, _, peak = row.rpartition("  ")
    assert ("█" if strongest > 0 else "=") in cells
    assert f"{strongest:.2f} layer {values.index(strongest)}" == peak.strip()
    shared = re.search(r"strongest of (\d+)\s+neighbours", draw(record, look))
    assert (len(values) > len(cells)) == bool(shared)
    assert math.ceil(len(values) / (int(shared[1]) if shared else 1)) <= len(cells)


def test_numbers_are_written_where_they_are_asked_for() -> None:
    values = [round(0.013 * layer - 0.2, 3) for layer in range(40)]
    drawn = draw(explained(tokens=["Cork"], maps=[map_of([values])]), NUMBERS)
    rows = [line.split()[2:] for line in drawn.split("\n") if line.startswith("  0  Cork")]
    written = [text for row in rows[1:] for text in row]
    assert written == [f"{round(value, 2) + 0.0:.2f}" for value in values]
    assert not [line for line in draw(explained(maps=[map_of([values])]), ALL) if "-0.17" in line]


def test_layers_of_map_and_curves_line_up() -> None:
    values: Numbers = [0.1 * layer for layer in range(9)]
    curves = {
        "title": "the curves",
        "unit": "nats",
        "points": [f"layer {index}" for index in range(9)],
        "lines": [{"label": "subject", "book": "open", "values": values}],
    }
    drawn = draw(explained(tokens=["Cork"], maps=[map_of([values])], curves=[curves]), PLAIN)
    headers = [line for line in drawn.split("\n") if line.startswith("  layer")]
    assert len(headers) == 2
    assert headers[0] == headers[1]


# The curves


def curves_of(*lines: tuple[str, str, Numbers], unit: str = "change of p(answer)") -> CheckRecord:
    n_points = len(lines[0][2])
    made = [{"label": label, "book": book, "values": values} for label, book, values in lines]
    points = [f"layer {index}" for index in range(n_points)]
    titled = {"title": "the curves", "unit": unit, "points": points, "lines": made}
    return explained(curves=[titled])


def test_bars_are_eighths_of_the_largest_loss_and_books_stand_beside_each_other() -> None:
    losses: Numbers = [-eighth / 8 for eighth in range(9)]
    record = curves_of(
        ("subject", "closed", [0.5, *losses[1:]]),
        ("attribute", "open", [None] * 9),
        ("subject", "open", losses),
    )
    title = "the curves; open: with passages, closed: without"
    rows = rows_of(record, title, PLAIN)
    books = ["subject        open", "subject        closed", "attribute      open"]
    assert list(rows)[:3] == books
    bars = "".join(sign * 3 for sign in " ▁▂▃▄▅▆▇█")
    assert rows["subject        open"] == f"{bars}  -1.00 layer 8"
    assert rows["subject        closed"] == f"+++{bars[3:]}  -1.00 layer 8"
    assert rows["attribute      open"] == "·" * 27 + "  not computed"
    assert "scale: █ = -1.00 change of p(answer); + above zero; · not computed" in draw(
        record, PLAIN
    )


def test_in_ascii_bars_are_levels() -> None:
    losses: Numbers = [-level / 9 for level in range(10)]
    rows = rows_of(curves_of(("subject", "open", losses)), "the curves", Look(99, False, False, 0))
    assert rows["subject"].split() == [*map(str, range(1, 10)), "-1.00", "layer", "9"]


@given(st.lists(st.integers(-100, 300), min_size=1, max_size=60, unique=True))
def test_the_strongest_cut_is_said_in_words(percents: list[int]) -> None:
    values: Numbers = [percent / 100 for percent in percents]
    rows = rows_of(curves_of(("subject", "open", values)), "the curves", PLAIN)
    lowest = min(percents)
    if lowest <= -15 or lowest > 0:
        at = lowest if lowest < 0 else max(percents)
        assert rows["subject"].endswith(f" {at / 100:.2f} layer {percents.index(at)}")


def test_norms_have_no_scale_of_their_own() -> None:
    rows = rows_of(curves_of(("subject", "open", [0.01, 0.02]), unit="norm"), "the curves", PLAIN)
    assert rows["subject"] == "▄▄▄███   0.02 layer 1"


# The passages


def log_odds(p: float) -> float:
    return math.log(p / (1 - p))


def pieces_of(
    before: float, *after: tuple[int, int | None, float], undefined: bool = False
) -> list[PieceRecord]:
    """Make pieces as leave-one-out does: log-odds lost, from p with and without."""
    return [
        {
            "passage": passage,
            "sentence": sentence,
            "text": f"Text {passage}.{sentence}.",
            "probability": p,
            "effect": None if undefined else log_odds(before) - log_odds(p),
        }
        for passage, sentence, p in after
    ]


def told(pieces: list[PieceRecord], verdict: str = "CONTEXT") -> str:
    record = explained(pieces=pieces)
    record["verdict"] = verdict
    return draw(record, QUIET)


def test_the_sentence_that_the_answer_came_from_is_named_and_quoted() -> None:
    pieces = pieces_of(0.98, (0, None, 0.97), (2, None, 0.02), (2, 0, 0.96), (2, 1, 0.01))
    assert told(pieces) == (
        'The answer came from passage 2, sentence 1: "Text 2.1." '
        "(without it p falls from 0.98 to 0.01)."
    )
    assert told(pieces, "MEMORY").startswith("The answer hangs on passage 2, sentence 1:")


def test_where_no_sentence_does_alone_the_passage_is_named() -> None:
    pieces = pieces_of(0.9, (0, None, 0.1), (0, 0, 0.8), (0, 1, 0.85))
    assert told(pieces).startswith('The answer came from passage 0: "Text 0.None."')


def test_passages_that_are_needed_together_are_all_named() -> None:
    pieces = pieces_of(0.9, (0, None, 0.3), (1, None, 0.1), (2, None, 0.89), (3, None, 0.2))
    assert told(pieces).startswith("The answer came from passage 1:")
    assert told(pieces).endswith("It needs passage 0 and passage 3 too.")


def test_where_no_passage_accounts_for_the_answer_it_is_said() -> None:
    one = pieces_of(0.98, (0, None, 0.95))
    assert told(one) == (
        "No passage accounts for the answer (without passage 0 p falls from 0.98 to 0.95)."
    )
    both = pieces_of(0.9, (0, None, 0.9), (1, None, 0.95))
    assert told(both) == (
        "No passage by itself accounts for the answer (without passage 0 p stays 0.90)."
    )


def test_undefined_effects_leave_what_is_known() -> None:
    pieces = pieces_of(0.5, (0, None, 0.25), undefined=True)
    assert "(without it p is 0.25)" in told(pieces)
    assert told([]) == ""
    nothing: PieceRecord = {**pieces[0], "probability": None}
    assert told([nothing]) == ""


@given(PROBABILITY, st.lists(PROBABILITY, min_size=1, max_size=6))
def test_the_sentence_holds_the_probabilities_that_were_read(
    before: float, after: list[float]
) -> None:
    text = told(pieces_of(before, *((index, None, p) for index, p in enumerate(after))))
    lowest = min(after)
    assert f"passage {after.index(lowest)}" in text
    if f"{before:.2f}" != f"{lowest:.2f}":
        verb = "falls" if lowest < before else "rises"
        assert f"p {verb} from {before:.2f} to {lowest:.2f}" in text
    assert text.startswith("No passage") == (not lowest < 0.5 * before)


def test_each_piece_has_its_bar_where_more_is_asked_for() -> None:
    pieces = pieces_of(0.9, (0, None, 0.95), (1, None, 0.1), (1, 0, 0.9), (1, 1, 0.1))
    lines = draw(explained(pieces=pieces), ALL).split("\n\n")[0].split("\n")[1:]
    assert [re.sub(r"\s+", " ", line.strip()) for line in lines] == [
        "what the answer loses without it, in nats of log-odds:",
        "passage 0 -- -0.75 p 0.95 Text 0.None.",
        "passage 1 ██████████ +4.39 p 0.10 Text 1.None.",
        "sentence 0 +0.00 p 0.90 Text 1.0.",
        "sentence 1 ██████████ +4.39 p 0.10 Text 1.1.",
    ]


# The whole


def test_quiet_is_one_sentence() -> None:
    drawn = draw(check(verdict="CONTEXT"), QUIET)
    assert drawn.startswith('The answer came from passage 0: "Ada was born in Cork."')
    assert "\n" not in drawn


def test_what_is_missing_is_said_and_hints_end_it_unwrapped() -> None:
    hints = ["pytest --rag-report " + "x" * 100, "another"]
    drawn = draw(explained(missing={"causal trace": "it has no mask"}), PLAIN, hints=hints)
    assert drawn.endswith("\n\nNo causal trace: it has no mask.\n\n" + "\n".join(hints))


def test_an_answer_that_could_not_be_explained_says_why() -> None:
    record = check(explained=False)
    assert draw(record, PLAIN) == ""
    assert draw(record, PLAIN, hints=["a hint"]) == "a hint"
    record["unexplained"] = "out of memory\nExpected: more"
    assert draw(record, PLAIN) == "Not explained: out of memory Expected: more"


def test_a_prompt_of_sixty_tokens_on_twelve_layers_takes_a_screen() -> None:
    tokens = [f" word{index}" for index in range(60)]
    spans = {"attribute": [[20, 22]], "subject": [[50, 52]], "readers": [[59, 60]]}
    values = [[math.sin(position + layer) for layer in range(12)] for position in range(20, 60)]
    curve = {**explanation()["curves"][0], "points": [f"layer {i}" for i in range(12)]}
    lines = [{**line, "values": [-0.1 * i for i in range(12)]} for line in curve["lines"]]
    norms = {**curve, "lines": lines[:2], "title": "attention contribution"}
    drawn = draw(
        explained(
            tokens=tokens,
            spans=spans,
            maps=[{**map_of(values), "columns": list(range(20, 60))}],
            curves=[{**curve, "lines": lines}, norms],
            pieces=explanation()["pieces"],
        ),
        PLAIN,
        hints=["a hint"],
    )
    assert len(drawn.split("\n")) <= 45
    blank = [index for index, line in enumerate(drawn.split("\n")) if not line]
    assert all(stop - start > 1 for start, stop in pairwise(blank))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"pytest_ragshortcut.reporting.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
