"""The native LSH by itself: how it scales, what updates cost, what each part is worth.

    python benchmarks/lsh.py scale      10,000 to ten million vectors at equal recall
    python benchmarks/lsh.py churn      upserts, deletes, and the speed after a tenth has changed
    python benchmarks/lsh.py ways       the fast kernels beside the portable one
    python benchmarks/lsh.py ideas      families, buckets, trees and rerank at equal recall
    python benchmarks/lsh.py recall     the recall asked for beside the recall found

Clustered 64-d unit vectors (``data.py``), k = 10, one thread, one query at a time.
"""

from __future__ import annotations

import argparse
import os
import time
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import faiss
import numpy as np
from data import clustered, uniform
from itemspace import Ids, Metric, VectorSet, create_retriever
from itemspace.core.vectors import FloatMatrix, RowView
from itemspace.lsh import HyperplaneLSH, LSHOptions
from itemspace.lsh.lanes import AVX2, PORTABLE, VNNI, has

K = 10


class Task:
    """Vectors, two halves of queries, and the truth."""

    def __init__(self, matrix: FloatMatrix, queries: FloatMatrix) -> None:
        norms = np.linalg.norm(matrix, axis=1).astype(np.float32)
        self.rows, self.queries = RowView(matrix, norms), queries
        index = faiss.IndexFlatIP(matrix.shape[1])
        index.add(matrix)
        self.truth = index.search(queries, K)[1]

    def build(self, **options: Any) -> tuple[HyperplaneLSH, float]:
        dim = self.rows.matrix.shape[1]
        started = time.perf_counter()
        index = HyperplaneLSH(dim, Metric.COSINE, LSHOptions(threads=2, **options))
        index.add(self.rows, 0)
        seconds = time.perf_counter() - started
        index.threads = 1
        return index, seconds

    def recall(self, index: HyperplaneLSH, half: slice) -> float:
        found = index.search(self.rows, self.queries[half], K)[0]
        pairs = zip(found.tolist(), self.truth[half].tolist(), strict=True)
        return float(np.mean([len(set(one) & set(other)) / K for one, other in pairs]))

    def rate(self, index: HyperplaneLSH, half: slice, rounds: int = 3) -> float:
        rates = []
        for _ in range(rounds):
            started = time.perf_counter()
            for query in self.queries[half, None]:
                index.search(self.rows, query, K)
            rates.append((half.stop - half.start) / (time.perf_counter() - started))
        return median(rates)

    def at(self, index: HyperplaneLSH, target: float) -> tuple[int, float, float]:
        """Patience chosen on one half of the queries; recall and queries/s on the other."""
        half = len(self.queries) // 2
        first, second = slice(0, half), slice(half, 2 * half)
        low, high = 1, 1
        while self._reached(index, high, first) < target and high < 1 << 20:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            if self._reached(index, middle, first) < target:
                low = middle
            else:
                high = middle
        index.patience = high
        return high, self.recall(index, second), self.rate(index, second)

    def _reached(self, index: HyperplaneLSH, patience: int, half: slice) -> float:
        index.patience = patience
        return self.recall(index, half)


def scale(options: argparse.Namespace) -> None:
    for target in (0.9, 0.95):
        found = []
        for count in options.counts:
            task = Task(*clustered(count, 64, 1000))
            index, seconds = task.build(scan_limit=0)
            patience, recall, rate = task.at(index, target)
            found.append((np.log(count), -np.log(rate)))
            size = index.describe()["bytes"] / task.rows.matrix.nbytes
            print(
                f"{count:>11,} at {target}: recall {recall:.3f}  {1e6 / rate:7.1f} µs  "
                f"patience {patience:<4} built in {seconds:6.2f} s, {size:.0%} beside the vectors",
                flush=True,
            )
            del task, index
        slope = np.polyfit(*zip(*found, strict=True), 1)[0]
        print(f"the time of a query grows as n to the power of {slope:.2f}")


