"""Changes over a version answer as a version would that is made of what they leave."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from example_vectors import clustered, numbered
from hypothesis import given, settings
from hypothesis import strategies as st
from itemspace import Completeness, Ids, Metric, VectorSet, create_retriever
from itemspace.catalog.changes import Change
from itemspace.core.errors import (
    DimensionMismatch,
    InvalidId,
    InvalidOption,
    ReadOnlyError,
    UnknownIds,
)
from itemspace.core.ids import IdKind
from itemspace.core.neighbors import NeighborList, Neighbors
from itemspace.core.retriever import IdFilter, Retriever
from itemspace.space import overlay
from itemspace.space.overlay import Changes, OverlaidRetriever

DIM, MOST = 3, 12
NAMES: dict[IdKind, list[Any]] = {
    "int": [7 * at - 20 for at in range(MOST)],
    "str": [f"é{at}" if at % 2 else f"p{at}" for at in range(MOST)],
}
#: More than are left out one by one.
STRANGERS: dict[IdKind, list[Any]] = {
    "int": list(range(1000, 2100)),
    "str": [f"stranger {at}" for at in range(1100)],
}


@dataclass(frozen=True)
class World:
    """A version, and logs of changes, one after the other."""

    version: VectorSet
    logs: list[list[Change]]

    @property
    def kind(self) -> IdKind:
        return self.version.ids.kind

    @property
    def below(self) -> Retriever:
        return create_retriever("exact:", self.version)

    def states(self) -> Iterator[tuple[Changes, VectorSet]]:
        """The changes up to each revision, and all there is then."""
        items = dict(zip(self.version.ids, self.version.matrix, strict=True))
        changes = Changes.none(0, self.kind, DIM)
        yield changes, self.version
        for revision, log in enumerate(self.logs, 1):
            changes = changes.then(log, revision)
            apply(log, items)
            matrix = np.array(list(items.values()), np.float32).reshape(-1, DIM)
            yield changes, VectorSet(Ids(list(items), self.kind), matrix, self.version.metric)


def apply(log: list[Change], items: dict[Any, Any]) -> None:
    for change in log:
        if change.vectors is None:
            for name in change.ids:
                items.pop(name, None)
        else:
            items |= dict(zip(change.ids, change.vectors, strict=True))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    kind: IdKind = draw(st.sampled_from(["int", "str"]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    some = st.lists(st.sampled_from(NAMES[kind]), unique=True)

    def vectors(count: int) -> np.ndarray:
        """Small whole numbers, none of them 0, so that scores are often equal."""
        signs = rng.choice([-1, 1], (count, DIM))
        return (signs * rng.integers(1, 3, (count, DIM))).astype(np.float32)

    def change() -> Change:
        ids = Ids(draw(some), kind)
        return Change(0, 1, ids, vectors(len(ids)) if draw(st.booleans()) else None)

    ids = Ids(draw(some), kind)
    logs = [
        [change() for _ in range(draw(st.integers(0, 3)))] for _ in range(draw(st.integers(1, 3)))
    ]
    return World(VectorSet(ids, vectors(len(ids)), draw(st.sampled_from(list(Metric)))), logs)


def pairs(found: Neighbors) -> list[tuple[list[tuple[Any, float]], Completeness]]:
    return [(list(one), one.completeness) for one in found]


@given(worlds())
@settings(max_examples=100)
def test_changes_are_a_dict(world: World) -> None:
    kept: list[tuple[Changes, list[Any]]] = []
    told: dict[Any, Any] = {}
    for (changes, _), log in zip(world.states(), [[], *world.logs], strict=True):
        for change in log:
            lines = [None] * len(change.ids) if change.vectors is None else change.vectors
            told |= dict(zip(change.ids, lines, strict=True))
        assert sorted(changes.ids) == sorted(told)
        assert len(changes) == len(told)
        assert set(changes.deleted) == {name for name, vector in told.items() if vector is None}
        for name, alive, vector in zip(changes.ids, changes.alive, changes.vectors, strict=True):
            expected = told[name]
            assert alive == (expected is not None)
            assert vector.tolist() == ([0] * DIM if expected is None else expected.tolist())
        kept.append(
            (changes, [changes.ids.to_list(), changes.alive.copy(), changes.vectors.copy()])
        )
    for at, (changes, (ids, alive, vectors)) in enumerate(kept):
        assert changes.revision == at
        assert changes.ids.to_list() == ids
        assert np.array_equal(changes.alive, alive)
        assert np.array_equal(changes.vectors, vectors)


@given(worlds(), st.data())
@settings(max_examples=150)
def test_a_search_is_that_of_the_final_state(world: World, data: st.DataObject) -> None:
    kind, below = world.kind, world.below
    some = st.none() | st.lists(st.sampled_from(NAMES[kind]))
    queries = np.random.default_rng(data.draw(st.integers(0, 9))).standard_normal((3, DIM))
    k = data.draw(st.sampled_from([1, 2, 5, MOST, 5 * MOST]))
    options = {"allowed": data.draw(some), "excluded": data.draw(some)}
    if options["excluded"] is not None and data.draw(st.booleans()):
        options["excluded"] = options["excluded"] + STRANGERS[kind]
    few = data.draw(st.sampled_from([0, 2, 1000]))
    spare, spread = data.draw(st.sampled_from([(0, 0), (1, 0), (10, 3)]))
    for name, ids in options.items():
        if ids is not None and data.draw(st.booleans()):
            options[name] = below.filter(ids)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_FEW", few), ("_SPARE", spare), ("_SPREAD", spread)):
            patch.setattr(overlay, name, value)
        for changes, final in world.states():
            overlaid, exact = OverlaidRetriever(below, changes), create_retriever("exact:", final)
            found = pairs(overlaid.search(queries, k, **options))
            assert found == pairs(exact.search(queries, k, **options))
            assert found[1:2] == pairs(overlaid.search(queries[1], k, **options))


@given(worlds(), st.data())
@settings(max_examples=60)
def test_a_filter_serves_every_revision(world: World, data: st.DataObject) -> None:
    below = world.below
    some = st.lists(st.sampled_from(NAMES[world.kind]))
    allowed, excluded = below.filter(data.draw(some)), below.filter(data.draw(some))
    query = np.array([1, 2, -3], np.float32)
    states = list(world.states())
    for changes, final in [*states, *reversed(states)]:
        exact = create_retriever("exact:", final)
        for retriever in (OverlaidRetriever(below, changes), exact):
            for options in ({"allowed": allowed}, {"excluded": excluded}):
                fresh = {name: ids.ids for name, ids in options.items()}
                found = pairs(retriever.search(query, 4, **options))
                assert found == pairs(exact.search(query, 4, **fresh))
        found = pairs(below.search(query, 4, allowed=allowed))
        assert found == pairs(below.search(query, 4, allowed=allowed.ids))


@given(worlds(), st.data())
@settings(max_examples=80)
def test_what_is_stored_is_the_final_state(world: World, data: st.DataObject) -> None:
    below, names = world.below, NAMES[world.kind]
    wanted = data.draw(st.lists(st.sampled_from(names)))
    size = data.draw(st.integers(1, MOST))
    for changes, final in world.states():
        overlaid = OverlaidRetriever(below, changes)
        facts = overlaid.dim, overlaid.metric, overlaid.id_kind, len(overlaid)
        assert facts == (DIM, final.metric, world.kind, len(final))
        known = set(final.ids)
        assert [name in overlaid for name in names] == [name in known for name in names]
        missing = [name for name in wanted if name not in known]
        if missing:
            with pytest.raises(UnknownIds) as caught:
                overlaid.vectors(wanted)
            assert caught.value.ids == missing
        there = Ids([name for name in wanted if name in known], world.kind)
        assert np.array_equal(overlaid.vectors(there), final.vectors(there))
        batches = list(overlaid.scan(size))
        assert all(0 < len(ids) == len(matrix) <= size for ids, matrix in batches)
        seen = [name for ids, _ in batches for name in ids]
        assert sorted(seen) == sorted(known)
        for ids, matrix in batches:
            assert np.array_equal(matrix, final.vectors(ids))


@pytest.fixture(params=["int", "str"])
def overlaid(request: pytest.FixtureRequest) -> OverlaidRetriever:
    """Of five items the first was deleted, the second replaced, and a sixth added."""
    names = NAMES[request.param]
    matrix = np.eye(5, DIM, dtype=np.float32) + 1
    below = create_retriever("exact:", VectorSet(Ids(names[:5]), matrix))
    log = [
        Change(1, 1, Ids(names[:1]), None),
        Change(2, 1, Ids([names[1], names[5]]), np.array([[1, 2, 3], [3, 2, 1]], np.float32)),
    ]
    return OverlaidRetriever(below, Changes.none(0, request.param, DIM).then(log, 2))


def test_it_is_a_retriever_that_is_never_written(overlaid: OverlaidRetriever) -> None:
    assert isinstance(overlaid, Retriever)
    names = NAMES[overlaid.id_kind]
    with pytest.raises(ReadOnlyError, match=r"Space\.upsert"):
        overlaid.upsert(names[:1], np.ones((1, DIM)))
    with pytest.raises(ReadOnlyError, match=r"Space\.delete"):
        overlaid.delete(names[:1])
    with overlaid as same:
        same.flush()
    overlaid.close()
    assert len(overlaid) == 5
    assert len(overlaid.search(np.ones(DIM), 9)[0]) == 5
    assert "3 changes" in repr(overlaid)


def test_what_is_no_id_is_not_there(overlaid: OverlaidRetriever) -> None:
    names: list[Any] = NAMES["str" if overlaid.id_kind == "int" else "int"]
    nothing = OverlaidRetriever(overlaid._below, Changes.none(0, overlaid.id_kind, DIM))
    for retriever in (overlaid, nothing, overlaid._below):
        for odd in (names[0], None, 1.5, True, "x" * 300):
            assert odd not in retriever


def test_wrong_calls_are_refused(overlaid: OverlaidRetriever) -> None:
    query, strange = np.ones(DIM), NAMES["str" if overlaid.id_kind == "int" else "int"][:1]
    for k in (0, -1, 1.5, True):
        with pytest.raises(InvalidOption):
            overlaid.search(query, k)  # type: ignore[arg-type]
    with pytest.raises(DimensionMismatch):
        overlaid.search(np.ones(DIM + 1), 3)
    for wrong in (strange, IdFilter(strange), "p0"):
        for name in ("allowed", "excluded"):
            with pytest.raises(InvalidId):
                overlaid.search(query, 3, **{name: wrong})
    with pytest.raises(InvalidId):
        overlaid.vectors(strange)
    with pytest.raises(InvalidOption):
        list(overlaid.scan(0))
    assert len(overlaid.search(np.empty((0, DIM)), 3)) == 0


def test_a_filter_of_nothing_has_no_kind(overlaid: OverlaidRetriever) -> None:
    query = np.ones(DIM)
    for nothing in ([], IdFilter([]), Ids([], "int"), Ids([], "str")):
        assert len(overlaid.search(query, 3, allowed=nothing)[0]) == 0
        assert len(overlaid.search(query, 9, excluded=nothing)[0]) == 5


@pytest.fixture(scope="module")
def approximate() -> tuple[Retriever, Changes]:
    """An index of 3,000 items; a third was deleted, a third replaced, 500 were added."""
    matrix = clustered(3500)
    below = create_retriever("lsh:?scan_limit=0", numbered(matrix[:3000]))
    replaced = Ids([*range(1000, 2000), *range(3000, 3500)])
    log = [
        Change(1, 1, Ids(range(1000)), None),
        Change(2, 1, replaced, np.concatenate([-matrix[1000:2000], matrix[3000:]])),
    ]
    return below, Changes.none(0, "int", matrix.shape[1]).then(log, 2)


@pytest.mark.parametrize(("few", "spare"), [(0, 0), (1000, 0), (1000, 10)])
def test_an_index_gives_k_where_k_are(
    approximate: tuple[Retriever, Changes],
    monkeypatch: pytest.MonkeyPatch,
    few: int,
    spare: int,
) -> None:
    monkeypatch.setattr(overlay, "_FEW", few)
    monkeypatch.setattr(overlay, "_SPARE", spare)
    overlaid = OverlaidRetriever(*approximate)
    assert len(overlaid) == 2500
    queries = clustered(20)
    near = [one.ids.tolist() for one in overlaid.search(queries, 10)]
    excluded = sorted({name for ids in near for name in ids})
    allowed = list(range(900, 1050))
    for k in (1, 10, 700, 5000):
        for options, most in (
            ({}, 2500),
            ({"excluded": excluded}, 2500 - len(excluded)),
            ({"excluded": list(range(2000))}, 1500),
            ({"allowed": allowed}, 50),
            ({"allowed": allowed, "excluded": excluded}, len({*range(1000, 1050)} - {*excluded})),
        ):
            for found in overlaid.search(queries, k, **options):  # type: ignore[arg-type]
                check(found, min(k, most), k)
                assert not set(found.ids.tolist()) & set(options.get("excluded", ()))


def check(found: NeighborList, expected: int, k: int) -> None:
    """As many, each once, best first, and none that was deleted."""
    assert len(found) == expected == len(np.unique(found.ids))
    assert found.completeness is (Completeness.FULL if expected == k else Completeness.EXHAUSTED)
    assert (np.diff(found.scores) <= 0).all()
    assert found.ids.min() >= 1000


def test_an_index_finds_what_is_new(approximate: tuple[Retriever, Changes]) -> None:
    overlaid = OverlaidRetriever(*approximate)
    for name in (1000, 1500, 3000, 3499):
        found = overlaid.search(overlaid.vectors([name])[0], 1)[0]
        assert found.ids.tolist() == [name]
        assert found.scores[0] == pytest.approx(1)


def test_an_answer_that_stopped_early_is_asked_for_again() -> None:
    """By a backend that gives fewer than it has where it is asked for many."""
    below = create_retriever("exact:", numbered(clustered(300)))

    class Lazy:
        def __getattr__(self, name: str) -> Any:
            return getattr(below, name)

        def __len__(self) -> int:
            return len(below)

        def search(self, queries: Any, k: int, **filters: Any) -> Neighbors:
            found = below.search(queries, min(k, 15), **filters)
            if k <= 15:
                return found
            return Neighbors([one.take(slice(15), Completeness.STOPPED) for one in found])

    queries = clustered(5)
    near = sorted({name for one in below.search(queries, 10) for name in one.ids.tolist()})
    changes = Changes.none(0, "int", below.dim).then([Change(1, 1, Ids(near), None)], 1)
    lazy: Any = Lazy()
    for found in OverlaidRetriever(lazy, changes).search(queries, 10):
        assert len(found) == 10
        assert found.completeness is Completeness.FULL
        assert not {*found.ids.tolist()} & {*near}
