"""What engines of graphs get wrong, each a test, over whatever a scheme names."""

import multiprocessing
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_vectors import clustered, recall
from itemspace import Ids, Metric, VectorSet, create_retriever, open_retriever
from itemspace.core.errors import CorruptData, DimensionMismatch, InvalidOption, InvalidVectors
from itemspace.core.neighbors import Completeness

N, DIM, K = 3000, 16, 10


def recall_of(url: str, matrix: np.ndarray, metric: Metric, queries: np.ndarray) -> float:
    vectors = VectorSet(Ids(np.arange(len(matrix))), matrix, metric)
    truth = create_retriever("exact:", vectors).search(queries, K)
    found = create_retriever(url, vectors).search(queries, K)
    return recall(truth, found)


class GraphEngineSuite:
    """Inherit, name the class ``Test…``, and set the scheme."""

    scheme: str
    #: Recall of inner products where lengths are log-normal.
    least_of_products = 0.95

    def test_recall(self) -> None:
        matrix = clustered()
        for metric in Metric:
            assert recall_of(f"{self.scheme}:", matrix, metric, matrix[:50] + 0.01) >= 0.97

    def test_products_of_vectors_of_different_lengths(self) -> None:
        rng = np.random.default_rng(1)
        matrix = clustered() * rng.lognormal(0, 0.5, (N, 1)).astype(np.float32)
        queries = rng.standard_normal((50, DIM))
        found = recall_of(f"{self.scheme}:", matrix, Metric.INNER_PRODUCT, queries)
        assert found >= self.least_of_products

    @pytest.mark.parametrize("scale", [1e-30, 1e-4, 1e20])
    def test_tiny_and_huge_vectors(self, scale: float) -> None:
        """Of 1 - product in float32 a small product is rounded away; squares overflow."""
        matrix = clustered(600) * np.float32(scale)
        for metric in Metric:
            assert recall_of(f"{self.scheme}:", matrix, metric, matrix[:50]) >= 0.97

    def test_more_than_there_are(self) -> None:
        matrix = clustered(300)
        index = self.make(matrix)
        for queries in (matrix[:1], matrix[:7]):
            for k in (299, 300, 301, 5000):
                for found in index.search(queries, k):
                    assert len(set(found.ids.tolist())) == len(found) == min(k, 300)
                    all_found = Completeness.FULL if k <= 300 else Completeness.EXHAUSTED
                    assert found.completeness is all_found

    def test_vectors_that_no_edge_leads_to(self) -> None:
        """Many of the same vector fall apart into islands; all of them come back all the same."""
        matrix = np.repeat(np.eye(3, DIM, dtype=np.float32), 400, axis=0)
        index = self.make(matrix, "?m=2&ef_construction=4&ef_search=1")
        for k in (5, 900):
            for found in index.search(matrix[[0, 500, 1100]], k):
                assert len(set(found.ids.tolist())) == k

    def test_a_filter_that_leaves_few(self) -> None:
        matrix = clustered(14_000, 8)
        index = self.make(matrix, "?ef_construction=40")
        allowed = np.arange(0, 14_000, 1000)
        for found in index.search(matrix[:5], 50, allowed=allowed):
            assert sorted(found.ids.tolist()) == allowed.tolist()
            assert found.completeness is Completeness.EXHAUSTED
        allowed = np.arange(12_000)
        for found in index.search(matrix[13_000:13_005], 300, allowed=allowed, excluded=[0, 1]):
            assert len(found) == 300
            assert found.ids.min() >= 2 and found.ids.max() < 12_000

    def test_wrong_dimensions_and_nan(self) -> None:
        index = self.make(clustered(300))
        for wrong in (DIM - 1, DIM + 1):
            with pytest.raises(DimensionMismatch):
                index.search(np.ones(wrong), 3)
        with pytest.raises(InvalidVectors):
            index.search(np.full(DIM, np.nan), 3)
        with pytest.raises(InvalidVectors):
            index.upsert([1], np.full((1, DIM), np.inf))

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        empty = VectorSet(Ids([], "int"), np.empty((0, DIM)))
        url = f"{self.scheme}:{tmp_path}/index"
        with create_retriever(url, empty) as index:
            assert len(index.search(np.ones(DIM), 3)[0]) == 0
        with open_retriever(url, "rw") as index:
            index.upsert([-5], np.ones((1, DIM)))
            assert index.search(np.ones((2, DIM)), 3)[1].ids.tolist() == [-5]
            index.delete([-5])
            assert len(index.search(np.ones(DIM), 3)[0]) == 0

    def test_ids_below_zero(self) -> None:
        matrix = clustered(300)
        index = create_retriever(f"{self.scheme}:", VectorSet(Ids(np.arange(-300, 0)), matrix))
        for found in index.search(matrix, 3):
            assert found.ids.max() < 0
        assert index.search(matrix[7], 1)[0].ids.tolist() == [-293]

    @pytest.mark.parametrize("metric", list(Metric))
    def test_what_is_deleted_stays_away(self, tmp_path: Path, metric: Metric) -> None:
        """Rows come and go; a graph is asked for neighbours where all around are gone."""
        rng, matrix = np.random.default_rng(2), clustered()
        url = f"{self.scheme}:{tmp_path}/index"
        vectors = VectorSet(Ids(np.arange(1500)), matrix[:1500], metric)
        alive = np.zeros(N, dtype=bool)
        alive[:1500] = True
        create_retriever(url, vectors).close()
        for step in range(3):
            with open_retriever(url, "rw") as index:
                came = np.arange(1500 + step * 500, 2000 + step * 500)
                index.upsert(came, matrix[came])
                alive[came] = True
                near = index.search(matrix[step], 60)[0].ids
                gone = np.union1d(near, rng.choice(np.flatnonzero(alive), 80, replace=False))
                assert index.delete(gone) == len(gone)
                alive[gone] = False
                self.check(index, matrix, alive)
            with open_retriever(url) as index:
                self.check(index, matrix, alive)

    def check(self, index: Any, matrix: np.ndarray, alive: np.ndarray) -> None:
        rows = np.flatnonzero(alive)
        assert len(index) == len(rows)
        truth = create_retriever("exact:", VectorSet(Ids(rows), matrix[rows], index.metric))
        queries = matrix[:20]
        shares = []
        for one, other in zip(truth.search(queries, K), index.search(queries, K), strict=True):
            assert len(other) == K and alive[other.ids].all()
            shares.append(np.isin(one.ids, other.ids).mean())
        assert np.mean(shares) >= 0.9

    def test_grown_one_by_one(self) -> None:
        """Past the room that was made at first."""
        matrix = clustered(400)
        index = self.make(matrix[:1])
        for row in range(1, 400):
            index.upsert([row], matrix[row : row + 1])
        found = [answer.ids[0] for answer in index.search(matrix, 1)]
        assert np.mean(np.array(found) == np.arange(400)) >= 0.99

    def test_a_batch_equals_single_queries_from_many_threads(self) -> None:
        matrix = clustered()
        indexes = [self.make(matrix, f"?ef_search={width}&threads=2") for width in (10, 200)]
        queries = matrix[:200] + 0.05
        expected = [[one.ids.tolist() for one in index.search(queries, K)] for index in indexes]
        assert expected[0] != expected[1]
        wrong: list[Any] = []

        def ask(which: int, start: int) -> None:
            for at in range(start, 200, 4):
                batch = queries[at : at + 1 + at % 30]
                found = [one.ids.tolist() for one in indexes[which].search(batch, K)]
                if found != expected[which][at : at + 1 + at % 30]:
                    wrong.append((which, at))

        threads = [threading.Thread(target=ask, args=(at % 2, at // 2)) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_ef_search_at_opening(self, tmp_path: Path) -> None:
        matrix = clustered()
        url = f"{self.scheme}:{tmp_path}/index"
        create_retriever(f"{url}?m=4&ef_search=10", VectorSet(Ids(np.arange(N)), matrix)).close()
        truth = create_retriever("exact:", VectorSet(Ids(np.arange(N)), matrix))
        queries = matrix[:100] + 0.3
        expected, shares = truth.search(queries, K), []
        for width in (10, 500):
            with open_retriever(f"{url}?ef_search={width}") as index:
                found = index.search(queries, K)
            pairs = zip(expected, found, strict=True)
            shares.append(np.mean([np.isin(one.ids, other.ids).mean() for one, other in pairs]))
        assert shares[0] + 0.02 < shares[1]
        assert shares[1] > 0.97

    def test_damaged_files_are_not_read(self, tmp_path: Path) -> None:
        """An engine that reads one crashes the process, or answers from it."""
        matrix = clustered(300)
        vectors = VectorSet(Ids(np.arange(300)), matrix)
        for name, made in (
            ("index", vectors),
            ("other", VectorSet(vectors.ids, -matrix)),
            ("narrow", VectorSet(vectors.ids, matrix[:, :8])),
            ("few", VectorSet(vectors.ids[:200], matrix[:200])),
            ("distances", VectorSet(vectors.ids, matrix, Metric.EUCLIDEAN)),
        ):
            create_retriever(f"{self.scheme}:{tmp_path}/{name}", made).close()
        folder = next((tmp_path / "index").glob("generation-*/index"))
        whole = {file: file.read_bytes() for file in folder.iterdir()}
        assert len(whole) == 2
        for file, content in whole.items():
            for at in range(0, len(content), max(1, len(content) // 7)):
                flipped = bytearray(content)
                flipped[at] ^= 0xFF
                file.write_bytes(flipped)
                self.check_refused(tmp_path)
            for damaged in (content[: len(content) // 2], b"", b"\x93NUMPYgarbage", b"[]"):
                file.write_bytes(damaged)
                self.check_refused(tmp_path)
            file.write_bytes(content)
        engine = next(file for file in whole if file.suffix != ".json")
        for other in ("narrow", "few", "distances"):
            source = next((tmp_path / other).glob("generation-*/index"))
            for file in whole:
                shutil.copy(source / file.name, file)
            self.check_index_refuses(folder)
        for file, content in whole.items():
            file.write_bytes(content)
        shutil.copy(next((tmp_path / "other").glob("generation-*/index")) / engine.name, engine)
        self.check_index_refuses(folder)
        engine.write_bytes(whole[engine])
        with open_retriever(f"{self.scheme}:{tmp_path}/index") as index:
            assert index.search(matrix[3], 1)[0].ids.tolist() == [3]

    def check_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CorruptData):
            open_retriever(f"{self.scheme}:{tmp_path}/index")

    def check_index_refuses(self, folder: Path) -> None:
        """Past the manifest, which knows the sizes of files already."""
        empty = VectorSet(Ids([], "int"), np.empty((0, DIM)))
        index: Any = create_retriever(f"{self.scheme}:", empty)
        with pytest.raises(CorruptData):
            index._driver._index.load(folder, 300)

    def test_a_forked_child_answers(self) -> None:
        matrix = clustered()
        index = self.make(matrix)
        expected = [found.ids.tolist() for found in index.search(matrix[:50], 3)]
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()

        def child() -> None:
            queue.put([found.ids.tolist() for found in index.search(matrix[:50], 3)])

        process = context.Process(target=child)
        process.start()
        process.join(30)
        if process.is_alive():
            process.kill()
        assert process.exitcode == 0
        assert queue.get() == expected

    def test_built_by_one_thread_it_is_the_same_each_time(self) -> None:
        matrix = clustered()
        one, other = (self.make(matrix, "?threads=1&ef_search=10&m=4") for _ in range(2))
        queries = matrix[:200] + 0.3
        for found, again in zip(one.search(queries, K), other.search(queries, K), strict=True):
            assert found.ids.tolist() == again.ids.tolist()

    def test_it_says_what_it_is_made_of(self) -> None:
        told = self.make(clustered(300), "?m=8")._driver._index.describe()
        assert (told["m"], told["ef_construction"], told["threads"]) == (8, 200, None)

    @pytest.mark.parametrize("name", ["m=1", "ef_construction=0", "ef_search=0", "threads=0"])
    def test_options_out_of_range(self, name: str) -> None:
        with pytest.raises(InvalidOption, match="at least"):
            self.make(clustered(300), f"?{name}")

    def make(self, matrix: np.ndarray, parameters: str = "") -> Any:
        vectors = VectorSet(Ids(np.arange(len(matrix))), matrix)
        return create_retriever(f"{self.scheme}:{parameters}", vectors)
