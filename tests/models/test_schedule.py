"""What a row's work is, against a toy model that tells any two different states apart."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_ragshortcut.core.plans import COMPONENTS, Knockout, Restoration
from pytest_ragshortcut.models.incremental.schedule import (
    NOTHING,
    LayerWork,
    Schedule,
    read_alone,
    schedule,
)

State = int
Inputs = list[State]


@dataclass
class Toy:
    """A causal model whose every state is a number for all that it was computed from.

    Two states are equal only if the same things led to them, so that nothing cancels by chance.
    """

    known: dict[Hashable, State] = field(default_factory=dict)

    def state(self, *read: Hashable) -> State:
        return self.known.setdefault(read, len(self.known))

    def attention(self, layer: int, query: State, seen: tuple[tuple[int, State], ...]) -> State:
        return self.state("attention", layer, query, seen)

    def mlp(self, layer: int, state: State, attention: State) -> State:
        return self.state("mlp", layer, state, attention)

    def output(self, state: State, attention: State, mlp: State) -> State:
        return self.state("output", state, attention, mlp)


@dataclass
class Run:
    """All states of a run, and what its sub-layers computed, by layer and position."""

    inputs: list[Inputs] = field(default_factory=list)
    """(n_layers + 1, n_tokens): what each layer reads, and what the head reads."""
    outputs: list[Inputs] = field(default_factory=list)
    """(n_layers, n_tokens) before a residual state is put back."""
    components: dict[tuple[str, int, int], State] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A row over a base that differs from the clean run in its embeddings at `corrupted`."""

    n_tokens: int
    n_layers: int
    corrupted: frozenset[int]
    restorations: tuple[Restoration, ...]
    knockouts: tuple[Knockout, ...]
    readers: tuple[int, ...]

    @property
    def last(self) -> int:
        return max(self.readers)

    @property
    def first_changed(self) -> int:
        return min((*self.corrupted, self.last + 1))

    def schedule(self) -> Schedule:
        return schedule(
            restorations=self.restorations,
            knockouts=self.knockouts,
            readers=self.readers,
            first_changed=self.first_changed,
            n_layers=self.n_layers,
        )

    def runs(self, toy: Toy) -> tuple[Run, Run, Run]:
        """Run everything everywhere: the clean run, the base, and the row itself."""
        clean = whole_run(toy, self, frozenset(), clean=None)
        base = whole_run(toy, self, self.corrupted, clean=None)
        return clean, base, whole_run(toy, self, self.corrupted, clean=clean)


def whole_run(toy: Toy, case: Case, corrupted: frozenset[int], clean: Run | None) -> Run:
    """Compute every state; intervene as the case says where there is a clean run to restore."""
    run = Run([[toy.state("embedding", p, p in corrupted) for p in range(case.n_tokens)]])
    for layer in range(case.n_layers):
        states, outputs = run.inputs[-1], []
        for p in range(case.n_tokens):
            hidden = cut_sources(case, layer, p) if clean else set()
            seen = tuple((s, states[s]) for s in range(p + 1) if s not in hidden)
            attention = toy.attention(layer, states[p], seen)
            attention = restored(case, clean, "attention", layer, p, attention)
            mlp = restored(case, clean, "mlp", layer, p, toy.mlp(layer, states[p], attention))
            run.components["attention", layer, p], run.components["mlp", layer, p] = attention, mlp
            outputs.append(toy.output(states[p], attention, mlp))
        run.outputs.append(outputs)
        put_back = residual_sites(case, layer) if clean else set()
        run.inputs.append(
            [
                clean.inputs[layer + 1][p] if clean and p in put_back else outputs[p]
                for p in range(case.n_tokens)
            ]
        )
    return run


def cut_sources(case: Case, layer: int, query: int) -> set[int]:
    cuts = [k for k in case.knockouts if layer in k.layers and query in k.targets]
    return {source for cut in cuts for source in cut.sources if source != query}


def restored(
    case: Case, clean: Run | None, component: str, layer: int, position: int, computed: State
) -> State:
    acts = clean and any(
        r.component == component and layer in r.layers and position in r.positions
        for r in case.restorations
    )
    return clean.components[component, layer, position] if clean and acts else computed


def residual_sites(case: Case, layer: int) -> set[int]:
    return {
        p
        for r in case.restorations
        if r.component == "residual" and layer in r.layers
        for p in r.positions
    }


