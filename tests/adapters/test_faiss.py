from pathlib import Path

import numpy as np
import pytest
from example_vectors import clustered
from itemspace import Ids, Metric, VectorSet, create_retriever, open_retriever
from itemspace.core.errors import InvalidOption
from itemspace.testing import RetrieverSuite


class _Faiss(RetrieverSuite):
    parameters = ""

    def url(self, folder: Path) -> str:
        return f"faiss://{folder}/index?{self.parameters}"

    def memory_url(self) -> str:
        return f"faiss://?{self.parameters}"


class TestFlat(_Faiss):
    parameters = "factory=Flat"
    least_recall = 1.0


class TestLSH(_Faiss):
    parameters = "factory=LSH128r"


class TestLSHWithoutRerank(_Faiss):
    parameters = "factory=LSH128r&rerank=0"
    least_recall = 0.15


class TestIVF(_Faiss):
    parameters = "factory=IVF4,Flat&nprobe=4"


class TestHNSW(_Faiss):
    parameters = "factory=HNSW16"


class TestPQ(_Faiss):
    parameters = "factory=PQ8x4"
    least_recall = 0.8


@pytest.mark.parametrize("metric", list(Metric))
def test_index_lsh_under_every_metric(metric: Metric) -> None:
    matrix = clustered(20_000, 32)
    truth = create_retriever("exact://", VectorSet(Ids(range(20_000)), matrix, metric))
    queries = matrix[:50] + 0.01
    expected = truth.search(queries, 10)
    for parameters, least in (("factory=LSH256r", 0.8), ("factory=LSH256r&rerank=0", 0.15)):
        index = create_retriever(
            f"faiss://?{parameters}", VectorSet(Ids(range(20_000)), matrix, metric)
        )
        found = index.search(queries, 10)
        shares = [
            len(set(one.ids.tolist()) & set(other.ids.tolist())) / 10
            for one, other in zip(expected, found, strict=True)
        ]
        assert np.mean(shares) > least
        if index.capabilities.scores == "estimated":
            both = [
                (found_score, score)
                for one, other in zip(expected, found, strict=True)
                for name, found_score in other
                for same, score in one
                if same == name
            ]
            estimates, scores = np.array(both).T
            assert np.median(np.abs(estimates - scores) / np.abs(scores)) < 0.35


def test_an_ivf_index_waits_until_it_can_be_trained(tmp_path: Path) -> None:
    matrix = clustered(12_000, 32)
    url = f"faiss://{tmp_path}/index?factory=IVF256,Flat"
    with create_retriever(url, VectorSet(Ids(range(100)), matrix[:100])) as index:
        assert index.search(matrix[3], 1)[0].ids.tolist() == [3]
    with open_retriever(url, "rw") as index:
        index.upsert(range(100, 12_000), matrix[100:])
        assert index.search(matrix[7000], 1)[0].ids.tolist() == [7000]
    with open_retriever(f"{url}&nprobe=256") as index:
        assert len(index) == 12_000
        assert index.search(matrix[11_999], 1)[0].ids.tolist() == [11_999]


def test_a_filter_that_a_graph_cannot_satisfy() -> None:
    """HNSW under a selector may find 0 of 5; k items come back all the same."""
    matrix = clustered(30_000, 32)
    index = create_retriever("faiss://?factory=HNSW8", VectorSet(Ids(range(30_000)), matrix))
    allowed = np.arange(0, 30_000, 2)
    for query in matrix[1:200:20]:
        found = index.search(query, 300, allowed=allowed)[0]
        assert len(found) == 300
        assert not np.any(found.ids % 2)


def test_factories_that_are_none() -> None:
    vectors = VectorSet(Ids([1]), np.ones((1, 8)))
    for factory in ("Nonsense", "LSH256", "PQ3"):
        with pytest.raises(InvalidOption, match="factory"):
            create_retriever(f"faiss://?factory={factory}", vectors)
    with pytest.raises(InvalidOption, match="at least 1"):
        create_retriever("faiss://?nprobe=0", vectors)
