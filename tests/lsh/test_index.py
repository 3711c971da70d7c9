import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hyperplanes import assert_whole, built, clustered, recall, true_nearest, view
from itemspace.core.eligible import Eligible
from itemspace.core.errors import CorruptData, InvalidOption
from itemspace.core.metric import Metric
from itemspace.core.scoring import score_rows
from itemspace.core.vectors import unit_rows
from itemspace.lsh import HyperplaneLSH, LSHOptions
from itemspace.lsh.lanes import AVX2, PORTABLE, VNNI
from itemspace.lsh.planes import FAMILIES
from itemspace.lsh.reductions import Reduction

RNG = np.random.default_rng(11)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("family", FAMILIES)
def test_finds_most_of_the_nearest(metric: Metric, family: str) -> None:
    matrix = clustered(20_100)
    matrix, queries = matrix[:20_000], matrix[20_000:]
    found, _ = built(matrix, metric, family=family).search(view(matrix), queries, 10)
    assert recall(found, true_nearest(queries, matrix, metric, 10)) > 0.9


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize(("family", "trees"), [("adapted", 1), ("pairs", 2), ("orthogonal", 3)])
def test_with_endless_patience_it_is_exact(metric: Metric, family: str, trees: int) -> None:
    matrix = clustered(2000)
    index = built(matrix, metric, family=family, trees=trees, bucket=32, patience=10**9, rerank=200)
    found, scores = index.search(view(matrix), matrix[:50] * 1.01, 10)
    truth = true_nearest(matrix[:50] * 1.01, matrix, metric, 10)
    assert recall(found, truth) == 1
    assert np.all(scores[:, :-1] >= scores[:, 1:])
    for query, rows, line in zip(matrix[:50] * np.float32(1.01), found, scores, strict=True):
        assert np.array_equal(line, score_rows(query, matrix, rows, metric))


def test_points_on_a_line() -> None:
    """Their distances are small beside their lengths."""
    matrix = RNG.standard_normal((5000, 1)).astype(np.float32)
    found, _ = built(matrix, Metric.EUCLIDEAN).search(view(matrix), matrix[:50], 10)
    assert recall(found, true_nearest(matrix[:50], matrix, Metric.EUCLIDEAN, 10)) > 0.95


def test_more_patience_finds_more() -> None:
    matrix = RNG.standard_normal((20_000, 24)).astype(np.float32)
    truth = true_nearest(matrix[:100], matrix, Metric.COSINE, 10)
    shares = []
    for patience in (1, 10, 1000):
        index = built(matrix, patience=patience)
        shares.append(recall(index.search(view(matrix), matrix[:100], 10)[0], truth))
    assert shares[0] + 0.05 < shares[1] < shares[2] - 0.05


@pytest.mark.parametrize("kind", [clustered, lambda n: RNG.standard_normal((n, 24))])
def test_the_recall_asked_for_is_what_is_found(kind: Callable[[int], np.ndarray]) -> None:
    """Within four standard errors, of the sample that it was found from and of this one."""
    matrix = kind(20_500).astype(np.float32)
    matrix, queries = matrix[:20_000], matrix[20_000:]
    truth = true_nearest(queries, matrix, Metric.COSINE, 10)
    for asked in (0.8, 0.95):
        index = built(matrix, recall=asked)
        found = recall(index.search(view(matrix), queries, 10)[0], truth)
        told = index.tune(view(matrix), asked)
        assert told["predicted"] >= asked
        # With a patience of 1, more may be found than was asked for.
        for measured in (found, told["measured"]):
            assert measured > asked - 0.06
            assert measured < asked + 0.06 or told["patience"] == 1


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("family", ["adapted", "gaussian"])
def test_added_one_after_another_all_are_found(metric: Metric, family: str) -> None:
    """Every row is in one bucket of each tree, and no bucket holds more than twice its share."""
    matrix = clustered(5000)
    options = {"family": family, "trees": 2, "bucket": 32, "patience": 10**9, "rerank": 500}
    index = HyperplaneLSH(24, metric, LSHOptions(**options))
    for start, end in ((0, 500), (500, 501), (501, 2000), (2000, 5000)):
        index.add(view(matrix[:end]), start)
    assert_whole(index, 5000)
    assert index.describe()["largest_bucket"] < 64
    truth = true_nearest(matrix[:50], matrix, metric, 10)
    assert recall(index.search(view(matrix), matrix[:50], 10)[0], truth) == 1


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("family", ["adapted", "gaussian"])
def test_what_was_removed_is_gone_and_all_else_is_found(metric: Metric, family: str) -> None:
    matrix = clustered(6000)
    options = {"family": family, "trees": 2, "bucket": 32, "patience": 10**9, "rerank": 500}
    index = built(matrix[:5000], metric, **options)
    index.add(view(matrix[:5500]), 5000)
    gone = RNG.permutation(5500)[:3000]
    for part in np.array_split(gone, 3):
        assert index.remove(view(matrix[:5500]), part)
    index.add(view(matrix), 5500)
    kept = np.setdiff1d(np.arange(6000), gone)
    assert_whole(index, kept)
    found, _ = index.search(view(matrix), matrix[:50], 10)
    truth = kept[true_nearest(matrix[:50], matrix[kept], metric, 10)]
    assert recall(found, truth) == 1
    assert not index.remove(view(matrix), gone[:1])
    assert index.remove(view(matrix), kept)
    assert (index.search(view(matrix), matrix[:5], 3)[0] == -1).all()
    index.add(view(np.vstack([matrix, matrix[:100]])), 6000)
    assert_whole(index, np.arange(6000, 6100))


