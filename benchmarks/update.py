"""What an update is worth against training anew: Item2Vec on the Deezer e-commerce sequences.

    python benchmarks/update.py path/to/deezer-ecommerce

A twentieth of the items is unknown at first, and a fifth of the sequences, those that have them
among others, comes later. Compared are: the old model as it is; updated with the later sequences,
freely or with the old vectors frozen; and a model that is trained anew on everything. HR@10 on the
validation pairs: of all, and of those whose item or answer is new.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from itemspace import Sequences, VectorSet
from itemspace.builders import Item2Vec
from itemspace.core.histories import Recent
from itemspace.core.vectors import unit_rows
from itemspace.evaluation import evaluate
from next_item import deezer_pairs

OPTIONS = {"dim": 64, "window": 5, "epochs": 20, "sample": 0, "alpha": 0.05}


def part(sequences: Sequences, chosen: np.ndarray) -> Sequences:
    """The chosen ones of the sequences, without the others' events."""
    kept = np.repeat(chosen, np.diff(sequences.offsets))
    return sequences.where(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    train, split = deezer_pairs(chosen.folder, "validation")
    found: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(1, chosen.seeds + 1):
        rng = np.random.default_rng(seed)
        new = rng.random(len(train.vocabulary)) < 0.05
        late = rng.random(len(train)) < 0.2
        early = part(train, ~late)
        early = early.where(~new[early.items])
        later = part(train, late)
        targets = np.zeros(len(split.targets), dtype=np.bool_)
        targets[np.diff(split.targets.offsets) == 1] |= new[split.targets.items]
        targets[np.diff(split.histories.offsets) == 1] |= new[split.histories.items]

        def hits(vectors: VectorSet, targets: np.ndarray = targets) -> tuple[float, float]:
            line = evaluate(vectors, split, recent=Recent(1), repeats="hit").per_case("hr", 10)
            return float(line.mean()), float(line[targets].mean())

        def shift(vectors: VectorSet, before: VectorSet) -> float:
            one, other = unit_rows(vectors.vectors(before.ids)), unit_rows(before.matrix)
            return float(np.einsum("ij,ij->i", one, other).mean())

        started = time.perf_counter()
        old = Item2Vec(**OPTIONS, seed=seed, threads=1).fit(early)
        spent = time.perf_counter() - started
        before = old.item_vectors_
        found.setdefault("old model", []).append((*hits(before), 1.0, spent))
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            old.save(folder)
            for name, freeze, epochs in (
                ("updated, 5 epochs", False, 5),
                ("updated", False, 20),
                ("updated, frozen", True, 20),
            ):
                model = Item2Vec.load(folder)
                model.epochs = epochs
                started = time.perf_counter()
                vectors = model.update(later, freeze=freeze).item_vectors_
                spent = time.perf_counter() - started
                found.setdefault(name, []).append((*hits(vectors), shift(vectors, before), spent))
        started = time.perf_counter()
        anew = Item2Vec(**OPTIONS, seed=seed, threads=1).fit(train).item_vectors_
        spent = time.perf_counter() - started
        found.setdefault("trained anew", []).append((*hits(anew), shift(anew, before), spent))
    print(f"{'':<20}{'HR@10':>8}{'of new':>8}{'cos to old':>12}{'seconds':>9}")
    for name, rows in found.items():
        every, fresh, same, spent = np.mean(rows, axis=0)
        print(f"{name:<20}{every:>8.4f}{fresh:>8.4f}{same:>12.3f}{spent:>9.1f}")


if __name__ == "__main__":
    main()
