"""The next item on public data: how good builders are with the settings that validation chose.

    python benchmarks/next_item.py deezer path/to/deezer-ecommerce
    python benchmarks/next_item.py beauty path/to/beauty
    python benchmarks/next_item.py diginetica path/to/diginetica

The settings are in ``benchmarks/next_item/``; ``--tune 60`` searches them anew, by 60 trials a
builder on validation data alone. Without it the builders are fitted with them and measured on
validation and test data: full ranking, means over ``--seeds``, and for each builder the paired
bootstrap of its difference to ``itemknn`` over the same cases (with the first seed).

deezer
    Protocol of Caselles-Dupré et al. 2018: the last item of a sequence among the 10 neighbours of
    the one before; a repetition of the same item counts as a hit. The test is the 1,000 pairs that
    come with the data. Settings are chosen by the last items of what is left for training, of all
    4,234 sequences: the 1,000 validation pairs tell them apart to 1.4 points only.
beauty
    Leave last out; validation is the last but one. Items of the history are not recommended.
diginetica
    The next click after each beginning of a test session; repetitions are allowed. For validation
    every tenth training session is taken out and treated like the test sessions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from itemspace import Sequences
from itemspace.builders import load_builder
from itemspace.core.histories import Recent
from itemspace.evaluation import Split, evaluate, leave_last_out, next_item, read_config, tune
from itemspace.evaluation.measures import paired_bootstrap

HOME = Path(__file__).parent / "next_item"
BASELINE = "itemknn"
#: What is not searched: dimensions are a matter of what one can afford.
FIXED: dict[str, dict[str, Any]] = {
    "itemknn": {},
    "counts": {"dim": 512},
    "pmi": {"dim": 512},
    "item2vec": {"dim": 128},
}


@dataclass(frozen=True)
class Task:
    """A validation and a test split, and how they are measured."""

    validation: Split
    test: Split
    k: int = 10
    measure: str = "hr"
    recents: tuple[Recent, ...] = (
        Recent(10, 0.8),
        Recent(50, 0.7),
        Recent(50, 0.6),
        Recent(20, 0.5),
    )
    options: dict[str, Any] = field(default_factory=dict)


def deezer(folder: Path) -> Task:
    train, test = deezer_pairs(folder, "test")
    return Task(leave_last_out(train), test, recents=(Recent(1),), options={"repeats": "hit"})


def deezer_pairs(folder: Path, name: str) -> tuple[Sequences, Split]:
    """All sequences less their last items, and the split with the ``name``d pairs."""
    lines = [line.split("\t") for line in _lines(folder / "sequences.txt")]
    train = Sequences.from_lists([line[:-1] for line in lines])
    pairs = [line.split("\t") for line in _lines(folder / f"{name}_pairs.tsv")]
    return train, next_item(train, [[one] for one, _ in pairs], [other for _, other in pairs])


def beauty(folder: Path) -> Task:
    sequences = Sequences.from_lists(line.split()[1:] for line in _lines(folder / "sequences.txt"))
    return Task(leave_last_out(sequences, skip=1), leave_last_out(sequences))


def diginetica(folder: Path) -> Task:
    sessions = [line.split() for line in _lines(folder / "train_sessions.txt")]
    tested = [line.split("\t") for line in _lines(folder / "test.txt")]
    held = [(s[:end], s[end]) for s in sessions[::10] for end in range(1, len(s))]
    kept = Sequences.from_lists(s for at, s in enumerate(sessions) if at % 10)
    return Task(
        next_item(kept, *zip(*held, strict=True)),
        next_item(
            Sequences.from_lists(sessions), [p.split() for p, _ in tested], [t for _, t in tested]
        ),
        k=20,
        measure="recall",
        recents=(Recent(1), Recent(3, 0.6), Recent(10, 0.6), Recent(10, 0.4)),
        options={"exclude_history": False},
    )


TASKS: dict[str, Callable[[Path], Task]] = {
    "deezer": deezer,
    "beauty": beauty,
    "diginetica": diginetica,
}


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def search(task: Task, data: str, builders: Iterable[str], trials: int) -> None:
    for name in builders:
        found = tune(
            load_builder(name),
            task.validation,
            trials=trials,
            fixed=FIXED[name],
            recents=task.recents,
            measure=task.measure,
            k=task.k,
            record=HOME / f"{data}-{name}.jsonl",
            **task.options,
        )
        found.write_config(HOME / f"{data}-{name}.toml")
        best = found.best
        print(f"{name}: {found.measure} {best.value:.4f}, {found.counts()}, {found.seconds:.0f} s")


def measure(task: Task, data: str, builders: Iterable[str], seeds: int) -> None:
    names = {"hr": "HR", "recall": "Recall"}[task.measure]
    print(
        f"{data}: {len(task.validation.histories):,} validation and {len(task.test.histories):,} "
        f"test cases, {len(task.test.train.vocabulary):,} items"
    )
    print(
        f"{'builder':<10}{'valid.':>8}{f'{names}@{task.k}':>11}{f'NDCG@{task.k}':>9}"
        f"{'less itemknn (95 %)':>28}"
    )
    ours: dict[str, Any] = {}
    for name in builders:
        config = read_config(HOME / f"{data}-{name}.toml")
        learned = "seed" in config.options
        found: dict[str, list[Any]] = {"validation": [], "test": []}
        for part, split in (("validation", task.validation), ("test", task.test)):
            for seed in range(1, 1 + (seeds if learned else 1)):
                builder = config.make(**({"seed": seed} if learned else {}))
                builder.fit(split.train)
                found[part].append(
                    evaluate(builder, split, ks=(task.k,), recent=config.recent, **task.options)
                )
        values = {
            part: np.mean([one.per_case(task.measure, task.k).mean() for one in every])
            for part, every in found.items()
        }
        gain = np.mean([one.per_case("ndcg", task.k).mean() for one in found["test"]])
        ours[name] = found["test"][0].per_case(task.measure, task.k)
        beside = ""
        if name != BASELINE and BASELINE in ours:
            more = paired_bootstrap(ours[name], ours[BASELINE])
            beside = f"{more.value:+.4f} ({more.low:+.4f} – {more.high:+.4f})"
        print(
            f"{name:<10}{values['validation']:>8.4f}{values['test']:>11.4f}{gain:>9.4f}{beside:>28}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", choices=TASKS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--builders", nargs="+", default=list(FIXED), choices=FIXED)
    parser.add_argument("--tune", type=int, metavar="TRIALS", help="search the settings anew")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    task = TASKS[chosen.data](chosen.folder)
    if chosen.tune:
        search(task, chosen.data, chosen.builders, chosen.tune)
    else:
        measure(task, chosen.data, chosen.builders, chosen.seeds)


if __name__ == "__main__":
    main()