def scheduled_run(
    toy: Toy, case: Case, planned: Schedule, clean: Run, base: Run
) -> tuple[list[dict[int, State]], dict[int, State]]:
    """Compute what the schedule says and nothing else.

    Returns:
        For each layer what it would read at each position up to the last reader, and what the
        head would read at each reader.
    """
    found: list[dict[int, State]] = []
    computed: dict[int, State] = {}
    for layer, work in enumerate(planned.layers):
        put_back = set(planned.restored[layer - 1].tolist()) if layer else set()
        states = {}
        for p in range(case.last + 1):
            if p in put_back:
                states[p] = clean.inputs[layer][p]
            elif p in work.changed:
                states[p] = computed[p]
            else:
                states[p] = (clean if p < work.clean_until else base).inputs[layer][p]
        found.append(states)
        # A key that is not the row's own is a run's, whatever the row's state there is.
        keys = {
            p: states[p]
            if p in work.own
            else (clean if p < work.clean_until else base).inputs[layer][p]
            for p in states
        }
        computed = {}
        for p in work.queries.tolist():
            edges = [k for k in work.cuts if p in k.targets]
            hidden = {source for cut in edges for source in cut.sources if source != p}
            seen = tuple((s, keys[s]) for s in range(p + 1) if s not in hidden)
            attention = toy.attention(layer, states[p], seen)
            attention = restored(case, clean, "attention", layer, p, attention)
            mlp = restored(case, clean, "mlp", layer, p, toy.mlp(layer, states[p], attention))
            computed[p] = toy.output(states[p], attention, mlp)
    final = {}
    for reader in case.readers:
        if reader in planned.changed:
            final[reader] = computed[reader]
        else:
            final[reader] = (clean if reader in planned.clean else base).inputs[-1][reader]
    return found, final


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n_tokens, n_layers = draw(st.integers(1, 7)), draw(st.integers(1, 4))
    positions = st.sets(st.integers(0, n_tokens - 1), min_size=1).map(sorted).map(tuple)
    layers = st.sets(st.integers(0, n_layers - 1), min_size=1).map(sorted).map(tuple)
    restorations = st.builds(Restoration, st.sampled_from(COMPONENTS), layers, positions)
    knockouts = st.builds(Knockout, positions, positions, layers)
    readers = draw(positions)
    return Case(
        n_tokens,
        n_layers,
        # Nothing behind the last reader is ever run.
        frozenset(p for p in draw(st.just(()) | positions) if p <= max(readers)),
        tuple(draw(st.lists(restorations, max_size=3))),
        tuple(draw(st.lists(knockouts, max_size=2))),
        readers,
    )


# A cut before the corruption, and the clean state back at the corruption's first position.
CUT_BEFORE = Case(
    n_tokens=4,
    n_layers=3,
    corrupted=frozenset({2}),
    restorations=(Restoration("residual", (0,), (2,)),),
    knockouts=(Knockout((0,), (1,), (0,)),),
    readers=(3,),
)


@settings(max_examples=250)
@example(case=CUT_BEFORE)
@given(case=cases())
def test_what_the_schedule_leaves_out_is_the_clean_runs_or_the_bases(case: Case) -> None:
    toy = Toy()
    clean, base, row = case.runs(toy)
    planned = case.schedule()
    found, final = scheduled_run(toy, case, planned, clean, base)
    for layer, states in enumerate(found):
        assert states == {p: row.inputs[layer][p] for p in states}, layer
    assert final == {reader: row.inputs[-1][reader] for reader in case.readers}


@settings(max_examples=250)
@given(case=cases())
def test_every_state_that_differs_from_both_runs_is_computed(case: Case) -> None:
    clean, base, row = case.runs(Toy())
    for layer, work in enumerate(case.schedule().layers):
        needed = set(case.readers) if layer == case.n_layers - 1 else set(range(case.last + 1))
        differing = {
            p
            for p in needed
            if row.outputs[layer][p] not in (clean.outputs[layer][p], base.outputs[layer][p])
        }
        # A state that is put back at once counts too: it is what the layer computed.
        assert differing <= set(work.queries.tolist()), layer


