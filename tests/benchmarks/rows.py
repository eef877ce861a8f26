"""The rows: what is run, and how its values are checked against code of another hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from benchmarks import percell
from benchmarks.percell import Cell, Disturbance
from benchmarks.scenes import Scene, spread
from benchmarks.timing import Clock
from pytest_ragshortcut.core.corruptions import noise_corruptions, replacement
from pytest_ragshortcut.core.plans import Array, PlanRow, ProbePlan, Restoration, layer_window
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.results import SwapResult, TraceResult
from pytest_ragshortcut.core.screening import Screening
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.contributions import contribute
from pytest_ragshortcut.probes.inquiry import ask
from pytest_ragshortcut.probes.knockout import knock_out
from pytest_ragshortcut.probes.reliance import context_reliance
from pytest_ragshortcut.probes.swap import counterfactual_swap
from pytest_ragshortcut.probes.trace import trace_prompt

SOURCES = ("subject", "attribute", "context", "question")
KNOCKOUT_WINDOW = 9
PAPER_WINDOW = 10
N_DEPTHS = 6
Unit = Literal["p", "ln p", "norm"]


@dataclass(frozen=True)
class Check:
    """How far a row's values lie from those of code that shares nothing with it."""

    max_difference: float
    span: float
    """Largest less smallest disturbed value: where this is small, agreement says little."""
    n_values: int
    cell_seconds: tuple[float, ...] = ()
    """What each cell compared with took."""
    unit: Unit = "p"


@dataclass(frozen=True)
class Row:
    """One thing to measure.

    Args:
        key: its name in the tables and the bounds.
        title: what it is, in one line.
        run: what is timed, given the model and the scene.
        check: compares values with cells of the given number, timed by the given clock.
        warm: runs beforehand and untimed; None is a cold row, in which RagModel itself is made
            inside the timing.
    """

    key: str
    title: str
    run: Callable[[Any, Scene], Any]
    check: Callable[[Scene, Any, int, Clock], Check]
    warm: Callable[[RagModel, Scene], object] | None = None


def _trace(
    model: Any, scene: Scene, *, book: str = "open", corrupt: str = "subject", **options: Any
) -> TraceResult:
    prompt = scene.open_book if book == "open" else scene.closed_book
    roles = corrupt.split("+")
    noise = scene.noise(len(prompt.positions(*roles)))
    return ask(model, trace_prompt(model, prompt, corrupt=corrupt, corruption=noise, **options))


def run_map(model: Any, scene: Scene) -> TraceResult:
    """Trace all positions and layers with Gaussian noise on the subject."""
    return _trace(model, scene)


def check_map(scene: Scene, result: TraceResult, n_cells: int, clock: Clock) -> Check:
    """Compare cells from just before the subject to the end, and the corrupted run."""
    span = result.prompt.positions("subject")
    disturbance = Disturbance(span, noise=scene.noise(len(span)))
    cells = [*_map_cells(scene, result.restored, n_cells), (None, result.corrupted)]
    values = [*result.restored.ravel(), result.corrupted]
    return _compare(scene, result.prompt, disturbance, cells, values, clock)


def run_replacement(model: Any, scene: Scene) -> TraceResult:
    """Trace all positions and layers with other tokens in the subject's place."""
    token_ids = scene.replacement(len(scene.open_book.positions("subject")))
    words = " ".join(scene.loaded.tokenizer.convert_ids_to_tokens(list(token_ids)))
    options = {"corruption": "replace", "replace_with": words}
    return ask(model, trace_prompt(model, scene.open_book, corrupt="subject", **options))


def check_replacement(scene: Scene, result: TraceResult, n_cells: int, clock: Clock) -> Check:
    """Compare cells as for the noisy map."""
    span = scene.open_book.positions("subject")
    disturbance = Disturbance(span, token_ids=scene.replacement(len(span)))
    cells = [*_map_cells(scene, result.restored, n_cells), (None, result.corrupted)]
    values = [*result.restored.ravel(), result.corrupted]
    return _compare(scene, scene.open_book, disturbance, cells, values, clock)


def run_knockouts(model: Any, scene: Scene) -> Any:
    """Cut four sources from the readers, in the window around every layer."""
    options = {"sources": SOURCES, "window": KNOCKOUT_WINDOW, "n_layers": model.n_layers}
    return ask(model, knock_out(scene.open_book, **options))