def test_what_was_removed_is_not_missed() -> None:
    """Patience is found for the rows that are there."""
    matrix = clustered(16_000)
    index = built(matrix[:6000])
    before = index.patience
    assert index.remove(view(matrix[:6000]), np.arange(3000))
    index.add(view(matrix), 6000)
    assert index.patience <= 4 * before
    told = index.tune(view(matrix), 0.9)
    assert told["measured"] > 0.85
    assert told["patience"] <= 4 * before


def test_trees_differ() -> None:
    matrix = clustered(5000)
    for family in FAMILIES:
        trees = built(matrix, family=family, trees=2, bucket=64)._trees
        assert trees is not None
        one, other = trees.forest.planes[trees.forest.roots]
        assert abs(float(one @ other)) < 0.999


def test_equal_rows_make_one_large_bucket() -> None:
    matrix = np.vstack([np.ones((3000, 8)), clustered(3000, 8)]).astype(np.float32)
    index = built(matrix, bucket=16)
    assert_whole(index, 6000)
    assert index.describe()["largest_bucket"] >= 3000
    index.add(view(np.vstack([matrix, matrix]).astype(np.float32)), 6000)
    assert_whole(index, 12000)


@pytest.mark.parametrize("metric", list(Metric))
def test_threads_change_nothing(metric: Metric) -> None:
    matrix = clustered(40_000)
    one, three = (built(matrix, metric, threads=threads) for threads in (1, 3))
    for mine, other in zip(one._trees.forest, three._trees.forest, strict=True):
        assert np.array_equal(mine, other)
    for mine, other in zip(one._trees.buckets, three._trees.buckets, strict=True):
        assert np.array_equal(mine, other)
    queries = matrix[:100]
    for mine, other in zip(
        one.search(view(matrix), queries, 5), three.search(view(matrix), queries, 5), strict=True
    ):
        assert np.array_equal(mine, other)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dim", [1, 4, 7, 24, 33])
def test_every_way_to_sum_up_gives_the_same(metric: Metric, dim: int) -> None:
    matrix = RNG.standard_normal((5000, dim)).astype(np.float32)
    index = built(matrix, metric)
    found = []
    for way in (VNNI, AVX2, PORTABLE):
        index.way = way
        found.append(index.search(view(matrix), matrix[:100], 10))
    for other in found[1:]:
        assert np.array_equal(found[0][0], other[0])
        assert np.array_equal(found[0][1], other[1])


@pytest.mark.parametrize("metric", list(Metric))
def test_batch_and_repetition_change_nothing(metric: Metric) -> None:
    matrix = clustered(5000)
    index, again = built(matrix, metric), built(matrix, metric)
    found, scores = index.search(view(matrix), matrix[:64], 7)
    assert np.array_equal(again.search(view(matrix), matrix[:64], 7)[0], found)
    for at in range(64):
        alone = index.search(view(matrix), matrix[at : at + 1], 7)
        assert np.array_equal(alone[0][0], found[at])
        assert np.array_equal(alone[1][0], scores[at])


def test_only_eligible_rows_come_back() -> None:
    matrix = clustered(5000)
    index = built(matrix)
    for share in (0.5, 0.05, 0.0):
        eligible = Eligible(RNG.random(5000) < share)
        found, _ = index.search(view(matrix), matrix[:50], 10, eligible)
        assert eligible.mask[found[found >= 0]].all()
        if share == 0.5:
            assert (found >= 0).all()
        if share == 0.0:
            assert (found == -1).all()


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize(
    "matrix",
    [
        np.ones((1, 5)),
        np.ones((3000, 5)),
        np.linspace(1, 2, 2000)[:, None],
        RNG.standard_normal((50, 4096)),
        RNG.standard_normal((2000, 8)) * 1e15,
        RNG.standard_normal((2000, 8)) * 1e-15,
        np.vstack([np.eye(1, 8), np.eye(1, 8) + 1e-7]),
        -np.ones((300, 1)),
    ],
    ids=["one", "all equal", "one dim", "4096 dim", "huge", "tiny", "one bit apart", "negative"],
)
def test_degenerate_data(metric: Metric, matrix: np.ndarray) -> None:
    matrix = matrix.astype(np.float32)
    index = built(matrix, metric)
    found, scores = index.search(view(matrix), matrix[:5], 3)
    some = found >= 0
    assert some[:, 0].all()
    assert not np.isnan(scores).any()
    for line in found:
        chosen = line[line >= 0].tolist()
        assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("family", ["adapted", "orthogonal"])
