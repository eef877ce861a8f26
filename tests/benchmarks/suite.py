"""From settings to results: what is run at each size, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

from benchmarks import bounds, percell
from benchmarks.counts import Recorder
from benchmarks.models import Loaded, build
from benchmarks.products import Products
from benchmarks.rows import EARLY, ROWS, Row, run_setup
from benchmarks.scenes import Scene, find_scene
from benchmarks.timing import Clock, Measurement, Spread, exponent, measure, progress
from pytest_ragshortcut.models.rag_model import RagModel

EARLY_START = 4
Result = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What a run measures."""

    shapes: tuple[str, ...] = ("llama",)
    layers: tuple[int, ...] = (12,)
    tokens: tuple[int, ...] = (32, 128, 512, 1024)
    early_tokens: tuple[int, ...] = (32, 64)
    rows: tuple[str, ...] = ()
    """Keys of rows; none is all of them."""
    device: str = "cpu"
    dtype: str = "float32"
    n_samples: int = 10
    repeats: int = 3
    n_cells: int = 4
    setup_apart: bool = True
    """Whether cold rows find a model that has been set up, on another prompt."""
    progress: bool = False

    def wants(self, row: Row) -> bool:
        """Whether a row was asked for."""
        return not self.rows or row.key in self.rows


def measure_all(settings: Settings) -> list[Result]:
    """Measure every shape, depth and size."""
    results = []
    for shape in settings.shapes:
        for n_layers in settings.layers:
            loaded = build(shape, n_layers, device=settings.device, dtype=settings.dtype)
            results += [measure_size(loaded, n, settings) for n in settings.tokens]
            if settings.wants(EARLY):
                results += [measure_early(loaded, n, settings) for n in settings.early_tokens]
    return results


def measure_size(loaded: Loaded, n_tokens: int, settings: Settings) -> Result:
    """Measure every row at one number of tokens."""
    where = f"{loaded.shape} x{loaded.n_layers}, T={n_tokens}"
    with progress(f"{where}: choosing a prompt", shown=settings.progress):
        scene = find_scene(loaded, n_tokens, n_samples=settings.n_samples)
    result = _header(scene, settings)
    for row in ROWS:
        if settings.wants(row):
            with progress(f"{where}: {row.title}", shown=settings.progress):
                result["rows"].append(measure_row(row, scene, settings))
    return result


def measure_early(loaded: Loaded, n_tokens: int, settings: Settings) -> Result:
    """Measure the map where the corrupted span stands early; once, because it is slow."""
    where = f"{loaded.shape} x{loaded.n_layers}, T={n_tokens}"
    with progress(f"{where}: {EARLY.title}", shown=settings.progress):
        options = {"n_samples": settings.n_samples, "subject_at": EARLY_START}
        scene = find_scene(loaded, n_tokens, **options)
        result = _header(scene, settings)
        result["rows"].append(measure_row(EARLY, scene, settings, repeats=1))
    return result


def measure_row(
    row: Row, scene: Scene, settings: Settings, *, repeats: int | None = None
) -> Result:
    """Time a row, count what it asked for, and check its values."""
    clock, loaded = Clock(settings.device), scene.loaded
    recorders: list[Recorder] = []
    measured = measure(
        clock,
        prepare=lambda: _prepared(row, scene, settings, recorders),
        unit=lambda: _forward(scene),
        repeats=repeats or settings.repeats,
    )
    known = [] if row.warm is None else [scene.open_book.input_ids]
    whole = len(scene.open_book.input_ids) * loaded.n_layers
    count = recorders[0].token_layers(known) / whole
    check = row.check(scene, measured.last, settings.n_cells, clock)
    return {
        "key": row.key,
        "forwards": asdict(measured.ratio),
        "products": None
        if row is EARLY
        else _products(_prepared(row, scene, settings, []), scene, settings),
        "seconds": asdict(measured.seconds),
        "count": count,
        "bound": _bound(row.key, scene, settings),
        "check": asdict(check) | {"vacuous": check.span < bounds.MIN_SPAN},
        "against": _speed_ups(row, scene, settings, measured, check.cell_seconds),
    }


def _products(call: Callable[[], Any], scene: Scene, settings: Settings) -> Result:
    """Time the matrix products of a call alone, in forwards."""
    products = Products(scene.loaded)
    with products:
        call()
    alone = measure(
        Clock(settings.device),
        prepare=lambda: products.again,
        unit=lambda: _forward(scene),
        repeats=settings.repeats,
    )
    return asdict(alone.ratio)