def check_knockouts(scene: Scene, result: Any, n_cells: int, clock: Clock) -> Check:
    """Compare cuts with forwards whose attention mask is made by hand."""
    prompt, n_layers = scene.open_book, scene.loaded.n_layers
    compared = []
    for source, layer in chosen(result.probability, n_cells):
        seen = prompt.positions(SOURCES[source])
        window = layer_window(layer, KNOCKOUT_WINDOW, n_layers)
        theirs = percell.knocked_out(scene.loaded.model, prompt, seen, window)
        compared.append((result.probability[source, layer], theirs))
    return _differences(compared, result.probability.ravel())


def run_contributions(model: Any, scene: Scene) -> Any:
    """Read what every token adds to the reader, all layers and heads."""
    return ask(model, contribute(scene.open_book, summed=False))


def run_summed(model: Any, scene: Scene) -> Any:
    """Read the norm of the head sum too."""
    return ask(model, contribute(scene.open_book))


def check_contributions(scene: Scene, result: Any, n_cells: int, clock: Clock) -> Check:
    """Compare every layer and head, relative to the largest norm."""
    theirs = percell.contributions(scene.loaded.model, scene.open_book)
    largest = float(theirs.max())
    difference = float(np.abs(result.per_head - theirs).max()) / largest
    span = float(np.ptp(theirs)) / largest
    return Check(difference, span, theirs.size, unit="norm")


def run_screening(model: Any, scene: Scene) -> Array:
    """Estimate every cell of the map by one backward pass."""
    span = scene.open_book.positions("subject")
    corruptions = noise_corruptions(span, scene.noise(len(span)))
    (estimate,) = model.estimate_effects([Screening(scene.open_book, corruptions, "residual")])
    return np.asarray(estimate)


def check_screening(scene: Scene, values: Array, n_cells: int, clock: Clock) -> Check:
    """Compare every cell with a backward pass through whole forwards."""
    span = scene.open_book.positions("subject")
    disturbance = Disturbance(span, noise=scene.noise(len(span)))
    theirs = percell.estimated(scene.loaded.model, scene.open_book, disturbance)
    return Check(float(np.abs(values - theirs).max()), float(np.ptp(theirs)), theirs.size)


def run_paper(model: Any, scene: Scene) -> tuple[TraceResult, TraceResult]:
    """Run the paper's two arms: MLP windows of ten restored at the last subject token."""
    arms = []
    for book, corrupt in (("open", "context+subject"), ("closed", "subject")):
        prompt = scene.open_book if book == "open" else scene.closed_book
        site = prompt.positions("subject")[-1]
        options = {"component": "mlp", "window": PAPER_WINDOW, "positions": (site,)}
        arms.append(_trace(model, scene, book=book, corrupt=corrupt, **options))
    return arms[0], arms[1]


