import multiprocessing
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from example_vectors import clustered
from graph_engines import GraphEngineSuite, recall_of
from itemspace import Ids, Metric, VectorSet, create_retriever
from itemspace.core.errors import InvalidOption, UnsupportedError
from itemspace.testing import RetrieverSuite


class TestUsearch(RetrieverSuite):
    def url(self, folder: Path) -> str:
        return f"usearch://{folder}/index"

    def memory_url(self) -> str:
        return "usearch://"


@pytest.mark.slow
class TestBytes(RetrieverSuite):
    metrics: ClassVar = (Metric.COSINE,)

    def url(self, folder: Path) -> str:
        return f"usearch://{folder}/index?dtype=i8"


class TestEngine(GraphEngineSuite):
    scheme = "usearch"


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "i8"])
def test_numbers_of_fewer_bits(dtype: str) -> None:
    matrix = clustered()
    lengths = np.random.default_rng(1).lognormal(0, 0.5, (len(matrix), 1)).astype(np.float32)
    for metric in Metric:
        if dtype == "i8" and metric is not Metric.COSINE:
            with pytest.raises(UnsupportedError, match="i8"):
                recall_of("usearch:?dtype=i8", matrix, metric, matrix[:50])
        else:
            found = recall_of(
                f"usearch:?dtype={dtype}", matrix * lengths, metric, matrix[:50] + 0.01
            )
            assert found >= 0.95


def test_rows_far_longer_than_the_first() -> None:
    """f16 ends at 65,504 times the longest of the first; what is beyond it does no harm."""
    matrix = clustered(600)
    url = "usearch:?dtype=f16"
    index = create_retriever(url, VectorSet(Ids(np.arange(300)), matrix[:300], Metric.EUCLIDEAN))
    index.upsert(np.arange(300, 600), matrix[300:] * np.float32(1e9))
    for found in index.search(matrix[:300], 10):
        assert len(found) == 10
    found = [answer.ids[0] for answer in index.search(matrix[:300], 1)]
    assert np.mean(np.array(found) == np.arange(300)) >= 0.95


def test_dtypes_that_are_none() -> None:
    for dtype in ("f8", "i4", "F32"):
        with pytest.raises(InvalidOption, match="f32, f16, bf16, i8"):
            create_retriever(f"usearch:?dtype={dtype}", VectorSet(Ids([1]), np.ones((1, 8))))


def test_places_that_a_batch_leaves_unused() -> None:
    """They hold key 0 and NaN in usearch."""
    matrix = clustered(50)
    index: Any = create_retriever("usearch:", VectorSet(Ids(np.arange(50)), matrix))
    rows, scores = index._driver._index.search(None, matrix[:3], 60, None)
    assert (rows[:, :50] >= 0).all() and (rows[:, 50:] == -1).all()
    assert (scores[:, 50:] == -np.inf).all() and not np.isnan(scores).any()
    assert (np.diff(scores[:, :50]) <= 0).all()


@pytest.mark.filterwarnings("ignore:This process")
def test_a_fork_in_the_middle_of_a_search() -> None:
    """The child would find usearch's lock taken by a thread that it has not."""
    matrix = clustered()
    index = create_retriever("usearch:", VectorSet(Ids(np.arange(len(matrix))), matrix))
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            index.search(matrix, 10)

    def child() -> None:
        assert len(index.search(matrix[:3], 10)[2]) == 10

    thread = threading.Thread(target=search)
    thread.start()
    try:
        for _ in range(5):
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join(20)
            if process.is_alive():
                process.kill()
                process.join()
            assert process.exitcode == 0
    finally:
        stop.set()
        thread.join()
