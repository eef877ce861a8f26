"""python -m pytest_ragshortcut: a case explained, stored reports drawn, a model card filled in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from reporting import samples

from pytest_ragshortcut.__main__ import OPTIONS_OF_EXPLAIN, main
from pytest_ragshortcut.config import OPTIONS
from pytest_ragshortcut.reporting.store import load_report, write_report

ASK = ["explain", "--question", "Where was Eavan Boland born?"]
PASSAGES = ["--context", "The museum opens at nine.", "--context", "Eavan Boland was born in Cork."]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_case_is_explained_as_a_failing_test_would_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, *PASSAGES, "--model", "embedded:memoriser"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("context reliance 0.00")
    for part in ("MEMORY", "passage 1   Eavan Boland", "'Dublin' with the context", "swap: follow",
                 "accounts for the answer (without", "attention knockout"):  # fmt: skip
        assert part in printed
    assert "\x1b" not in printed


def test_it_is_stored_and_rendered_beside_another(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("memoriser", "reader"):
        model = ["--model", f"embedded:{name}", "--json", f"{name}.json", "--probes", "none"]
        assert main([*ASK, *PASSAGES, *model]) == 0
    old, new = (load_report(Path(f"{name}.json")) for name in ("memoriser", "reader"))
    assert [r["tests"][0]["checks"][0]["verdict"] for r in (old, new)] == ["MEMORY", "SHORTCUT"]
    assert new["models"][0]["name"] == "embedded:reader"
    capsys.readouterr()
    assert main(["report", "memoriser.json", "reader.json", "-o", "both.html"]) == 0
    assert capsys.readouterr().out.strip() == Path("both.html").resolve().as_uri()
    page = Path("both.html").read_text(encoding="utf-8")
    assert "embedded:memoriser" in page
    assert "embedded:reader" in page
    assert main(["report", "reader.json", "-o", "one.html"]) == 0
    assert "embedded:memoriser" not in Path("one.html").read_text(encoding="utf-8")


def test_a_report_becomes_a_cards_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--model", "embedded:reader", "--json", "r.json", "--probes", "none"]
    assert main([*ASK, *PASSAGES, *model]) == 0
    capsys.readouterr()
    assert main(["card", "r.json"]) == 0
    printed = capsys.readouterr().out
    Path("README.md").write_text("---\nlicense: mit\n---\n# Mine\n", encoding="utf-8")
    assert main(["card", "r.json", "README.md", "--model", "embedded:reader"]) == 0
    assert capsys.readouterr().out == "card: README.md\n"
    text = Path("README.md").read_text(encoding="utf-8")
    assert text == f"---\nlicense: mit\n{printed}---\n# Mine\n"
    card = ModelCard(text)
    (result,) = card.data.eval_results
    score = load_report(Path("r.json"))["tests"][0]["checks"][0]["score"]
    assert (result.metric_type, result.metric_value) == ("context_reliance", round(score, 4))
    assert card.data.model_name == "embedded:reader"


def test_a_card_is_of_one_model(capsys: pytest.CaptureFixture[str]) -> None:
    checks = [samples.check() | {"model": name} for name in ("./last", "./next")]
    write_report(Path("two.json"), samples.report(samples.of_test("a", *checks)))
    for more, said in (([], "of 2 models"), (["--model", "x"], "'./last', './next'")):
        assert main(["card", "two.json", "README.md", *more]) == 4
        shown = capsys.readouterr()
        assert said in shown.err
        assert not shown.out
        assert not Path("README.md").exists()
    assert main(["card", "two.json", "README.md", "--model", "./next"]) == 0
    assert ModelCard.load(Path("README.md")).data.model_name == "next"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*ASK, "--context", " "], "context is empty"),
        ([*ASK, *PASSAGES, "--model", "./none"], "no checkpoint could be loaded from './none'"),
        ([*ASK, *PASSAGES, "--dtype", "float7"], "--rag-dtype has the value 'float7'"),
        ([*ASK, *PASSAGES, "--subject", "Ada"], "'Ada'"),
        (["report", "none.json"], "none.json"),
        (["card", "none.json"], "none.json"),
        (["report", "a", "b", "c"], "an older and a newer one"),
    ],
)
def test_wrong_use_is_said_in_words(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 4
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err


def test_every_option_that_makes_sense_without_a_test_is_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["explain", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for option in OPTIONS:
        flag = f"--{option.name.replace('_', '-')} {option.metavar}"
        assert (flag in text) == (option in OPTIONS_OF_EXPLAIN)


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m pytest_ragshortcut facts | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("birthplace")
    assert done.stderr == ""
