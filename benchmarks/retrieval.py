"""Native LSH beside FAISS: recall@10 against queries per second, one query at a time, one thread.

    python benchmarks/retrieval.py                      one million 64-d vectors
    python benchmarks/retrieval.py --count 100000 --data uniform --json

Every contender is opened by URL behind the one protocol; "bare" is FAISS's own index without it.
Each round times all contenders once, one after the other; the figure is the median over the
rounds. The truth is FAISS's exact search.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import faiss
import numpy as np
from data import clustered, uniform
from itemspace import Ids, VectorSet, create_retriever

K = 10
BUILDS: dict[str, list[str]] = {
    "lsh://": ["patience=16", "patience=50", "patience=100", "patience=200", "patience=800"],
    "faiss://?factory=LSH256r": ["rerank=0", "rerank=200"],
    "faiss://?factory=LSH512r": ["rerank=0", "rerank=200"],
    "exact://": [""],
}
Search = Callable[[Any], Any]


class Contender(NamedTuple):
    """Something that finds k rows for a query."""

    name: str
    build_seconds: float
    search: Search


def contenders(vectors: VectorSet) -> list[Contender]:
    found = []
    for url, settings in BUILDS.items():
        for setting in settings:
            whole = url if not setting else f"{url}{'&' if '?' in url else '?'}{setting}"
            started = time.perf_counter()
            retriever = create_retriever(whole, vectors)
            seconds = time.perf_counter() - started
            found.append(
                Contender(whole, seconds, lambda query, r=retriever: r.search(query, K)[0].ids)
            )
    for bits in (256, 512):
        started = time.perf_counter()
        index = faiss.IndexLSH(vectors.dim, bits, True)
        index.add(vectors.matrix)
        seconds = time.perf_counter() - started
        found.append(
            Contender(
                f"bare IndexLSH, {bits} bits",
                seconds,
                lambda query, index=index: index.search(query[None, :], K)[1][0],
            )
        )
    return found


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    faiss.omp_set_num_threads(1)
    make = {"clustered": clustered, "uniform": uniform}[options.data]
    matrix, queries = make(options.count, options.dim, options.queries)
    exact = faiss.IndexFlatIP(options.dim)
    exact.add(matrix)
    truth = exact.search(queries, K)[1]
    del exact
    entrants = contenders(VectorSet(Ids(np.arange(options.count)), matrix))
    rates: dict[str, list[float]] = {entrant.name: [] for entrant in entrants}
    recalls: dict[str, float] = {}
    for entrant in entrants:
        entrant.search(queries[0])
    for _ in range(options.rounds):
        for entrant in entrants:
            started = time.perf_counter()
            answers = [entrant.search(query) for query in queries]
            rates[entrant.name].append(len(queries) / (time.perf_counter() - started))
            shared = [
                len(set(answer.tolist()) & set(line.tolist())) / K
                for answer, line in zip(answers, truth, strict=True)
            ]
            recalls[entrant.name] = float(np.mean(shared))
    return [
        {
            "index": entrant.name,
            "build_seconds": round(entrant.build_seconds, 2),
            "recall_at_10": round(recalls[entrant.name], 3),
            "queries_per_second": round(median(rates[entrant.name])),
        }
        for entrant in entrants
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=["clustered", "uniform"], default="clustered")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    rows = measure(options)
    if options.json:
        json.dump({"options": vars(options), "rows": rows}, sys.stdout, indent=1)
        print()
        return
    print(f"{options.count:,} {options.data} vectors × {options.dim}, k = {K}, one thread")
    print(f"{'index':<42}{'build s':>9}{'recall@10':>11}{'queries/s':>11}")
    for row in rows:
        index, seconds, recall, rate = row.values()
        print(f"{index:<42}{seconds:>9.1f}{recall:>11.3f}{rate:>11,}")


if __name__ == "__main__":
    main()
