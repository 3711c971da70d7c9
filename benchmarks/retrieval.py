"""Native LSH beside its peers: recall@10 against queries per second, one at a time, one thread.

    python benchmarks/retrieval.py                                   one million 64-d vectors
    python benchmarks/retrieval.py uniform --count 200000
    python benchmarks/retrieval.py clustered --count 200000 --dim 256
    python benchmarks/retrieval.py diginetica --data path/to/data    item vectors, built first
    python benchmarks/retrieval.py glove bigann --data path/to/data

Every index is built with two threads and searched with one, by its own library; ``lsh by URL`` goes
through the one protocol. For each target the setting is found on one half of the queries, by
interpolation between those tried, and measured on the other half: recall, queries a second (the
median of the rounds, each of which times all contenders one after the other), and how many times as
fast as each peer the native LSH is. ``--curves file.json`` writes all that was tried.

Needs ``pip install --group benchmark``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import annoy
import faiss
import hnswlib
import numpy as np
import usearch.index
import voyager
from data import clustered, uniform
from itemspace import Ids, Metric, Sequences, VectorSet, create_retriever
from itemspace.builders import Item2Vec
from itemspace.core.vectors import FloatMatrix, RowView, unit_rows
from itemspace.lsh import HyperplaneLSH, LSHOptions
from itemspace.lsh.reductions import Reduction

K = 10
Find = Callable[[FloatMatrix, int], Any]


@dataclass(frozen=True)
class Problem:
    """Vectors, queries and their true neighbours; unit vectors under the cosine."""

    matrix: FloatMatrix
    queries: FloatMatrix
    metric: Metric

    def truth(self) -> Any:
        index = (faiss.IndexFlatL2 if self.is_l2 else faiss.IndexFlatIP)(self.matrix.shape[1])
        index.add(self.matrix)
        return index.search(self.queries, K)[1]

    @property
    def is_l2(self) -> bool:
        return self.metric is Metric.EUCLIDEAN


@dataclass
class Contender:
    """An index, and the settings of its search from fast to thorough."""

    name: str
    settings: list[int]
    find: Find
    """Row numbers for one query of shape (d,) and a setting."""
    batch: Callable[[FloatMatrix, int], Any] | None = None
    build_seconds: float = 0.0
    megabytes: float | None = None
    """Beside the vectors, where the library tells."""
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    """Setting, recall and queries a second on the first half of the queries."""


def make_lsh(problem: Problem, name: str, **options: Any) -> Iterator[Contender]:
    norms = np.linalg.norm(problem.matrix, axis=1).astype(np.float32)
    rows = RowView(problem.matrix, norms)
    kind = LSHOptions(threads=2, **options)
    few = RowView(rows.matrix[:5000], rows.norms[:5000])
    HyperplaneLSH(rows.matrix.shape[1], problem.metric, kind).add(few, 0)  # compiles
    started = time.perf_counter()
    index = HyperplaneLSH(rows.matrix.shape[1], problem.metric, kind)
    index.add(rows, 0)
    seconds = time.perf_counter() - started

    def find(query: FloatMatrix, patience: int) -> Any:
        index.patience, index.threads = patience, 1
        return index.search(rows, query[None], K)[0][0]

    def batch(queries: FloatMatrix, patience: int) -> Any:
        index.patience, index.threads = patience, 2
        return index.search(rows, queries, K)[0]

    settings = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024]
    size = index.describe()["bytes"] / 1e6
    yield Contender(name, settings, find, batch, build_seconds=seconds, megabytes=size)


def make_lsh_by_url(problem: Problem) -> Iterator[Contender]:
    vectors = VectorSet(Ids(np.arange(len(problem.matrix))), problem.matrix, problem.metric)
    retriever = create_retriever("lsh://?threads=2", vectors)
    index: Any = retriever._driver._index  # type: ignore[attr-defined]

    def find(query: FloatMatrix, patience: int) -> Any:
        index.patience, index.threads = patience, 1
        return retriever.search(query, K)[0].ids

    yield Contender("lsh by URL", [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256], find)


def make_faiss(problem: Problem) -> Iterator[Contender]:
    matrix, dim = problem.matrix, problem.matrix.shape[1]
    faiss.omp_set_num_threads(2)
    kind = faiss.METRIC_L2 if problem.is_l2 else faiss.METRIC_INNER_PRODUCT
    flat = faiss.IndexFlatL2(dim) if problem.is_l2 else faiss.IndexFlatIP(dim)

    lists = 1024 if len(matrix) > 300_000 else max(16, int(2 * np.sqrt(len(matrix))))
    ivf = faiss.IndexIVFFlat(flat, dim, lists, kind)
    ivf.train(matrix[:: max(1, len(matrix) // 200_000)])
    ivf.add(matrix)

    def find_ivf(query: FloatMatrix, probes: int) -> Any:
        ivf.nprobe = probes
        return ivf.search(query[None], K)[1][0]

    def batch_ivf(queries: FloatMatrix, probes: int) -> Any:
        ivf.nprobe = probes
        return ivf.search(queries, K)[1]

    settings = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128]
    yield Contender(f"faiss IVF{lists},Flat", settings, find_ivf, batch_ivf)

    hnsw = faiss.IndexHNSWFlat(dim, 16, kind)
    hnsw.hnsw.efConstruction = 100
    hnsw.add(matrix)

    def find_hnsw(query: FloatMatrix, width: int) -> Any:
        hnsw.hnsw.efSearch = width
        return hnsw.search(query[None], K)[1][0]

    yield Contender("faiss HNSW16", [10, 20, 40, 80, 160, 320, 640], find_hnsw)
    if not problem.is_l2:
        yield from make_index_lsh(problem)


def make_index_lsh(problem: Problem) -> Iterator[Contender]:
    """Reduced as in ``faiss://?factory=LSH512``; tables of its codes for the cosine alone."""
    matrix, bits = problem.matrix, 512
    reduction = Reduction.fit(matrix, problem.metric)
    lsh = faiss.IndexLSH(reduction.dim, bits, True)
    lsh.add(reduction.rows(matrix))

    def find_lsh(query: FloatMatrix, rerank: int) -> Any:
        found = lsh.search(reduction.queries(query[None]), rerank)[1][0]
        return found[np.argsort(-(matrix[found] @ query))[:K]]

    yield Contender(f"faiss IndexLSH {bits}, exact rerank", [10, 100, 400, 1600, 6400], find_lsh)

    def find_bare(query: FloatMatrix, _: int) -> Any:
        return lsh.search(reduction.queries(query[None]), K)[1][0]

    yield Contender(f"faiss IndexLSH {bits}", [0], find_bare)
    if problem.metric is not Metric.COSINE:
        return

    codes = lsh.sa_encode(matrix)
    for name, index in (
        ("faiss BinaryHash", faiss.IndexBinaryHash(bits, 16)),
        ("faiss BinaryMultiHash", faiss.IndexBinaryMultiHash(bits, 8, 20)),
    ):
        index.add(codes)

        def find_hash(query: FloatMatrix, flips: int, index: Any = index) -> Any:
            index.nflip = flips
            found = index.search(lsh.sa_encode(query[None]), 200)[1][0]
            found = found[found >= 0]
            return found[np.argsort(-(matrix[found] @ query))[:K]]

        yield Contender(f"{name}, exact rerank of 200", [0, 1, 2, 3, 4], find_hash)


