import gzip
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace import Ids, ItemGraph, Sequences
from itemspace.core.errors import (
    BadRow,
    CorruptData,
    DuplicateIds,
    EmptyInput,
    InputError,
    InvalidGraph,
    InvalidId,
    InvalidOption,
    MissingColumn,
    MissingData,
    UnknownIds,
)
from scipy.sparse import csc_array, csr_array, csr_matrix

SESSIONS = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.integers(0, 5), max_size=8)), min_size=1, max_size=12
)


def dense(graph: ItemGraph) -> np.ndarray:
    matrix: np.ndarray = graph.to_scipy().toarray()
    return matrix


def links(graph: ItemGraph) -> dict[tuple[Any, Any], float]:
    """Edge → weight, by ids."""
    names = graph.vocabulary.to_list()
    edges = graph.to_scipy().tocoo()
    return {
        (names[one], names[other]): float(weight)
        for one, other, weight in zip(*edges.coords, edges.data, strict=True)
    }


@given(
    SESSIONS,
    st.booleans(),
    st.sampled_from([1, 2, None]),
    st.sampled_from([None, 1.0, 2.0]),
    st.sampled_from([0.0, 2.0]),
)
def test_sequences_become_the_graph_that_plain_python_counts(
    sessions: list[tuple[int, list[int]]],
    directed: bool,
    window: int | None,
    user_cap: float | None,
    min_weight: float,
) -> None:
    by_user: Counter[tuple[int, int, int]] = Counter()
    for user, items in sessions:
        for at, item in enumerate(items):
            for other in items[at + 1 : None if window is None else at + 1 + window]:
                if item != other:
                    by_user[user, item, other] += 1
                    if not directed:
                        by_user[user, other, item] += 1
    expected: Counter[tuple[int, int]] = Counter()
    for (_, item, other), count in by_user.items():
        expected[item, other] += count if user_cap is None else min(count, int(user_cap))
    made = Sequences.from_lists([items for _, items in sessions])
    users = np.array([user for user, _ in sessions], dtype=np.int32)
    graph = ItemGraph.from_sequences(
        Sequences(made.vocabulary, made.items, made.offsets, users=users),
        directed=directed,
        window=window,
        user_cap=user_cap,
        min_weight=min_weight,
    )
    assert links(graph) == {edge: n for edge, n in expected.items() if n >= min_weight}
    assert len(graph) == len(made.vocabulary)
    ItemGraph(graph.vocabulary, graph.indptr, graph.indices, graph.weights, directed)


def test_time_decay_and_distance() -> None:
    made = Sequences.from_lists([["a", "b", "c"]])
    times = np.array([0.0, 10.0, 20.0])
    sequences = Sequences(made.vocabulary, made.items, made.offsets, times)
    graph = ItemGraph.from_sequences(sequences, half_life=10, window=2, distance="harmonic")
    assert links(graph) == {("a", "b"): 0.375, ("b", "c"): 0.75, ("a", "c"): 0.3125}
    bad: dict[str, float]
    for bad in ({"window": 0}, {"half_life": 0}, {"user_cap": 0}, {"min_weight": -1}):
        with pytest.raises(InvalidOption) as caught:
            ItemGraph.from_sequences(sequences, **bad)  # type: ignore[arg-type]
        assert caught.value.option in bad


def test_without_users_each_sequence_is_anothers() -> None:
    sequences = Sequences.from_lists([["a", "b", "a", "b"], ["a", "b"]])
    graph = ItemGraph.from_sequences(sequences, user_cap=1)
    assert links(graph) == {("a", "b"): 2, ("b", "a"): 1}


def test_edges_that_repeat_weigh_nothing_or_lead_home() -> None:
    graph = ItemGraph.from_edges(
        ["a", "b", "a", "c", "c"], ["b", "a", "b", "c", "d"], [1, 2, 0.5, 4, 0], directed=True
    )
    assert links(graph) == {("a", "b"): 1.5, ("b", "a"): 2, ("c", "c"): 4}
    assert graph.vocabulary.to_list() == ["a", "b", "c", "d"]
    assert (len(graph), graph.edges) == (4, 3)
    assert graph.degrees.tolist() == [1, 1, 1, 0]
    assert graph.connected.tolist() == [True, True, False, False]


def test_an_undirected_edge_goes_both_ways_and_a_loop_counts_once() -> None:
    graph = ItemGraph.from_edges([1, 2, 3, 3], [2, 1, 3, 1], [1, 2, 5, 4], directed=False)
    assert links(graph) == {(1, 2): 3, (2, 1): 3, (3, 3): 5, (1, 3): 4, (3, 1): 4}
    assert graph.edges == 3
    names, weights = graph.neighbours(1)
    assert (names.to_list(), weights.tolist()) == ([2, 3], [3, 4])
    with pytest.raises(UnknownIds):
        graph.neighbours(4)