@settings(max_examples=200)
@given(case=cases(), cuts=st.booleans())
def test_nothing_is_computed_that_the_base_has(case: Case, cuts: bool) -> None:
    # A restored sub-layer can undo a cut, which positions alone do not show: one or the other.
    sub_layers = tuple(r for r in case.restorations if r.component != "residual" and not cuts)
    residual = tuple(r for r in case.restorations if r.component == "residual")
    knockouts = case.knockouts if cuts else ()
    case = replace(case, restorations=residual + sub_layers, knockouts=knockouts)
    _, base, row = case.runs(Toy())
    for layer, work in enumerate(case.schedule().layers):
        same = {p for p in work.queries.tolist() if row.outputs[layer][p] == base.outputs[layer][p]}
        assert not same, layer


@settings(max_examples=200)
@given(case=cases())
def test_work_stays_above_and_behind_the_first_change_and_ends_at_the_readers(case: Case) -> None:
    planned = case.schedule()
    # A state put back behind a layer is first read by the next one.
    begins = [min(r.layers) + (r.component == "residual") for r in case.restorations]
    begins += [min(k.layers) for k in case.knockouts]
    sites = [p for r in case.restorations for p in r.positions]
    sites += [p for k in case.knockouts for p in k.targets]
    assert planned.start >= min(begins, default=case.n_layers)
    assert planned.counts == [work.queries.size for work in planned.layers]
    for work in planned.layers:
        queries = work.queries.tolist()
        assert queries == sorted(set(queries))
        assert set(work.changed.tolist()) <= set(range(min(sites, default=0), case.last + 1))
        assert all(min(sites) <= p <= case.last for p in queries)
    for kept, work in zip(planned.restored, planned.layers[1:], strict=False):
        assert set(kept.tolist()) <= set(work.changed.tolist())
    assert set(planned.layers[-1].queries.tolist()) <= set(case.readers)
    assert set(planned.changed.tolist()) | planned.clean <= set(case.readers)
    assert not set(planned.changed.tolist()) & planned.clean


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Case, Case]:
    """Draw two rows over one base; the second has some of the first's interventions, or moved."""
    case = draw(cases())
    layers = st.sets(st.integers(0, case.n_layers - 1), min_size=1).map(sorted).map(tuple)
    readers = st.sets(st.integers(0, case.last)).map(lambda more: tuple(sorted({*more, case.last})))
    restorations = [
        replace(r, layers=draw(st.just(r.layers) | layers), component=draw(component))
        for r in case.restorations
        for component in [st.just(r.component) | st.sampled_from(COMPONENTS)]
        if draw(st.integers(0, 3))
    ]
    knockouts = [
        replace(k, layers=draw(st.just(k.layers) | layers))
        for k in case.knockouts
        if draw(st.integers(0, 3))
    ]
    second = replace(
        case,
        restorations=tuple(restorations),
        knockouts=tuple(knockouts),
        readers=draw(st.just(case.readers) | readers),
    )
    return case, second


@settings(max_examples=200)
@given(pair=pairs())
def test_rows_of_one_base_and_history_have_computed_the_same(pair: tuple[Case, Case]) -> None:
    toy = Toy()
    one, two = (case.schedule() for case in pair)
    for layer, histories in enumerate(zip(one.histories, two.histories, strict=True)):
        if histories[0] == histories[1]:
            queries = one.layers[layer].queries.tolist()
            assert queries == two.layers[layer].queries.tolist(), layer
            outputs = [case.runs(toy)[2].outputs[layer] for case in pair]
            assert [outputs[0][p] for p in queries] == [outputs[1][p] for p in queries], layer


@settings(max_examples=100)
@given(case=cases(), stop=st.integers(1, 4))
def test_rows_share_their_history_up_to_the_layer_where_they_part(case: Case, stop: int) -> None:
    def begun(acts: Restoration | Knockout) -> tuple[int, ...]:
        return tuple(layer for layer in acts.layers if layer < stop)

    beginning = replace(
        case,
        restorations=tuple(replace(r, layers=begun(r)) for r in case.restorations if begun(r)),
        knockouts=tuple(replace(k, layers=begun(k)) for k in case.knockouts if begun(k)),
    )
    assert case.schedule().histories[:stop] == beginning.schedule().histories[:stop]


def test_a_corruption_restored_at_every_position_behind_it_leaves_nothing_to_do() -> None:
    for first, layer in [(0, 0), (2, 0), (2, 1), (2, 3), (6, 2)]:
        restoration = Restoration("residual", (layer,), tuple(range(first, 7)))
        planned = plan(restorations=(restoration,), first_changed=first)
        assert planned.counts == [0, 0, 0, 0]
        assert planned.clean == {5, 6}


