from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import Ids, Metric, Neighbors, VectorSet
from itemspace.adapters.wrapper import DriverRetriever
from itemspace.core.errors import BackendError, EmptyInput, InvalidOption
from itemspace.evaluation import retrieval
from itemspace.evaluation.retrieval import compare_backends


def vectors(metric: Metric = Metric.COSINE, count: int = 600) -> VectorSet:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((20, 8))[rng.integers(20, size=count)]
    matrix = matrix + 0.3 * rng.standard_normal((count, 8))
    return VectorSet(Ids([f"i{at}" for at in range(count)]), matrix, metric)


def test_backends_beside_each_other(tmp_path: Path) -> None:
    urls = [
        "exact://",
        f"lsh:{tmp_path}/here",
        "faiss://?factory=LSH8&rerank=0",
        "faiss://?nprob=1",
    ]
    found = compare_backends(urls, vectors(), queries=40)
    assert (found.count, found.dim, found.k) == (560, 8, 10)
    exact, native, coarse = found.figures
    assert exact.recall == 1.0
    assert native.recall > 0.9 > coarse.recall
    assert [one.share for one in exact.filtered] == [0.01, 0.1, 0.5]
    assert all(one.recall == one.found == 1.0 for one in exact.filtered)
    assert (exact.open_seconds, exact.disk_megabytes) == (None, None)
    assert native.open_seconds is not None and native.disk_megabytes is not None
    assert 0 < native.disk_megabytes < 1
    assert list((tmp_path / "here").iterdir()) == []  # all was removed again
    assert all(one.p50 <= one.p99 and one.per_second > 0 for one in found.figures)
    assert list(found.failures) == ["faiss://?nprob=1"]
    columns, rows = found.table()
    assert {len(row) for row in rows} == {len(columns)}
    assert found.to_dict()["figures"][0]["recall"] == 1.0
    found.write_figure(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_bad_input() -> None:
    with pytest.raises(InvalidOption):
        compare_backends([], vectors())
    with pytest.raises(InvalidOption):
        compare_backends(["exact://"], vectors(), k=0)
    with pytest.raises(EmptyInput):
        compare_backends(["exact://"], vectors(count=5))


def change(**parts: Any) -> Any:
    return lambda one: replace(one, **{name: make(one) for name, make in parts.items()})


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize(
    "spoil",
    [
        change(ids=lambda one: np.repeat(one.ids[:1], len(one))),
        change(ids=lambda one: np.array(["nobody", *one.ids[1:]], dtype=object)),
        change(scores=lambda one: one.scores + 0.01),
        change(scores=lambda one: -one.scores),
    ],
)
def test_no_backend_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: Metric, spoil: Any
) -> None:
    """Checked in this process, where a backend can be spoilt."""
    given = vectors(metric)
    given.save(tmp_path / "vectors")
    np.save(tmp_path / "queries.npy", given.matrix[:20] + 0.1)
    retrieval._measure("exact://", tmp_path, 5, 1)

    class Spoilt(DriverRetriever):
        def search(self, queries: Any, k: int, **filters: Any) -> Neighbors:
            return Neighbors([spoil(one) for one in super().search(queries, k, **filters)])

    monkeypatch.setattr("itemspace.adapters.registry.DriverRetriever", Spoilt)
    with pytest.raises(BackendError, match=r"twice|those of the metric"):
        retrieval._measure("exact://", tmp_path, 5, 1)