def test_a_part_of_the_nodes() -> None:
    graph = ItemGraph.from_edges([1, 2, 3, 4], [2, 3, 1, 1], [1, 2, 3, 4], directed=True)
    part = graph.over(np.array([2, 0]))
    assert part.vocabulary.to_list() == [3, 1]
    assert links(part) == {(3, 1): 3}
    assert graph.over(np.arange(4)) is graph


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(0, 10)), min_size=1))
def test_undirected_graphs_are_symmetric_to_the_bit(edges: list[tuple[int, int, float]]) -> None:
    graph = ItemGraph.from_edges(*zip(*edges, strict=True), directed=False)
    matrix = dense(graph)
    assert np.array_equal(matrix, matrix.T)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), 1e300])
def test_weights_that_no_edge_has(weight: float) -> None:
    with pytest.raises(InvalidGraph, match="finite float32 numbers of at least 0"):
        ItemGraph.from_edges(["a", "b"], ["b", "c"], [1, weight], directed=True)
    with pytest.raises(InvalidGraph):
        ItemGraph.from_scipy(csr_array(np.array([[0, weight], [1, 0]])), directed=True)


def test_sums_beyond_float32() -> None:
    with pytest.raises(InvalidGraph):
        ItemGraph.from_edges(["a", "a"], ["b", "b"], [3e38, 3e38], directed=True)


def test_bad_columns() -> None:
    with pytest.raises(InvalidGraph, match="2 sources"):
        ItemGraph.from_edges(["a", "b"], ["b"], directed=True)
    with pytest.raises(InvalidGraph, match="weight"):
        ItemGraph.from_edges(["a"], ["b"], [1, 2], directed=True)
    with pytest.raises(InvalidGraph, match="numbers"):
        ItemGraph.from_edges(["a"], ["b"], ["x"], directed=True)
    with pytest.raises(InvalidId):
        ItemGraph.from_edges(["a"], [1], directed=True)
    with pytest.raises(UnknownIds) as caught:
        ItemGraph.from_edges(["a"], ["z"], directed=True, vocabulary=["a", "b"])
    assert caught.value.ids == ["z"]
    with pytest.raises(DuplicateIds):
        ItemGraph.from_edges(["a"], ["b"], directed=True, vocabulary=["a", "b", "a"])


def test_a_vocabulary_keeps_its_order_and_its_isolated_nodes() -> None:
    graph = ItemGraph.from_edges(["b"], ["a"], directed=True, vocabulary=["c", "b", "a"])
    assert graph.vocabulary.to_list() == ["c", "b", "a"]
    assert links(graph) == {("b", "a"): 1}


@pytest.mark.parametrize("kind", [csr_array, csc_array, csr_matrix, np.array])
def test_matrices(kind: Callable[..., Any]) -> None:
    values = np.array([[0, 2.0, 0], [2.0, 1.0, 0], [0, 0, 0]])
    graph = ItemGraph.from_scipy(kind(values), directed=False)
    assert np.array_equal(dense(graph), values)
    assert graph.vocabulary.to_list() == [0, 1, 2]
    assert graph.edges == 2
    named = ItemGraph.from_scipy(kind(values), ["x", "y", "z"], directed=True)
    assert links(named)["x", "y"] == 2
    values[0, 1] = 3
    with pytest.raises(InvalidGraph, match="symmetric"):
        ItemGraph.from_scipy(kind(values), directed=False)
    with pytest.raises(InvalidGraph, match="square"):
        ItemGraph.from_scipy(kind(values[:2]), directed=True)
    with pytest.raises(InvalidGraph, match="id for each"):
        ItemGraph.from_scipy(kind(values), ["x"], directed=True)


@pytest.mark.parametrize("kind", [networkx.Graph, networkx.DiGraph])
def test_networkx_there_and_back(kind: Any) -> None:
    theirs = kind()
    theirs.add_nodes_from(["d", "a"])
    theirs.add_edge("a", "b", weight=2.5)
    theirs.add_edge("b", "c")
    theirs.add_edge("c", "c", weight=3)
    graph = ItemGraph.from_networkx(theirs)
    assert graph.vocabulary.to_list() == ["d", "a", "b", "c"]
    assert graph.directed == theirs.is_directed()
    assert links(graph)["a", "b"] == 2.5
    assert links(graph)["b", "c"] == 1
    back = graph.to_networkx()
    assert list(back) == list(theirs)
    assert {(*sorted(e[:2]), e[2]) for e in back.edges(data="weight")} == {
        (*sorted(e[:2]), e[2]) for e in theirs.edges(data="weight", default=1)
    }


