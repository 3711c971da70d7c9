"""Walks, and DeepWalk as a whole, beside fastnode2vec and gensim, over BlogCatalog or a like graph.

pip install --group benchmark && python benchmarks/walks.py path/to/blogcatalog.mat

Steps are counted on one thread, ids to ids, the contenders in turn in each round. fastnode2vec is
timed as it walks (a call from Python for each walk) and by its kernel in a compiled loop, which it
has not. ``--whole`` trains: DeepWalk, fastnode2vec, and gensim over the very walks of the first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import fastnode2vec
import numba
import numpy as np
from fastnode2vec.graph import _random_walk
from gensim.models import Word2Vec
from itemspace import ItemGraph
from itemspace.builders import DeepWalk
from itemspace.builders.walks import Walks
from itemspace.evaluation import node_classification
from scipy.io import loadmat

PARAMETERS = ((1.0, 1.0), (0.25, 0.25), (4.0, 0.5))
LENGTH = 80


@numba.njit(nogil=True)
def _their_loop(indptr: Any, indices: Any, length: int, p: float, q: float, starts: Any) -> int:
    steps = 0
    for start in starts:
        steps += len(_random_walk(indptr, indices, length, p, q, start)) - 1
    return steps


def steps_per_second(graph: ItemGraph, theirs: Any, rounds: int) -> list[dict[str, Any]]:
    rows = []
    starts = np.random.default_rng(0).permutation(len(graph))
    for p, q in PARAMETERS:
        walks = Walks(graph, LENGTH, return_parameter=p, in_out_parameter=q, threads=1)

        def calls(p: float = p, q: float = q) -> int:
            found = (
                _random_walk(theirs.indptr, theirs.indices, LENGTH, p, q, start) for start in starts
            )
            return sum(len(walk) - 1 for walk in found)

        contenders: dict[str, Callable[[int], int]] = {
            "itemspace": lambda epoch, walks=walks: len(walks.epoch(epoch).items) - len(walks),
            "fastnode2vec": lambda _, calls=calls: calls(),
            "fastnode2vec, compiled loop": lambda _, p=p, q=q: _their_loop(
                theirs.indptr, theirs.indices, LENGTH, p, q, starts
            ),
        }
        for run in contenders.values():
            run(0)  # compiles
        speeds: dict[str, list[float]] = {name: [] for name in contenders}
        for epoch in range(rounds):
            for name, run in contenders.items():
                started = time.perf_counter()
                steps = run(epoch)
                speeds[name].append(steps / (time.perf_counter() - started))
        rows += [
            {
                "p": p,
                "q": q,
                "engine": name,
                "steps_per_second": round(median(speeds[name])),
                "itemspace_is_times": round(
                    median(
                        own / other
                        for own, other in zip(speeds["itemspace"], speeds[name], strict=True)
                    ),
                    2,
                ),
            }
            for name in contenders
        ]
    return rows


def whole(
    graph: ItemGraph, theirs: Any, labels: Any, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Seconds and F1 of whole trainings: walks from memory to vectors."""
    shape = {"walk_length": 40, "window": 10, "dim": 128}

    def itemspace() -> np.ndarray:
        made = DeepWalk(num_walks=options.num_walks, threads=options.threads, **shape)
        return made.fit(graph).item_vectors_.matrix

    def fast() -> np.ndarray:
        model = fastnode2vec.Node2Vec(theirs, workers=options.threads, seed=1, **shape)
        model.train(epochs=options.num_walks, verbose=False)
        return model.wv[np.arange(len(graph)).tolist()]

    def gensim() -> np.ndarray:
        walks = Walks(graph, shape["walk_length"], threads=options.threads)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "walks.txt"
            with file.open("w") as stream:
                for epoch in range(options.num_walks):
                    lines = walks.epoch(epoch).items.reshape(-1, shape["walk_length"])
                    np.savetxt(stream, lines, fmt="%d")
            started = time.perf_counter()
            model = Word2Vec(
                corpus_file=str(file),
                vector_size=shape["dim"],
                window=shape["window"],
                sg=1,
                min_count=1,
                sample=0,
                epochs=1,
                workers=options.threads,
            )
            spent["gensim, over the walks in a file"] = time.perf_counter() - started
        return model.wv[[str(node) for node in range(len(graph))]]

    spent: dict[str, float] = {}
    contenders = {
        "itemspace": itemspace,
        "fastnode2vec": fast,
        "gensim, over the walks in a file": gensim,
    }
    DeepWalk(num_walks=1, dim=128).fit(graph)  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    vectors = {}
    for _ in range(options.rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            vectors[name] = run()
            seconds[name].append(spent.get(name, time.perf_counter() - started))
    rows = []
    for name, matrix in vectors.items():
        scores = node_classification(matrix, labels, shares=(0.5,))
        rows.append(
            {
                "engine": name,
                "seconds": round(median(seconds[name]), 1),
                "itemspace_is_times": round(
                    median(seconds[name]) / median(seconds["itemspace"]), 2
                ),
                "micro_f1_at_50": round(float(scores.micro.mean()), 4),
                "macro_f1_at_50": round(float(scores.macro.mean()), 4),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph", type=Path, help="a .mat file with `network` and `group`")
    parser.add_argument("--whole", action="store_true", help="whole trainings instead of walks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="with --whole")
    parser.add_argument("--num-walks", type=int, default=80, help="with --whole")
    options = parser.parse_args()
    data = loadmat(options.graph)
    graph = ItemGraph.from_scipy(data["network"], directed=False)
    upper = data["network"].tocoo()
    edges = [(int(a), int(b)) for a, b in zip(upper.row, upper.col, strict=True) if a < b]
    theirs = fastnode2vec.Graph(edges, directed=False, weighted=False, verbose=False)
    if options.whole:
        rows = whole(graph, theirs, data["group"], options)
    else:
        rows = steps_per_second(graph, theirs, options.rounds)
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
