"""What every adapter of a collection stands on, over an engine that gives as little as it may."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from itemspace import Ids, Metric, VectorSet, create_retriever
from itemspace.adapters.collection import CollectionDriver, Found
from itemspace.adapters.registry import BACKENDS
from itemspace.core.capabilities import Capabilities
from itemspace.core.errors import BackendError, BackendExists, BackendNotFound
from itemspace.testing import RetrieverSuite


class Stingy:
    """Keeps a few dictionaries; finds two of three items, twenty at most."""

    batch, most, few = 70, 200, 3
    stored: ClassVar[dict[str, "Stingy"]] = {}

    def __init__(self, dim: int, metric: Metric, id_kind: Any, pushes: bool) -> None:
        self.dim, self.metric, self.id_kind = dim, metric, id_kind
        self.capabilities = Capabilities(supports_filter=pushes, supports_atomic_upsert=False)
        self.pushes = 600 if pushes else 0
        self.items: dict[Any, Any] = {}
        self.asked: list[int] = []
        self.full = 10_000

    def put(self, ids: Ids, vectors: Any) -> None:
        assert len(ids) <= self.batch
        if len(self.items) + len(ids) > self.full:
            raise BackendError("Full.")
        self.items.update(zip(ids.to_list(), vectors.copy(), strict=True))

    def get(self, ids: Ids) -> Found:
        assert len(ids) <= self.batch
        return self._found([name for name in ids.to_list() if name in self.items])

    def remove(self, ids: Ids) -> int:
        assert len(ids) <= self.batch
        return sum(self.items.pop(name, None) is not None for name in ids.to_list())

    def pages(self, size: int) -> Iterator[Found]:
        names = list(self.items)
        for start in range(0, len(names), size):
            yield self._found(names[start : start + size])

    def count(self) -> int:
        return len(self.items)

    def translate(self, ids: Ids) -> set[Any]:
        return set(ids.to_list())

    def nearest(self, queries: Any, limit: int, allowed: Any) -> list[Found]:
        assert limit <= self.most
        assert len(queries) <= self.batch
        assert allowed is None or len(allowed) <= self.pushes
        self.asked.append(limit)
        some = [name for at, name in enumerate(self.items) if at % 3 < 2]
        names = [name for name in some if allowed is None or name in allowed]
        answers = []
        for query in queries:
            everything = self._found(names)
            scores = everything.vectors @ query
            if self.metric is Metric.EUCLIDEAN:
                scores = -np.linalg.norm(everything.vectors - query, axis=1)
            if self.metric is Metric.COSINE:
                scores = scores / np.linalg.norm(everything.vectors, axis=1)
            order = np.argsort(-scores)[:limit]
            answers.append(Found(everything.ids[order], everything.vectors[order]))
        return answers

    def _found(self, names: list[Any]) -> Found:
        rows = np.array([self.items[name] for name in names], np.float32)
        return Found(Ids(names, self.id_kind), rows.reshape(len(names), self.dim))

    def flush(self) -> None:
        pass

    close = destroy = flush


@dataclass(frozen=True)
class Options:
    pushes: bool = True


class StingyBackend:
    options = Options

    def create(self, url: Any, options: Any, dim: int, metric: Metric, kind: Any) -> Any:
        if url.path in Stingy.stored:
            raise BackendExists("There is one.")
        Stingy.stored[url.path] = Stingy(dim, metric, kind, options.pushes)
        return CollectionDriver(Stingy.stored[url.path])

    def open(self, url: Any, options: Any, *, writable: bool) -> Any:
        if url.path not in Stingy.stored:
            raise BackendNotFound("There is none.")
        return CollectionDriver(Stingy.stored[url.path])


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    load = BACKENDS.load
    found = StingyBackend()
    monkeypatch.setattr(
        type(BACKENDS), "load", lambda _, name: found if name == "stingy" else load(name)
    )


class TestPushing(RetrieverSuite):
    least_recall = 0.5

    def url(self, folder: Path) -> str:
        return f"stingy:{folder}/a"


class TestNotPushing(RetrieverSuite):
    least_recall = 0.5

    def url(self, folder: Path) -> str:
        return f"stingy:{folder}/a?pushes=false"


def made(tmp_path: Path, n: int = 1000, pushes: bool = True) -> tuple[Any, Stingy, VectorSet]:
    vectors = VectorSet(Ids(range(n)), np.random.default_rng(0).standard_normal((n, 8)))
    url = f"stingy:{tmp_path}/a?pushes={str(pushes).lower()}"
    return create_retriever(url, vectors), Stingy.stored[f"{tmp_path}/a"], vectors


def test_one_question_where_the_engine_has_enough(tmp_path: Path) -> None:
    retriever, engine, vectors = made(tmp_path)
    assert len(retriever.search(vectors.matrix[:200], 10)) == 200
    assert engine.asked == [20] * 3  # in batches of 70
    engine.asked.clear()
    retriever.search(vectors.matrix[0], 10, excluded=range(50))
    retriever.search(vectors.matrix[0], 10, allowed=range(500))
    retriever.search(vectors.matrix[0], 10, allowed=range(700))
    assert engine.asked == [95, 20, 20 + 28]


@pytest.mark.parametrize("pushes", [True, False])
def test_more_is_asked_for_and_then_all_is_scored(tmp_path: Path, pushes: bool) -> None:
    retriever, engine, vectors = made(tmp_path, pushes=pushes)
    exact = create_retriever("exact://", vectors)
    hidden = exact.search(vectors.matrix[0], 900)[0].ids
    rest = np.setdiff1d(np.arange(1000), hidden)
    for filters in ({"excluded": hidden}, {"allowed": rest}):
        engine.asked.clear()
        found = retriever.search(vectors.matrix[0], 100, **filters)[0]
        truth = exact.search(vectors.matrix[0], 100, **filters)[0]
        assert found.ids.tolist() == truth.ids.tolist()
        assert found.scores.tolist() == truth.scores.tolist()
        assert max(engine.asked) <= engine.most


def test_a_load_that_breaks_off_names_what_went_in(tmp_path: Path) -> None:
    retriever, engine, vectors = made(tmp_path, 100)
    engine.full = 250
    with pytest.raises(BackendError, match="first 140 ids") as caught:
        retriever.upsert(range(1000, 1300), np.ones((300, 8)))
    assert caught.value.ids == list(range(1000, 1140))
    assert len(retriever) == 240
    engine.full = 0
    with pytest.raises(BackendError, match=r"^Full.$"):
        retriever.upsert([5000], vectors.matrix[:1])