def test_a_multigraph_is_summed_and_an_empty_one_is_empty() -> None:
    theirs = networkx.MultiDiGraph([("a", "b"), ("a", "b")])
    assert links(ItemGraph.from_networkx(theirs)) == {("a", "b"): 2}
    graph = ItemGraph.from_networkx(networkx.Graph())
    assert (len(graph), graph.edges) == (0, 0)
    with pytest.raises(EmptyInput):
        graph.check_edges()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "source,target,weight\na,b,2\nb,c,0.5\n", {("a", "b"): 2, ("b", "c"): 0.5}),
        ("a.csv", 'from;to\n"a;1";b\n', {("a;1", "b"): 1}),
        ("a.csv", "from,to\n7,8\n", {(7, 8): 1}),
        ("a.csv", "from,to\n007,8\n", {("007", "8"): 1}),
        ("a.edg", "1\t2\t3.5\n2\t3\t1\n", {(1, 2): 3.5, (2, 3): 1}),
        ("a.edg", "1 2\n2 3\n", {(1, 2): 1, (2, 3): 1}),
        ("a.edgelist", "x y\n", {("x", "y"): 1}),
    ],
)
def test_files(tmp_path: Path, name: str, text: str, expected: dict[Any, float]) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert links(ItemGraph.from_file(path, directed=True)) == expected
    if path.suffix == ".csv":
        packed = tmp_path / "a.csv.gz"
        packed.write_bytes(gzip.compress(text.encode()))
        assert links(ItemGraph.from_file(packed, directed=True)) == expected


def test_parquet_and_columns_by_name(tmp_path: Path) -> None:
    path = tmp_path / "edges.parquet"
    with duckdb.connect() as db:
        db.execute(
            "COPY (SELECT 0.5 AS w, 3::INTEGER AS t, 9 AS other, 1::INTEGER AS s) "
            f"TO '{path}' (FORMAT parquet)"
        )
    graph = ItemGraph.from_file(path, directed=True, source="s", target="t", weight="w")
    assert links(graph) == {(1, 3): 0.5}
    with pytest.raises(MissingColumn, match="it has: w, t, other, s") as caught:
        ItemGraph.from_file(path, directed=True, source="nothing")
    assert caught.value.column == "nothing"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CorruptData):
        ItemGraph.from_file(path, directed=True)


@pytest.mark.parametrize(
    ("name", "text", "line", "column"),
    [
        ("a.csv", "s,t,w\na,b,1\na,c,heavy\n", 3, "w"),
        ("a.csv", "s,t,w\na,b,1\n,c,2\n", 3, "s"),
        ("a.csv", "s,t,w\na,b,1\na,c,\n", 3, "w"),
        ("a.edg", "1\t2\t3\n1\t3\tx\n", 2, "weight"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, name: str, text: str, line: int, column: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(BadRow) as caught:
        ItemGraph.from_file(path, directed=True)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("a.csv", "", EmptyInput),
        ("a.csv", "s,t\n", EmptyInput),
        ("a.csv", "s\na\n", MissingColumn),
        ("a.edg", "1 2 3 4\n", InputError),
        ("a.edg", "1 2\n1\n", InputError),
        ("a.csv", "s,t\na,b,c,d\n1,2,3,4\n", InputError),
    ],
)
def test_files_without_edges(tmp_path: Path, name: str, text: str, error: type[Exception]) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(error):
        ItemGraph.from_file(path, directed=True)
    with pytest.raises(InputError, match="no file"):
        ItemGraph.from_file(tmp_path / "none.csv", directed=True)


@pytest.mark.parametrize("directed", [True, False])
def test_on_disk(tmp_path: Path, directed: bool) -> None:
    graph = ItemGraph.from_edges(["a", "b"], ["b", "ü"], [1, 2], directed=directed)
    checksum = graph.save(tmp_path / "graph")
    found = ItemGraph.open(tmp_path / "graph")
    assert isinstance(found.weights, np.memmap)
    assert (found.directed, links(found)) == (directed, links(graph))
    assert found.vocabulary == graph.vocabulary
    assert ItemGraph.verify(tmp_path / "graph") == checksum
    file = tmp_path / "graph" / "weights.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptData):
        ItemGraph.verify(tmp_path / "graph")
    file.write_bytes(data[:-4])
    with pytest.raises(CorruptData):
        ItemGraph.open(tmp_path / "graph")
    with pytest.raises(MissingData):
        ItemGraph.open(tmp_path / "nothing")


def test_arrays_that_are_no_graph() -> None:
    indptr, indices = np.array([0, 2, 2]), np.array([0, 1], dtype=np.int32)
    weights = np.ones(2, dtype=np.float32)
    ItemGraph(Ids(["a", "b"]), indptr, indices, weights, True)
    for bad in (
        (indptr[::-1], indices, weights),
        (indptr[:2], indices, weights),
        (indptr, indices[::-1], weights),
        (indptr, indices + np.int32(5), weights),
        (indptr, indices.astype(np.int64), weights),
        (indptr, indices, weights * 0),
        (indptr, indices, weights * np.float32("nan")),
        (indptr, indices, weights[:1]),
    ):
        with pytest.raises(InvalidGraph):
            ItemGraph(Ids(["a", "b"]), *bad, True)
    with pytest.raises(InvalidGraph, match="symmetric"):
        ItemGraph(Ids(["a", "b"]), indptr, indices, weights, False)


def test_the_nodes_of_sequences_are_known_in_the_graph() -> None:
    """Sessions through the door of the log: users carry over."""
    sequences = Sequences.from_lists([["a", "b"], ["b", "a"]])
    for one, other in pairwise([sequences, sequences.by_user()]):
        assert np.array_equal(one.items, other.items)
