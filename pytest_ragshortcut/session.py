"""The run: its settings, its models, and the only place where models and probes meet."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from pytest_ragshortcut.config import OPTIONS, Settings, settle
from pytest_ragshortcut.errors import OptionError, RagShortcutError

if TYPE_CHECKING:
    from pytest_ragshortcut.core.ports import ProbeModel
    from pytest_ragshortcut.core.work import Identity
    from pytest_ragshortcut.models.executors import ExecutorName

MARKER = "rag"
N_SPREADS = 8
"""Of how many checks of a model a process measures how much is rounding, for a baseline."""
# What a model's owner may not have foreseen must not hide what the tests found.
_UNFORESEEN = (RagShortcutError, RuntimeError, MemoryError)
_OF_A_MODEL = frozenset(
    "model revision device dtype template trust_remote_code cache memory executor".split()
)


class RagSession:
    """What one pytest process knows of its models. Nothing is loaded until a test asks."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._models: dict[Settings, ProbeModel] = {}
        self._identities: dict[str, Identity] = {}
        self._notes: set[str] = set()
        self.n_spreads: Counter[str] = Counter()
        """Of how many checks of each model it was measured how much of a score is rounding."""
        self.on_load: Callable[[Identity], None] | None = None
        """Told of every model that has been loaded."""
        self.settings: Settings = self._settled({})

    def settings_of(self, node: pytest.Item | pytest.Collector) -> Settings:
        """Return a test's settings: its rag markers before those of its class and its file.

        Raises:
            OptionError: if a marker has an unknown keyword or a value that means nothing.
        """
        marked: dict[str, object] = {}
        for marker in node.iter_markers(MARKER):
            if marker.args:
                raise OptionError(
                    option=f"@pytest.mark.{MARKER}",
                    value=repr(marker.args[0]),
                    expected="keywords alone, such as model='./candidate'",
                )
            marked = {**marker.kwargs, **marked}
        return self._settled(marked) if marked else self.settings

    def model(self, settings: Settings | None = None) -> ProbeModel:
        """Return the model that settings name, loaded at its first use."""
        key = _of_the_model(settings or self.settings)
        if key not in self._models:
            model = self._config.hook.pytest_ragshortcut_load_model(
                config=self._config, settings=key
            )
            assert model is not None, "the plugin's own hook loads a model where no other does"
            self._models[key] = self._rendering(model)
            self._introduce(self._models[key])
        return self._models[key]

    @property
    def identities(self) -> tuple[Identity, ...]:
        """The models that were loaded and can say what they are."""
        return tuple(self._identities.values())

    @property
    def notes(self) -> set[str]:
        """What there is to say of how models were run, here and in workers that told of it."""
        for model in self._models.values():
            # A test has told of the error already, if a test ran the model.
            with suppress(*_UNFORESEEN):
                if note := getattr(model, "note", ""):
                    self._notes.add(str(note))
        return self._notes

    def _settled(self, marked: dict[str, object]) -> Settings:
        return settle(
            marker=marked,
            flag=lambda name: self._config.getoption(name, None),
            environment=os.environ,
            ini=lambda name: str(self._config.getini(name) or ""),
        )

    def _rendering(self, model: ProbeModel) -> ProbeModel:
        """Let a project's own hook write the prompts, if it has one."""
        hook = self._config.hook.pytest_ragshortcut_render_prompt
        if not hook.get_hookimpls() or not hasattr(model, "with_rendering"):
            return model
        written = model.with_rendering(
            lambda case, book: hook(config=self._config, case=case, book=book)
        )
        return cast("ProbeModel", written)

    def _introduce(self, model: ProbeModel) -> None:
        with suppress(*_UNFORESEEN):
            identity: Identity | None = getattr(model, "identity", None)
            if identity is not None:
                self._identities[f"{identity.name} {identity.fingerprint}"] = identity
                if self.on_load is not None:
                    self.on_load(identity)


SESSION = pytest.StashKey[RagSession]()


def _of_the_model(settings: Settings) -> Settings:
    """Blank what a model does not depend on, so that tests share it."""
    others = {option.name: "" for option in OPTIONS if option.name not in _OF_A_MODEL}
    return replace(settings, **others)


def load_model(settings: Settings) -> ProbeModel:
    """Load the model that the settings name.

    Raises:
        CheckpointNotFoundError: if there is none.
        OptionError: if the device or the cache cannot be used.
    """
    from pytest_ragshortcut.models.rag_model import RagModel
    from pytest_ragshortcut.models.workers import deal_devices, share_cores

    share_cores(os.environ)
    if settings.device in ("auto", "cuda"):
        deal_devices(os.environ)
    return RagModel.from_pretrained(
        settings.model,
        settings.device,
        settings.dtype,
        revision=settings.revision or None,
        trust_remote_code=settings.trust_remote_code == "yes",
        template=settings.template,
        executor=cast("ExecutorName", settings.executor),
        memory=settings.memory_bytes,
        cache=settings.cache or None,
    )
