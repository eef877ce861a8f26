"""Flat properties: of the worst check, of builtin types, of characters that XML takes."""

from __future__ import annotations

import doctest
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reporting import drawn, samples

from pytest_ragshortcut.reporting import characters, properties, schema
from pytest_ragshortcut.reporting.characters import portable
from pytest_ragshortcut.reporting.properties import properties_of


@pytest.mark.parametrize("module", [properties, characters])
def test_the_examples_hold(module: object) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


def test_the_worst_check_speaks() -> None:
    good = samples.check(score=0.9, held=True, verdict="CONTEXT")
    bad = samples.check(score=0.4, verdict="MEMORY", kind="parametric", claims=("< 0.5", "< 0.2"))
    assert properties_of(samples.of_test("a", good, bad, good)) == [
        ("rag_checks", 3),
        ("rag_kind", "parametric"),
        ("rag_score", 0.4),
        ("rag_verdict", "MEMORY"),
        ("rag_claim", "< 0.5, < 0.2"),
        ("rag_held", False),
        ("rag_model", "embedded:reader"),
    ]


def test_an_undefined_score_is_absent_and_says_why() -> None:
    said = dict(properties_of(samples.of_test("a", samples.check(score=None))))
    assert "rag_score" not in said
    assert said["rag_undefined"] == samples.check()["reason"]
    assert "rag_undefined" not in dict(properties_of(samples.of_test()))


def test_a_check_never_compared_did_not_hold() -> None:
    said = dict(properties_of(samples.of_test("a", samples.check(held=True, claims=()))))
    assert (said["rag_claim"], said["rag_held"]) == ("never compared", False)


@given(test=drawn.of_type(schema.TestRecord))
def test_flat_builtins_that_xml_takes(test: schema.TestRecord) -> None:
    said = properties_of(test)
    assert len(dict(said)) == len(said)
    assert said[0] == ("rag_checks", test["n_checks"])
    assert (len(said) == 1) == (not test["checks"])
    for name, value in said:
        assert type(value) in {str, int, float, bool}
        # Written as pytest writes them, and read by a parser that refuses what XML refuses.
        element = ET.fromstring(f"<property name={quoteattr(name)} value={quoteattr(str(value))}/>")
        assert element.get("value", "").split() == str(value).split()


def test_no_text_of_a_property_is_left_as_it_came() -> None:
    check = samples.check(score=None, verdict="\x00", claims=("> \x01",))
    check.update(reason="\x02", model="\ud800")
    said = dict(properties_of(samples.of_test("a", check)))
    assert {value for value in said.values() if isinstance(value, str)} == {
        "context", "\ufffd", "> \ufffd",
    }  # fmt: skip


@given(text=st.text(st.characters()))
@example(text="\x00\x08\t\n\x0b\x0c\r\x0e\x1f \x7f\x85\ud7ff\ud800\udfff\ue000\ufffd\ufffe\uffff")
@example(text="\U00010000\U0010ffff")
def test_characters_that_xml_takes_stay(text: str) -> None:
    shown = portable(text)
    shown.encode("utf-8")
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        try:
            ET.fromstring(f"<a>&#{ord(before)};</a>")
        except ET.ParseError:
            assert after == "\ufffd"
        else:
            assert after == before