def churn(options: argparse.Namespace) -> None:
    count = options.counts[0] if len(options.counts) == 1 else 1_000_000
    tenth = count // 10
    matrix, queries = clustered(count + 2 * tenth, 64, 1000, seed=3)
    ids = np.arange(len(matrix))
    retriever = create_retriever("lsh://?threads=1", VectorSet(Ids(ids[:count]), matrix[:count]))

    def speed() -> float:
        rates = []
        for _ in range(3):
            started = time.perf_counter()
            for query in queries:
                retriever.search(query, K)
            rates.append(len(queries) / (time.perf_counter() - started))
        return median(rates)

    def timed(what: str, step: int, do: Any) -> None:
        started = time.perf_counter()
        for start in range(0, tenth, step):
            do(start, start + step)
        print(f"{what:<38}{tenth / (time.perf_counter() - started):>12,.0f}/s")

    fresh = speed()
    print(f"{'searches, fresh':<38}{fresh:>12,.0f}/s")
    new = matrix[count:]

    def add(low: int, high: int) -> None:
        retriever.upsert(ids[count + low : count + high], new[low:high])

    def replace(low: int, high: int) -> None:
        retriever.upsert(ids[low:high], new[tenth + low : tenth + high])

    def delete(low: int, high: int) -> None:
        retriever.delete(ids[tenth + low : tenth + high])

    timed("upserts of new items, 1,000 a call", 1000, add)
    timed("upserts of old items, 1,000 a call", 1000, replace)
    timed("deletes, 1,000 a call", 1000, delete)
    started = time.perf_counter()
    for at in range(1000):
        retriever.upsert([int(ids[at])], matrix[at : at + 1])
    print(f"{'upserts, one a call':<38}{1000 / (time.perf_counter() - started):>12,.0f}/s")
    changed = speed()
    print(f"{'searches after these':<38}{changed:>12,.0f}/s")
    parts = list(retriever.scan(1 << 18))
    whole = VectorSet(
        Ids(np.concatenate([part.to_array() for part, _ in parts])),
        np.concatenate([part for _, part in parts]),
    )
    retriever = create_retriever("lsh://?threads=1", whole)
    again = speed()
    print(f"{'searches of the same, built anew':<38}{again:>12,.0f}/s")
    print(f"after the changes a search is {again / changed:.2f} times as slow as built anew")


def ways(_: argparse.Namespace) -> None:
    for dim in (64, 256):
        task = Task(*clustered(200_000, dim, 1000))
        index, _seconds = task.build()
        base = None
        for name, way in (("VNNI", VNNI), ("AVX2", AVX2), ("portable", PORTABLE)):
            if not has(way):
                print(f"{dim} dimensions, {name}: not on this machine")
                continue
            index.way = way
            _, recall, rate = task.at(index, 0.95)
            base = base or rate
            print(f"{dim} dimensions, {name:<9} recall {recall:.3f} {rate:>9,.0f}/s "
                  f"{base / rate:.2f} times the time of the fastest")  # fmt: skip


def ideas(options: argparse.Namespace) -> None:
    count = options.counts[0] if len(options.counts) == 1 else 1_000_000
    for name, make in (("clustered", clustered), ("uniform", uniform)):
        rows = count if name == "clustered" else count // 5
        task = Task(*make(rows, 64, 1000))
        print(f"{name}, {rows:,} vectors")
        for chosen in (
            {},
            {"family": "pairs"},
            {"family": "orthogonal"},
            {"family": "gaussian"},
            {"family": "orthogonal", "trees": 1},
            {"family": "orthogonal", "trees": 8},
            {"trees": 2},
            {"bucket": 64},
            {"bucket": 256},
            {"bucket": 1024},
            {"rerank": 12},
            {"rerank": 50},
        ):
            index, seconds = task.build(**chosen)
            patience, recall, rate = task.at(index, 0.9 if name == "uniform" else 0.95)
            told = ", ".join(f"{key}={value}" for key, value in chosen.items()) or "default"
            facts = index.describe()
            print(
                f"  {told:<28} recall {recall:.3f} {rate:>8,.0f}/s  patience {patience:<5} "
                f"built in {seconds:5.2f} s  {facts['bytes'] / task.rows.matrix.nbytes:4.0%}  "
                f"median bucket {facts['median_bucket']:.0f}",
                flush=True,
            )


def recall(options: argparse.Namespace) -> None:
    for name, make in (("clustered", clustered), ("uniform", uniform)):
        for count in options.counts:
            if name == "uniform" and count > 1_000_000:
                continue
            task = Task(*make(count, 64, 1000))
            index, _ = task.build(scan_limit=0)
            for asked in (0.9, 0.95, 0.98):
                told = index.tune(task.rows, asked)
                index.patience = int(told["patience"])
                found = task.recall(index, slice(0, 1000))
                print(f"{name} {count:>10,}: asked {asked}  found {found:.3f}  "
                      f"patience {index.patience}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    jobs = {"scale": scale, "churn": churn, "ways": ways, "ideas": ideas, "recall": recall}
    parser.add_argument("job", choices=jobs)
    parser.add_argument(
        "--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000]
    )
    options = parser.parse_args()
    jobs[options.job](options)


if __name__ == "__main__":
    main()