def make_hnswlib(problem: Problem) -> Iterator[Contender]:
    index = hnswlib.Index("l2" if problem.is_l2 else "ip", problem.matrix.shape[1])
    index.init_index(len(problem.matrix), M=16, ef_construction=100)
    index.add_items(problem.matrix, num_threads=2)

    def find(query: FloatMatrix, width: int) -> Any:
        index.set_ef(width)
        return index.knn_query(query, K, num_threads=1)[0][0]

    def batch(queries: FloatMatrix, width: int) -> Any:
        index.set_ef(width)
        return index.knn_query(queries, K, num_threads=2)[0]

    yield Contender("hnswlib M=16", [10, 20, 40, 80, 160, 320, 640], find, batch)


def make_usearch(problem: Problem) -> Iterator[Contender]:
    index = usearch.index.Index(
        ndim=problem.matrix.shape[1],
        metric="l2sq" if problem.is_l2 else "ip",
        dtype="f32",
        connectivity=16,
        expansion_add=100,
    )
    index.add(np.arange(len(problem.matrix)), problem.matrix, threads=2)

    def find(query: FloatMatrix, width: int) -> Any:
        index.expansion_search = width
        return index.search(query, K, threads=1).keys

    yield Contender("usearch", [10, 20, 40, 80, 160, 320, 640], find)


