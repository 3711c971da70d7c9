"""Walks against the exact probabilities of first and second order."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import ItemGraph
from itemspace.builders.walks import Walks
from itemspace.core.errors import InvalidOption
from scipy.stats import chi2

Case = tuple[str, bool, bool]
CASES = [
    (name, directed, weighted)
    for name in ("ring", "random", "hub")
    for directed in (False, True)
    for weighted in (False, True)
]


def graph(name: str, directed: bool, weighted: bool) -> ItemGraph:
    """Small graphs; with 150 nodes the ring has no hub with bits, the others all or some."""
    rng = np.random.default_rng(3)
    if name == "ring":
        nodes = 150
        edges = [(at, (at + step) % nodes) for at in range(nodes) for step in (1, 2)]
    elif name == "random":
        nodes = 9
        edges = [
            (a, b) for a in range(nodes) for b in range(nodes) if a != b and rng.random() < 0.5
        ]
        edges.append((4, 4))
    else:
        nodes = 80
        edges = [(0, at) for at in range(1, nodes)] + [(at, 0) for at in range(1, nodes)]
        edges += [(at, at + 1) for at in range(1, nodes - 1)]
    if not directed:
        edges = sorted({(min(edge), max(edge)) for edge in edges})
    weights = rng.choice([0.1, 1.0, 2.0, 7.0], len(edges)) if weighted else None
    return ItemGraph.from_edges(
        *zip(*edges, strict=True), weights, directed=directed, vocabulary=range(nodes)
    )


def exact(matrix: np.ndarray, before: int, node: int, p: float, q: float) -> np.ndarray:
    """P(x) having come from ``before`` to ``node``: Grover & Leskovec, section 3.2.2."""
    masses = np.zeros(len(matrix))
    for x in np.flatnonzero(matrix[node]):
        bias = 1 / p if x == before else 1.0 if matrix[before, x] else 1 / q
        masses[x] = bias * matrix[node, x]
    return masses / masses.sum()


def transitions(walks: Walks, nodes: int, order: int, epochs: int) -> np.ndarray:
    """How often each node came next, (states, nodes): first steps, or after each pair of nodes."""
    found = []
    for epoch in range(epochs):
        made = walks.epoch(epoch)
        items = made.items.astype(np.int64)
        ends = np.repeat(made.offsets[1:], np.diff(made.offsets))
        at = made.offsets[:-1] if order == 1 else np.arange(len(items))
        at = at[at + order < ends[at]]
        codes = items[at]
        for later in range(1, order + 1):
            codes = codes * nodes + items[at + later]
        found.append(codes)
    size = nodes ** (order + 1)
    return np.bincount(np.concatenate(found), minlength=size).reshape(-1, nodes)


def probability(counts: np.ndarray, expected: dict[int, np.ndarray]) -> float:
    """The chance of counts this far from what is expected, by Pearson's chi-square.

    ``expected`` is the distribution of the next node by state.
    """
    statistic, freedom = 0.0, 0
    for state, shares in expected.items():
        assert not counts[state, shares == 0].any()
        wanted = shares * counts[state].sum()
        likely = wanted >= 5
        if likely.sum() < 2:
            continue
        found = counts[state, likely]
        wanted = wanted[likely] * (found.sum() / wanted[likely].sum())
        statistic += float(((found - wanted) ** 2 / wanted).sum())
        freedom += len(found) - 1
    assert freedom > 5
    return float(chi2.sf(statistic, freedom))


def second_order(made: ItemGraph, p: float, q: float) -> dict[int, np.ndarray]:
    matrix = made.to_scipy().toarray().astype(np.float64)
    return {
        t * len(made) + v: exact(matrix, t, v, p, q)
        for t, v in np.argwhere(matrix).tolist()
        if made.degrees[v]
    }


@pytest.mark.parametrize(
    ("p", "q"),
    [(1, 1), (0.25, 0.25), (4, 0.5), (0.25, 1), (0.1, 4), (4, 1), (1, 2), (2, 0.1), (50, 60)],
)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_steps_have_their_exact_probabilities(case: Case, p: float, q: float) -> None:
    made = graph(*case)
    walks = Walks(made, 12, return_parameter=p, in_out_parameter=q, seed=5)
    epochs = 40_000 // len(walks)
    matrix = made.to_scipy().toarray().astype(np.float64)
    begun = {v: matrix[v] / matrix[v].sum() for v in np.flatnonzero(made.degrees).tolist()}
    assert probability(transitions(walks, len(made), 1, epochs), begun) > 1e-4
    assert probability(transitions(walks, len(made), 2, epochs), second_order(made, p, q)) > 1e-4


def test_the_check_can_fail() -> None:
    """The same counts against other parameters are found out."""
    made = graph("random", True, True)
    walks = Walks(made, 12, return_parameter=0.5, in_out_parameter=2)
    counts = transitions(walks, len(made), 2, 2000)
    for p, q, fits in ((0.5, 2, True), (0.5, 1.8, False), (0.55, 2, False)):
        assert (probability(counts, second_order(made, p, q)) > 1e-4) == fits


def test_a_walk_ends_where_no_edge_leads_on() -> None:
    made = ItemGraph.from_edges(["a", "b", "d"], ["b", "c", "b"], directed=True)
    for p, q in ((1, 1), (0.2, 3), (3, 0.2)):
        walks = Walks(made, 10, return_parameter=p, in_out_parameter=q).epoch(0)
        named = sorted("".join(made.vocabulary[walk.astype(np.int64)]) for walk in walks)
        assert named == ["abc", "bc", "dbc"]
        assert Walks(made, 10).counts().tolist() == [1, 3, 3, 1]


def test_every_node_with_an_edge_to_another_begins_one_walk() -> None:
    made = ItemGraph.from_edges(
        [1, 2, 3, 5], [2, 3, 1, 5], directed=False, vocabulary=[0, 1, 2, 3, 4, 5]
    )
    walks = Walks(made, 7)
    found = walks.epoch(0)
    assert sorted(walk[0] for walk in found) == [1, 2, 3]
    assert {len(walk) for walk in found} == {7}
    assert np.array_equal(walks.counts(), found.counts())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_walk_is_the_same_however_it_is_taken(case: Case) -> None:
    """By chunks of any size, alone or together, in any order: seed, epoch and start decide."""
    made = graph(*case)
    for epoch in (0, 3):
        walks = Walks(made, 9, return_parameter=0.3, in_out_parameter=0.6, seed=2)
        whole = [walk.tolist() for walk in walks.epoch(epoch)]
        for size in (1, 20, 100, 10_000):
            chunks = walks.split(size)
            taken = walks.take(epoch, np.arange(chunks)[::-1])
            found = []
            for first, last in zip(taken.firsts[::-1], taken.lasts[::-1], strict=True):
                offsets = taken.events.offsets[first : last + 1]
                assert offsets[-1] - offsets[0] <= walks.largest
                for start, end in pairwise(offsets):
                    found.append(taken.events.items[start:end].tolist())
            assert found == whole
            one = walks.take(epoch, np.array([chunks - 1]))
            last = whole[len(whole) - one.lasts[0] :]
            assert one.events.items.tolist() == [node for walk in last for node in walk]
    assert walks.epoch(0).items.tolist() != walks.epoch(1).items.tolist()
    other = Walks(made, 9, return_parameter=0.3, in_out_parameter=0.6, seed=3)
    assert other.epoch(0).items.tolist() != walks.epoch(0).items.tolist()


def test_counts_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from itemspace.builders import walks as module

    monkeypatch.setattr(module, "CHUNK", 50)
    made = graph("hub", True, True)
    one, many = (Walks(made, 9, threads=threads).counts() for threads in (1, 5))
    assert np.array_equal(one, many)
    assert np.array_equal(one, Walks(made, 9).epoch(0).counts())


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"length": 0}, "walk_length"),
        ({"length": 1}, "walk_length"),
        ({"return_parameter": 0}, "return_parameter"),
        ({"in_out_parameter": -1}, "in_out_parameter"),
        ({"in_out_parameter": float("nan")}, "in_out_parameter"),
        ({"return_parameter": float("inf")}, "return_parameter"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], name: str) -> None:
    made = graph("random", True, True)
    with pytest.raises(InvalidOption) as caught:
        Walks(made, **({"length": 5} | options))
    assert caught.value.option == name


def test_extreme_parameters_end() -> None:
    """Rejection never waits long: what is folded and what is accepted early see to that."""
    made = graph("random", False, True)
    for p, q in ((1e-9, 1), (1e9, 1), (1, 1e-9), (1e9, 1e9), (1e-9, 1e9)):
        assert len(Walks(made, 5, return_parameter=p, in_out_parameter=q).epoch(0)) == 9


def test_kernels_stay_within_their_arrays(tmp_path: Path) -> None:
    code = """
import numpy as np
from itemspace import ItemGraph, Sequences
from itemspace.builders.walks import Walks
rng = np.random.default_rng(0)
for directed in (False, True):
    for weights in (None, rng.random(300)):
        edges = rng.integers(90, size=(2, 300))
        graph = ItemGraph.from_edges(*edges, weights, directed=directed)
        for p, q in ((1, 1), (0.2, 0.5), (3, 2)):
            walks = Walks(graph, 8, return_parameter=p, in_out_parameter=q)
            walks.counts()
            walks.take(1, np.arange(walks.split(30)))
log = Sequences.from_lists([rng.integers(9, size=n).tolist() for n in range(30)])
for directed in (False, True):
    ItemGraph.from_sequences(log, directed=directed, window=3, user_cap=2)
"""
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
