"""Checks are matched by what they are, and what cannot be compared is refused with what to do."""

from __future__ import annotations

from datetime import date
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.baselines import pairing, updating, waivers
from pytest_ragshortcut.baselines.schema import (
    Baseline,
    BaselineModel,
    EntryRecord,
    IdentityRecord,
    WaiverEntry,
)
from pytest_ragshortcut.errors import StoredFileError

FILE = Path("released.json")


def entry(case: str = "RagCase('q', 'c')", score: float | None = 1.0) -> EntryRecord:
    return {
        "case": case,
        "kind": "context",
        "better": "more",
        "asking": "abcdef012345",
        "reading": {
            "score": score,
            "interval": [score, score],
            "verdict": "SHORTCUT",
            "answer": "Cork",
            "context_answer": "Cork",
            "memory_answer": "Dublin",
            "readings": {},
        },
    }


def identity(**changes: Any) -> IdentityRecord:
    made: Any = {
        "fingerprint": "0123",
        "weights": "1234",
        "tokenizer": "2345",
        "chat_template": "",
        "config": "3456",
        "quantization": "",
        "libraries": {"torch": "2.13.0"},
        "device": "cpu",
        "dtype": "float32",
        "attention": "sdpa",
        "executor": "incremental",
        **changes,
    }
    return made  # type: ignore[no-any-return]


def model(tests: dict[str, list[EntryRecord]], **changes: Any) -> BaselineModel:
    settings: Any = {"template": "plain", "probes": "none", "seed": 0}
    return {"identity": identity(**changes), "settings": settings, "spread": 1e-6, "tests": tests}


def baseline(**models: BaselineModel) -> Baseline:
    return {"schema": 2, "plugin": "0.1.0", "waivers": [], "models": models}


TESTS = st.dictionaries(
    st.sampled_from(["a.py::test_a", "a.py::test_b[x]", "b.py::test_c"]),
    st.lists(st.sampled_from(["case 1", "case 2"]).map(entry), max_size=4),
)


@given(here=TESTS, there=TESTS)
def test_every_check_is_matched_once_or_named(
    here: dict[str, list[EntryRecord]], there: dict[str, list[EntryRecord]]
) -> None:
    paired = pairing.pair_up(here, there)
    n_here, n_there = (sum(map(len, side.values())) for side in (here, there))
    assert len(paired.old) + len(paired.only_here) == n_here
    assert len(paired.old) + len(paired.only_there) == n_there
    assert not set(paired.only_here) & set(paired.only_there)
    if here == there:
        assert not paired.only_here
    if paired.only_here or paired.only_there:
        with pytest.raises(StoredFileError, match="are not this run's"):
            pairing.require_same_cases(paired, FILE)
    else:
        pairing.require_same_cases(paired, FILE)


def test_other_cases_are_named_with_what_to_do() -> None:
    new = pairing.pair_up({"a": [entry(), entry("new")]}, {"a": [entry()]})
    with pytest.raises(StoredFileError, match=r"1 check is in this run alone, .* a: new") as caught:
        pairing.require_same_cases(new, FILE)
    assert "--rag-update-new-only" in caught.value.action
    lost = pairing.pair_up({"a": [entry()]}, {"a": [entry(), entry("old")]})
    with pytest.raises(StoredFileError, match="1 check is in the baseline alone") as caught:
        pairing.require_same_cases(lost, FILE)
    assert "the whole suite" in caught.value.action


def test_a_model_is_compared_with_its_namesake_or_the_only_one() -> None:
    two = baseline(a=model({}), b=model({}))
    assert pairing.counterpart(two, "b", FILE) == "b"
    assert pairing.counterpart(baseline(a=model({})), "candidate", FILE) == "a"
    for none in (two, baseline()):
        with pytest.raises(StoredFileError, match="none is 'candidate'"):
            pairing.counterpart(none, "candidate", FILE)


@pytest.mark.parametrize("key", ["template", "probes", "seed"])
def test_other_probe_settings_are_an_error(key: str) -> None:
    old: Any = model({})["settings"]
    pairing.require_same_settings(old, old, FILE)
    pairing.require_same_settings(None, old, FILE)
    with pytest.raises(StoredFileError, match=f"--rag-{key}="):
        pairing.require_same_settings(old, {**old, key: "7"}, FILE)