def test_saved_and_loaded(tmp_path: Path, metric: Metric, family: str) -> None:
    matrix = clustered(3000)
    index = built(matrix[:2000], metric, family=family, bucket=32)
    index.add(view(matrix), 2000)
    index.save(tmp_path)
    options = LSHOptions(family=family, bucket=32)
    other = HyperplaneLSH(24, metric, options)
    other.load(tmp_path, 3000)
    assert other.describe() == index.describe()
    assert_whole(other, 3000)
    for mine, theirs in zip(
        index.search(view(matrix), matrix[:20], 5),
        other.search(view(matrix), matrix[:20], 5),
        strict=True,
    ):
        assert np.array_equal(mine, theirs)
    more = clustered(3300)
    other.add(view(more), 3000)
    assert_whole(other, 3300)
    for dim, trees, count in ((23, None, 3000), (24, 7, 3000), (24, None, 1999)):
        with pytest.raises(CorruptData):
            HyperplaneLSH(dim, metric, replace(options, trees=trees)).load(tmp_path, count)


FILES = ["planes", "offsets", "weights", "children", "roots", "centres", "steps"]
FILES += ["sizes", "depths", "codes", "rows", "biases", "curve", "reduction"]


@pytest.mark.parametrize("name", FILES)
def test_files_of_another_shape_are_refused(tmp_path: Path, name: str) -> None:
    index = built(clustered(3000), Metric.EUCLIDEAN, bucket=64)
    index.save(tmp_path)
    good = np.load(tmp_path / f"{name}.npy")
    bads = [good[..., :-1], good.astype(np.int16), good[None], good[:0]]
    if good.dtype == np.int32:
        bads += [np.full_like(good, 10**8), np.full_like(good, -(10**8))]
    for bad in bads:
        if np.array_equal(bad, good) and bad.dtype == good.dtype:
            continue
        np.save(tmp_path / f"{name}.npy", bad)
        with pytest.raises(CorruptData):
            HyperplaneLSH(24, Metric.EUCLIDEAN, LSHOptions(bucket=64)).load(tmp_path, 3000)


def test_trees_that_share_a_branch_are_refused(tmp_path: Path) -> None:
    """A search of such nodes could take for ever."""
    index = built(clustered(3000), bucket=32)
    index.save(tmp_path)
    children = np.load(tmp_path / "children.npy")
    for change in ((0, 0), (5, 1)):
        bad = children.copy()
        bad[change] = children[2, 1]
        np.save(tmp_path / "children.npy", bad)
        with pytest.raises(CorruptData, match="damaged"):
            HyperplaneLSH(24, Metric.COSINE, LSHOptions(bucket=32)).load(tmp_path, 3000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trees", 0),
        ("trees", 65),
        ("bucket", 15),
        ("recall", 0.0),
        ("recall", 1.0),
        ("recall", float("nan")),
        ("patience", 0),
        ("rerank", 0),
        ("threads", 0),
        ("seed", -1),
    ],
)
def test_options_out_of_range(name: str, value: float) -> None:
    with pytest.raises(InvalidOption, match=name):
        replace(LSHOptions(), **{name: value})
    with pytest.raises(InvalidOption, match="orthogonal, gaussian"):
        LSHOptions(family="magic")


def test_products_and_angles_have_one_order() -> None:
    """For rows no longer than R, the angle after the map orders as the inner product does."""
    matrix = clustered(1000)
    reduction = Reduction.fit(matrix, Metric.INNER_PRODUCT)
    short = view(matrix).norms <= reduction.length
    rows = reduction.rows(matrix)[short].astype(np.float64)
    assert 0.89 < short.mean() < 0.91
    assert np.allclose(np.linalg.norm(rows, axis=1), reduction.length, rtol=1e-5)
    queries = reduction.queries(matrix[:20])
    products = matrix[:20].astype(np.float64) @ matrix[short].T.astype(np.float64)
    assert np.allclose(queries @ rows.T, products, rtol=1e-5, atol=1e-4)
    cosines = unit_rows(queries) @ unit_rows(rows.astype(np.float32)).T
    estimated = reduction.scores(cosines, matrix[:20])
    assert np.allclose(estimated, products, rtol=1e-4, atol=1e-3)


def test_estimated_distances() -> None:
    matrix = unit_rows(clustered(1000)) * 3 + 100
    reduction = Reduction.fit(matrix, Metric.EUCLIDEAN)
    cosines = unit_rows(reduction.queries(matrix[:20])) @ unit_rows(reduction.rows(matrix)).T
    estimated = reduction.scores(cosines, matrix[:20])
    distances = np.linalg.norm(matrix[:20, None].astype(np.float64) - matrix, axis=2)
    assert np.median(np.abs(estimated + distances)) < 0.1
    assert estimated.max() <= 0


@pytest.mark.slow
def test_no_kernel_reads_out_of_bounds(tmp_path: Path) -> None:
    """The tests of this folder again, with numba's bounds checks."""
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            str(Path(__file__).parent),
            "-p",
            "no:cacheprovider",
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
