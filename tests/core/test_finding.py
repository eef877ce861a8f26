"""What is found in a case's own text: subject, context answer, substitutes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.finding import (
    find_context_answer,
    find_subject,
    invented_substitutes,
    sentences,
    usable_substitutes,
)
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.errors import AmbiguousSpanError, AnswerNotFoundError

# question -> what the context says of it, and the subject
QUESTIONS = {
    "Where was Eavan Boland born?": ("Eavan Boland was born in Dublin.", "Eavan Boland"),
    "What is Marie Curie's birthplace?": ("Marie Curie was born in Warsaw.", "Marie Curie"),
    "What is Marie Curie’s birthplace?": ("Marie Curie was born in Warsaw.", "Marie Curie"),
    "How old is Tom Hanks' wife?": ("Tom Hanks' wife is 60.", "Tom Hanks"),
    "what is ada quill's job?": ("Ada Quill is a baker.", "ada quill"),
    "who is ada quill?": ("Ada Quill is a baker.", "ada quill"),
    "WHERE WAS EAVAN BOLAND BORN?": ("Eavan Boland was born in Dublin.", "EAVAN BOLAND"),
    "what is the capital of france?": ("The capital of France is Paris.", "france"),
    "What is the capital of France?": ("The capital of France is Paris.", "France"),
    "What's the capital of Peru?": ("The capital of Peru is Lima.", "Peru"),
    "Please tell me where Ada Quill lives.": ("Ada Quill lives in Rome.", "Ada Quill"),
    "I wonder where Ada Quill lives.": ("Ada Quill lives in Rome.", "Ada Quill"),
    "Also, where was Ada Quill born?": ("Ada Quill was born in Rome.", "Ada Quill"),
    "Hello! Where was Ada Quill born?": ("Ada Quill was born in Rome.", "Ada Quill"),
    "I live in Cork. Where is Dublin?": ("Dublin is in Leinster.", "Dublin"),
    "Since when has Germany been one?": ("Germany has been one since 1990.", "Germany"),
    # Titles in quotation marks of every kind.
    'Who wrote "The Old Man and the Sea"?': ("It is by Hemingway.", "The Old Man and the Sea"),
    "Who wrote 'The Old Man and the Sea'?": ("It is by Hemingway.", "The Old Man and the Sea"),
    "Who made “Schindler’s List”?": ("Spielberg made it.", "Schindler’s List"),
    "Who made ‘Schindler’s List’?": ("Spielberg made it.", "Schindler’s List"),
    "Who wrote «Dubliners»?": ("Joyce wrote it.", "Dubliners"),
    # Names with connectors, initials, numbers, accents, hyphens, odd capitals.
    "Where was Ludwig van Beethoven born?": ("He was born in Bonn.", "Ludwig van Beethoven"),
    "Where was Leonardo da Vinci born?": ("In Anchiano.", "Leonardo da Vinci"),
    "When was the Treaty of Versailles signed?": ("In 1919.", "Treaty of Versailles"),
    "Where did J. R. R. Tolkien teach?": ("J. R. R. Tolkien taught there.", "J. R. R. Tolkien"),
    "When was George W. Bush born?": ("George W. Bush was born in 1946.", "George W. Bush"),
    "Where does Mrs. Dalloway live?": ("Mrs. Dalloway lives in London.", "Mrs. Dalloway"),
    "Where is St. Louis?": ("St. Louis is in Missouri.", "St. Louis"),
    "When was Apollo 11 launched?": ("Apollo 11 was launched in 1969.", "Apollo 11"),
    "What year did World War II end?": ("World War II ended in 1945.", "World War II"),
    "Who runs Procter & Gamble?": ("Jon Moeller runs Procter & Gamble.", "Procter & Gamble"),
    "Where was Édith Piaf born?": ("Édith Piaf was born in Paris.", "Édith Piaf"),
    "Où est né Victor Hugo ?": ("Victor Hugo est né à Besançon.", "Victor Hugo"),
    "Where is Jean-Luc Picard from?": ("Jean-Luc Picard is French.", "Jean-Luc Picard"),
    "What did O'Brien invent?": ("O'Brien invented the radio.", "O'Brien"),
    "Where was Will Smith born?": ("Will Smith was born there.", "Will Smith"),
    "Will Ada Quill come?": ("Ada Quill will come.", "Ada Quill"),
    "Where is the WHO based?": ("The WHO is based in Geneva.", "WHO"),
    "Who is the US president?": ("The US president lives there.", "US"),
    "What company makes the iPhone?": ("Apple makes the iPhone.", "iPhone"),
    "what company makes the iphone?": ("Apple makes the iPhone.", "iphone"),
    # No name at all: the longest phrase that question and context share.
    "What is our refund policy?": ("Our refund policy allows 30 days.", "refund policy"),
    "At what degree is the boiling point of water?": (
        "The boiling point of water is 100 degrees.", "boiling point of water",
    ),
}  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_subject_of_a_question_is_what_it_asks_about(question: str) -> None:
    context, expected = QUESTIONS[question]
    subject, how = find_subject(question, context)
    assert subject == expected
    assert occurrences(question, subject)
    assert how


@pytest.mark.parametrize(
    ("question", "context", "expected"),
    [
        ("Was Ada Quill born in Rome?", "Ada Quill, a baker, was born in Oslo.", "Ada Quill"),
        ("Which river flows through Paris, the Po or not?", "Paris lies on a river.", "Paris"),
    ],
)
def test_of_several_names_the_one_that_the_context_mentions_is_the_subject(
    question: str, context: str, expected: str
) -> None:
    subject, how = find_subject(question, context)
    assert (subject, how) == (expected, "the only name in the question that the context mentions")


@pytest.mark.parametrize(
    ("question", "candidates"),
    [
        ("Is Paris the capital of France?", ("Paris", "France")),
        ("Did Obama meet Merkel?", ("Obama", "Merkel")),
        ("Who is older, Ada Lovelace or Charles Babbage?", ("Ada Lovelace", "Charles Babbage")),
        ("Who played Batman in 'The Dark Knight' or 'Batman'?", ("The Dark Knight", "Batman")),
    ],
)
def test_two_subjects_are_never_guessed_between(question: str, candidates: tuple[str, ...]) -> None:
    with pytest.raises(AmbiguousSpanError) as raised:
        find_subject(question, question)
    assert raised.value.candidates == candidates
    assert "subject=" in str(raised.value)


@pytest.mark.parametrize(
    "question", ["Why?", "How is it done?", "日本の首都はどこですか", "...", "is it so, and why?"]
)
def test_a_question_without_a_subject_asks_for_one(question: str) -> None:
    with pytest.raises(AnswerNotFoundError, match="Pass subject="):
        find_subject(question, "The capital is 東京. It is so.")


def answer(context: str, said: str, memory: str = "Oslo") -> tuple[str, str]:
    return find_context_answer(
        context=context,
        subject="Ada Quill",
        question="Where was Ada Quill born?",
        said=said,
        memory=memory,
    )


@pytest.mark.parametrize(
    ("said", "context", "expected"),
    [
        ("Rome", "Ada Quill was born in Rome.", "Rome"),
        ("rome", "Ada Quill was born in Rome.", "Rome"),
        ("Rome, Italy", "Ada Quill was born in Rome.", "Rome"),
        ("Rome in Italy", "Ada Quill was born in Rome in Italy.", "Rome in Italy"),
        ("In Rome", "Ada Quill was born in Rome.", "Rome"),
        ("in the city of Rome", "She was born in the city of Rome.", "Rome"),
        ("In Cold Blood", "Ada Quill wrote In Cold Blood.", "In Cold Blood"),
        ("1815", "Ada Quill was born in 1815.", "1815"),
        ("3.5 million", "Ada Quill has 3.5 million readers.", "3.5 million"),
    ],
)
def test_an_answer_that_the_context_states_is_the_context_answer(
    said: str, context: str, expected: str
) -> None:
    assert answer(context, said) == (expected, "the open-book answer, which the context contains")


@pytest.mark.parametrize(
    ("context", "memory", "expected"),
    [
        ("Ada Quill was born in Rome. Bo Reed was born in Cork.", "Oslo", "Rome"),
        ("Ada Quill was born in Rome in 1815.", "Oslo", "Rome"),
        ("Ada Quill was born in Rome in 1815.", "1820", "1815"),
        ("Bo Reed lives in Cork.\nAda Quill was born in New Ross.", "Oslo", "New Ross"),
        ("The town is Rome.", "Oslo", "Rome"),
    ],
)
def test_otherwise_it_is_the_only_name_or_number_beside_the_subject(
    context: str, memory: str, expected: str
) -> None:
    found, how = answer(context, said="Oslo", memory=memory)
    assert found == expected
    assert how.endswith("beside the subject")


def test_several_names_beside_the_subject_are_never_guessed_between() -> None:
    with pytest.raises(AmbiguousSpanError) as raised:
        answer("Ada Quill was born in Rome and lives in Cork.", said="Oslo")
    assert raised.value.candidates == ("Rome", "Cork")


def test_no_name_beside_the_subject_says_what_the_model_said() -> None:
    with pytest.raises(AnswerNotFoundError, match="the model says 'Oslo'") as raised:
        answer("Ada Quill was born somewhere.", said="Oslo")
    assert "Pass context_answer=" in str(raised.value)


@given(
    candidates=st.lists(st.text(max_size=6), max_size=8),
    taken=st.lists(st.text(max_size=6), max_size=3),
    count=st.integers(1, 4),
)
def test_usable_substitutes_are_new_words_once_each(
    candidates: list[str], taken: list[str], count: int
) -> None:
    text = "Ada Quill was born in Rome."
    kept = usable_substitutes(
        [*candidates, "Cork"], like="Rome", taken=taken, text=text, count=count
    )
    assert len(kept) <= count
    folded = [substitute.casefold() for substitute in kept]
    assert len(set(folded)) == len(folded)
    assert not set(folded) & {other.casefold() for other in taken}
    for substitute in kept:
        assert any(c.isalnum() or c == "_" for c in substitute)
        assert not occurrences(text, substitute)
        assert "\n" not in substitute


@pytest.mark.parametrize(
    ("candidates", "like", "kept"),
    [
        (["ul", "it", "Gena"], "Cork", ("Gena",)),
        (["Cork", "1950", "the 1960s"], "1944", ("1950", "the 1960s")),
        (["Rome", "poet", "1950"], "painter", ("poet",)),
        (["Dublin City", "New Rome", "Bonn"], "Cork", ("New Rome", "Bonn")),
        (["Bonn", "Bonn am Rhein", "Oslo"], "Cork", ("Bonn", "Oslo")),
        ((", Rome", "Bonn"), "Cork", ("Bonn",)),
        # What a model says that has lost its thread.
        (("Answer: Tupelo", "Rome?", "(Oslo)", "St. Louis"), "Cork", ("St. Louis",)),
        (("मुंबई", "चेन्नई"), "दिल्ली", ("मुंबई", "चेन्नई")),
        # What a model says that knows it knows nothing.
        (("I don't know", "Unknown", "There is none", "Rome"), "Cork", ("Rome",)),
        (("The Hague", "It", "Unfortunately"), "The Hebrides", ("The Hague",)),
        (("$12", "$90"), "$44", ("$12", "$90")),
        (("Rome was where he was born", "Port-au-Prince"), "Cork", ("Port-au-Prince",)),
    ],
)
def test_a_substitute_looks_like_the_answer_and_overlaps_with_none(
    candidates: list[str], like: str, kept: tuple[str, ...]
) -> None:
    found = usable_substitutes(candidates, like=like, taken=["Dublin"], text="", count=3)
    assert found == kept


def test_no_more_candidates_are_asked_for_than_needed() -> None:
    asked = iter(["Rome", "Cork", "Oslo", "Bonn"])
    assert usable_substitutes(asked, like="Bath", taken=["Rome"], text="", count=2) == (
        "Cork",
        "Oslo",
    )
    assert list(asked) == ["Bonn"]


@given(number=st.integers(0, 10**6), unit=st.sampled_from(["", " km", " May", "%"]))
def test_invented_numbers_differ_from_the_answer_and_keep_its_form(number: int, unit: str) -> None:
    said = f"{number}{unit}"
    invented = invented_substitutes(said)
    assert len(invented) == 3
    for other in invented:
        assert other != said
        assert len(other) == len(said)
        assert other.endswith(unit)


def test_invented_names_are_words() -> None:
    assert all(name.isalpha() for name in invented_substitutes("Rome"))


def test_titles_and_initials_end_no_sentence() -> None:
    text = "Dr. J. R. R. Tolkien met Mrs. Hill on Mt. Fuji.|He left.|It rained"
    assert sentences(text.replace("|", " ")) == tuple(text.split("|"))


@given(st.text())
def test_sentences_keep_every_letter_in_order(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
