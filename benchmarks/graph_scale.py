"""An item graph from 100 million clicks, node2vec and EGES on 20 million edges: time and memory.

python benchmarks/graph_scale.py

Each step is a process of its own, whose peak resident memory is the system's figure for it; what a
process holds that has only imported the same modules and compiled the same kernels is shown first.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from itemspace import Ids, ItemGraph, Sequences
from itemspace.builders import EGES, Node2Vec, SideInformation
from processes import run

SESSION = 5


def clicks(count: int, items: int) -> Sequences:
    """Sessions of five clicks: the first by a power law, each other near the one before."""
    rng = np.random.default_rng(0)
    codes = np.empty(count, dtype=np.int32)
    for at in range(0, count, 1 << 22):
        part = codes[at : at + (1 << 22)].reshape(-1)
        sessions = -(-len(part) // SESSION)
        steps = rng.geometric(0.05, (sessions, SESSION)) * rng.choice([-1, 1], (sessions, SESSION))
        steps[:, 0] = items * rng.random(sessions) ** 3
        part[:] = (steps.cumsum(axis=1) % items).reshape(-1)[: len(part)]
    offsets = np.arange(0, count + 1, SESSION, dtype=np.int64)
    return Sequences(Ids(np.arange(items)), codes, offsets)


def random_graph(nodes: int, edges: int) -> ItemGraph:
    """Ends by a power law, weights from 1 to 9; undirected."""
    rng = np.random.default_rng(0)
    ends = (nodes * rng.random((2, edges)) ** 2).astype(np.int64)
    ends[1] = (ends[1] * 7919) % nodes
    weights = rng.integers(1, 10, edges).astype(np.float32)
    return ItemGraph.from_edges(*ends, weights, directed=False, vocabulary=np.arange(nodes))


def megabytes(graph: ItemGraph) -> float:
    return (graph.indptr.nbytes + graph.indices.nbytes + graph.weights.nbytes) / 1e6


def log(scale: float, folder: str) -> dict[str, object]:
    sequences = clicks(int(scale * 100e6), int(scale * 1e6))
    np.save(Path(folder) / "items.npy", sequences.items)
    return {"log_megabytes": (sequences.items.nbytes + sequences.offsets.nbytes) / 1e6}


def count(scale: float, folder: str, directed: bool) -> dict[str, object]:
    items = np.load(Path(folder) / "items.npy")
    offsets = np.arange(0, len(items) + 1, SESSION, dtype=np.int64)
    sequences = Sequences(Ids(np.arange(int(scale * 1e6))), items, offsets)
    ItemGraph.from_sequences(Sequences.from_lists([[0, 1]]))  # compiles
    started = time.perf_counter()
    graph = ItemGraph.from_sequences(sequences, directed=directed)
    return {
        "seconds": time.perf_counter() - started,
        "edges": graph.edges,
        "graph_megabytes": megabytes(graph),
    }


def generate(scale: float, folder: str) -> dict[str, object]:
    graph = random_graph(int(scale * 1e6), int(scale * 20e6))
    graph.save(Path(folder) / "graph")
    squares = int((graph.degrees.astype(np.float64) ** 2).sum())
    return {
        "edges": graph.edges,
        "graph_megabytes": megabytes(graph),
        "sum_degree_squared": squares,
    }


def nothing() -> dict[str, object]:
    """What the interpreter, its modules and the compiled kernels take."""
    tiny = random_graph(100, 1000)
    Node2Vec(dim=8, num_walks=1, return_parameter=0.25, in_out_parameter=4.0).fit(tiny)
    return {}


def node2vec(folder: str, dim: int) -> dict[str, object]:
    graph = ItemGraph.open(Path(folder) / "graph")
    started = time.perf_counter()
    made = Node2Vec(
        dim=dim,
        num_walks=1,
        walk_length=40,
        window=5,
        return_parameter=0.25,
        in_out_parameter=4.0,
    ).fit(graph)
    vectors = made.item_vectors_
    return {
        "seconds": time.perf_counter() - started,
        "vector_megabytes": vectors.matrix.nbytes / 1e6,
    }


def eges(folder: str, dim: int) -> dict[str, object]:
    """With ten fields of 100 values, two of them several for an item."""
    graph = ItemGraph.open(Path(folder) / "graph")
    rng = np.random.default_rng(0)
    columns = {f"f{at}": rng.integers(100, size=len(graph)) for at in range(8)}
    columns |= {f"m{at}": rng.integers(100, size=(len(graph), 2)).tolist() for at in range(2)}
    side = SideInformation.from_columns(graph.vocabulary, columns)
    fields = [name + ":multi" * name.startswith("m") for name in columns]
    started = time.perf_counter()
    made = EGES(fields=fields, dim=dim, num_walks=1).fit(graph, side=side)
    rows = made.skipgram_.inputs.nbytes + made.skipgram_.outputs.nbytes
    return {
        "seconds": time.perf_counter() - started,
        "table_megabytes": rows / 1e6,
        "fields": len(made.slots_) - 1,
    }


def step(call: str) -> dict[str, object]:
    """Call a function above in a process of its own; its answer, and its peak memory."""
    code = f"import json, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    code += f"import graph_scale as g\nprint(json.dumps(g.{call}))"
    _, peak, output = run([sys.executable, "-c", code])
    return {"step": call.partition("(")[0], "peak_megabytes": peak} | json.loads(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the clicks, nodes and edges")
    parser.add_argument("--dim", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for call in (
            "nothing()",
            f"log({options.scale}, {folder!r})",
            f"count({options.scale}, {folder!r}, True)",
            f"count({options.scale}, {folder!r}, False)",
            f"generate({options.scale}, {folder!r})",
            f"node2vec({folder!r}, {options.dim})",
            f"eges({folder!r}, 64)",
        ):
            print(json.dumps(step(call)), flush=True)


if __name__ == "__main__":
    main()
