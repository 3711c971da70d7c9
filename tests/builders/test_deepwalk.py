import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import ItemGraph, Sequences, VectorSet
from itemspace.builders import DeepWalk, Node2Vec, load_builder
from itemspace.builders.walks import Walks
from itemspace.core.errors import EmptyInput, InvalidOption
from itemspace.core.vectors import unit_rows

SMALL: dict[str, Any] = {"dim": 16, "num_walks": 10, "walk_length": 20, "window": 4, "threads": 1}


def communities(directed: bool = False, seed: int = 0) -> ItemGraph:
    """Four communities of 25 nodes; an edge within is ten times as likely as one across."""
    rng = np.random.default_rng(seed)
    own = np.arange(100) // 25
    linked = rng.random((100, 100)) < np.where(own[:, None] == own, 0.3, 0.03)
    linked &= np.arange(100)[:, None] < np.arange(100)
    return ItemGraph.from_edges(*np.nonzero(linked), directed=directed, vocabulary=range(100))


def purity(vectors: VectorSet) -> float:
    """The share of nearest five neighbours that are of the own community."""
    unit = unit_rows(vectors.matrix)
    products = unit @ unit.T - 2 * np.eye(len(unit))
    own = vectors.ids.to_array() // 25
    nearest = np.argsort(-products, axis=1)[:, :5]
    return float((own[nearest] == own[:, None]).mean())


@pytest.mark.parametrize("builder", [DeepWalk, Node2Vec])
def test_communities_are_found(builder: Any) -> None:
    made = builder(**SMALL).fit(communities())
    assert purity(made.item_vectors_) > 0.85  # chance is .24
    assert made.loss_[-1] < made.loss_[0]
    assert made.item_vectors_.matrix.shape == (100, 16)
    lineage = made.item_vectors_.lineage
    assert lineage["builder"] == builder.name_
    assert (lineage["nodes"], lineage["directed"]) == (100, False)
    assert load_builder(builder.name_) is builder


def test_p_and_q_of_one_is_deepwalk() -> None:
    one, other = (kind(**SMALL).fit(communities()) for kind in (DeepWalk, Node2Vec))
    assert np.array_equal(one.item_vectors_.matrix, other.item_vectors_.matrix)
    third = Node2Vec(**SMALL, in_out_parameter=0.5).fit(communities())
    assert not np.array_equal(one.item_vectors_.matrix, third.item_vectors_.matrix)


def test_deterministic_at_any_number_of_threads() -> None:
    graph = communities()
    one, many = (
        DeepWalk(**(SMALL | {"threads": threads}), deterministic=True).fit(graph)
        for threads in (1, 5)
    )
    assert np.array_equal(one.item_vectors_.matrix, many.item_vectors_.matrix)
    assert purity(one.item_vectors_) > 0.8


def test_only_nodes_with_an_edge_to_another_get_a_vector() -> None:
    graph = ItemGraph.from_edges(
        ["a", "b", "l"], ["b", "end", "l"], directed=True, vocabulary=["z", "a", "b", "end", "l"]
    )
    found = DeepWalk(**SMALL).fit(graph).item_vectors_
    assert found.ids.to_list() == ["a", "b", "end"]


def test_a_node_that_no_walk_comes_to_has_no_vector() -> None:
    """It is a dead end that one edge in a million leads to."""
    graph = ItemGraph.from_edges(["a", "b", "a"], ["b", "a", "rare"], [1, 1, 1e-7], directed=True)
    assert DeepWalk(**SMALL).fit(graph).item_vectors_.ids.to_list() == ["a", "b"]


