"""Labels of nodes from their vectors: BlogCatalog, PPI and Wikipedia, by DeepWalk's protocol.

python benchmarks/node_labels.py path/to/graphs blogcatalog "deepwalk num_walks=80 walk_length=40"

Ten shuffles, the same for each builder. ``--choose`` is for choosing options: it uses the labels
of a fixed random half of the nodes and other shuffles, and says nothing of the rest.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from itemspace import ItemGraph
from itemspace.cli.build import make_builder
from itemspace.evaluation import node_classification
from scipy.io import loadmat

FILES = {
    "ppi": ("ppi.edg", "ppi-labels.tsv"),
    "wikipedia": ("wikipedia-weighted.edg", "wikipedia-labels.tsv"),
}


def read(folder: Path, name: str) -> tuple[ItemGraph, np.ndarray]:
    """A graph, and (nodes, classes) of its labels."""
    if name == "blogcatalog":
        data = loadmat(folder / "blogcatalog.mat")
        graph = ItemGraph.from_scipy(data["network"], directed=False)
        return graph, data["group"].toarray() > 0
    edges, labels = (folder / file for file in FILES[name])
    graph = ItemGraph.from_file(edges, directed=False)
    pairs = np.array([line.split() for line in labels.read_text().splitlines()], dtype=np.int64)
    _, classes = np.unique(pairs[:, 1], return_inverse=True)
    rows = {node: row for row, node in enumerate(graph.vocabulary.to_list())}
    truth = np.zeros((len(graph), classes.max() + 1), dtype=np.bool_)
    for node, group in zip(pairs[:, 0].tolist(), classes, strict=True):
        truth[rows[node], group] = True
    return graph, truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("graph", choices=("blogcatalog", *FILES))
    parser.add_argument("builders", nargs="+", help="name option=value …")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.5, 0.9])
    parser.add_argument("--shuffles", type=int, default=10)
    parser.add_argument("--normalise", action="store_true", help="vectors at length 1")
    parser.add_argument("--choose", action="store_true")
    options = parser.parse_args()
    graph, truth = read(options.folder, options.graph)
    half = np.random.default_rng(0).permutation(len(graph))[: len(graph) // 2]
    for text in options.builders:
        name, *given = text.split()
        builder: Any = make_builder(name, given)
        started = time.perf_counter()
        vectors = builder.fit(graph).item_vectors_
        seconds = time.perf_counter() - started
        rows = graph.vocabulary.rows_of(vectors.ids)
        labels, matrix = truth[rows], vectors.matrix
        if options.choose:
            chosen = np.isin(rows, half)
            labels, matrix = labels[chosen], matrix[chosen]
        scores = node_classification(
            matrix,
            labels,
            shares=tuple(options.shares),
            shuffles=options.shuffles,
            seed=77 if options.choose else 1,
            normalise=options.normalise,
        )
        figures = {
            f"{share:.0%}": [round(float(f1.mean()), 4) for f1 in pair]
            for share, *pair in zip(scores.shares, scores.micro, scores.macro, strict=True)
        }
        found = {"builder": text, "seconds": round(seconds, 1), "micro, macro": figures}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