def make_voyager(problem: Problem) -> Iterator[Contender]:
    # Unit vectors: its inner product adds a dimension and wants a larger ef.
    space = voyager.Space.Euclidean
    index = voyager.Index(space, problem.matrix.shape[1], M=16, ef_construction=100)
    index.add_items(problem.matrix, num_threads=2)

    def find(query: FloatMatrix, width: int) -> Any:
        return index.query(query, K, num_threads=1, query_ef=width)[0]

    yield Contender("voyager", [10, 20, 40, 80, 160, 320, 640], find)


def make_annoy(problem: Problem) -> Iterator[Contender]:
    index = annoy.AnnoyIndex(problem.matrix.shape[1], "euclidean" if problem.is_l2 else "angular")
    for row, vector in enumerate(problem.matrix):
        index.add_item(row, vector)
    index.build(20, n_jobs=2)

    def find(query: FloatMatrix, nodes: int) -> Any:
        return index.get_nns_by_vector(query, K, search_k=nodes)

    yield Contender("annoy, 20 trees", [500, 1000, 2000, 5000, 10_000, 20_000, 50_000], find)


Makers = dict[str, Callable[[Problem], Iterator[Contender]]]
#: Name → what makes its contenders.
MAKERS: Makers = {
    "lsh": lambda problem: make_lsh(problem, "lsh"),
    "url": make_lsh_by_url,
    "pairs": lambda problem: make_lsh(problem, "lsh, family pairs", family="pairs"),
    "random": lambda problem: make_lsh(problem, "lsh, family orthogonal", family="orthogonal"),
    "faiss": make_faiss,
    "hnswlib": make_hnswlib,
    "usearch": make_usearch,
    "voyager": make_voyager,
    "annoy": make_annoy,
}


