"""Changes of passages: what each does, and what none of them touches."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_ragshortcut.core.finding import sentences
from pytest_ragshortcut.core.rewrites import CHANGES, is_intact, spellings
from pytest_ragshortcut.core.spans import occurrences

# Something for every way: quotation marks, dashes, accents, sentences enough, long words.
RICH = (
    'Eavan Boland, the "poet", was born in Dublin in 1944 - some say 1943. She didn\'t stay. '
    "Her father, François, was a well-known diplomat... They moved to London! Was it good? "
    "She wrote of it later. Ten books followed."
)
EVERY = [(name, way) for name, change in CHANGES.items() for way in range(change.n_ways)]
ADDED = ("heading", "metadata", "markup", "script")
WORDS = st.sampled_from(
    "Dublin dublin DUBLIN Cork's was born.  it's — 東京 café 1944 Ada".split(" ")
)


def _changed(name: str, way: int, passage: str = RICH, *kept: str) -> str:
    return CHANGES[name].apply(passage, way, kept)


def test_the_changes_are_those_that_are_documented() -> None:
    assert list(CHANGES) == [
        "truncation", "heading", "metadata", "whitespace", "markup", "case", "unicode", "script",
        "typo",
    ]  # fmt: skip
    assert all(name == change.name for name, change in CHANGES.items())


@pytest.mark.parametrize("name", CHANGES)
def test_every_way_of_a_change_is_another_passage(name: str) -> None:
    made = {_changed(name, way) for way in range(CHANGES[name].n_ways)}
    assert len(made) == CHANGES[name].n_ways
    assert RICH not in made


@settings(max_examples=500)
@given(st.sampled_from(EVERY), st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=30))
@example(("unicode", 1), "Dublin's well-known café is in Dublin.")
def test_no_change_touches_what_is_kept_or_states_it_anew(
    each: tuple[str, int], passage: str
) -> None:
    name, way = each
    kept = ("Dublin", "東京", "1944", "overview", "café", "bo", "Cork")
    changed = _changed(name, way, passage, *kept)
    for text in kept:
        assert bool(occurrences(changed, text)) == bool(occurrences(passage, text))
        assert len(occurrences(changed, text)) <= len(occurrences(passage, text))
        # As it is spelled, not merely in any case.
        assert spellings(changed, text) <= spellings(passage, text)
        if name != "truncation":
            assert len(occurrences(changed, text)) == len(occurrences(passage, text))


@pytest.mark.parametrize(
    ("passage", "kept", "name"),
    [
        ("Written in old days.", "2021", "metadata"),
        ("Written in old days.", "background", "heading"),
        ("They were born.", "bon", "typo"),
        ("They were born.", "bron", "typo"),
        ("They were born.", "Музей", "script"),
        ("A café.", "cafe", "unicode"),
        ("Tell us, Uncle.", "US", "case"),
        ("They were born.", "nbsp", "markup"),
    ],
)
def test_a_change_that_would_state_what_is_kept_is_not_made(
    passage: str, kept: str, name: str
) -> None:
    # Some way of each change would, and a distractor would come to state the answer.
    ways = range(CHANGES[name].n_ways)
    assert any(not is_intact(passage, _changed(name, way, passage), [kept]) for way in ways)
    assert all(is_intact(passage, _changed(name, way, passage, kept), [kept]) for way in ways)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_made_around_what_is_kept(name: str) -> None:
    changed = [_changed(name, way, RICH, "Dublin", "Boland") for way in range(CHANGES[name].n_ways)]
    assert RICH not in changed
    assert all("Dublin" in passage and "Boland" in passage for passage in changed)


def test_a_kept_word_keeps_its_ending_too() -> None:
    for name, way in EVERY:
        assert "Dublin" in _changed(name, way, "It was Dublin's best.", "Dublin")
    for way in range(CHANGES["typo"].n_ways):
        assert "Dublin's" in _changed("typo", way, "It was Dublin's best known street.", "Dublin")


def test_truncation_ends_a_passage_at_each_of_its_sentences() -> None:
    parts = sentences(RICH)
    made = {_changed("truncation", way) for way in range(CHANGES["truncation"].n_ways)}
    assert made == {" ".join(parts[:n]) for n in range(1, len(parts))}
    # The shortest comes first, so that Hypothesis shrinks to it.
    assert _changed("truncation", 0) == parts[0]


def test_truncation_keeps_the_sentences_up_to_what_is_kept() -> None:
    for way in range(CHANGES["truncation"].n_ways):
        cut = _changed("truncation", way, RICH, "François", "Boland")
        assert cut.startswith(" ".join(sentences(RICH)[:3]))
        assert cut != RICH
    assert _changed("truncation", 0, "Only one.") == "Only one."
    assert _changed("truncation", 0, "One. In Cork.", "Cork") == "One. In Cork."


@pytest.mark.parametrize(("name", "way"), [each for each in EVERY if each[0] in ADDED])
def test_what_is_added_leaves_the_words_in_order(name: str, way: int) -> None:
    bare = re.sub(r"<[^>]*>|&nbsp;", " ", _changed(name, way))
    assert " ".join(RICH.split()) in " ".join(bare.split())


def test_headings_and_metadata_stand_on_lines_of_their_own() -> None:
    for name, way in EVERY:
        if name in ("heading", "metadata"):
            assert RICH in _changed(name, way).splitlines()
    headings = [_changed("heading", way) for way in range(CHANGES["heading"].n_ways)]
    assert sum(heading.startswith("#") for heading in headings) >= 4


@pytest.mark.parametrize("way", range(CHANGES["whitespace"].n_ways))
def test_white_space_alone_changes(way: int) -> None:
    changed = _changed("whitespace", way)
    assert changed.split() == RICH.split()


@pytest.mark.parametrize("way", range(CHANGES["case"].n_ways))
def test_case_alone_changes(way: int) -> None:
    assert _changed("case", way).casefold() == RICH.casefold()


@pytest.mark.parametrize("way", range(CHANGES["unicode"].n_ways))
def test_characters_alone_change_and_each_means_the_same(way: int) -> None:
    # Unicode's own table of look-alikes is no part of Python, so these are listed once more.
    alike = str.maketrans("асеіорѕхуАВСЕНІКМОРТХ“”‘’–\u2010", "aceiopsxyABCEHIKMOPTX\"\"''--")
    changed = unicodedata.normalize("NFKC", _changed("unicode", way)).translate(alike)
    assert re.sub("[\u200b\u00ad\ufeff]", "", changed) == unicodedata.normalize("NFKC", RICH)


def test_another_script_is_one_that_the_passage_does_not_have() -> None:
    scripts = set()
    for way in range(CHANGES["script"].n_ways):
        added = _changed("script", way).replace(RICH, "")
        names = {unicodedata.name(c).split()[0] for c in added if c.isalpha()}
        assert "LATIN" not in names
        scripts |= names
    assert {"CYRILLIC", "ARABIC", "CJK", "HANGUL", "DEVANAGARI", "THAI"} <= scripts


@pytest.mark.parametrize("way", range(CHANGES["typo"].n_ways))
def test_a_typo_is_one_slip_of_the_finger(way: int) -> None:
    changed = _changed("typo", way)
    old, new = re.split(r"\W+", RICH), re.split(r"\W+", changed)
    ((was, now),) = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
    dropped = {was[:i] + was[i + 1 :] for i in range(len(was))}
    doubled = {was[:i] + was[i] + was[i:] for i in range(len(was))}
    swapped = {was[: i - 1] + was[i] + was[i - 1] + was[i + 1 :] for i in range(1, len(was))}
    assert now in (swapped, dropped, doubled)[way % 3]


def test_a_passage_that_offers_nothing_stays_as_it_is() -> None:
    for name in ("truncation", "case", "typo"):
        assert {_changed(name, way, "42?") for way in range(CHANGES[name].n_ways)} == {"42?"}
    assert _changed("whitespace", 0, "Word") == "Word"
