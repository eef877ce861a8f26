"""A model taken apart at its layers: what goes in, what each layer is given, and what comes out.

Everything is the model's own code. For the parts around the layers, stand-ins take the layers'
places; the layers themselves are called on a packed list of tokens, each at its own position, and
attention alone, through the interface that transformers has for it, knows which belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pytest_ragshortcut.errors import UnsupportedArchitectureError
from pytest_ragshortcut.models.architectures import ArchitectureMap, first_tensor, max_tokens
from pytest_ragshortcut.models.incremental.outfits import Outfit, without_masks
from pytest_ragshortcut.models.incremental.pieces import in_pieces, piece_tokens
from pytest_ragshortcut.models.incremental.scores import Scoring

# Prompts are prepared in lengths of this many tokens, so that lengths share their preparation.
_LENGTH_STEP = 64
_MAX_OUTFITS = 16

# Rotary embeddings of these kinds depend on how long the prompt is.
_BY_LENGTH = ("dynamic", "longrope")

# What attention functions are given beside queries, keys and values. Anything else could change
# the result unseen, so that a model which passes it runs on the reference executor.
_HARMLESS = frozenset(
    "dropout position_ids use_cache sliding_window output_router_logits output_attentions "
    "cache_position is_causal position_embeddings".split()
)


@dataclass(frozen=True, eq=False)
class AttentionInput:
    """What a layer's attention is given, for packed tokens."""

    query: torch.Tensor
    """(n_heads, n_packed, d_key)."""
    key: torch.Tensor
    """(n_kv_heads, n_packed, d_key)."""
    value: torch.Tensor
    """(n_kv_heads, n_packed, d_value)."""
    scoring: Scoring
    """Scale and softcap."""
    sinks: torch.Tensor | None
    """(n_heads,) score of a key without value that every query sees, or None."""


PackedAttention = Callable[[AttentionInput], torch.Tensor]
"""Attention over packed tokens, which knows the ones that belong together; returns
(n_packed, n_heads, d_value)."""


class KeysAndValuesTaken(Exception):  # noqa: N818
    """Raised by packed attention to leave a layer where its keys and values are all that counts."""


