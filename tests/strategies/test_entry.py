"""What Hypothesis loads of the plugin when it is imported: little, and none of it by force."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import find, given, settings
from hypothesis import strategies as st

from pytest_ragshortcut import RagCase
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.strategies.entry import PROFILES, register


@given(st.from_type(RagCase))
def test_a_case_is_drawn_by_its_type(case: RagCase) -> None:
    assert case.subject
    assert occurrences(case.question, case.subject)
    assert case.context_answer
    assert any(occurrences(passage, case.context_answer) for passage in case.passages)


def test_cases_by_type_compose() -> None:
    pairs = st.tuples(st.from_type(RagCase), st.booleans())
    assert find(pairs, lambda pair: pair[1])[0].passages


def test_profiles_say_what_they_are_for_and_none_is_loaded() -> None:
    before = repr(settings())
    register()
    assert repr(settings()) == before
    pr, nightly, fuzz = map(settings.get_profile, PROFILES)
    assert pr.derandomize
    assert not nightly.derandomize
    assert pr.max_examples < nightly.max_examples < fuzz.max_examples
    assert [each.deadline for each in (pr, nightly, fuzz)] == [None] * 3


def test_importing_hypothesis_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, hypothesis\n"
        "assert hypothesis.settings.get_profile('rag-pr')\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'jinja2', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
