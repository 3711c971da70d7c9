"""The largest inner products of factorised vectors: users ask, items are found.

    python benchmarks/inner_product.py diginetica beauty movielens --data path/to/data
    python benchmarks/inner_product.py made --count 100000
    python benchmarks/inner_product.py diginetica --data path/to/data --model bpr

``MatrixFactorization`` is trained on a log, 64 dimensions and else its defaults; ``made`` is a log
of as many users as items (``data.behaviour``), for there is none of that size at hand. The indexes
hold the items' vectors, as long as the training made them. Queries are users: settings are found
with one half of them and measured with the other, as ``retrieval.py`` does it, one query at a time,
one thread. Beside the table:

lengths
    Of the items' vectors, and their rank correlation with how often an item is in the log.
recall=0.95
    What the native LSH finds, for the half that is measured, with the patience that it has from its
    own stand-ins for users, and with that from ``tune`` with the other half. Its ids are checked to
    be distinct, its scores to be the inner products.
IndexLSH with 200 scored
    As ``faiss://?factory=LSH512`` has it, and the best recall of the native LSH at that speed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from data import behaviour
from itemspace import Metric, Sequences
from itemspace.builders import MatrixFactorization
from itemspace.core.vectors import FloatMatrix, RowView
from itemspace.lsh import HyperplaneLSH, LSHOptions
from retrieval import (
    MAKERS,
    Contender,
    K,
    Makers,
    Problem,
    make_index_lsh,
    measure,
    run,
    sequences,
)
from scipy.stats import spearmanr

EPOCHS = {"als": 15, "bpr": 100}
RERANK = 200


def make_exact(problem: Problem) -> Iterator[Contender]:
    index = faiss.IndexFlatIP(problem.matrix.shape[1])
    index.add(problem.matrix)
    yield Contender(
        "faiss IndexFlatIP, exact", [0], lambda query, _: index.search(query[None], K)[1][0]
    )


CONTENDERS: Makers = {
    "lsh": MAKERS["lsh"],
    "exact": make_exact,
    "random": MAKERS["random"],
    "faiss": MAKERS["faiss"],
    "hnswlib": MAKERS["hnswlib"],
}


def log_of(name: str, options: argparse.Namespace) -> Sequences:
    if name == "made":
        return behaviour(options.count, options.count)
    if name != "movielens":
        return sequences(name, options.data)
    file = options.data / "ml-latest-small" / "ratings.csv"
    users, items = np.genfromtxt(file, delimiter=",", skip_header=1)[:, :2].astype(int).T
    return Sequences.from_lists([items[users == user].tolist() for user in np.unique(users)])


def load(name: str, options: argparse.Namespace) -> Problem:
    """Items, and users drawn for queries; prints what they are like."""
    log = log_of(name, options)
    made = MatrixFactorization(model=options.model, epochs=EPOCHS[options.model], seed=1).fit(log)
    items, users = made.item_vectors_, made.user_vectors_.matrix
    users = users[np.linalg.norm(users, axis=1) > 0]
    drawn = np.random.default_rng(0).permutation(len(users))[: options.queries]
    lengths = np.linalg.norm(items.matrix, axis=1)
    middle, long, longest = np.quantile(lengths, [0.5, 0.99, 1])
    counts = dict(zip(log.vocabulary.to_list(), log.counts().tolist(), strict=True))
    often = spearmanr(lengths, [counts[item] for item in items.ids.to_list()])[0]
    print(
        f"{name}, {options.model}: {len(lengths):,} items × {items.matrix.shape[1]}, "
        f"{len(users):,} users; lengths: median {middle:.3f}, 99 % {long:.3f}, "
        f"longest {longest:.3f}; 99 % / median {long / middle:.1f}; with popularity {often:.2f}"
    )
    return Problem(np.ascontiguousarray(items.matrix), users[drawn], Metric.INNER_PRODUCT)


def recall_asked(problem: Problem, truth: Any) -> None:
    """What ``recall=0.95`` finds; answers are checked."""
    matrix = problem.matrix
    rows = RowView(matrix, np.linalg.norm(matrix, axis=1).astype(np.float32))
    index = HyperplaneLSH(matrix.shape[1], problem.metric, LSHOptions(threads=2, scan_limit=0))
    index.add(rows, 0)
    index.threads, half = 1, len(problem.queries) // 2
    queries = problem.queries[half:]

    def find(query: FloatMatrix, _: int) -> Any:
        return index.search(rows, query[None], K)[0][0]

    for told in ("by stand-ins", "by other users"):
        if told == "by other users":
            index.tune(rows, 0.95, problem.queries[:half])
        found, scores = index.search(rows, queries, K)
        products = np.einsum("qkd,qd->qk", matrix[found].astype(np.float64), queries)
        assert np.allclose(scores, products, rtol=1e-6, atol=1e-9)
        assert all(len(set(line)) == K for line in found.tolist())
        recall, rate = run(Contender("lsh", [0], find), 0, queries, truth[half:])
        print(f"recall=0.95, patience {told}: {index.patience}, recall {recall:.3f}, {rate:,.0f}/s")


def at_the_speed_of_index_lsh(problem: Problem, truth: Any) -> None:
    half = len(problem.queries) // 2
    queries, truth = problem.queries[half:], truth[half:]
    ours, theirs = (next(make(problem)) for make in (MAKERS["lsh"], make_index_lsh))
    faiss.omp_set_num_threads(1)
    recall, rate = run(theirs, RERANK, queries, truth)
    found = [run(ours, setting, queries, truth) for setting in ours.settings]
    best = max((pair for pair in found if pair[1] >= rate), default=(0.0, 0.0))
    print(
        f"IndexLSH with {RERANK} scored: recall {recall:.3f}, {rate:,.0f}/s; "
        f"lsh: {best[0]:.3f}, {best[1]:,.0f}/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "problems", nargs="+", choices=["made", "diginetica", "beauty", "movielens"]
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", choices=EPOCHS, default="als")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--targets", type=float, nargs="+", default=[0.9, 0.95, 0.99])
    parser.add_argument("--only", nargs="+", choices=CONTENDERS)
    parser.add_argument("--curves", help="a file to write all settings that were tried to")
    options = parser.parse_args()
    for name in options.problems:
        problem = load(name, options)
        truth = problem.truth()
        recall_asked(problem, truth)
        at_the_speed_of_index_lsh(problem, truth)
        rows = measure(problem, options, CONTENDERS)
        exact = {row["target"]: row for row in rows if "IndexFlatIP" in row["index"]}
        for row in rows:
            start = f"{row['target']:<6}{row['index']:<44}"
            if "best_recall" in row:
                print(f"{start} reaches {row['best_recall']:.3f} at most")
                continue
            rate = row["queries_per_second"]
            times = rate / exact[row["target"]]["queries_per_second"] if exact else float("nan")
            print(f"{start}{row['recall_at_10']:>7.3f}{rate:>9,}/s{times:>8.1f} times exact")


if __name__ == "__main__":
    main()
