"""Records: everything that a reading knows, as builtins in the shape of the schema."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.explanations import Explanation
from pytest_ragshortcut.core.prompts import TokenizedPrompt, token_texts
from pytest_ragshortcut.core.reliance import Evidence, Reliance
from pytest_ragshortcut.probes.explanation import explain_reliance
from pytest_ragshortcut.probes.reliance import context_reliance, parametric_reliance
from pytest_ragshortcut.reporting.records import explanation_record, key_of, record_of
from pytest_ragshortcut.reporting.schema import CheckRecord, ExplanationRecord
from pytest_ragshortcut.testing import PlantedModel

MODEL = PlantedModel(
    {"Ada Quill": "Oslo"},
    answers=("Rome", "Cork", "Bonn", "Kiel"),
    context_strength=1.0,
    memory_strength=0.6,
)
CASE = RagCase("Where was Ada Quill born?", ("It rained. Ada Quill was born in Rome.", "It did."))


def reliance(**changes: Any) -> Reliance:
    return replace(context_reliance(MODEL, CASE), **changes)


def explanation(**changes: Any) -> Explanation:
    return replace(explain_reliance(MODEL, reliance()), **changes)


def require_shape(value: Any, kind: Any, where: str = "record") -> None:
    """Check builtins against a type of the schema, keys of TypedDicts included."""
    origin, args = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        assert type(value) is dict, where
        assert value.keys() == hints.keys(), where
        for key, hint in hints.items():
            require_shape(value[key], hint, f"{where}.{key}")
    elif origin is list:
        assert type(value) is list, where
        for item in value:
            require_shape(item, args[0], f"{where}[]")
    elif origin is dict:
        assert type(value) is dict, where
        for key, item in value.items():
            require_shape(key, args[0], f"{where} key")
            require_shape(item, args[1], f"{where}[{key}]")
    elif origin is Literal:
        assert value in args, where
    elif origin in (Union, UnionType):
        fits = [arg for arg in args if (value is None) == (arg is NoneType)]
        require_shape(value, fits[0], where)
    else:
        assert type(value) is kind, f"{where}: {value!r} is no {kind}"


@pytest.mark.parametrize("measure", [context_reliance, parametric_reliance])
def test_a_check_has_the_shape_of_the_schema(measure: Any) -> None:
    record = record_of(measure(MODEL, CASE), check="assert_it")
    require_shape(record, CheckRecord)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    with pytest.raises(AssertionError, match="held"):
        require_shape({**record, "held": None}, CheckRecord)
    with pytest.raises(AssertionError):
        require_shape({k: v for k, v in record.items() if k != "swap"}, CheckRecord)


def test_a_check_says_all_that_its_reading_knows() -> None:
    read = reliance()
    record = record_of(read, check="assert_context_reliance")
    assert record["check"] == "assert_context_reliance"
    assert record["kind"] == "context"
    assert eval(record["case"], {"RagCase": RagCase}) == CASE
    assert (record["question"], tuple(record["passages"])) == (CASE.question, CASE.context)
    said = [record[key] for key in ("subject", "answer", "context_answer", "memory_answer")]
    assert said == ["Ada Quill", "Rome", "Rome", "Oslo"]
    assert record["found"]["subject"]["how"] == "the only name in the question"
    assert {role: it["text"] for role, it in record["found"].items()} == {
        role: it.text for role, it in read.found.items()
    }
    assert record["score"] == read.score
    assert record["interval"] == list(read.interval)
    assert (record["verdict"], record["reason"]) == (read.verdict.value, read.reason)
    assert record["model"] == "planted"
    swap = record["swap"]
    assert swap["substitutes"] == list(read.swap.substitutes)
    assert swap["substitute_probability"] == read.swap.substitute_probability.tolist()
    assert swap["memory_probability"] == read.swap.memory_probability.tolist()
    assert [tuple(item.values()) for item in record["evidence"]] == [
        (item.probe, item.value, item.reading) for item in read.evidence
    ]


def test_a_check_is_not_claimed_explained_or_priced_yet() -> None:
    record = record_of(reliance(), check="x")
    assert (record["claims"], record["held"]) == ([], True)
    assert record["work"] == {"seconds": 0.0, "forwards": None, "remembered": 0, "computed": 0}
    assert (record["explanation"], record["unexplained"], record["notes"]) == (None, "", {})


def test_what_is_undefined_is_none() -> None:
    undefined = reliance(
        score=math.nan,
        interval=(math.nan, math.nan),
        evidence=(Evidence("knockout", math.nan, "why not"),),
        case=replace(CASE, answer="Rome"),
    )
    record = record_of(undefined, check="x")
    require_shape(record, CheckRecord)
    assert (record["score"], record["interval"]) == (None, [None, None])
    assert record["evidence"] == [{"probe": "knockout", "value": None, "reading": "why not"}]
    assert (record["subject"], record["memory_answer"]) == ("", "")


def test_a_check_is_named_by_its_test_its_model_its_case_and_its_kind() -> None:
    record = record_of(reliance(), check="x")
    model = record["model"]
    assert key_of("a.py::t", record) == f"a.py::t | {model} | {CASE!r}"
    other = {**record, "kind": "parametric"}
    assert key_of("a.py::t", other) == f"a.py::t | {model} | {CASE!r} | parametric"
    assert key_of("a.py::t", {**record, "model": "another"}) != key_of("a.py::t", record)


def test_an_explanation_has_the_shape_of_the_schema() -> None:
    record = explanation_record(explanation())
    require_shape(record, ExplanationRecord)
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_an_explanation_says_what_the_probes_say() -> None:
    explained = explanation()
    record = explanation_record(explained)
    prompt, trace = explained.prompt, explained.trace
    assert "".join(record["tokens"]) == prompt.text
    assert len(record["tokens"]) == len(prompt.tokens)
    assert record["spans"] == {r: [list(run) for run in runs] for r, runs in prompt.spans.items()}
    (attribute,) = prompt.positions("attribute")
    assert record["tokens"][attribute].strip() == "Rome"
    assert set(record["shades"]) == {"attention contribution", "causal trace"}
    for probe, shade in explained.shades.items():
        assert record["shades"][probe] == shade.tolist()
    (drawn,) = record["maps"]
    assert trace is not None
    assert drawn["columns"] == list(range(len(prompt.tokens)))
    assert drawn["rows"] == ["layer 0", "layer 1"]
    assert drawn["values"] == trace.indirect_effect.tolist()
    labels = [[(line["label"], line["book"]) for line in c["lines"]] for c in record["curves"]]
    assert labels == [
        [("subject", "open"), ("attribute", "open"), ("subject", "closed")],
        [("subject", "open"), ("attribute", "open")],
    ]
    for curves, drawn_curves in zip(record["curves"], explained.curves, strict=True):
        assert curves["points"] == ["layer 0", "layer 1"]
        for line, curve in zip(curves["lines"], drawn_curves.curves, strict=True):
            assert line["values"] == curve.values.tolist()
    assert [(p["passage"], p["sentence"]) for p in record["pieces"]] == [
        (0, None), (0, 0), (0, 1), (1, None),
    ]  # fmt: skip
    assert [piece["text"] for piece in record["pieces"]] == [
        CASE.passages[0], "It rained.", "Ada Quill was born in Rome.", "It did.",
    ]  # fmt: skip
    assert explained.attribution is not None
    for key in ("probability", "effect"):
        values = getattr(explained.attribution, key).tolist()
        assert [piece[key] for piece in record["pieces"]] == values


def test_cells_that_were_not_computed_are_none_and_columns_without_any_are_left_out() -> None:
    explained = explanation()
    assert explained.trace is not None
    effect = np.full_like(explained.trace.indirect_effect, np.nan)
    effect[:, 3], effect[1, 7] = 0.25, -0.5
    record = explanation_record(
        replace(explained, trace=replace(explained.trace, indirect_effect=effect))
    )
    require_shape(record, ExplanationRecord)
    assert record["maps"][0]["columns"] == [3, 7]
    assert record["maps"][0]["values"] == [[0.25, None], [0.25, -0.5]]
    shade = record["shades"]["causal trace"]
    assert (shade[3], shade[7]) == (0.25, -0.5)
    assert all(value is None for i, value in enumerate(shade) if i not in (3, 7))


def test_what_is_missing_is_empty_and_says_why() -> None:
    parts = ("trace", "knockout_open", "knockout_closed", "contributions", "attribution")
    record = explanation_record(explanation(**dict.fromkeys(parts), missing={"causal trace": "no"}))
    require_shape(record, ExplanationRecord)
    assert (record["shades"], record["maps"], record["curves"], record["pieces"]) == (
        {},
        [],
        [],
        [],
    )
    assert record["missing"] == {"causal trace": "no"}
    assert "".join(record["tokens"])


@st.composite
def tokenized(draw: st.DrawFn) -> TokenizedPrompt:
    """Cut a text into tokens: some leave a space out, some share characters, some have none."""
    text, offsets = "", list[tuple[int, int]]()
    for word in draw(st.lists(st.text("aō é🎈\n", min_size=1, max_size=3), min_size=1, max_size=6)):
        gap = draw(st.sampled_from(["", " ", "\n "]))
        start = len(text) + len(gap)
        text += gap + word
        repeats = draw(st.integers(1, 3))
        offsets += [(start, len(text))] * repeats
        offsets += [(0, 0)] * draw(st.integers(0, 1))
    text += draw(st.sampled_from(["", "\n"]))
    n_tokens = len(offsets)
    forced = ("ĠDub", "lin")
    return TokenizedPrompt(
        text,
        tuple(range(n_tokens + 2)),
        (*(f"t{i}" for i in range(n_tokens)), *forced),
        {},
        n_tokens,
        (1, 2, 3),
        offsets=tuple(offsets),
    )


@given(prompt=tokenized())
def test_the_texts_of_tokens_join_to_the_prompt_and_the_answer(prompt: TokenizedPrompt) -> None:
    texts = token_texts(prompt)
    assert len(texts) == len(prompt.input_ids)
    assert "".join(texts) == prompt.text + " Dublin"
    assert texts[prompt.n_prompt :] == (" Dub", "lin")
    seen: set[tuple[int, int]] = set()
    for (start, stop), text in zip(prompt.offsets[:-1], texts, strict=False):
        is_first = (start, stop) not in seen and stop > start
        seen.add((start, stop))
        # Its own characters, and before them only what no token covers.
        own = prompt.text[start:stop] if is_first else ""
        assert text.endswith(own)
        assert not text.removesuffix(own).strip()
        assert is_first or not text


def test_without_offsets_tokens_are_what_the_vocabulary_writes() -> None:
    prompt = TokenizedPrompt("in Cork", (1, 2, 3), ("in", "▁Co", "rk"), {}, 3)
    assert token_texts(prompt) == ("in", " Co", "rk")
