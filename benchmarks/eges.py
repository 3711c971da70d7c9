"""EGES: what side information is worth, for hidden links, for cold items, for the next item.

    python benchmarks/eges.py links path/to/data
    python benchmarks/eges.py cold path/to/data
    python benchmarks/eges.py next path/to/data
    python benchmarks/eges.py speed path/to/data

The folder holds ``amazon-hin`` (brand, category) and ``beauty`` (one field, merged). Every mode has
the same walks, dimension and epochs; figures are means over ``--seeds``. The options were chosen on
validation data, which is hidden from the training data in the same way (``--choose``).

links
    A third of the linked pairs is hidden, in both directions, and told from as many unlinked ones
    (AUC): by H·H, by H·Z, and by H·Z both ways added.
cold
    A tenth of the items is hidden from all sequences; the next item, if it is one of those, is
    ranked among them alone, and among all, for the items before it.
next
    The last item of each user, ranked among all, beside Item2vec with the same dimension, window,
    negatives and epochs.
speed
    Words a second over the graph's walks, two threads, d = 64, window 5, 5 negatives, with made-up
    fields of 10 to 1,000 values, beside gensim over the same walks in a file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from gensim.models import Word2Vec
from itemspace import Interactions, ItemGraph, Sequences, VectorSet
from itemspace.builders import EGES, Item2Vec, SideInformation
from itemspace.builders.walks import Walks
from itemspace.core.histories import Recent
from itemspace.evaluation import Split, evaluate, hide_links, leave_last_out, link_prediction
from itemspace.evaluation.links import LinkSplit
from itemspace.evaluation.scoring import VectorScorer
from itemspace.evaluation.splits import cold_items

MODES = ("bge", "ges", "eges")


@dataclass(frozen=True)
class Data:
    """Histories, what is known of the items, and the fields of it."""

    sequences: Sequences
    side: SideInformation
    fields: list[str]
    links: dict[str, Any] = field(default_factory=dict)
    """Options for hidden links."""
    cold: dict[str, Any] = field(default_factory=dict)
    """Options for cold and next items."""


def amazon(folder: Path) -> Data:
    """Order: time, then the row of the source; times are whole days, so there is no gap."""
    rows = np.loadtxt(folder / "amazon-hin" / "user_item.dat", dtype=np.int64)
    sequences = Interactions.from_columns(rows[:, 0], rows[:, 1], rows[:, 3]).sequences()
    columns = {
        name: _values(folder / "amazon-hin" / f"item_{name}.dat", sequences)
        for name in ("brand", "category")
    }
    side = SideInformation.from_columns(sequences.vocabulary, columns)
    fields = ["brand:multi", "category:multi"]
    links = {"walk_length": 20, "num_walks": 40, "alpha": 0.05, "ns_exponent": 0.0}
    return Data(sequences, side, fields, links, {"walk_length": 20, "num_walks": 10})


def _values(file: Path, sequences: Sequences) -> list[list[int]]:
    found: dict[int, list[int]] = {}
    for item, value in np.loadtxt(file, delimiter=",", dtype=np.int64).tolist():
        found.setdefault(item, []).append(value)
    return [found.get(item, []) for item in sequences.vocabulary.to_list()]


def beauty(folder: Path) -> Data:
    lines = (folder / "beauty" / "sequences.txt").read_text().splitlines()
    sequences = Sequences.from_lists([list(map(int, line.split()[1:])) for line in lines])
    known = json.loads((folder / "beauty" / "item_attributes.json").read_text())
    values = [known.get(str(item), []) for item in sequences.vocabulary.to_list()]
    side = SideInformation.from_columns(sequences.vocabulary, attributes=values)
    links = {"walk_length": 10, "num_walks": 40, "alpha": 0.05, "ns_exponent": 0.0, "negatives": 2}
    return Data(sequences, side, ["attributes:multi"], links, links)


def fit(data: Data, mode: Any, graph: Any, options: dict[str, Any], seed: int) -> EGES:
    made = EGES(fields=data.fields, mode=mode, seed=seed, **options)
    return made.fit(graph, side=data.side)


# -- hidden links ------------------------------------------------------------------------------


def without_links(graph: ItemGraph, seed: int) -> tuple[ItemGraph, LinkSplit]:
    """The graph less a third of its linked pairs, and those."""
    edges = graph.to_scipy().tocoo()
    sources, targets = edges.coords
    split = hide_links(np.stack([sources, targets], axis=1), len(graph), seed=seed)
    nodes = np.int64(len(graph))
    pairs = np.minimum(sources, targets) * nodes + np.maximum(sources, targets)
    kept = np.isin(pairs, split.train[:, 0] * nodes + split.train[:, 1])
    rest = ItemGraph.from_edges(
        graph.vocabulary[sources[kept]],
        graph.vocabulary[targets[kept]],
        edges.data[kept],
        directed=True,
        vocabulary=graph.vocabulary,
    )
    return rest, split


def links(data: Data, seeds: int, choose: bool) -> None:
    scores = {"H·H": ("h", None), "H·Z": ("h", "z"), "H·Z both ways": ("hz", "zh")}
    for mode in MODES:
        found: dict[str, list[Any]] = {name: [] for name in scores}
        for seed in range(1, seeds + 1):
            graph, split = without_links(ItemGraph.from_sequences(data.sequences), seed)
            if choose:
                graph, split = without_links(graph, seed + 100)
            made = fit(data, mode, graph, data.links, seed)
            h, z = (_rows(graph, some) for some in (made.item_vectors_, made.output_vectors_))
            matrices = {"h": h, "z": z, "hz": np.hstack([h, z]), "zh": np.hstack([z, h])}
            for name, (one, other) in scores.items():
                outputs = None if other is None else matrices[other]
                found[name].append(link_prediction(matrices[one], split, outputs=outputs).auc)
        _print(mode, {name: _told(some) for name, some in found.items()})


def _rows(graph: ItemGraph, vectors: VectorSet) -> np.ndarray:
    """A row per node, zero where there is no vector."""
    matrix = np.zeros((len(graph), vectors.dim), dtype=np.float32)
    matrix[graph.vocabulary.rows_of(vectors.ids)] = vectors.matrix
    return matrix


def _told(estimates: list[Any]) -> str:
    low, high = (mean(getattr(one, end) for one in estimates) for end in ("low", "high"))
    return f"{mean(one.value for one in estimates):.4f} ({low:.4f}–{high:.4f})"


# -- cold items --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Among:
    """A scorer that recommends only some of the items."""

    score: Callable[[Sequences], np.ndarray]
    items: np.ndarray
    """(items,) bool."""

    def scores(self, histories: Sequences) -> np.ndarray:
        found = self.score(histories)
        found[:, ~self.items] = -np.inf
        return found


def raw_side(data: Data, recent: Recent) -> Callable[[Sequences], np.ndarray]:
    """Neighbours by the values of the fields alone: the cosine of multi-hot vectors."""
    values = [
        {(name, value) for name, column in data.side.columns.items() for value in column[row]}
        for row in range(len(data.side))
    ]
    codes = {value: at for at, value in enumerate(sorted(set().union(*values)))}
    matrix = np.zeros((len(values), len(codes)), dtype=np.float32)
    for row, some in enumerate(values):
        matrix[row, [codes[value] for value in some]] = 1
    matrix += 1e-6
    return VectorScorer(VectorSet(data.side.ids, matrix), recent, data.side.ids).scores


def cold(data: Data, seeds: int, choose: bool) -> None:
    recent = Recent(1)
    results: dict[str, list[tuple[float, float]]] = {}
    for seed in range(1, seeds + 1):
        split = cold_items(data.sequences, seed=seed + 100 * choose)
        hidden = split.train.counts() == 0
        ids = data.sequences.vocabulary
        new = data.side.ids.rows_of(ids[np.flatnonzero(hidden)]).tolist()
        columns = {name: [column[at] for at in new] for name, column in data.side.columns.items()}
        side = SideInformation.from_columns(ids[np.flatnonzero(hidden)], columns)
        scorers = {"raw side information": raw_side(data, recent)}
        for mode in ("ges", "eges"):
            made = fit(data, mode, split.train, data.cold, seed)
            for method in ("mean", "weighted"):
                vectors = made.cold_start_.vectors(side, method=method).vectors  # type: ignore[union-attr,arg-type]
                both = VectorSet(
                    made.item_vectors_.ids.concat(vectors.ids),
                    np.concatenate([made.item_vectors_.matrix, vectors.matrix]),
                )
                scorers[f"{mode}, {method}"] = VectorScorer(both, recent, ids).scores
        for name, score in scorers.items():
            figures = [
                evaluate(Among(score, some), split, recent=recent, repeats="hit")
                .estimate("hr", 10)
                .value
                for some in (hidden, np.ones_like(hidden))
            ]
            results.setdefault(name, []).append((figures[0], figures[1]))
        results.setdefault("random", []).append((10 / hidden.sum(), 10 / len(hidden)))
    for name, some in results.items():
        among, everywhere = np.mean(some, axis=0)
        _print(name, {"HR@10 among the cold": f"{among:.4f}", "among all": f"{everywhere:.4f}"})


# -- the next item, and speed ------------------------------------------------------------------


def next_item(data: Data, seeds: int, choose: bool) -> None:
    split = leave_last_out(data.sequences, skip=int(choose))
    recent = Recent(10, 0.8)

    def worth(builder: Any, split: Split = split) -> float:
        return evaluate(builder, split, recent=recent).estimate("hr", 10).value

    for mode in MODES:
        found = [worth(fit(data, mode, split.train, data.cold, s + 1)) for s in range(seeds)]
        _print(mode, {"HR@10": f"{mean(found):.4f}"})
    budget = {"dim": 64, "window": 5, "negatives": 5, "epochs": 20}
    found = [worth(Item2Vec(seed=s + 1, **budget).fit(split.train)) for s in range(seeds)]
    _print("item2vec", {"HR@10": f"{mean(found):.4f}"})


def speed(data: Data, seeds: int, choose: bool) -> None:  # noqa: ARG001
    graph = ItemGraph.from_sequences(data.sequences, directed=False)
    options = {"dim": 64, "num_walks": 20, "walk_length": 20, "alpha": 0.025}
    rng = np.random.default_rng(0)
    names = [f"field {at}" for at in range(10)]
    columns = {n: rng.integers(10 ** (1 + at % 3), size=len(graph)) for at, n in enumerate(names)}
    side = SideInformation.from_columns(graph.vocabulary, columns)
    words = 20 * Walks(graph, 20).counts().sum()

    def eges(fields: list[str]) -> float:
        mode: Any = "eges" if fields else "bge"
        EGES(fields=fields, mode=mode, **options | {"num_walks": 1}).fit(graph, side=side)
        started = time.perf_counter()
        EGES(fields=fields, mode=mode, **options).fit(graph, side=side)
        return words / (time.perf_counter() - started)

    def gensim() -> float:
        walks = Walks(graph, 20)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            for epoch in range(20):
                np.savetxt(file, walks.epoch(epoch).items.reshape(-1, 20), fmt="%d")
            file.flush()
            model = Word2Vec(vector_size=64, window=5, sg=1, min_count=1, sample=0, workers=2)
            model.build_vocab(corpus_file=file.name)
            started = time.perf_counter()
            model.train(corpus_file=file.name, total_words=words, epochs=1)
            return words / (time.perf_counter() - started)

    contenders: dict[str, Callable[[], float]] = {
        "gensim, a file": gensim,
        "bge": lambda: eges([]),
        "eges, 3 fields": lambda: eges(names[:3]),
        "eges, 10 fields": lambda: eges(names),
    }
    rounds = [{name: run() for name, run in contenders.items()} for _ in range(seeds)]
    for name in contenders:
        ratios = [one[name] / one["gensim, a file"] for one in rounds]
        words_per_second = f"{median(one[name] for one in rounds):,.0f}"
        _print(name, {"words/s": words_per_second, "times gensim": f"{median(ratios):.2f}"})


def _print(name: str, figures: dict[str, str]) -> None:
    print(
        f"{name:<24}" + "".join(f"{key} {value}   " for key, value in figures.items()), flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    jobs = {"links": links, "cold": cold, "next": next_item, "speed": speed}
    parser.add_argument("job", choices=jobs)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--data", choices=("amazon", "beauty"), nargs="+", default=["amazon", "beauty"]
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--choose", action="store_true", help="on validation data")
    options = parser.parse_args()
    for name in options.data:
        data = {"amazon": amazon, "beauty": beauty}[name](options.folder)
        started = time.perf_counter()
        print(f"{name}: {ItemGraph.from_sequences(data.sequences)}")
        jobs[options.job](data, options.seeds, options.choose)
        print(f"({time.perf_counter() - started:.0f} s)")


if __name__ == "__main__":
    main()