class Frame:
    """A model's embeddings, layers and head, each to be called by itself."""

    def __init__(self, model: PreTrainedModel, architecture: ArchitectureMap) -> None:
        self.model, self.architecture = model, architecture
        self.token_layers = 0
        """How many tokens have been through a layer, added up over layers."""
        self._attention: PackedAttention | None = None
        self._knows_softcap = True
        self._key = f"ragshortcut-{id(self)}"
        self._outfits: dict[int, Outfit] = {}
        self._stack, self._names = _stack_of(model, architecture)
        mlps = [layer.mlp for layer in architecture.layers if layer.mlp is not None]
        # Other devices are at their best on all tokens at once.
        is_cpu = model.device.type == "cpu"
        self._mlps = {mlp: piece_tokens(mlp) for mlp in mlps} if is_cpu else {}

    def prepared_length(self, n_tokens: int) -> int:
        """Return the length under which a prompt is prepared: its own, or a common longer one."""
        config = self.model.config.get_text_config()
        ropes = str([getattr(config, n, "") for n in ("rope_parameters", "rope_scaling")])
        if any(kind in ropes for kind in _BY_LENGTH):
            return n_tokens
        longer = -(-n_tokens // _LENGTH_STEP) * _LENGTH_STEP
        window = max_tokens(self.model)
        return longer if window is None else max(n_tokens, min(longer, window))

    def outfit(self, n_tokens: int) -> Outfit:
        """Return what the layers are given for prompts of a length."""
        if n_tokens not in self._outfits:
            if len(self._outfits) >= _MAX_OUTFITS:
                del self._outfits[next(iter(self._outfits))]
            ids = torch.zeros(1, n_tokens, dtype=torch.long, device=self.model.device)
            self._outfits[n_tokens] = self._observe(ids)
        return self._outfits[n_tokens]

    def forget(self) -> None:
        """Forget what the layers were given: the model may have changed."""
        self._outfits.clear()

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (n_rows, n_tokens, d_model), what the first layer reads."""
        seen: list[torch.Tensor] = []

        def first(_: int, hidden: torch.Tensor, *__: Any, **___: Any) -> torch.Tensor:
            if not seen:
                seen.append(hidden)
            return hidden

        with self._stand_ins(first):
            self._forward(ids)
        return seen[0]

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (n, n_vocabulary) of final states (n, d_model)."""
        last = len(self.architecture.layers) - 1

        def inject(index: int, given: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
            return hidden[:, None].to(given.device) if index == last else given

        ids = torch.zeros(len(hidden), 1, dtype=torch.long, device=self.model.device)
        with self._stand_ins(inject):
            return self._forward(ids)[:, -1]

    @contextmanager
    def packed(self) -> Iterator[None]:
        """Route the layers' attention to the function that `layer` is given."""
        configs = {
            id(config): config
            for layer in self.architecture.layers
            if (config := getattr(layer.attention, "config", None)) is not None
        }
        own = self.model.config.get_text_config()
        configs[id(own)] = own
        before = {key: config._attn_implementation for key, config in configs.items()}
        self._knows_softcap = "sdpa" not in before.values()
        ALL_ATTENTION_FUNCTIONS[self._key] = self._attend
        try:
            for config in configs.values():
                config._attn_implementation = self._key
            with in_pieces(self._mlps):
                yield
        finally:
            for key, config in configs.items():
                config._attn_implementation = before[key]
            del ALL_ATTENTION_FUNCTIONS[self._key]

    def layer(
        self,
        index: int,
        hidden: torch.Tensor,
        outfit: Outfit,
        positions: torch.Tensor,
        attention: PackedAttention,
    ) -> torch.Tensor | None:
        """Run one layer on packed tokens (n_packed, d_model); None if attention left it early."""
        args, kwargs = outfit.picked(index, positions)
        self._attention = attention
        self.token_layers += len(hidden)
        try:
            output = self.architecture.layers[index].layer(hidden[None], *args, **kwargs)
        except KeysAndValuesTaken:
            return None
        finally:
            missed, self._attention = self._attention is not None, None
        if missed:
            self._refuse(f"layer {index} does not call transformers' attention interface")
        return first_tensor(output).view(-1, hidden.shape[-1])

    def _attend(
        self,
        _: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        scaling: float | None = None,
        softcap: float | None = None,
        s_aux: torch.Tensor | None = None,
        **others: Any,
    ) -> tuple[torch.Tensor, None]:
        unknown = [n for n, v in others.items() if n not in _HARMLESS and v is not None]
        if unknown:
            self._refuse(f"its attention is given {unknown[0]!r}, which is not known here")
        if attention_mask is not None or self._attention is None:
            self._refuse("its attention is called with a mask, or twice in a layer")
        attention, self._attention = self._attention, None
        assert attention is not None
        # Transformers' function for sdpa takes a softcap and leaves it out, and so does the model.
        capped = softcap if self._knows_softcap else None
        scoring = Scoring(query.shape[-1] ** -0.5 if scaling is None else scaling, capped)
        output = attention(AttentionInput(query[0], key[0], value[0], scoring, s_aux))
        return output.to(query.dtype)[None], None

    def _observe(self, ids: torch.Tensor) -> Outfit:
        n_tokens = ids.shape[1]
        seen: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        masks: dict[int, torch.Tensor | None] = {}
        known: dict[int, torch.Tensor | None] = {}

        def record(index: int, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            found: list[torch.Tensor] = []
            seen[index] = (
                tuple(without_masks(arg, n_tokens, found) for arg in args),
                {k: without_masks(arg, n_tokens, found) for k, arg in kwargs.items()},
            )
            mask = found[0] if found else None
            if id(mask) not in known:
                known[id(mask)] = None if mask is None else self._window_starts(mask)
            masks[index] = known[id(mask)]
            return hidden

        with self._stand_ins(record):
            self._forward(ids)
        indices = range(len(self.architecture.layers))
        if len(seen) != len(indices):
            self._refuse("its forward does not pass through every layer once")
        return Outfit(n_tokens, tuple(seen[i] for i in indices), tuple(masks[i] for i in indices))

    def _window_starts(self, mask: torch.Tensor) -> torch.Tensor | None:
        visible = mask[0, 0] if mask.dtype == torch.bool else mask[0, 0] == 0
        starts = visible.int().argmax(dim=-1)
        at = torch.arange(len(visible), device=mask.device)
        expected = (at[None] >= starts[:, None]) & (at[None] <= at[:, None])
        if mask.shape[:2] != (1, 1) or not torch.equal(visible, expected):
            self._refuse("its attention mask is neither causal nor a window")
        return starts if bool(starts.any()) else None

    def _forward(self, ids: torch.Tensor) -> torch.Tensor:
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
        if "logits_to_keep" in signature(self.model.forward).parameters:
            inputs["logits_to_keep"] = 1
        logits: torch.Tensor = self.model(**inputs).logits
        return logits

    @contextmanager
    def _stand_ins(self, act: Callable[..., torch.Tensor]) -> Iterator[None]:
        originals = [self._stack._modules[name] for name in self._names]
        try:
            for index, name in enumerate(self._names):
                self._stack._modules[name] = _StandIn(originals[index], index, act)
            yield
        finally:
            for name, original in zip(self._names, originals, strict=True):
                self._stack._modules[name] = original

    def _refuse(self, missing: str) -> None:
        raise UnsupportedArchitectureError(model=self.architecture.name, missing=missing)


class _StandIn(nn.Module):
    """Takes a layer's place, hooks and all, and answers for its other attributes."""

    def __init__(
        self, original: nn.Module | None, index: int, act: Callable[..., torch.Tensor]
    ) -> None:
        super().__init__()
        # Past nn.Module's own bookkeeping: the original must not become a submodule.
        self.__dict__.update(original=original, index=index, act=act)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["original"], name)

    def forward(self, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        output: torch.Tensor = self.__dict__["act"](self.__dict__["index"], hidden, *args, **kwargs)
        return output


def _stack_of(
    model: PreTrainedModel, architecture: ArchitectureMap
) -> tuple[nn.ModuleList, Sequence[str]]:
    first = architecture.layers[0].layer
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) and module[0] is first:
            return module, tuple(module._modules)
    raise UnsupportedArchitectureError(model=architecture.name, missing="its layers are no list")
