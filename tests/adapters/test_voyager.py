from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from example_vectors import clustered
from graph_engines import GraphEngineSuite, recall_of
from itemspace import Ids, Metric, VectorSet, create_retriever
from itemspace.core.errors import InvalidOption, UnsupportedError
from itemspace.testing import RetrieverSuite


class TestVoyager(RetrieverSuite):
    def url(self, folder: Path) -> str:
        return f"voyager://{folder}/index"

    def memory_url(self) -> str:
        return "voyager://"


@pytest.mark.slow
class TestBytes(RetrieverSuite):
    metrics: ClassVar = (Metric.COSINE,)

    def url(self, folder: Path) -> str:
        return f"voyager://{folder}/index?storage=float8"


class TestEngine(GraphEngineSuite):
    scheme = "voyager"
    least_of_products = 0.8


def test_inner_products_need_a_wider_search() -> None:
    matrix = clustered(6000)
    matrix *= np.random.default_rng(1).lognormal(0, 0.5, (6000, 1)).astype(np.float32)
    queries = np.random.default_rng(3).standard_normal((50, 16))
    narrow, usual = (
        recall_of(f"voyager:{parameters}", matrix, Metric.INNER_PRODUCT, queries)
        for parameters in ("?ef_search=64", "")
    )
    assert narrow + 0.05 < usual


def test_numbers_of_8_bits() -> None:
    matrix = clustered()
    assert recall_of("voyager:?storage=float8", matrix, Metric.COSINE, matrix[:50] + 0.01) >= 0.97
    for metric in (Metric.INNER_PRODUCT, Metric.EUCLIDEAN):
        with pytest.raises(UnsupportedError, match="float8"):
            recall_of("voyager:?storage=float8", matrix, metric, matrix[:50])
    with pytest.raises(InvalidOption, match="float32, float8"):
        create_retriever("voyager:?storage=e4m3", VectorSet(Ids([1]), np.ones((1, 8))))


def test_one_query_that_finds_too_few_spares_the_others() -> None:
    """Voyager raises a RecallError for a whole batch."""
    matrix = clustered(500)
    index: Any = create_retriever("voyager:", VectorSet(Ids(np.arange(500)), matrix))
    for row in range(100):
        index._driver._index._index.mark_deleted(row)
    rows, scores = index._driver._index.search(None, matrix[:3], 401, None)
    assert (rows == -1).all() and (scores == -np.inf).all()
    rows, _ = index._driver._index.search(None, matrix[:3], 390, None)
    assert (rows >= 100).all()


def test_longer_vectors_that_come_later() -> None:
    """Voyager keeps for each vector what followed from the longest until then."""
    matrix = clustered() * np.linspace(0.5, 3, 3000, dtype=np.float32)[:, None]
    vectors = VectorSet(Ids(np.arange(1000)), matrix[:1000], Metric.INNER_PRODUCT)
    index, truth = (create_retriever(url, vectors) for url in ("voyager:", "exact:"))
    for one in (index, truth):
        one.upsert(np.arange(1000, 3000), matrix[1000:])
    pairs = zip(truth.search(matrix[:50], 10), index.search(matrix[:50], 10), strict=True)
    assert np.mean([np.isin(one.ids, other.ids).mean() for one, other in pairs]) >= 0.9