def test_sequences_make_the_graph() -> None:
    sequences = Walks(communities(), 8).epoch(0)
    for options in ({}, {"directed": True, "edge_window": 2, "min_weight": 1.5}):
        made = DeepWalk(**SMALL, **options).fit(sequences)
        graph = ItemGraph.from_sequences(
            sequences,
            directed=options.get("directed", False),
            window=options.get("edge_window", 1),
            min_weight=options.get("min_weight", 0),
        )
        again = DeepWalk(**SMALL, **options).fit(graph)
        assert np.array_equal(made.item_vectors_.matrix, again.item_vectors_.matrix)
    assert purity(DeepWalk(**SMALL).fit(sequences).item_vectors_) > 0.8


def test_a_monitor_keeps_the_best_and_stops() -> None:
    seen: list[int] = []

    def monitor(vectors: VectorSet) -> float:
        seen.append(len(vectors))
        return -abs(len(seen) - 3)

    told: list[Any] = []
    made = DeepWalk(**SMALL, patience=2)
    made.fit(communities(), monitor=monitor, progress=lambda *args: told.append(args))
    assert made.scores_ == [-2, -1, 0, -1, -2]
    assert told[-1] == (5, 10, "training")


def test_killed_and_resumed_it_ends_with_the_same_vectors(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_deepwalk import SMALL, Node2Vec, communities
def progress(done, total, text):
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)
builder = Node2Vec(**SMALL, return_parameter=0.5, in_out_parameter=2.0)
builder.fit(communities(), checkpoint={str(tmp_path / "states")!r}, progress=progress)
"""
    ended = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    builder = Node2Vec(**SMALL, return_parameter=0.5, in_out_parameter=2.0)
    done: list[int] = []
    builder.fit(
        communities(), checkpoint=tmp_path / "states", progress=lambda at, *_: done.append(at)
    )
    assert done[0] == 5
    whole = Node2Vec(**SMALL, return_parameter=0.5, in_out_parameter=2.0).fit(communities())
    assert np.array_equal(builder.item_vectors_.matrix, whole.item_vectors_.matrix)
    for other, graph in (
        (Node2Vec(**SMALL, return_parameter=0.5), communities()),
        (builder, communities(seed=9)),
    ):
        with pytest.raises(InvalidOption, match="checkpoint"):
            other.fit(graph, checkpoint=tmp_path / "states")


@pytest.mark.parametrize(
    "options",
    [
        {"return_parameter": 0},
        {"in_out_parameter": -1.0},
        {"in_out_parameter": float("inf")},
        {"return_parameter": "1"},
        {"walk_length": 0},
        {"walk_length": 1},
        {"num_walks": 0},
        {"dim": 0},
        {"window": 0},
        {"alpha": 0.0},
        {"sample": -1.0},
        {"edge_window": 0},
        {"user_cap": 0.0},
        {"min_weight": -1.0},
        {"half_life": 0.0},
        {"patience": 0},
        {"threads": 0},
        {"alpha": 1e6},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption) as caught:
        Node2Vec(**(SMALL | options)).fit(communities())
    assert caught.value.option == next(iter(options))


def test_graphs_without_an_edge() -> None:
    for graph in (
        ItemGraph.from_edges([], [], directed=False),
        ItemGraph.from_edges(["a"], ["a"], directed=True),
        ItemGraph.from_edges([], [], directed=True, vocabulary=["a", "b"]),
    ):
        with pytest.raises(EmptyInput, match="no edge"):
            DeepWalk(**SMALL).fit(graph)
    with pytest.raises(InvalidOption, match="received str"):
        DeepWalk(**SMALL).fit("graph")  # type: ignore[arg-type]
    with pytest.raises(EmptyInput):
        DeepWalk(**SMALL).fit(Sequences.from_lists([["a", "a"], ["b"]]))


def test_the_options_are_stored_as_they_are() -> None:
    builder = Node2Vec(return_parameter=0.5, window=None)
    params = builder.get_params()
    assert Node2Vec(**params).get_params() == params
    assert set(params) == set(DeepWalk().get_params()) | {"return_parameter", "in_out_parameter"}
    assert set(Node2Vec.search_space) <= set(params)
