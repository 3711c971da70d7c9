import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace.core.errors import CorruptData, InvalidOption
from itemspace.core.metric import Metric
from itemspace.core.vectors import RowView, unit_rows
from itemspace.lsh import HyperplaneLSH, LSHOptions
from itemspace.lsh.reductions import Reduction

RNG = np.random.default_rng(11)


def clustered(n: int, dim: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, n // 50), dim))
    noise = 0.3 * rng.standard_normal((n, dim))
    return (centres[rng.integers(len(centres), size=n)] + noise).astype(np.float32)


def view(matrix: np.ndarray) -> RowView:
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1)
    return RowView(matrix, lengths.astype(np.float32))


def built(matrix: np.ndarray, metric: Metric = Metric.COSINE, **options: Any) -> HyperplaneLSH:
    index = HyperplaneLSH(matrix.shape[1], metric, LSHOptions(**options))
    index.add(view(matrix), 0)
    return index


def true_nearest(queries: np.ndarray, matrix: np.ndarray, metric: Metric, k: int) -> np.ndarray:
    wide = matrix.astype(np.float64)
    if metric is Metric.EUCLIDEAN:
        scores = np.stack([-np.linalg.norm(wide - query, axis=1) for query in queries])
    else:
        scores = queries @ wide.T
        if metric is Metric.COSINE:
            scores = scores / np.linalg.norm(wide, axis=1)
    return np.argsort(-scores, axis=1)[:, :k]


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    pairs = zip(found.tolist(), truth.tolist(), strict=True)
    return float(np.mean([len(set(one) & set(other)) / len(other) for one, other in pairs]))


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("family", ["gaussian", "orthogonal"])
def test_finds_most_of_the_nearest(metric: Metric, family: str) -> None:
    matrix = clustered(20_100)
    matrix, queries = matrix[:20_000], matrix[20_000:]
    found, _ = built(matrix, metric, family=family).search(view(matrix), queries, 10)
    assert recall(found, true_nearest(queries, matrix, metric, 10)) > 0.95


@pytest.mark.parametrize("metric", list(Metric))
def test_with_endless_patience_it_is_exact(metric: Metric) -> None:
    matrix = clustered(2000)
    index = built(matrix, metric, bits=6, tables=2, patience=10**9)
    found, scores = index.search(view(matrix), matrix[:50] * 1.01, 10)
    assert recall(found, true_nearest(matrix[:50] * 1.01, matrix, metric, 10)) == 1
    assert np.all(scores[:, :-1] >= scores[:, 1:])


def test_more_patience_finds_more() -> None:
    matrix = RNG.standard_normal((20_000, 24)).astype(np.float32)
    truth = true_nearest(matrix[:100], matrix, Metric.COSINE, 10)
    shares = []
    for patience in (1, 30, 1000):
        index = built(matrix, patience=patience)
        shares.append(recall(index.search(view(matrix), matrix[:100], 10)[0], truth))
    assert shares[0] + 0.1 < shares[1] < shares[2] - 0.05


def test_added_in_parts_as_at_once() -> None:
    matrix = clustered(3000)
    parts = HyperplaneLSH(24, Metric.COSINE, LSHOptions(bits=8))
    for start, end in ((0, 1000), (1000, 1001), (1001, 3000)):
        parts.add(view(matrix[:end]), start)
    whole = built(matrix, bits=8)
    for one, other in zip(
        parts.search(view(matrix), matrix, 5),
        whole.search(view(matrix), matrix, 5),
        strict=True,
    ):
        assert np.array_equal(one, other)


def test_bits_follow_the_number_of_rows() -> None:
    matrix = clustered(20_000)
    index = HyperplaneLSH(24, Metric.COSINE, LSHOptions())
    seen = []
    for end in range(1000, 20_001, 1000):
        index.add(view(matrix[:end]), end - 1000)
        seen.append(index.describe()["bits"])
    assert seen[0] == 8
    assert seen == sorted(seen)
    assert abs(seen[-1] - LSHOptions().bits_for(20_000)) < 2
    truth = true_nearest(matrix[:100], matrix, Metric.COSINE, 10)
    assert recall(index.search(view(matrix), matrix[:100], 10)[0], truth) > 0.95


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
        eligible = RNG.random(5000) < share
        found, _ = index.search(view(matrix), matrix[:50], 10, eligible)
        assert eligible[found[found >= 0]].all()
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


def test_saved_and_loaded(tmp_path: Path) -> None:
    matrix = clustered(3000)
    for metric in Metric:
        folder = tmp_path / metric
        folder.mkdir()
        index = built(matrix, metric)
        index.save(folder)
        other = HyperplaneLSH(24, metric, LSHOptions())
        other.load(folder, 3000)
        assert other.describe() == index.describe()
        expected = index.search(view(matrix), matrix[:20], 5)
        assert np.array_equal(other.search(view(matrix), matrix[:20], 5)[0], expected[0])
        for dim, tables, count in ((23, 8, 3000), (24, 7, 3000), (24, 8, 2999)):
            with pytest.raises(CorruptData):
                HyperplaneLSH(dim, metric, LSHOptions(tables=tables)).load(folder, count)


@pytest.mark.parametrize("name", ["planes", "rows", "starts", "reduction"])
def test_files_of_another_shape_are_refused(tmp_path: Path, name: str) -> None:
    index = built(clustered(3000), Metric.EUCLIDEAN)
    index.save(tmp_path)
    good = np.load(tmp_path / f"{name}.npy")
    worst = np.inf if good.dtype.kind == "f" else 10**8
    for bad in (good[..., :-1], good.astype(np.int16), np.full_like(good, worst), good[None]):
        np.save(tmp_path / f"{name}.npy", bad)
        with pytest.raises(CorruptData):
            HyperplaneLSH(24, Metric.EUCLIDEAN, LSHOptions()).load(tmp_path, 3000)


@pytest.mark.parametrize(
    ("name", "value"),
    [("tables", 0), ("tables", 257), ("bits", 0), ("bits", 25), ("patience", 0), ("seed", -1)],
)
def test_options_out_of_range(name: str, value: int) -> None:
    with pytest.raises(InvalidOption, match=name):
        replace(LSHOptions(), **{name: value})
    with pytest.raises(InvalidOption, match="gaussian, orthogonal"):
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
