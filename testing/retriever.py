"""The contract of :class:`~itemspace.core.retriever.Retriever`, as tests.

A backend proves itself by a class in its own tests that says where it lives, and nothing else::

    from itemspace.testing import RetrieverSuite

    class TestMine(RetrieverSuite):
        def url(self, folder):
            return f"mine://{folder}/index"

The suite cannot be thinned out: overriding a test raises at import. A gap is what the backend's
``Capabilities`` declare; each declaration is itself checked. Needs pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ..adapters import create_retriever, open_retriever
from ..core.errors import (
    BackendExists,
    BackendNotFound,
    ClosedError,
    DimensionMismatch,
    DuplicateIds,
    InvalidId,
    InvalidOption,
    InvalidVectors,
    ReadOnlyError,
    UnknownIds,
    UnknownParameter,
)
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.neighbors import Completeness, NeighborList
from ..core.retriever import Retriever
from ..core.vectors import FloatMatrix, VectorSet

N, DIM = 500, 16
Make = Callable[..., Retriever]


class RetrieverSuite:
    """Inherit, name the class ``Test…``, and define :meth:`url`."""

    #: Metrics that the backend offers.
    metrics: ClassVar[tuple[Metric, ...]] = tuple(Metric)
    #: The least share of the true ten nearest that it must find on the suite's small data.
    least_recall: ClassVar[float] = 0.9

    def url(self, folder: Path) -> str:
        """The URL of an index that is not there yet, in ``folder`` or wherever it lives."""
        raise NotImplementedError

    def memory_url(self) -> str | None:
        """The URL of an index in memory, ``None`` where the backend has no such thing."""
        return None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        suite = {name for name in vars(RetrieverSuite) if name.startswith("test_")}
        thinned = sorted(suite & set(vars(cls)))
        if thinned:
            raise TypeError(
                f"{cls.__name__} replaces {', '.join(thinned)} of the conformance suite. A gap is "
                "declared in the backend's Capabilities, never by leaving a test out."
            )

    # -- fixtures ----------------------------------------------------------------------------

    @pytest.fixture(params=list(Metric))
    def metric(self, request: pytest.FixtureRequest) -> Metric:
        """Each metric; one that the backend does not offer must be refused."""
        metric: Metric = request.param
        return metric

    @pytest.fixture(params=["int", "str"])
    def kind(self, request: pytest.FixtureRequest) -> IdKind:
        """Both kinds of ids."""
        kind: IdKind = request.param
        return kind

    @pytest.fixture
    def make(self, tmp_path: Path) -> Iterator[Make]:
        """Create a retriever over vectors; closed at the end."""
        made: list[Retriever] = []

        def create(vectors: VectorSet) -> Retriever:
            folder = tmp_path / str(len(made))
            folder.mkdir()
            made.append(create_retriever(self.url(folder), vectors))
            return made[-1]

        yield create
        for retriever in made:
            retriever.close()

    @pytest.fixture
    def offered(self, metric: Metric) -> Metric:
        """A metric that the backend offers."""
        if metric not in self.metrics:
            pytest.skip(f"declared: no {metric}; its refusal is checked in test_metrics")
        return metric

    # -- scores and order --------------------------------------------------------------------

    def test_metrics(self, make: Make, metric: Metric) -> None:
        vectors = _vectors("int", metric)
        if metric not in self.metrics:
            with pytest.raises(NotImplementedError):
                make(vectors)
        else:
            assert make(vectors).metric is metric

    def test_scores_are_those_of_the_metric(
        self, make: Make, offered: Metric, kind: IdKind
    ) -> None:
        vectors = _vectors(kind, offered)
        retriever = make(vectors)
        queries = _queries()
        for query, found in zip(queries, retriever.search(queries, 10), strict=True):
            assert found.completeness is Completeness.FULL
            assert len(found) == 10
            _check_form(found, 10)
            if retriever.capabilities.scores == "exact":
                _check_scores(query, found, vectors)

    def test_finds_the_nearest(self, make: Make, offered: Metric) -> None:
        vectors = _vectors("int", offered)
        retriever = make(vectors)
        queries = _queries()
        shares = []
        for query, found in zip(queries, retriever.search(queries, 10), strict=True):
            truth = _brute_force(query, vectors, 10)
            shares.append(len(set(truth) & set(found.ids.tolist())) / 10)
        assert np.mean(shares) >= (1.0 if retriever.capabilities.is_exact else self.least_recall)

    def test_negative_products_and_large_norms(self, make: Make) -> None:
        if Metric.INNER_PRODUCT not in self.metrics:
            pytest.skip("declared: no inner product")
        base = _vectors("int", Metric.INNER_PRODUCT)
        scale = np.where(np.arange(N) % 7 == 0, 1e4, 1.0).astype(np.float32)
        vectors = VectorSet(base.ids, -np.abs(base.matrix) * scale[:, None], base.metric)
        retriever = make(vectors)
        query = np.ones(DIM, dtype=np.float32)
        found = retriever.search(query, N)[0]
        assert len(found) == N
        if retriever.capabilities.scores == "exact":
            assert found.scores.max() < 0
            _check_scores(query, found, vectors)

    def test_answers_visible_by_eye(self, make: Make, kind: IdKind) -> None:
        names = _names(kind, 4)
        matrix = np.zeros((4, DIM), dtype=np.float32)
        matrix[:, 0] = 1, 1, 0, -1
        matrix[:, 1] = 0, 0.1, 1, 0
        found = make(VectorSet(Ids(names), matrix)).search(matrix[0], 4)[0]
        if self._exact(make):
            assert found.ids.tolist() == names
            assert found.scores[0] == pytest.approx(1)
            assert found.scores[2] == pytest.approx(0, abs=1e-6)
            assert found.scores[3] == pytest.approx(-1)
        assert sorted(map(str, found.ids)) == sorted(map(str, names))

    def test_ties_are_ordered_by_id(self, make: Make, kind: IdKind) -> None:
        names = _names(kind, 20)
        matrix = np.ones((20, DIM), dtype=np.float32)
        retriever = make(VectorSet(Ids(names[::-1]), matrix))
        everything = retriever.search(matrix[0], 20)[0]
        assert everything.ids.tolist() == sorted(names)
        if retriever.capabilities.supports_exact_ties:
            assert retriever.search(matrix[0], 5)[0].ids.tolist() == sorted(names)[:5]

    def test_a_batch_equals_single_queries(self, make: Make, offered: Metric) -> None:
        retriever = make(_vectors("int", offered))
        queries = _queries()
        for query, together in zip(queries, retriever.search(queries, 7), strict=True):
            alone = retriever.search(query, 7)[0]
            assert alone.ids.tolist() == together.ids.tolist()
            assert alone.scores.tolist() == together.scores.tolist()

    def test_scores_are_float64(self, make: Make) -> None:
        found = make(_vectors("int", Metric.COSINE)).search(_queries()[0], 3)[0]
        assert found.scores.dtype == np.float64

    # -- k and completeness ------------------------------------------------------------------

    def test_k_larger_than_everything(self, make: Make, offered: Metric, kind: IdKind) -> None:
        vectors = _vectors(kind, offered)
        found = make(vectors).search(_queries()[0], 10 * N)[0]
        assert len(found) == N
        assert found.completeness is Completeness.EXHAUSTED
        assert sorted(map(str, found.ids)) == sorted(map(str, vectors.ids))
        _check_form(found, N)

    @pytest.mark.parametrize("k", [0, -1, 1.5, True, None])
    def test_k_out_of_range(self, make: Make, k: Any) -> None:
        retriever = make(_vectors("int", Metric.COSINE))
        with pytest.raises(InvalidOption, match="k is a whole number"):
            retriever.search(_queries()[0], k)

    def test_empty(self, make: Make, kind: IdKind) -> None:
        retriever = make(VectorSet(Ids([], kind), np.empty((0, DIM), dtype=np.float32)))
        found = retriever.search(_queries()[0], 3)[0]
        assert (len(retriever), len(found)) == (0, 0)
        assert found.completeness is Completeness.EXHAUSTED
        assert len(retriever.search(np.empty((0, DIM)), 3)) == 0
        names = _names(kind, 3)
        retriever.upsert(names, np.eye(3, DIM))
        assert len(retriever.search(_queries()[0], 5)[0]) == 3

    # -- ids ---------------------------------------------------------------------------------

    def test_ids_come_back_as_they_went_in(self, make: Make) -> None:
        numbers = [0, -1, 1, -(2**63), 2**63 - 1, 2**53 + 1, 42]
        texts = ["", "a", "A", "é", "e\u0301", "007", "7", "x" * 255, "a b", "'; --", "🎈", "\n"]
        for names in (numbers, texts):
            matrix = np.eye(len(names), DIM, dtype=np.float32) + 0.01
            retriever = make(VectorSet(Ids(names), matrix))
            found = retriever.search(matrix, len(names))
            assert [answer.ids.tolist()[0] for answer in found] == names or not self._exact(make)
            assert set(found[0].ids.tolist()) == set(names)
            assert all(type(name) is type(names[0]) for name in found[0].ids.tolist())
            assert all(name in retriever for name in names)
            assert set(_scanned(retriever)) == set(names)

    def test_wrong_kind_of_id(self, make: Make, kind: IdKind) -> None:
        retriever = make(_vectors(kind, Metric.COSINE))
        wrong: list[Any] = ["a"] if kind == "int" else [1]
        for call in (
            lambda: retriever.upsert(wrong, _queries()[:1]),
            lambda: retriever.delete(wrong),
            lambda: retriever.vectors(wrong),
            lambda: retriever.search(_queries()[0], 3, allowed=wrong),
        ):
            with pytest.raises(InvalidId):
                call()
        for bad in ([True], [1.5], [None], [2**63], ["x" * 256], ["a\0b"], "abc"):
            with pytest.raises(InvalidId):
                retriever.upsert(bad, _queries()[:1])
        assert len(retriever) == N
        assert wrong[0] not in retriever

    def test_unknown_ids(self, make: Make, kind: IdKind) -> None:
        retriever = make(_vectors(kind, Metric.COSINE))
        unknown = "nobody" if kind == "str" else 10**12
        assert unknown not in retriever
        assert retriever.delete([unknown]) == 0
        with pytest.raises(UnknownIds) as caught:
            retriever.vectors([_names(kind, 1)[0], unknown])
        assert caught.value.ids == [unknown]

    def test_duplicate_ids_in_one_call(self, make: Make, kind: IdKind) -> None:
        retriever = make(_vectors(kind, Metric.COSINE))
        first = _names(kind, 1)[0]
        before = retriever.vectors([first])
        with pytest.raises(DuplicateIds):
            retriever.upsert([first, first], _queries()[:2])
        with pytest.raises(DuplicateIds):
            retriever.delete([first, first])
        assert np.array_equal(retriever.vectors([first]), before)
        assert len(retriever) == N

    # -- bad vectors -------------------------------------------------------------------------

    @pytest.mark.parametrize("dim", [1, DIM - 1, DIM + 1])
    def test_wrong_dimension(self, make: Make, dim: int) -> None:
        retriever = make(_vectors("int", Metric.COSINE))
        with pytest.raises(DimensionMismatch) as caught:
            retriever.search(np.ones((2, dim)), 3)
        assert (caught.value.expected, caught.value.received) == (DIM, dim)
        with pytest.raises(DimensionMismatch):
            retriever.upsert([10**6], np.ones((1, dim)))
        assert 10**6 not in retriever

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
    def test_numbers_that_are_not_finite(self, make: Make, value: float) -> None:
        retriever = make(_vectors("int", Metric.COSINE))
        bad = np.ones((2, DIM))
        bad[1, 3] = value
        with pytest.raises(InvalidVectors, match="row 1"):
            retriever.search(bad, 3)
        with pytest.raises(InvalidVectors, match="row 1"):
            retriever.upsert([10**6, 10**6 + 1], bad)
        assert 10**6 not in retriever

    def test_vectors_of_other_shapes(self, make: Make) -> None:
        retriever = make(_vectors("int", Metric.COSINE))
        for bad in (np.ones((1, 1, DIM)), np.float32(1), np.array([["a"] * DIM]), [[1, 2], [3]]):
            with pytest.raises(ValueError):
                retriever.search(bad, 3)
        with pytest.raises(InvalidVectors, match="one vector per id"):
            retriever.upsert([10**6], np.ones((2, DIM)))

    def test_zero_vectors(self, make: Make, offered: Metric) -> None:
        retriever = make(_vectors("int", offered))
        zero = np.zeros((1, DIM))
        if offered is Metric.COSINE:
            with pytest.raises(InvalidVectors, match="zero"):
                retriever.search(zero, 3)
            with pytest.raises(InvalidVectors, match="zero"):
                retriever.upsert([10**6], zero)
            return
        retriever.upsert([10**6], zero)
        found = retriever.search(zero, N + 1)[0]
        assert 10**6 in found.ids.tolist()
        if retriever.capabilities.scores == "exact":
            at = found.ids.tolist().index(10**6)
            assert found.scores[at] == 0

    def test_arguments_are_not_changed(self, make: Make, offered: Metric) -> None:
        queries, extra = _queries(), _queries() * 3
        kept, kept_extra = queries.copy(), extra.copy()
        retriever = make(_vectors("int", offered))
        retriever.upsert(np.arange(10**6, 10**6 + len(extra)), extra)
        retriever.search(queries, 5)
        assert np.array_equal(queries, kept)
        assert np.array_equal(extra, kept_extra)
        extra_in = retriever.vectors([10**6])
        extra[:] = 7  # what went in is the caller's again
        assert np.array_equal(retriever.vectors([10**6]), extra_in)
        assert np.allclose(extra_in, kept_extra[:1]) or retriever.capabilities.stores != "exact"

    # -- filters -----------------------------------------------------------------------------

    @pytest.mark.parametrize("share", [0.002, 0.1, 0.5, 1.0])
    def test_allowed(self, make: Make, offered: Metric, kind: IdKind, share: float) -> None:
        vectors = _vectors(kind, offered)
        retriever = make(vectors)
        chosen = np.random.default_rng(3).permutation(N)[: max(1, int(share * N))]
        allowed = vectors.ids[chosen]
        inside = set(allowed)
        for query, found in zip(
            _queries(), retriever.search(_queries(), 10, allowed=allowed), strict=True
        ):
            assert set(found.ids.tolist()) <= inside
            assert len(found) == min(10, len(chosen))
            full = len(chosen) >= 10
            assert found.completeness is (Completeness.FULL if full else Completeness.EXHAUSTED)
            if retriever.capabilities.is_exact:
                assert found.ids.tolist() == _brute_force(query, vectors, 10, inside)

    def test_excluded(self, make: Make, offered: Metric, kind: IdKind) -> None:
        vectors = _vectors(kind, offered)
        retriever = make(vectors)
        query = _queries()[0]
        first = retriever.search(query, 10)[0].ids
        second = retriever.search(query, 10, excluded=first)[0]
        assert len(second) == 10
        assert not set(second.ids.tolist()) & set(first.tolist())
        rest = retriever.search(query, N, excluded=vectors.ids[: N - 3])[0]
        assert len(rest) == 3
        assert rest.completeness is Completeness.EXHAUSTED

    def test_excluded_wins_over_allowed(self, make: Make, kind: IdKind) -> None:
        names = _names(kind, 4)
        retriever = make(_vectors(kind, Metric.COSINE))
        found = retriever.search(_queries()[0], 10, allowed=names, excluded=names[:1])[0]
        assert set(found.ids.tolist()) == set(names[1:])

    def test_filters_that_leave_nothing(self, make: Make, kind: IdKind) -> None:
        retriever = make(_vectors(kind, Metric.COSINE))
        unknown = ["nobody"] if kind == "str" else [10**12]
        for allowed in ([], unknown):
            found = retriever.search(_queries()[0], 5, allowed=allowed)[0]
            assert len(found) == 0
            assert found.completeness is Completeness.EXHAUSTED
        assert len(retriever.search(_queries()[0], 5, excluded=[])[0]) == 5

    def test_a_filter_made_once(self, make: Make, kind: IdKind) -> None:
        names = _names(kind, 40)
        retriever = make(_vectors(kind, Metric.COSINE))
        allowed = retriever.filter(names)
        for _ in range(2):
            found = retriever.search(_queries()[0], 40, allowed=allowed)[0]
            assert set(found.ids.tolist()) == set(names)
        retriever.delete(names[:1])
        found = retriever.search(_queries()[0], 40, allowed=allowed)[0]
        assert set(found.ids.tolist()) == set(names[1:])
        retriever.upsert(names[:1], _queries()[:1])
        found = retriever.search(_queries()[0], 40, allowed=allowed)[0]
        assert set(found.ids.tolist()) == set(names)

    # -- updates -----------------------------------------------------------------------------

    def test_upsert_replaces(self, make: Make, offered: Metric, kind: IdKind) -> None:
        retriever = make(_vectors(kind, offered))
        name, query = _names(kind, 1)[0], _queries()[0]
        for step in range(1, 4):
            retriever.upsert([name], query[None, :] * step)
            assert len(retriever) == N
            everything = retriever.search(query, N + 5)[0].ids.tolist()
            assert everything.count(name) == 1
            if retriever.capabilities.stores == "exact":
                assert np.array_equal(retriever.vectors([name])[0], query * step)
        if offered is not Metric.EUCLIDEAN and self._exact(make):
            assert retriever.search(query, 1)[0].ids.tolist() == [name]

    def test_deleted_items_stay_deleted(self, make: Make, kind: IdKind) -> None:
        retriever = make(_vectors(kind, Metric.COSINE))
        query = _queries()[0]
        gone = retriever.search(query, 10)[0].ids.tolist()
        assert retriever.delete(gone) == 10
        assert retriever.delete(gone) == 0
        assert len(retriever) == N - 10
        assert not set(gone) & set(retriever.search(query, N)[0].ids.tolist())
        assert not set(gone) & set(retriever.search(query, 20)[0].ids.tolist())
        assert not set(gone) & set(_scanned(retriever))
        assert all(name not in retriever for name in gone)
        assert len(retriever.search(query, 5, allowed=gone)[0]) == 0

    def test_everything_deleted(self, make: Make, kind: IdKind) -> None:
        vectors = _vectors(kind, Metric.COSINE)
        retriever = make(vectors)
        assert retriever.delete(vectors.ids) == N
        found = retriever.search(_queries()[0], 5)[0]
        assert (len(retriever), len(found)) == (0, 0)
        assert found.completeness is Completeness.EXHAUSTED

    # -- vectors, scan, files ----------------------------------------------------------------

    def test_vectors_come_back(self, make: Make, offered: Metric, kind: IdKind) -> None:
        vectors = _vectors(kind, offered)
        retriever = make(vectors)
        order = np.random.default_rng(1).permutation(N)[:50]
        back = retriever.vectors(vectors.ids[order])
        assert back.dtype == np.float32
        assert back.flags.c_contiguous
        _check_stored(back, vectors.matrix[order], retriever)

    @pytest.mark.parametrize("batch_size", [1, 7, N, 10 * N])
    def test_scan_gives_everything_once(self, make: Make, kind: IdKind, batch_size: int) -> None:
        vectors = _vectors(kind, Metric.COSINE)
        retriever = make(vectors)
        names: list[Any] = []
        for ids, matrix in retriever.scan(batch_size):
            assert len(ids) == len(matrix) <= batch_size
            _check_stored(matrix, vectors.vectors(ids), retriever)
            names += ids.to_list()
        assert len(names) == N
        assert set(names) == set(vectors.ids)

    def test_closed_and_opened_again(self, tmp_path: Path, offered: Metric, kind: IdKind) -> None:
        url, vectors = self.url(tmp_path), _vectors(kind, offered)
        extra = _names(kind, N + 5)[N:]
        with create_retriever(url, vectors) as first:
            if not first.capabilities.persistent:
                pytest.skip("declared: not persistent")
            first.upsert(extra, _queries()[:5])
            first.delete(vectors.ids[:3])
            before = first.search(_queries(), 10)
        with open_retriever(url) as second:
            assert (len(second), second.dim, second.metric) == (N + 2, DIM, offered)
            assert second.id_kind == kind
            assert set(_scanned(second)) == {*vectors.ids[3:], *extra}
            for one, other in zip(before, second.search(_queries(), 10), strict=True):
                _check_form(other, 10)
                if first.capabilities.is_exact:
                    assert one.ids.tolist() == other.ids.tolist()
                    assert one.scores.tolist() == other.scores.tolist()
            with pytest.raises(ReadOnlyError):
                second.upsert(extra, _queries()[:5])
            with pytest.raises(ReadOnlyError):
                second.delete(extra)
        with open_retriever(url, "rw") as third:
            third.upsert(extra[:1], _queries()[5:6])
            assert third.delete(extra[1:]) == 4
        with open_retriever(url) as fourth:
            assert len(fourth) == N - 2
            _check_stored(fourth.vectors(extra[:1]), _queries()[5:6], fourth)

    def test_create_does_not_overwrite_and_open_does_not_create(self, tmp_path: Path) -> None:
        url, vectors = self.url(tmp_path), _vectors("int", Metric.COSINE)
        with pytest.raises(BackendNotFound):
            open_retriever(url)
        with pytest.raises(BackendNotFound):
            open_retriever(url, "rw")
        create_retriever(url, vectors).close()
        with pytest.raises(BackendExists):
            create_retriever(url, vectors)
        with open_retriever(url) as retriever:
            assert len(retriever) == N

    def test_after_close(self, make: Make) -> None:
        retriever = make(_vectors("int", Metric.COSINE))
        retriever.close()
        retriever.close()
        for call in (
            lambda: retriever.search(_queries()[0], 1),
            lambda: retriever.upsert([1], _queries()[:1]),
            lambda: retriever.delete([1]),
            lambda: retriever.vectors([1]),
            retriever.scan,
            retriever.flush,
            lambda: len(retriever),
        ):
            with pytest.raises(ClosedError):
                call()

    def test_in_memory(self) -> None:
        url = self.memory_url()
        if url is None:
            pytest.skip("declared: nothing in memory")
        with create_retriever(url, _vectors("int", Metric.COSINE)) as retriever:
            assert len(retriever.search(_queries()[0], 3)[0]) == 3
            retriever.flush()
        with pytest.raises(ValueError, match="in memory"):
            open_retriever(url)

    def test_unknown_parameters(self, tmp_path: Path) -> None:
        url = self.url(tmp_path)
        url += ("&" if "?" in url else "?") + "no_such_parameter=1"
        with pytest.raises(UnknownParameter, match="no_such_parameter"):
            create_retriever(url, _vectors("int", Metric.COSINE))
        with pytest.raises(UnknownParameter):
            open_retriever(url)

    def test_it_is_a_retriever(self, make: Make) -> None:
        retriever = make(_vectors("int", Metric.COSINE))
        assert isinstance(retriever, Retriever)
        assert retriever.dim == DIM
        retriever.flush()

    def _exact(self, make: Make) -> bool:
        probe = make(VectorSet(Ids([1]), np.ones((1, DIM), dtype=np.float32)))
        return probe.capabilities.scores == "exact"


def _names(kind: IdKind, count: int) -> list[Any]:
    numbers = [at * (-1) ** at for at in range(count)]
    return numbers if kind == "int" else [f"item {number}" for number in numbers]


def _vectors(kind: IdKind, metric: Metric) -> VectorSet:
    matrix = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)
    return VectorSet(Ids(_names(kind, N), kind), matrix, metric)


def _queries() -> FloatMatrix:
    return np.random.default_rng(7).standard_normal((20, DIM)).astype(np.float32)


def _scanned(retriever: Retriever) -> list[Any]:
    return [name for ids, _ in retriever.scan() for name in ids]


def _scores(query: Any, matrix: FloatMatrix, metric: Metric) -> Any:
    """Plain NumPy in float64, independent of the kernel under test."""
    x, q = matrix.astype(np.float64), np.asarray(query, dtype=np.float64)
    if metric is Metric.EUCLIDEAN:
        return -np.linalg.norm(x - q, axis=1)
    products = x @ q
    if metric is Metric.COSINE:
        products = products / (np.linalg.norm(x, axis=1) * np.linalg.norm(q))
    return products


def _brute_force(query: Any, vectors: VectorSet, k: int, inside: Any = None) -> list[Any]:
    scores = _scores(query, vectors.matrix, vectors.metric)
    pairs = sorted((-score, name) for name, score in zip(vectors.ids, scores, strict=True))
    return [name for _, name in pairs if inside is None or name in inside][:k]


def _check_form(found: NeighborList, k: int) -> None:
    names, scores = found.ids.tolist(), found.scores.tolist()
    assert len(names) <= k
    assert len(set(names)) == len(names)
    assert np.isfinite(found.scores).all()
    pairs = [(-score, name) for score, name in zip(scores, names, strict=True)]
    assert pairs == sorted(pairs)


def _check_scores(query: Any, found: NeighborList, vectors: VectorSet) -> None:
    matrix = vectors.vectors(Ids(found.ids, vectors.ids.kind))
    expected = _scores(query, matrix, vectors.metric)
    norms, length = np.linalg.norm(matrix, axis=1), np.linalg.norm(query)
    scale = norms + length if vectors.metric is Metric.EUCLIDEAN else norms * length
    if vectors.metric is Metric.COSINE:
        scale = np.ones_like(norms)
    assert np.all(np.abs(found.scores - expected) <= 1e-5 * scale)


def _check_stored(back: FloatMatrix, given: FloatMatrix, retriever: Retriever) -> None:
    stores = retriever.capabilities.stores
    if stores == "exact":
        assert np.array_equal(back, given)
    elif stores == "normalised":
        norms = np.linalg.norm(given, axis=1, keepdims=True)
        assert np.allclose(back, given / norms, atol=1e-6)
    assert back.shape == given.shape
