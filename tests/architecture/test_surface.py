"""The shape of the package: public names, sizes, documentation."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import pytest_ragshortcut

PACKAGE = Path(pytest_ragshortcut.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FIXED = {
    "RagModel", "RagCase", "context_reliance", "parametric_reliance", "assert_context_reliance",
    "assert_parametric_reliance", "causal_trace", "attention_knockout",
    "attention_contributions", "attribute_context", "counterfactual_swap", "contexts",
    "rag_cases", "conflicts",
}  # fmt: skip


def test_every_fixed_name_is_public() -> None:
    assert set(pytest_ragshortcut.__all__) >= FIXED


@pytest.mark.parametrize("name", pytest_ragshortcut.__all__)
def test_public_name_loads_and_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(pytest_ragshortcut, name))
    assert name in dir(pytest_ragshortcut)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = pytest_ragshortcut.no_such_name


def test_lazy_names_are_the_type_checkers_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    typed = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
        if alias.asname
    }
    assert typed == set(pytest_ragshortcut.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_is_documented_and_of_a_size_to_read(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "a module says in one sentence what lives in it"
    assert len(source.splitlines()) <= 330
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 45, f"{node.name} has {lines} lines"


def test_nothing_prints_or_keeps_random_state() -> None:
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        assert "np.random.seed" not in source, path
        assert "random.seed(" not in source, path


def test_every_probe_takes_keyword_only_options() -> None:
    for name in ("causal_trace", "attention_knockout", "attention_contributions"):
        signature = inspect.signature(getattr(pytest_ragshortcut, name))
        positional = [p for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
        assert [p.name for p in positional] == ["model", "case"]


def test_every_module_imports() -> None:
    for path in MODULES:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[-1] not in ("__main__", "__init__"):
            importlib.import_module(".".join(parts))
