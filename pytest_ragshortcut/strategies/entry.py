"""What Hypothesis loads whenever it is imported: profiles by name, and how a case is drawn.

It runs for everybody who uses Hypothesis, so nothing but Hypothesis and values is imported.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from pytest_ragshortcut.core.cases import RagCase

PROFILES = ("rag-pr", "rag-nightly", "rag-fuzz")


def register() -> None:
    """Register the profiles, without loading one, and the strategy of `from_type(RagCase)`.

    A model is slow beside what deadlines and the check of slow drawing were made for. What a pull
    request runs is the same every time; what runs at night is new, and remembers what failed.
    """
    slow = settings(
        settings.get_profile("default"),
        deadline=None,
        print_blob=True,
        # Else as many examples again are run, once one has failed, to look for other failures.
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.register_profile("rag-pr", slow, max_examples=25, derandomize=True, database=None)
    settings.register_profile("rag-nightly", slow, max_examples=500, derandomize=False)
    settings.register_profile(
        "rag-fuzz", slow, max_examples=5000, derandomize=False, phases=tuple(Phase)
    )
    st.register_type_strategy(RagCase, _cases)


def _cases(_: type[RagCase]) -> st.SearchStrategy[RagCase]:
    from pytest_ragshortcut.strategies.cases import made_up_cases

    return made_up_cases()
