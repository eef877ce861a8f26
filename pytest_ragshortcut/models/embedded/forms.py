"""The sentences of the world: how each relation is asked for and stated.

A statement is a core with an optional opening and ending. In the pieces, ``{s}`` is the subject,
``{a}`` the answer, and the other slots name things that are not the answer: ``{app}`` (an
apposition or nothing), ``{year}``, ``{person}``, ``{city}``, ``{country}`` and ``{company}``.
The pieces themselves stand in ``forms.json``.
"""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Relation:
    """One relation between a subject and its answer.

    Attributes:
        subject: The kind of name the subject is.
        answer: The kind of name the answer is.
        questions: The question forms.
        cores: The statement forms used in training.
        answer_first: Statement forms in which the answer stands before the subject. A causal model
            does not know yet whom the answer is about when it reads it, so it takes far longer to
            learn to look it up: the models shipped do not read these.
        held_out: Other statement forms never used in training.
        appositions: What may stand behind the subject.
        endings: What may follow the core.
    """

    subject: str
    answer: str
    questions: tuple[str, ...]
    cores: tuple[str, ...]
    answer_first: tuple[str, ...]
    held_out: tuple[str, ...]
    appositions: tuple[str, ...]
    endings: tuple[str, ...]


_PIECES = json.loads(Path(__file__).with_name("forms.json").read_text(encoding="utf-8"))


def _relation(pieces: dict[str, str | list[str]]) -> Relation:
    read = {k: v if isinstance(v, str) else tuple(v) for k, v in pieces.items()}
    return Relation(**read)  # type: ignore[arg-type]


OPENINGS: tuple[str, ...] = tuple(_PIECES["openings"])
ENDINGS: tuple[str, ...] = tuple(_PIECES["endings"])
FILLERS: tuple[str, ...] = tuple(_PIECES["fillers"])
SUBJECT_FILLERS: tuple[str, ...] = tuple(_PIECES["subject_fillers"])
RELATIONS: dict[str, Relation] = {
    name: _relation(pieces) for name, pieces in _PIECES["relations"].items()
}
