"""Rows of very different lengths, and queries that are of another kind than they."""

from pathlib import Path

import numpy as np
import pytest
from hyperplanes import assert_whole, built, clustered, recall, true_nearest, view
from itemspace.core.errors import CorruptData
from itemspace.core.metric import Metric
from itemspace.core.vectors import unit_rows
from itemspace.lsh import HyperplaneLSH, LSHOptions
from itemspace.lsh.buckets import members_of
from itemspace.lsh.calibration import users_of
from itemspace.lsh.growing import scale_below
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

DOT = Metric.INNER_PRODUCT


def skewed(n: int, sigma: float = 1.5, seed: int = 0) -> np.ndarray:
    """Clusters of directions, lengths by a log-normal."""
    lengths = np.random.default_rng(seed).lognormal(sigma=sigma, size=(n, 1))
    return (unit_rows(clustered(n, seed=seed)) * lengths).astype(np.float32)


def factors(items: int = 8000, users: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Items and users of a log, by its singular vectors: popular items are long."""
    rng = np.random.default_rng(4)
    taste = rng.integers(40, size=items)
    share = 1 / (np.arange(items) + 20.0)
    user = np.repeat(np.arange(users), 20)
    likes = rng.integers(40, size=users)[user]
    item = rng.choice(items, size=len(user), p=share / share.sum())
    for _ in range(3):
        other = taste[item] != likes
        item[other] = rng.choice(items, size=other.sum(), p=share / share.sum())
    log = csr_matrix((np.ones(len(user)), (user, item)), shape=(users, items))
    left, values, right = svds(log, k=32, random_state=0)
    return (right.T * values).astype(np.float32), left.astype(np.float32)


@pytest.mark.parametrize("family", ["adapted", "pairs", "orthogonal"])
def test_lengths_that_differ_a_thousandfold(family: str) -> None:
    matrix = skewed(20_100)
    matrix, queries = matrix[:20_000], matrix[20_000:]
    found, _ = built(matrix, DOT, family=family).search(view(matrix), queries, 10)
    assert recall(found, true_nearest(queries, matrix, DOT, 10)) > 0.9


def test_the_longest_come_first() -> None:
    """Ten rows a hundred times as long as all others: the first bucket has them, at the least."""
    matrix = unit_rows(clustered(10_000))
    matrix[500:510] *= 100
    query = matrix[500:510].mean(axis=0, keepdims=True)
    found, _ = built(matrix, DOT, patience=1).search(view(matrix), query, 10)
    assert set(found[0].tolist()) == set(range(500, 510))


@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.5])
def test_what_is_left_out_is_not_missed(sigma: float) -> None:
    """Ranges whose longest row could not be among the best are not looked into, however patient."""
    matrix = skewed(8000, sigma)
    queries = clustered(50, seed=1)
    index = built(matrix, DOT, bucket=32, patience=10**9, rerank=300)
    found, _ = index.search(view(matrix), queries, 10)
    assert recall(found, true_nearest(queries, matrix, DOT, 10)) > 0.999


def test_ranges_hold_through_updates() -> None:
    """No row is longer than the R of its range, but in the longest range."""
    matrix = skewed(12_000)
    matrix[10_000:10_010] *= 10
    index = built(matrix[:5000], DOT, bucket=32, patience=10**9, rerank=300)
    assert_ranges(index, matrix)
    index.add(view(matrix), 5000)
    assert_ranges(index, matrix)
    assert_whole(index, 12_000)
    gone = np.arange(0, 12_000, 2)
    assert index.remove(view(matrix), gone)
    kept = np.arange(1, 12_000, 2)
    assert_whole(index, kept)
    found, _ = index.search(view(matrix), matrix[:50], 10)
    # A bucket's codes are coarse where one of its rows is ten times as long as the others.
    assert recall(found, kept[true_nearest(matrix[:50], matrix[kept], DOT, 10)]) > 0.99


def assert_ranges(index: HyperplaneLSH, matrix: np.ndarray) -> None:
    trees = index._trees
    assert trees is not None
    forest, buckets = trees.forest, trees.buckets
    norms = view(matrix).norms / index._space.length
    top = forest.scales[forest.roots[0]]
    seen = set()
    for node in range(buckets.counts[0]):
        for side in (0, 1):
            child, scale = int(forest.children[node, side]), scale_below(forest, node, side)
            seen.add(float(scale))
            if child >= 0:
                assert forest.scales[child] <= scale <= top
            elif scale < top:
                assert norms[members_of(buckets, -1 - child)].max(initial=0) <= 1.01 * scale
    assert len(seen) > 5


def test_users_find_what_was_asked_for() -> None:
    """Though the index has seen none: rows stand for users, at their worst."""
    items, users = factors()
    users = users[:500]
    truth = true_nearest(users, items, DOT, 10)
    lengths = view(items).norms
    assert np.quantile(lengths, 0.99) > 5 * np.median(lengths)
    for asked in (0.8, 0.95):
        found, _ = built(items, DOT, recall=asked).search(view(items), users, 10)
        assert recall(found, truth) > asked - 0.03


def test_tuned_by_queries_of_their_kind() -> None:
    """Rows in a cone, queries at random: these need more patience than rows."""
    rng = np.random.default_rng(2)
    matrix = unit_rows(rng.standard_normal((20_000, 24)).astype(np.float32) + np.float32(1))
    queries = rng.standard_normal((1000, 24)).astype(np.float32)
    index = built(matrix, DOT)
    truth = true_nearest(queries[500:], matrix, DOT, 10)
    told = index.tune(view(matrix), 0.95, queries[:500])
    found, _ = index.search(view(matrix), queries[500:], 10)
    assert 0.91 < recall(found, truth) < 0.99
    assert abs(told["measured"] - recall(found, truth)) < 4 * told["error"] + 0.02
    assert index.patience == told["patience"]


def test_users_follow_the_factors() -> None:
    """Rows XA have, with their users, the same products as X with its own."""
    rng = np.random.default_rng(3)
    rows, chosen, among = skewed(3000, 0.5), np.arange(0, 3000, 30), np.arange(3000)
    turn = np.linalg.qr(rng.standard_normal((24, 24)))[0]
    stretch = rng.uniform(0.5, 2, 24)
    products = []
    for factor in (np.eye(24), turn, turn * stretch):
        matrix = np.ascontiguousarray(rows @ factor, dtype=np.float32)
        users = users_of(view(matrix), among, chosen, 1)
        products.append(unit_rows((users @ matrix.T).astype(np.float32)))
    assert np.allclose(products[0], products[1], atol=1e-4)
    assert (products[0] * products[2]).sum(axis=1).min() > 0.99


def test_rows_of_length_zero() -> None:
    matrix = skewed(6000)
    matrix[:3000] = 0
    queries = clustered(50, seed=1)
    found, scores = built(matrix, DOT, bucket=32).search(view(matrix), queries, 10)
    assert recall(found, true_nearest(queries, matrix, DOT, 10)) > 0.9
    nothing = np.zeros((5000, 24), dtype=np.float32)
    found, scores = built(nothing, DOT).search(view(nothing), queries, 10)
    assert (found >= 0).all()
    assert (scores == 0).all()


def test_an_index_without_its_scales_is_refused(tmp_path: Path) -> None:
    """Those that were written before there were ranges have none."""
    index = built(skewed(3000), DOT, bucket=64)
    index.save(tmp_path)
    file = tmp_path / "scales.npy"
    scales = np.load(file)
    for bad in (scales[:-1], scales.astype(np.float64), None):
        if bad is None:
            file.unlink()
        else:
            np.save(file, bad)
        with pytest.raises(CorruptData):
            HyperplaneLSH(24, DOT, LSHOptions(bucket=64)).load(tmp_path, 3000)


def test_other_metrics_have_no_scales(tmp_path: Path) -> None:
    matrix = clustered(3000)
    index = built(matrix, Metric.COSINE)
    index.save(tmp_path)
    assert not (tmp_path / "scales.npy").exists()
