"""Loading a checkpoint directory: what is read, and how each broken one is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.errors import AlteredWeightsError, CheckpointNotFoundError, OptionError
from pytest_ragshortcut.models import embedded
from pytest_ragshortcut.models.rag_model import RagModel

CASE = RagCase("Where was Eavan Boland born?", "Eavan Boland was born in Dublin.")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("llama", tmp_path_factory.mktemp("llama"))


def saved(name: str, folder: Path) -> Path:
    built, tokenizer = tiny.rag_parts(name)
    built.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_saved_checkpoint_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    built, tokenizer = tiny.rag_parts(name)
    loaded = RagModel.from_pretrained(str(saved(name, tmp_path)), device="cpu")
    before, after = built.state_dict(), loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert loaded.model.dtype == torch.float64
    assert loaded.model.training is False
    assert loaded.name == str(tmp_path)
    prompt = loaded.tokenize(loaded.render(CASE))
    assert prompt.input_ids == tuple(tokenizer(prompt.text)["input_ids"])
    assert loaded.generate([prompt]) == RagModel(built, tokenizer).generate([prompt])


def test_the_dtype_is_the_one_asked_for(checkpoint: Path) -> None:
    loaded = RagModel.from_pretrained(str(checkpoint), device="cpu", dtype="bfloat16")
    assert loaded.model.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/no/such", "a/b/c"])
def test_a_missing_directory_is_refused_without_a_look_at_the_network(name: str) -> None:
    with pytest.raises(CheckpointNotFoundError, match="no such directory"):
        RagModel.from_pretrained(name)


def test_an_unknown_embedded_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CheckpointNotFoundError, match="the embedded models are embedded:"):
        RagModel.from_pretrained("embedded:nobody")


@pytest.mark.parametrize("change", ["a bit", "cut off", "missing"])
def test_an_embedded_model_whose_file_was_altered_is_refused(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(embedded.WEIGHTS, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(embedded, "WEIGHTS", tmp_path)
    file = tmp_path / "reader" / "model.safetensors"
    shipped = file.read_bytes()
    if change == "missing":
        file.unlink()
    else:
        file.write_bytes(shipped[:-1] + (bytes([shipped[-1] ^ 1]) if change == "a bit" else b""))
    with pytest.raises(AlteredWeightsError, match=r"missing: 'reader/model.safetensors'") as raised:
        RagModel.from_pretrained("embedded:reader")
    assert raised.value.files == ("reader/model.safetensors",)
    RagModel.from_pretrained("embedded:memoriser")


@pytest.mark.parametrize("option", ["dtype", "device"])
def test_an_unknown_dtype_or_device_is_refused(option: str, checkpoint: Path) -> None:
    with pytest.raises(OptionError, match=f"{option} has the value 'abacus'") as raised:
        RagModel.from_pretrained(str(checkpoint), **{option: "abacus"})
    assert raised.value.option == option


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def holding(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text)


def configured(**options: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | options))

    return change


def truncated(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def lacking_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def without_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (without("config.json"), "model_type"),
    "a config that is no JSON": (holding("config.json", "{"), "not a valid JSON"),
    "an unknown architecture": (configured(model_type="nonesuch"), "nonesuch"),
    "an encoder-decoder": (configured(model_type="t5"), "T5Config"),
    "no weights": (without("model.safetensors"), "model.safetensors"),
    "pickled weights": (pickled, "model.safetensors"),
    "truncated weights": (truncated, "header"),
    "empty weights": (holding("model.safetensors", ""), "header"),
    "a weight that is missing": (lacking_a_weight, "1 weights are missing, model.layers.1.mlp"),
    "weights of another shape": (configured(intermediate_size=50), "mismatch"),
    "no tokenizer": (without_a_tokenizer, "tokenizer"),
    "a tokenizer that is no JSON": (holding("tokenizer.json", "{"), "property name"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_checkpoint_is_refused_with_the_reason(
    kind: str, checkpoint: Path, tmp_path: Path
) -> None:
    spoil, reason = BROKEN[kind]
    folder = tmp_path / "broken"
    shutil.copytree(checkpoint, folder)
    spoil(folder)
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint could be loaded") as raised:
        RagModel.from_pretrained(str(folder), device="cpu")
    assert reason in raised.value.reason
    assert "\n" not in raised.value.reason