def _prepared(
    row: Row, scene: Scene, settings: Settings, recorders: list[Recorder]
) -> Callable[[], Any]:
    """Make a call to time, on a model of its own; it leaves what it asked for as a recorder."""
    loaded, warm = scene.loaded, row.warm
    if warm is None and settings.setup_apart and row.run is not run_setup:
        warm = run_setup
    warmed = None if warm is None else RagModel(loaded.model, loaded.tokenizer)
    if warmed is not None and warm is not None:
        warm(warmed, scene)

    def call() -> Any:
        recorder = Recorder(warmed or RagModel(loaded.model, loaded.tokenizer))
        recorders[:] = [recorder]
        return row.run(recorder, scene)

    return call


def _speed_ups(
    row: Row, scene: Scene, settings: Settings, ours: Measurement, cells: Sequence[float]
) -> list[Result]:
    """Compare a map with cells run one by one: those it must compute, and all that there are."""
    if row.key not in ("map", EARLY.key) or not cells:
        return []
    n_tokens, n_layers = len(scene.open_book.input_ids), scene.loaded.n_layers
    n_reached = n_tokens - scene.open_book.positions("subject")[0]
    found = []
    for name, n_cells in (
        ("the same cells", n_reached * n_layers),
        ("as shipped", n_tokens * n_layers),
    ):
        bound = bounds.AT_LEAST[name].get(n_tokens) if row.key == "map" else None
        applies = _applies(scene, settings)
        found.append(
            {
                "key": name,
                "n_cells": n_cells,
                "n_timed": len(cells),
                "forwards_per_cell": median(cells) / ours.unit_seconds.median,
                "times": median(cells) * n_cells / ours.seconds.median,
                "bound": bound if applies else None,
            }
        )
    return found


def _header(scene: Scene, settings: Settings) -> Result:
    clock = Clock(settings.device)
    whole = [clock.time(lambda: _forward(scene))[0] for _ in range(2 + settings.repeats)][2:]
    kept = measure(
        clock,
        prepare=lambda: lambda: _forward(scene, logits_to_keep=1),
        unit=lambda: _forward(scene),
        repeats=settings.repeats,
    )
    return {
        "shape": scene.loaded.shape,
        "n_layers": scene.loaded.n_layers,
        "n_tokens": len(scene.open_book.input_ids),
        "n_samples": scene.n_samples,
        "seed": scene.seed,
        "subject_at": scene.open_book.positions("subject")[0],
        "forward_seconds": asdict(Spread.of(whole)),
        "last_logits_only": asdict(kept.ratio),
        "products": _products(lambda: _forward(scene), scene, settings),
        "rows": [],
    }


def _forward(scene: Scene, **options: Any) -> torch.Tensor:
    ids = torch.tensor([scene.open_book.input_ids], device=scene.loaded.device)
    return percell.forward(scene.loaded.model, ids, **options)


def _bound(key: str, scene: Scene, settings: Settings) -> float | None:
    bound = bounds.AT_MOST.get(key, {}).get(len(scene.open_book.input_ids))
    return bound if _applies(scene, settings) else None


def _applies(scene: Scene, settings: Settings) -> bool:
    return settings.n_samples == 10 and bounds.applies(
        n_layers=scene.loaded.n_layers,
        device=settings.device,
        dtype=settings.dtype,
        shape=scene.loaded.shape,
    )


def growth(results: Sequence[Result]) -> list[Result]:
    """Fit each row's cost in seconds as a power of the tokens, and of the layers."""
    costs: dict[tuple[str, str, int, int], float] = {}
    for result in results:
        at = (result["n_tokens"], result["n_layers"])
        costs[result["shape"], "forward", *at] = result["forward_seconds"]["median"]
        for row in result["rows"]:
            costs[result["shape"], row["key"], *at] = row["seconds"]["median"]
    fits = []
    for varied, axis in (("T", 2), ("L", 3)):
        lines: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
        for key, cost in costs.items():
            line = (*key[:2], key[5 - axis])
            lines.setdefault(line, []).append((float(key[axis]), cost))
        for (shape, row, fixed), points in lines.items():
            sizes, taken = zip(*sorted(points), strict=True)
            if len(sizes) > 1 and min(taken) > 0:
                fit = exponent(sizes, taken)
                fits.append(
                    {"shape": shape, "key": row, "in": varied, "at": fixed, "sizes": sizes}
                    | {"exponent": fit}
                )
    return fits
