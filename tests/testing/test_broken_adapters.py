"""Adapters that are broken on purpose, each in one way: the suite catches every one."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from itemspace import Ids, Neighbors, VectorSet, create_retriever
from itemspace.adapters.wrapper import DriverRetriever
from itemspace.core.errors import ItemspaceError

Broken = type[DriverRetriever]
CAUGHT: dict[str, tuple[Callable[[], Broken], str]] = {}


def caught_by(test: str) -> Callable[[Callable[[], Broken]], Callable[[], Broken]]:
    """Note a broken adapter, and a test of the suite that has to fail with it."""

    def note(make: Callable[[], Broken]) -> Callable[[], Broken]:
        CAUGHT[make.__name__] = make, test
        return make

    return note


def answering(change: Callable[[DriverRetriever, Any], Any]) -> Broken:
    """An adapter that spoils the answer to each query."""

    class Spoiling(DriverRetriever):
        def search(self, queries: Any, k: int, **filters: Any) -> Neighbors:
            right = super().search(queries, k, **filters)
            return Neighbors([change(self, one) for one in right])

    return Spoiling


@caught_by("test_scores_are_those_of_the_metric")
def wrong_sign() -> Broken:
    return answering(lambda _, one: replace(one, scores=-one.scores))


@caught_by("test_scores_are_those_of_the_metric")
def unsorted() -> Broken:
    return answering(lambda _, one: replace(one, ids=one.ids[::-1], scores=one.scores[::-1]))


@caught_by("test_k_larger_than_everything")
def sentinel_ids() -> Broken:
    def pad(_: DriverRetriever, one: Any) -> Any:
        missing = -1 if one.ids.dtype == np.int64 else ""
        return replace(one, ids=np.append(one.ids, missing), scores=np.append(one.scores, -np.inf))

    return answering(pad)


@caught_by("test_allowed")
def filter_ignored() -> Broken:
    class Deaf(DriverRetriever):
        def search(self, queries: Any, k: int, **_filters: Any) -> Neighbors:
            return super().search(queries, k)

    return Deaf


@caught_by("test_wrong_dimension")
def dimension_unchecked() -> Broken:
    class Trusting(DriverRetriever):
        def search(self, queries: Any, k: int, **filters: Any) -> Neighbors:
            wide = np.atleast_2d(np.asarray(queries))
            cut = np.zeros((len(wide), self.dim), dtype=np.float32)
            width = min(self.dim, wide.shape[1])
            cut[:, :width] = wide[:, :width]
            return super().search(cut, k, **filters)

    return Trusting


@caught_by("test_deleted_items_stay_deleted")
def deleted_ids_returned() -> Broken:
    class Keeping(DriverRetriever):
        def delete(self, ids: Any) -> int:
            self._check_writable()
            found, _ = self._driver.vectors(self._ids(ids))
            return int(found.sum())

    return Keeping


@caught_by("test_k_larger_than_everything")
def duplicated_ids() -> Broken:
    def twice(_: DriverRetriever, one: Any) -> Any:
        return replace(one, ids=np.repeat(one.ids, 2), scores=np.repeat(one.scores, 2))

    return answering(twice)


@caught_by("test_scores_are_float64")
def scores_of_another_type() -> Broken:
    return answering(lambda _, one: replace(one, scores=one.scores.astype(np.float32)))


@caught_by("test_arguments_are_not_changed")
def mutated_input() -> Broken:
    class Normalising(DriverRetriever):
        def search(self, queries: Any, k: int, **filters: Any) -> Neighbors:
            answer = super().search(queries, k, **filters)
            if isinstance(queries, np.ndarray) and queries.flags.writeable:
                queries /= np.linalg.norm(queries, axis=-1, keepdims=True)
            return answer

    return Normalising


@caught_by("test_filters_that_leave_nothing")
def padded_results() -> Broken:
    class Padding(DriverRetriever):
        def search(self, queries: Any, k: int, **filters: Any) -> Neighbors:
            right = super().search(queries, k, **filters)
            everything = super().search(queries, k)
            pairs = zip(right, everything, strict=True)
            return Neighbors([one if len(one) else other for one, other in pairs])

    return Padding


@caught_by("test_wrong_kind_of_id")
def swallowed_error() -> Broken:
    class Silent(DriverRetriever):
        def upsert(self, ids: Any, vectors: Any) -> None:
            with contextlib.suppress(ItemspaceError):
                super().upsert(ids, vectors)

    return Silent


@caught_by("test_answers_visible_by_eye")
def off_by_one_k() -> Broken:
    class Short(DriverRetriever):
        def search(self, queries: Any, k: int, **filters: Any) -> Neighbors:
            return super().search(queries, max(1, k - 1) if k > 0 else k, **filters)

    return Short


SUITE = """
from itemspace.testing import RetrieverSuite

class TestIt(RetrieverSuite):
    def url(self, folder):
        return f"exact://{folder}/index"
"""


@pytest.fixture(autouse=True, scope="module")
def _numba_is_loaded() -> None:
    """numba cannot be imported again by the runs within a run."""
    create_retriever("exact://", VectorSet(Ids([1]), np.ones((1, 2)))).search([1, 1], 1)


@pytest.mark.parametrize("name", CAUGHT)
def test_the_suite_catches(
    name: str, monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester
) -> None:
    make, test = CAUGHT[name]
    monkeypatch.setattr("itemspace.adapters.registry.DriverRetriever", make())
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_inprocess("-q", "-k", test, "-p", "no:cacheprovider")
    assert result.parseoutcomes().get("failed", 0) > 0
    assert "errors" not in result.parseoutcomes()


def test_there_are_twelve_and_an_intact_one_passes(pytester: pytest.Pytester) -> None:
    assert len(CAUGHT) == 12
    pytester.makepyfile(SUITE)
    chosen = " or ".join(sorted({test for _, test in CAUGHT.values()}))
    result = pytester.runpytest_inprocess("-q", "-k", chosen, "-p", "no:cacheprovider")
    assert "failed" not in result.parseoutcomes()
