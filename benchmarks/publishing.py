"""Publishing a million vectors, switching under requests, and what changes cost.

    python benchmarks/publishing.py throughput         publish against the bare adapter's load
    python benchmarks/publishing.py switch             the flip of the pointer, requests beside it
    python benchmarks/publishing.py overlay            searches over 0 to 100,000 changes

1,000,000 × 64 clustered vectors, cosine, `lsh:` unless said; `--count 100000` for fewer. One
SQLite database.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from data import clustered
from itemspace import Catalog, Ids, Metric, Space, VectorSet, create_retriever
from itemspace.adapters.registry import remove_retriever
from itemspace.catalog import ensure, open_engine
from itemspace.catalog import versions as versions_module
from itemspace.catalog.bookkeeping import version_table
from itemspace.publishing import activate, collect, publish, rollback
from sqlalchemy import update

_DIM, _K = 64, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["throughput", "switch", "overlay"])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--backend", default="lsh")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    matrix, queries = clustered(options.count, _DIM, 1000)
    vectors = VectorSet(Ids(np.arange(len(matrix))), matrix, Metric.COSINE)
    with tempfile.TemporaryDirectory(prefix="itemspace-") as folder:
        engine = open_engine(f"sqlite:///{folder}/shop.db", create=True)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE item (item_id INTEGER PRIMARY KEY)")
        ensure(engine)
        catalog = Catalog(engine)
        run = {"throughput": throughput, "switch": switch, "overlay": overlay}[options.what]
        run(catalog, vectors, queries, Path(folder), options)
        engine.dispose()


def throughput(
    catalog: Catalog, vectors: VectorSet, _queries: Any, folder: Path, options: Any
) -> None:
    """In turns; what was written is on the disk before the next begins, and removed after it."""
    bare, whole = [], []
    for _ in range(options.rounds + 1):
        os.sync()
        started = time.perf_counter()
        create_retriever(f"{options.backend}:{folder}/bare", vectors).close()
        bare.append(time.perf_counter() - started)
        remove_retriever(f"{options.backend}:{folder}/bare")
        os.sync()
        started = time.perf_counter()
        version = publish(catalog, vectors, f"{options.backend}:{folder}/v")
        whole.append(time.perf_counter() - started)
        with catalog.engine.begin() as connection:
            connection.execute(update(version_table).values(read_until=0))
        collect(catalog, keep=0)
    one, other = median(bare[1:]), median(whole[1:])  # the first compiles
    print(f"bare load {one:.2f} s, publish {other:.2f} s: {one / other:.0%}; {version.measures}")


def switch(catalog: Catalog, vectors: VectorSet, queries: Any, folder: Path, options: Any) -> None:
    """Two threads search all the time; versions go live beside them."""
    place = f"{options.backend}:{folder}/v"
    for _ in range(2):
        publish(catalog, vectors, place)
    flips: list[float] = []
    swap = versions_module.swap_live

    def timed(*arguments: Any, **named: Any) -> None:
        started = time.perf_counter()
        swap(*arguments, **named)
        flips.append(time.perf_counter() - started)

    sys.modules["itemspace.publishing.publish"].swap_live = timed  # type: ignore[attr-defined]
    with Space.open(catalog, refresh=0.1) as space:
        stop, waits = threading.Event(), []

        def ask() -> None:
            at = 0
            while not stop.is_set():
                started = time.perf_counter()
                with space.pin() as pinned:
                    pinned.retriever.search(queries[at % len(queries)], _K)
                    version = pinned.version
                waits.append((started, time.perf_counter() - started, version))
                at += 1
                time.sleep(0.001)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(3)
        spans = []
        for at in range(10):
            before = time.perf_counter()
            rollback(catalog) if at % 2 == 0 else activate(catalog, 2)
            expected = 1 if at % 2 == 0 else 2
            while space.version != expected:
                time.sleep(0.005)
            spans.append((before, time.perf_counter()))
            time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
    rest, during = [], []
    for started, seconds, _version in waits:
        at_switch = any(a <= started + seconds and started <= b for a, b in spans)
        (during if at_switch else rest).append(1e3 * seconds)
    print(f"flip of the pointer: median {1e3 * median(flips):.2f} ms, most {1e3 * max(flips):.2f}")
    print(f"seen after (refresh 100 ms): median {1e3 * median(b - a for a, b in spans):.0f} ms")
    for name, found in (("at rest", rest), ("during switches", during)):
        p50, p99, most = np.quantile(found, 0.5), np.quantile(found, 0.99), max(found)
        print(f"{name}: {len(found):,} requests, p50 {p50:.2f}, p99 {p99:.2f}, most {most:.2f} ms")


def overlay(catalog: Catalog, vectors: VectorSet, queries: Any, folder: Path, options: Any) -> None:
    """Half of the changes are new items, a quarter replace one, a quarter delete one."""
    publish(catalog, vectors, f"{options.backend}:{folder}/v")
    rng = np.random.default_rng(0)
    print(f"{'changes':>8} {'search µs':>10} {'10 % allowed µs':>16} {'recall@10':>10}")
    with Space.open(catalog) as space:
        exact = dict(zip(vectors.ids.to_list(), vectors.matrix, strict=True))
        done = 0
        for total in (0, 1_000, 10_000, 100_000):
            more, started = total - done, time.perf_counter()
            if more:
                fresh = rng.standard_normal((more // 2 + more // 4, _DIM)).astype(np.float32)
                fresh += vectors.matrix[rng.integers(len(vectors), size=len(fresh))]
                new = np.arange(more // 2) + 10**9 + done
                old = rng.choice(len(vectors), more // 2, replace=False)
                ids = np.concatenate([new, old[: more // 4]])
                space.upsert(ids, fresh)
                space.delete(old[more // 4 :])
                exact.update(zip(ids.tolist(), fresh, strict=True))
                for name in old[more // 4 :].tolist():
                    exact.pop(name, None)
                done = total
            seconds = time.perf_counter() - started
            with space.pin() as pinned:
                retriever = pinned.retriever
                allowed = retriever.filter(rng.choice(len(vectors), len(vectors) // 10, False))
                times, narrow, hits = [], [], []
                final = VectorSet(Ids(list(exact)), np.array(list(exact.values())))
                truth = create_retriever("exact:", final).search(queries[:50], _K)
                for at, query in enumerate(queries[:500]):
                    begun = time.perf_counter()
                    found = retriever.search(query, _K)[0]
                    times.append(time.perf_counter() - begun)
                    if at < len(truth):
                        hits.append(np.isin(truth[at].ids, found.ids).mean())
                for query in queries[:100]:
                    begun = time.perf_counter()
                    retriever.search(query, _K, allowed=allowed)
                    narrow.append(time.perf_counter() - begun)
            print(
                f"{total:>8,} {1e6 * median(times):>10.0f} {1e6 * median(narrow):>16.0f} "
                f"{np.mean(hits):>10.3f}   written in {seconds:.2f} s"
            )


if __name__ == "__main__":
    main()
