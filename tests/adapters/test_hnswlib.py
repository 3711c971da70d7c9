from pathlib import Path
from typing import Any

import numpy as np
from example_vectors import clustered
from graph_engines import GraphEngineSuite
from itemspace import Ids, VectorSet, create_retriever
from itemspace.testing import RetrieverSuite


class TestHnswlib(RetrieverSuite):
    def url(self, folder: Path) -> str:
        return f"hnswlib://{folder}/index"

    def memory_url(self) -> str:
        return "hnswlib://"


class TestEngine(GraphEngineSuite):
    scheme = "hnswlib"


def test_one_query_that_finds_too_few_spares_the_others() -> None:
    """hnswlib gives up a whole batch; the others still come from it, that one from a scan."""
    matrix = clustered(500)
    index: Any = create_retriever("hnswlib:", VectorSet(Ids(np.arange(500)), matrix))
    engine = index._driver._index._index
    for row in range(100):
        engine.mark_deleted(row)
    rows, scores = index._driver._index.search(None, matrix[:3], 401, None)
    assert (rows == -1).all() and (scores == -np.inf).all()
    rows, _ = index._driver._index.search(None, matrix[:3], 390, None)
    assert (rows >= 100).all()