def test_a_restored_beginning_moves_the_clean_run_forward() -> None:
    planned = plan(restorations=(Restoration("residual", (1,), (2, 3)),), first_changed=2)
    assert [work.clean_until for work in planned.layers] == [2, 2, 4, 4]
    assert queries(planned) == [[], [], [4, 5, 6], [5, 6]]


def test_a_state_restored_in_the_middle_moves_all_that_is_behind_it() -> None:
    planned = plan(restorations=(Restoration("residual", (0,), (4,)),), first_changed=2)
    assert queries(planned) == [[], [4, 5, 6], [4, 5, 6], [5, 6]]
    assert [kept.tolist() for kept in planned.restored] == [[4], [], [], []]


def test_a_cut_into_the_last_position_is_one_position_a_layer() -> None:
    planned = plan(knockouts=(Knockout((0, 1), (6,), (1,)),), first_changed=7)
    assert queries(planned) == [[], [6], [6], [6]]
    assert planned.changed.tolist() == [6]
    assert planned.clean == {5}


def test_a_cut_of_sources_that_no_target_sees_is_no_work() -> None:
    planned = plan(knockouts=(Knockout((5, 6), (3, 5), (0, 1, 2, 3)),), first_changed=2)
    assert planned.counts == [0, 0, 0, 0]


def test_a_restoration_before_the_corruption_or_behind_the_readers_is_no_work() -> None:
    before = tuple(Restoration(component, (0, 1), (0, 1)) for component in COMPONENTS)
    behind = tuple(Restoration(component, (0, 1), (7, 8)) for component in COMPONENTS)
    assert plan(restorations=before + behind, first_changed=2).counts == [0, 0, 0, 0]


def test_a_run_read_alone_is_its_readers_in_the_last_layer() -> None:
    planned = read_alone((6, 5, 6), 4)
    assert queries(planned) == [[], [], [], [5, 6]]
    assert (planned.start, planned.counts) == (3, [0, 0, 0, 2])
    assert planned.changed.tolist() == [5, 6]
    assert not planned.clean
    assert all(kept is NOTHING for kept in planned.restored)


def test_a_schedule_without_work_starts_behind_the_last_layer() -> None:
    idle = plan(first_changed=2)
    assert idle.start == len(idle.layers) == 4
    assert isinstance(idle.layers[0], LayerWork)


def plan(
    *,
    restorations: tuple[Restoration, ...] = (),
    knockouts: tuple[Knockout, ...] = (),
    first_changed: int,
) -> Schedule:
    return schedule(
        restorations=restorations,
        knockouts=knockouts,
        readers=(5, 6),
        first_changed=first_changed,
        n_layers=4,
    )


Acts = Restoration | Knockout


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Knockout((0,), (4,), (0,)), Knockout((0,), (4,), (1,))),
        (Knockout((0,), (4,), (0,)), Knockout((1,), (4,), (0,))),
        (Knockout((0,), (4,), (0,)), Knockout((0,), (3,), (0,))),
        (Restoration("residual", (0,), (4,)), Restoration("residual", (1,), (4,))),
        (Restoration("mlp", (0,), (4,)), Restoration("mlp", (1,), (4,))),
        (Restoration("mlp", (0,), (4,)), Restoration("mlp", (0,), (3,))),
        (Restoration("mlp", (0,), (4,)), Restoration("attention", (0,), (4,))),
    ],
)
def test_rows_that_differ_in_one_thing_share_no_history_behind_it(one: Acts, other: Acts) -> None:
    histories = [
        plan(restorations=(acts,), first_changed=2)
        if isinstance(acts, Restoration)
        else plan(knockouts=(acts,), first_changed=7)
        for acts in (one, other)
    ]
    assert histories[0].histories[2] != histories[1].histories[2]


def test_rows_with_other_readers_share_no_history() -> None:
    cut = Knockout((0,), (4,), (0,))
    found = [
        schedule(
            restorations=(), knockouts=(cut,), readers=readers, first_changed=7, n_layers=2
        ).histories[-1]
        for readers in [(6,), (5, 6)]
    ]
    assert found[0] != found[1]


def queries(planned: Schedule) -> list[list[int]]:
    return [work.queries.tolist() for work in planned.layers]
