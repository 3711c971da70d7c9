"""Words per second of the skip-gram kernel beside gensim, and what each learns.

    python benchmarks/skipgram.py path/to/deezer-ecommerce/sequences.txt

The last item of each sequence is held out; HR@10 of it, from the item before, tells whether the
speed was bought with quality. gensim reads from lists (as it mostly is used) and from a file
(``corpus_file``, its fastest way). All take turns; the figure is the median of the rounds.
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

import numpy as np
from gensim.models import Word2Vec
from itemspace import Sequences, VectorSet
from itemspace.builders.skipgram import SkipGram, SkipGramOptions
from itemspace.builders.sources import Log
from itemspace.core.histories import Recent
from itemspace.evaluation import evaluate, leave_last_out

WINDOW, NEGATIVES, SAMPLE, EPOCHS = 5, 5, 1e-3, 5


def native(
    train: Sequences, dim: int, threads: int, deterministic: bool
) -> tuple[float, np.ndarray]:
    options = SkipGramOptions(
        dim=dim,
        window=WINDOW,
        shrink=True,
        negatives=NEGATIVES,
        epochs=EPOCHS,
        sample=SAMPLE,
        keep_places=False,
        ns_exponent=0.75,
        alpha=0.025,
        seed=1,
        threads=threads,
        deterministic=deterministic,
    )
    trained = SkipGram(Log(train), options)
    started = time.perf_counter()
    for _ in range(EPOCHS):
        trained.train_epoch()
    return time.perf_counter() - started, trained.inputs


def gensim(train: Sequences, dim: int, threads: int, file: Path | None) -> tuple[float, np.ndarray]:
    model = Word2Vec(
        vector_size=dim,
        window=WINDOW,
        negative=NEGATIVES,
        sample=SAMPLE,
        sg=1,
        min_count=1,
        workers=threads,
        seed=1,
    )
    texts = [[str(code) for code in sequence] for sequence in train]
    model.build_vocab(texts)
    source: dict[str, Any] = {"corpus_iterable": texts}
    if file is not None:
        file.write_text("\n".join(" ".join(text) for text in texts) + "\n")
        source = {"corpus_file": str(file), "total_words": len(train.items)}
    started = time.perf_counter()
    model.train(total_examples=len(texts), epochs=EPOCHS, **source)
    seconds = time.perf_counter() - started
    places = [model.wv.key_to_index[str(code)] for code in range(len(train.vocabulary))]
    return seconds, model.wv.vectors[places]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sequences", type=Path, help="one sequence a line, tabs between the items")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    lines = options.sequences.read_text().splitlines()
    split = leave_last_out(Sequences.from_lists([line.split("\t") for line in lines]), skip=1)
    # Items that only the held-out events have are in nobody's vocabulary.
    train = split.train.over(np.unique(split.train.items))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "corpus.txt"
        for dim in options.dims:
            contenders: dict[str, Callable[[], tuple[float, np.ndarray]]] = {
                "native": lambda dim=dim: native(train, dim, options.threads, False),
                "native, deterministic": lambda dim=dim: native(train, dim, options.threads, True),
                "gensim, lists": lambda dim=dim: gensim(train, dim, options.threads, None),
                "gensim, corpus_file": lambda dim=dim: gensim(train, dim, options.threads, file),
            }
            contenders["native"]()  # compiles
            contenders["native, deterministic"]()
            speeds: dict[str, list[float]] = {name: [] for name in contenders}
            hits: dict[str, list[float]] = {name: [] for name in contenders}
            for _ in range(options.rounds):
                for name, run in contenders.items():
                    seconds, matrix = run()
                    speeds[name].append(EPOCHS * len(train.items) / seconds)
                    vectors = VectorSet(train.vocabulary, matrix)
                    found = evaluate(vectors, split, recent=Recent(1), repeats="hit")
                    hits[name].append(found.estimate("hr", 10).value)
            rows += [
                {
                    "dim": dim,
                    "engine": name,
                    "words_per_second": round(median(speeds[name])),
                    "hr_at_10": round(median(hits[name]), 4),
                }
                for name in contenders
            ]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(
        f"{len(train.items):,} events, {options.threads} threads, window {WINDOW}, "
        f"{NEGATIVES} negatives, {EPOCHS} epochs"
    )
    print(f"{'dim':>5}  {'engine':<22}{'words/s':>12}{'HR@10':>9}")
    for row in rows:
        dim, engine, speed, hit = row.values()
        print(f"{dim:>5}  {engine:<22}{speed:>12,}{hit:>9.4f}")


if __name__ == "__main__":
    main()
