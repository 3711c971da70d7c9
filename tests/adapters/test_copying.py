import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import Ids, Metric, VectorSet, create_retriever, open_retriever
from itemspace.adapters import copying
from itemspace.adapters.copying import copy_retriever
from itemspace.core.errors import BackendExists, CorruptData


def vectors(metric: Metric, kind: str = "str", count: int = 3000) -> VectorSet:
    matrix = np.random.default_rng(0).standard_normal((count, 12))
    names: Any = range(-5, count - 5) if kind == "int" else [f"é {at}" for at in range(count)]
    return VectorSet(Ids(names), matrix, metric)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("kind", ["int", "str"])
def test_everything_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: Metric, kind: str
) -> None:
    monkeypatch.setattr(copying, "BATCH", 700)
    given = vectors(metric, kind)
    told: list[tuple[Any, ...]] = []
    with create_retriever("exact://", given) as source:
        source.delete(given.ids[:10])
        report = copy_retriever(source, f"lsh:{tmp_path}/to", progress=lambda *p: told.append(p))
        assert report.count == 2990
        assert report.source_recall == 1.0
        assert report.target_recall > 0.9
        assert told[-1] == (2990, 2990, "verifying")
        again = copy_retriever(source, f"faiss:{tmp_path}/third?factory=HNSW16")
        assert again.checksum == report.checksum
    with open_retriever(f"lsh:{tmp_path}/to") as made:
        assert (len(made), made.metric, made.id_kind) == (2990, metric, kind)
        assert np.array_equal(made.vectors(given.ids[10:]), given.matrix[10:])


def test_nothing_is_written_over(tmp_path: Path) -> None:
    with create_retriever(f"exact:{tmp_path}/a", vectors(Metric.COSINE)) as source:
        copy_retriever(source, f"exact:{tmp_path}/b")
        with pytest.raises(BackendExists):
            copy_retriever(source, f"exact:{tmp_path}/b")
        assert copy_retriever(source, f"exact:{tmp_path}/b", resume=True).count == 3000


def test_an_empty_one(tmp_path: Path) -> None:
    nothing = VectorSet(Ids([], "str"), np.empty((0, 4)), Metric.EUCLIDEAN)
    with create_retriever("exact://", nothing) as source:
        report = copy_retriever(source, f"lsh:{tmp_path}/b")
    assert (report.count, report.target_recall) == (0, 1.0)
    with open_retriever(f"lsh:{tmp_path}/b") as made:
        assert (len(made), made.dim, made.id_kind) == (0, 4, "str")


@pytest.mark.parametrize("spoilt", ["extra", "changed"])
def test_a_target_that_holds_something_else(tmp_path: Path, spoilt: str) -> None:
    given = vectors(Metric.COSINE)
    with create_retriever("exact://", given) as source:
        other = VectorSet(Ids(["other"]), np.ones((1, 12)))
        with create_retriever(f"exact:{tmp_path}/b", other if spoilt == "extra" else given) as made:
            if spoilt == "changed":
                made.upsert(given.ids[:1], np.ones((1, 12)))
        if spoilt == "changed":  # which is put right
            assert copy_retriever(source, f"exact:{tmp_path}/b", resume=True).count == 3000
            return
        with pytest.raises(CorruptData, match="holds 3,001 vectors where 3,000 went in"):
            copy_retriever(source, f"exact:{tmp_path}/b", resume=True)


KILLED = """
import sys
from itemspace import open_retriever
from itemspace.adapters import copying

copying.BATCH = 100
copying.copy_retriever(open_retriever(sys.argv[1]), sys.argv[2], resume=True,
                       progress=lambda done, total, text: print(done, text, flush=True))
"""


def test_it_goes_on_after_a_kill(tmp_path: Path) -> None:
    given = vectors(Metric.COSINE)
    source, target = f"exact:{tmp_path}/a", f"lsh:{tmp_path}/b"
    create_retriever(source, given).close()
    command = [sys.executable, "-c", KILLED, source, target]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("1500 "):
                os.kill(process.pid, signal.SIGKILL)
    with open_retriever(target) as partial:
        assert 1500 <= len(partial) < 3000
    with open_retriever(source) as opened:
        assert copy_retriever(opened, target, resume=True).count == 3000
    with open_retriever(target) as made:
        assert np.array_equal(made.vectors(given.ids), given.matrix)