def load(name: str, options: argparse.Namespace) -> Problem:
    rng = np.random.default_rng(0)
    if name in ("clustered", "uniform"):
        make = {"clustered": clustered, "uniform": uniform}[name]
        matrix, queries = make(options.count, options.dim, options.queries)
        return Problem(matrix, queries, Metric.COSINE)
    folder = options.data
    metric = Metric.COSINE
    if name == "bigann":
        vectors = np.load(folder / "vectors" / "bigann10k.npz")["base"].astype(np.float32)
        metric = Metric.EUCLIDEAN
    elif name == "glove":
        vectors = unit_rows(np.load(folder / "vectors" / "glove_twitter_25d_12k.npz")["vectors"])
    else:
        made = Item2Vec(dim=64, seed=1).fit(sequences(name, folder))
        vectors = unit_rows(made.item_vectors_.matrix)
    chosen = np.zeros(len(vectors), dtype=bool)
    chosen[rng.permutation(len(vectors))[: min(options.queries, len(vectors) // 10)]] = True
    return Problem(np.ascontiguousarray(vectors[~chosen]), vectors[chosen], metric)


def sequences(name: str, folder: Path) -> Sequences:
    file, skip = {"beauty": ("sequences.txt", 1), "diginetica": ("train_sessions.txt", 0)}[name]
    lines = (folder / name / file).read_text().splitlines()
    return Sequences.from_lists([line.split()[skip:] for line in lines])


def measure(
    problem: Problem, options: argparse.Namespace, makers: Makers = MAKERS
) -> list[dict[str, Any]]:
    truth = problem.truth()
    contenders = []
    for name in options.only or makers:
        started = time.perf_counter()
        for contender in makers[name](problem):
            contender.build_seconds = contender.build_seconds or time.perf_counter() - started
            contenders.append(contender)
            started = time.perf_counter()
    faiss.omp_set_num_threads(1)
    half = len(problem.queries) // 2
    first, second = slice(half), slice(half, None)
    for contender in contenders:
        for setting in contender.settings:
            recall, rate = run(contender, setting, problem.queries[first], truth[first])
            contender.curve.append((setting, recall, rate))
            if recall > 0.995:
                break
    rows = []
    for target in options.targets:
        chosen = {c.name: setting_for(c, target) for c in contenders}
        rounds: dict[str, list[tuple[float, float]]] = {c.name: [] for c in contenders}
        for _ in range(options.rounds):
            for contender in contenders:
                if chosen[contender.name] is None:
                    continue
                setting = int(chosen[contender.name] or 0)
                found = run(contender, setting, problem.queries[second], truth[second])
                rounds[contender.name].append(found)
        ours = median(rate for _, rate in rounds[contenders[0].name])
        for contender in contenders:
            found = rounds[contender.name]
            if found:
                rate = median(rate for _, rate in found)
                rows.append(
                    {
                        "target": target,
                        "index": contender.name,
                        "setting": chosen[contender.name],
                        "recall_at_10": round(found[0][0], 3),
                        "queries_per_second": round(rate),
                        "lsh_is_times_as_fast": round(ours / rate, 2),
                    }
                )
            else:
                best = max(recall for _, recall, _ in contender.curve)
                rows.append({"target": target, "index": contender.name, "best_recall": best})
    for contender in contenders:
        setting = setting_for(contender, options.targets[-1])
        if contender.batch is not None and setting is not None:
            faiss.omp_set_num_threads(2)
            rates = []
            for _ in range(options.rounds):
                started = time.perf_counter()
                contender.batch(problem.queries[second], setting)
                rates.append(half / (time.perf_counter() - started))
            print(f"{contender.name:<44} a batch on two threads {median(rates):>12,.0f}/s")
    if options.curves:
        Path(options.curves).write_text(
            json.dumps(
                [
                    {
                        "index": c.name,
                        "build_seconds": c.build_seconds,
                        "megabytes": c.megabytes,
                        "curve": c.curve,
                    }
                    for c in contenders
                ],
                indent=1,
            )
        )
    for contender in contenders:
        size = "" if contender.megabytes is None else f", {contender.megabytes:.0f} MB beside"
        print(f"{contender.name:<44} built in {contender.build_seconds:7.2f} s{size}")
    return rows


def run(
    contender: Contender, setting: int, queries: FloatMatrix, truth: Any
) -> tuple[float, float]:
    """Recall and queries a second."""
    contender.find(queries[0], setting)
    started = time.perf_counter()
    answers = [contender.find(query, setting) for query in queries]
    rate = len(queries) / (time.perf_counter() - started)
    shared = [
        len(set(np.asarray(answer).tolist()) & set(line.tolist())) / len(line)
        for answer, line in zip(answers, truth, strict=True)
    ]
    return float(np.mean(shared)), rate


def setting_for(contender: Contender, target: float) -> int | None:
    """The least setting that reaches a recall, between two by interpolation; None if none does."""
    before: tuple[int, float] | None = None
    for setting, recall, _ in contender.curve:
        if recall >= target:
            if before is None or recall == before[1]:
                return setting
            share = (target - before[1]) / (recall - before[1])
            return int(np.ceil(before[0] + share * (setting - before[0])))
        before = setting, recall
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = ["clustered", "uniform", "diginetica", "beauty", "glove", "bigann"]
    parser.add_argument("problems", nargs="*", choices=names, default=["clustered"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--targets", type=float, nargs="+", default=[0.9, 0.95])
    parser.add_argument("--only", nargs="+", choices=MAKERS)
    parser.add_argument("--curves", help="a file to write all settings that were tried to")
    options = parser.parse_args()
    for name in options.problems:
        problem = load(name, options)
        count, dim = problem.matrix.shape
        print(f"{name}: {count:,} × {dim}, {problem.metric}, k = {K}, one thread")
        for row in measure(problem, options):
            if "best_recall" in row:
                print(
                    f"{row['target']:<6}{row['index']:<44} reaches {row['best_recall']:.3f} at most"
                )
                continue
            print(
                f"{row['target']:<6}{row['index']:<44}{row['recall_at_10']:>7.3f}"
                f"{row['queries_per_second']:>9,}/s   lsh {row['lsh_is_times_as_fast']:.2f} times"
            )


if __name__ == "__main__":
    main()
