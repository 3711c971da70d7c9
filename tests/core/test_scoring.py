from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace.core.jit import fast_kernel, kernel
from itemspace.core.metric import Metric
from itemspace.core.scoring import rank, score_rows


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 64, 101])
def test_scores_are_those_of_numpy(metric: Metric, dim: int) -> None:
    rng = np.random.default_rng(dim)
    matrix = rng.standard_normal((50, dim)).astype(np.float32)
    query = rng.standard_normal(dim).astype(np.float32)
    rows = rng.permutation(50)[:20]
    x, q = matrix[rows].astype(np.float64), query.astype(np.float64)
    expected = {
        Metric.COSINE: x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q),
        Metric.INNER_PRODUCT: x @ q,
        Metric.EUCLIDEAN: -np.linalg.norm(x - q, axis=1),
    }[metric]
    found = score_rows(query, matrix, rows, metric)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    one_by_one = [score_rows(query, matrix, rows[at : at + 1], metric)[0] for at in range(20)]
    assert found.tolist() == one_by_one


def test_extremes() -> None:
    matrix = np.array([[3e38, 3e38], [1e-40, 0], [1, 1]], dtype=np.float32)
    rows = np.arange(3)
    cosines = score_rows(matrix[0], matrix, rows, Metric.COSINE)
    np.testing.assert_allclose(cosines, [1, np.sqrt(0.5), 1])
    assert cosines.max() <= 1
    assert score_rows(matrix[2], matrix, rows, Metric.EUCLIDEAN)[2] == 0
    assert np.isfinite(score_rows(matrix[0], matrix, rows, Metric.INNER_PRODUCT)).all()


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, -2.5]), st.integers()), unique=True))
def test_rank(pairs: list[tuple[float, int]]) -> None:
    scores = np.array([score for score, _ in pairs])
    ids = np.array([number for _, number in pairs], dtype=object)
    order = rank(scores, ids)
    assert [pairs[at] for at in order] == sorted(pairs, key=lambda pair: (-pair[0], pair[1]))


def test_kernels_compile_where_nothing_can_be_cached() -> None:
    """A function without a file has no place for numba's cache, as in a read-only installation."""
    names: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x", names)
    for compiler in (kernel, fast_kernel):
        assert compiler(names["double"])(21) == 42