def check_paper(
    scene: Scene, arms: tuple[TraceResult, TraceResult], n_cells: int, clock: Clock
) -> Check:
    """Compare ln p of some windows and of the corrupted runs, in both arms.

    With all of the context disturbed p may be next to nothing; its logarithm still tells.
    """
    n_layers, checks = scene.loaded.n_layers, []
    for result, roles in zip(arms, (("context", "subject"), ("subject",)), strict=True):
        span, site = result.prompt.positions(*roles), result.prompt.positions("subject")[-1]
        cells: list[tuple[Cell | None, float]] = [(None, result.corrupted)]
        for layer, _ in chosen(result.restored[:, [site]], max(2, n_cells // 2)):
            window = layer_window(layer, PAPER_WINDOW, n_layers)
            cells.append((Cell(window, (site,), "mlp"), result.restored[layer, site]))
        noise = Disturbance(span, noise=scene.noise(len(span)))
        values = np.log([*result.restored[:, site], result.corrupted])
        checks.append(_compare(scene, result.prompt, noise, cells, values, clock, unit="ln p"))
    return Check(
        max(check.max_difference for check in checks),
        min(check.span for check in checks),
        sum(check.n_values for check in checks),
        tuple(seconds for check in checks for seconds in check.cell_seconds),
        unit="ln p",
    )


def span_roles() -> tuple[str, ...]:
    """Return the spans that are restored whole."""
    return (*(f"passage_{index}" for index in range(5)), "subject", "attribute", "readers")


def run_spans(model: Any, scene: Scene) -> Array:
    """Replace the whole context; restore passages, subject, attribute and readers as spans."""
    prompt = scene.open_book
    span = prompt.positions("context")
    corruption = replacement(span, scene.replacement(len(span)))
    rows = [PlanRow(prompt), PlanRow(prompt, corruption)]
    rows += [
        PlanRow(prompt, corruption, (Restoration("residual", (layer,), prompt.positions(role)),))
        for role in span_roles()
        for layer in spread(range(model.n_layers), N_DEPTHS)
    ]
    return np.array([reading.probability for reading in model.run(ProbePlan(tuple(rows)))])


def check_spans(scene: Scene, values: Array, n_cells: int, clock: Clock) -> Check:
    """Compare some spans at some depths, and the corrupted run."""
    prompt = scene.open_book
    span = prompt.positions("context")
    disturbance = Disturbance(span, token_ids=scene.replacement(len(span)))
    depths = spread(range(scene.loaded.n_layers), N_DEPTHS)
    restored = values[2:].reshape(len(span_roles()), len(depths))
    cells: list[tuple[Cell | None, float]] = [(None, values[1])]
    for role, depth in chosen(restored, n_cells):
        cell = Cell((depths[depth],), prompt.positions(span_roles()[role]))
        cells.append((cell, restored[role, depth]))
    return _compare(scene, prompt, disturbance, cells, values[1:], clock)


def run_swap(model: Any, scene: Scene) -> SwapResult:
    """Swap the context answer for what the model would say next, and read both answers."""
    return counterfactual_swap(model, scene.case)


def check_swap(scene: Scene, result: SwapResult, n_cells: int, clock: Clock) -> Check:
    """Compare ln p of every substitute and memory answer with forwards of the swapped text."""
    rag = RagModel(scene.loaded.model, scene.loaded.tokenizer)
    text = rag.render(scene.case).text
    compared = []
    for index, substitute in enumerate(result.substitutes):
        swapped = text.replace(result.context_answer, substitute)
        for answer, ours in (
            (substitute, result.substitute_probability[index]),
            (result.memory_answer, result.memory_probability[index]),
        ):
            theirs = percell.plain(scene.loaded.model, _read_as(scene, swapped, answer))
            compared.append((np.log(ours), np.log(theirs)))
    return replace(_differences(compared, [ours for ours, _ in compared]), unit="ln p")


def run_reliance(model: Any, scene: Scene) -> Any:
    """Measure context reliance at default settings."""
    return context_reliance(model, scene.case)


def check_reliance(scene: Scene, result: Any, n_cells: int, clock: Clock) -> Check:
    """Compare the swap that the score is made of."""
    return check_swap(scene, result.swap, n_cells, clock)


def run_setup(model: Any, scene: Scene) -> float:
    """Ask for as little as can be asked: the first word of the question alone."""
    (reading,) = model.run(ProbePlan((PlanRow(_first_token(scene)),)))
    return float(reading.probability)


def check_setup(scene: Scene, value: float, n_cells: int, clock: Clock) -> Check:
    """Compare it with a forward; there is one value, so that the span is its distance from 0."""
    theirs = percell.plain(scene.loaded.model, _first_token(scene))
    return _differences([(value, theirs)], [0.0, value])


def _first_token(scene: Scene) -> TokenizedPrompt:
    """Return a prompt of one token that shares no beginning with the measured one."""
    ids = scene.closed_book.input_ids[:1]
    answer = percell.likeliest(scene.loaded.model, ids)
    return TokenizedPrompt("", ids, ("",), {}, 1, (answer,))


def _clean_run(rag: RagModel, scene: Scene) -> object:
    return rag.run(ProbePlan((PlanRow(scene.open_book),)))


def _settled(rag: RagModel, scene: Scene) -> object:
    # What is made once a model belongs to no prompt: another prompt pays for it.
    ask(rag, contribute(scene.closed_book, summed=False))
    return _clean_run(rag, scene)


ROWS: tuple[Row, ...] = (
    Row(
        "setup",
        "what a model costs once, whatever is asked of it first; part of no other row",
        run_setup,
        check_setup,
    ),
    Row("map", "causal map, all positions x layers, noise samples", run_map, check_map),
    Row(
        "replacement",
        "the same with one deterministic corruption: other tokens",
        run_replacement,
        check_replacement,
    ),
    Row(
        "knockouts",
        "4 sources x every layer's window of 9, after the clean run",
        run_knockouts,
        check_knockouts,
        _clean_run,
    ),
    Row(
        "contributions",
        "all layers and heads, after the clean run",
        run_contributions,
        check_contributions,
        _settled,
    ),
    Row(
        "summed",
        "the same with the norm of the head sum: an output projection of every token",
        run_summed,
        check_contributions,
        _settled,
    ),
    Row(
        "first-contributions",
        "all layers and heads for the first prompt of a model, after its clean run",
        run_contributions,
        check_contributions,
        _clean_run,
    ),
    Row(
        "screening",
        "gradient screening: every cell estimated, none computed, after the clean run",
        run_screening,
        check_screening,
        _clean_run,
    ),
    Row(
        "paper",
        "context and subject corrupted, last subject token restored, MLP windows of 10, both arms",
        run_paper,
        check_paper,
    ),
    Row(
        "spans",
        "context replaced, 5 passages, subject, attribute, readers restored at 6 layers",
        run_spans,
        check_spans,
    ),
    Row("reliance", "context_reliance at default settings", run_reliance, check_reliance),
    Row("swap", "counterfactual_swap at default settings", run_swap, check_swap),
)
EARLY = Row("early", "causal map, the subject at tokens 4 to 6", run_map, check_map)


def _map_cells(scene: Scene, restored: Array, n_cells: int) -> list[tuple[Cell | None, float]]:
    """Choose cells from one position before the subject to the end."""
    first = scene.open_book.positions("subject")[0] - 1
    found = chosen(restored[:, first:], n_cells)
    places = [(layer, first + offset) for layer, offset in found]
    return [(Cell((layer,), (at,)), restored[layer, at]) for layer, at in places]


def chosen(values: Array, n_cells: int) -> list[tuple[int, int]]:
    """Choose where to compare: the largest value and the smallest, then others evenly between.

    With the extremes among them, the compared values span all that the table says they span.

    Example:
        >>> chosen(np.array([[0.1, 0.9, 0.2], [0.3, 0.0, 0.4]]), 3)
        [(0, 1), (1, 1), (1, 0)]
    """
    inner = np.linspace(0, values.size, max(0, n_cells - 2) + 2)[1:-1]
    flat = [int(values.argmax()), int(values.argmin()), *(int(index) for index in inner)]
    rows, columns = np.unravel_index(list(dict.fromkeys(flat)), values.shape)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _compare(
    scene: Scene,
    prompt: TokenizedPrompt,
    disturbance: Disturbance,
    cells: Sequence[tuple[Cell | None, float]],
    values: Sequence[float] | Array,
    clock: Clock,
    *,
    unit: Unit = "p",
) -> Check:
    compared, seconds = [], []
    for cell, ours in cells:
        taken, theirs = clock.time(
            lambda cell=cell: percell.disturbed(scene.loaded.model, prompt, disturbance, cell)
        )
        pair = (float(ours), float(theirs.mean()))
        compared.append(pair if unit == "p" else (np.log(pair[0]), np.log(pair[1])))
        seconds += [taken] if cell is not None else []
    check = _differences(compared, values)
    return replace(check, cell_seconds=tuple(seconds), unit=unit)


def _differences(compared: Sequence[tuple[float, float]], values: Sequence[float] | Array) -> Check:
    largest = max(abs(float(ours) - float(theirs)) for ours, theirs in compared)
    return Check(largest, float(np.ptp(values)), len(compared))


def _read_as(scene: Scene, text: str, answer: str) -> TokenizedPrompt:
    """Tokenize a text and an answer by hand: in this vocabulary every word is a token."""
    tokenizer = scene.loaded.tokenizer
    start, said = (tuple(tokenizer(part)["input_ids"]) for part in (text, answer))
    whole = (*start, *said[:-1])
    return TokenizedPrompt(text, whole, tuple(map(str, whole)), {}, len(start), said)
