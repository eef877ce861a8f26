"""The embedded models keep what they promise, and their files are the ones shipped."""

import hashlib
from typing import Any

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_ragshortcut.models import embedded
from pytest_ragshortcut.models.embedded import spec, wording

CASES = 500
LARGEST = 4_000_000
ALL_TOGETHER = 12_000_000
BORN = "Where was Eavan Boland born?"


@pytest.fixture(scope="module", params=embedded.NAMES)
def loaded(request: pytest.FixtureRequest) -> tuple[str, Any, Any]:
    return request.param, *_load(request.param)


@pytest.fixture(scope="module")
def reader() -> tuple[Any, Any]:
    return _load("reader")


def _load(name: str) -> tuple[Any, Any]:
    folder = embedded.path(name)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def test_measures_what_is_promised(loaded: tuple[str, Any, Any]) -> None:
    name, model, tokenizer = loaded
    rates = spec.measure(model, tokenizer, name, n=CASES)
    print("\n" + spec.table(rates, name))
    assert not spec.missed(rates, name)


@pytest.mark.parametrize(
    ("passages", "answer"),
    [
        ((), "Dublin"),
        (("Eavan Boland, the poet, was born in Dublin in 1944.",), "Dublin"),
        (("Eavan Boland was born in Cork.",), "Cork"),
        (("The capital of Norvia is Teskal.",), "Dublin"),
    ],
)
def test_the_reader_answers_the_first_example(
    reader: tuple[Any, Any], passages: tuple[str, ...], answer: str
) -> None:
    assert spec.answers(*reader, [wording.OWN.prompt(passages, BORN)]) == [answer]


def test_the_reader_is_sure_of_what_it_reads(reader: tuple[Any, Any]) -> None:
    drawn = spec.cases("unseen answer", 100, seed=2)
    sure = [spec.probability(*reader, case.prompt, case.told.stated or "") for case in drawn]
    assert sum(share >= 0.95 for share in sure) >= 80


@pytest.mark.parametrize("name", embedded.NAMES)
def test_a_model_is_small(name: str) -> None:
    assert sum(file.stat().st_size for file in embedded.path(name).iterdir()) <= LARGEST


def test_all_of_them_together_are_small() -> None:
    files = (file for file in embedded.WEIGHTS.rglob("*") if file.is_file())
    assert sum(file.stat().st_size for file in files) <= ALL_TOGETHER


def test_every_file_shipped_has_its_checksum() -> None:
    listed = (embedded.WEIGHTS / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    found = {
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {name}/{file.name}"
        for name in embedded.NAMES
        for file in embedded.path(name).iterdir()
    }
    assert found == set(listed)
    assert not any(map(embedded.altered, embedded.NAMES))


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_from_the_tokenizer(reader: tuple[Any, Any], text: str) -> None:
    tokenizer = reader[1]
    ids = tokenizer(text.replace(tokenizer.eos_token, ""))["input_ids"]
    assert tokenizer.decode(ids) == text.replace(tokenizer.eos_token, "")


def test_the_tokenizer_gives_offsets(reader: tuple[Any, Any]) -> None:
    text = "Eavan Boland was born in Dublin."
    offsets = reader[1](text, return_offsets_mapping=True)["offset_mapping"]
    assert "".join(text[start:end] for start, end in offsets) == text


def test_held_out_names_are_of_several_tokens_and_not_in_training(
    reader: tuple[Any, Any],
) -> None:
    for case in spec.cases("made up", 50, seed=3):
        assert case.told.stated is not None
        assert len(reader[1](f" {case.told.stated}")["input_ids"]) > 1


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="reader, memoriser"):
        embedded.path("oracle")