def test_what_was_asked_in_another_way_is_an_error_where_both_are_known() -> None:
    asked: dict[str, Any] = {
        name: {"a": [{**entry(), "asking": name}]} for name in ("", "one", "other")
    }
    for here, there in permutations(asked, 2):
        paired = pairing.pair_up(asked[here], asked[there])
        if here and there:
            with pytest.raises(StoredFileError, match=r"a: RagCase\('q', 'c'\) was asked with ano"):
                pairing.require_same_asking(asked[here], paired, FILE)
        else:
            pairing.require_same_asking(asked[here], paired, FILE)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "cuda:0"}, "the device was cpu and is cuda:0"),
        ({"libraries": {"torch": "3.0"}}, "the version of torch was 2.13.0 and is 3.0"),
        ({"libraries": {}}, "the version of torch was 2.13.0 and is none"),
        ({"quantization": "gptq"}, "the quantization was none and is gptq"),
        ({"chat_template": "9"}, "the chat template is another one"),
        ({}, "the weights are the baseline's own"),
    ],
)
def test_another_way_to_run_is_a_warning(changes: dict[str, Any], said: str) -> None:
    assert said in pairing.differences(model({}), identity(**changes))
    assert len(pairing.differences(model({}), identity(**changes, weights="other"))) <= 1


def test_claims_that_go_another_way_are_told_of_and_the_baseline_decides() -> None:
    here, there = {"a": [{**entry(), "better": "less"}]}, {"a": [entry()]}
    paired = pairing.pair_up(here, there)  # type: ignore[arg-type]
    (said,) = pairing.turned(here, paired)  # type: ignore[arg-type]
    assert "1 check is compared as the baseline's claims go" in said
    assert "where more is better" in said
    assert pairing.turned(there, pairing.pair_up(there, there)) == []


def test_saving_keeps_what_others_saved_of_the_same_weights_and_only_that() -> None:
    old = baseline(m=model({"a": [entry()]}), other=model({"x": [entry()]}))
    both = updating.saved(old, {"m": model({"b": [entry()]})})
    assert sorted(both["models"]["m"]["tests"]) == ["a", "b"]
    assert sorted(both["models"]) == ["m", "other"]
    fresh = updating.saved(old, {"m": model({"b": [entry()]}, fingerprint="9999")})
    assert sorted(fresh["models"]["m"]["tests"]) == ["b"]


def test_an_update_takes_the_place_of_what_it_was_compared_with() -> None:
    old = baseline(released=model({"a": [entry()], "gone": [entry()]}))
    new = model({"a": [entry(score=0.5)]}, fingerprint="9999")
    after = updating.updated(old, {"candidate": new}, FILE, is_stale=lambda _: True)
    assert after["models"] == {"candidate": new}
    with pytest.raises(StoredFileError, match="other weights, and no value of 'gone'"):
        updating.updated(old, {"candidate": new}, FILE, is_stale=lambda _: False)
    same = model({"a": [entry(score=0.5)]})
    kept = updating.updated(old, {"released": same}, FILE, is_stale=lambda _: False)
    assert sorted(kept["models"]["released"]["tests"]) == ["a", "gone"]


def test_what_is_new_is_added_and_nothing_else_changes() -> None:
    old = baseline(released=model({"a": [entry()]}))
    more = model({"a": [entry(score=0.2), entry("new")], "b": [entry()]})
    after = updating.extended(old, {"released": more}, FILE)["models"]["released"]["tests"]
    assert [each["reading"]["score"] for each in after["a"]] == [1.0, 1.0]
    assert sorted(after) == ["a", "b"]
    other = {"candidate": {**more, "identity": identity(fingerprint="9999")}}
    with pytest.raises(StoredFileError, match="other weights"):
        updating.extended(old, other, FILE)  # type: ignore[arg-type]


@given(there=TESTS, here=TESTS)
def test_updates_change_no_baseline_that_they_were_given(
    there: dict[str, list[EntryRecord]], here: dict[str, list[EntryRecord]]
) -> None:
    old, before = baseline(m=model(there)), repr(baseline(m=model(there)))
    run = {"m": model(here)}
    updating.saved(old, run)
    updating.extended(old, run, FILE)
    updating.updated(old, run, FILE, is_stale=lambda test: test.startswith("b"))
    assert repr(old) == before


def test_waivers_hold_to_their_last_day_and_for_what_they_name() -> None:
    waiver: WaiverEntry = {
        "test": "a.py::test_a[x]",
        "case": "",
        "reason": "RAG-17",
        "expires": "2026-12-31",
    }
    last, after = date(2026, 12, 31), date(2027, 1, 1)
    assert waivers.waived([waiver], "a.py::test_a[x]", "any", last) == "RAG-17"
    assert waivers.waived([waiver], "a.py::test_a[x]", "any", after) == ""
    assert waivers.waived([waiver], "a.py::test_a[y]", "any", last) == ""
    one: WaiverEntry = {**waiver, "test": "a.py::test_a", "case": "this"}
    assert waivers.waived([one], "a.py::test_a[y]", "this", last) == "RAG-17"
    assert waivers.waived([one], "a.py::test_a[y]", "that", last) == ""
