"""Users and items in one space, beside counting and beside ``implicit`` run by hand.

    python benchmarks/matrix_factorisation.py path/to/ml-latest-small

The settings are in ``benchmarks/matrix_factorisation/``; ``--tune 120`` searches them anew, for 120
seconds a builder and on validation data alone. Without it the builders are fitted with them and
measured once on the test data: full ranking, items of the history are not recommended.

time
    Train on what is before the moment with four fifths of all ratings; the cases are the users
    with ratings before and after it, the targets what they rate after it. Settings are chosen by
    a random fifth of each user's ratings before that moment.
last
    Leave last out; settings are chosen by the last but one.

Every rating counts 1; ``als ratings`` takes the rating as the weight of the event. ``als, 3`` takes
a user not by their own vector but by the mean of the last three items, as users whom the training
has not seen are taken.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import implicit
import numpy as np
from itemspace import Interactions, Sequences, VectorSet
from itemspace.builders import MatrixFactorization, UserItemVectors, load_builder
from itemspace.builders.options import Real, SearchSpace, Whole
from itemspace.core.histories import Recent
from itemspace.evaluation import (
    Split,
    by_time,
    evaluate,
    leave_last_out,
    random_events,
    read_config,
    tune,
)
from itemspace.evaluation.configuration import Configuration
from itemspace.evaluation.measures import bootstrap, paired_bootstrap
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

HOME = Path(__file__).parent / "matrix_factorisation"
K = 20
#: The items by which a user is taken besides, in place of their own vector.
LAST = Recent(3)
RECENTS = (Recent(10), Recent(50), Recent(50, 0.9), Recent(500))


@dataclass(frozen=True)
class Row:
    """A builder, and what is searched."""

    builder: str
    space: SearchSpace | None = None
    fixed: tuple[tuple[str, Any], ...] = ()
    weighed: bool = False


_ALS = {
    "dim": Whole(16, 512, log=True),
    "epochs": Whole(5, 25, log=True),
    "regularization": Real(0.1, 50, log=True),
    "alpha": Real(0.05, 10, log=True),
}
_BPR = {
    "dim": Whole(16, 256, log=True),
    "epochs": Whole(20, 150, log=True),
    "regularization": Real(1e-3, 0.1, log=True),
    "learning_rate": Real(0.02, 0.3, log=True),
}
_KNN = {
    **load_builder("itemknn").search_space,
    "window": Whole(1, 300, log=True),
    "normalisation": Real(0, 1),
    "shrinkage": Real(0, 100),
}
_SKIPGRAM = {
    **load_builder("item2vec").search_space,
    "window": Whole(1, 50, log=True),
    "epochs": Whole(5, 40, log=True),
}
ROWS = {
    "popularity": Row("popularity"),
    "itemknn": Row("itemknn", _KNN),
    "item2vec": Row("item2vec", _SKIPGRAM, (("dim", 64),)),
    "als": Row("mf", _ALS, (("model", "als"), ("threads", 1))),
    "als ratings": Row("mf", _ALS, (("model", "als"), ("threads", 1)), weighed=True),
    "bpr": Row("mf", _BPR, (("model", "bpr"), ("threads", 1))),
}


def read_log(folder: Path) -> Interactions:
    columns = np.genfromtxt(folder / "ratings.csv", delimiter=",", skip_header=1)
    users, items = columns[:, :2].astype(np.int64).T
    return Interactions.from_columns(users, items, columns[:, 3], values=columns[:, 2])


def validation_split(log: Interactions, name: str, weighed: bool) -> Split:
    if name == "last":
        return leave_last_out(_sequences(log, weighed), skip=1)
    assert log.times is not None
    early = log.where(log.times <= np.quantile(log.times, 0.8, method="lower"))
    return random_events(_sequences(early, weighed))


def test_split(log: Interactions, name: str, weighed: bool) -> Split:
    if name == "last":
        return leave_last_out(_sequences(log, weighed))
    return by_time(log, weights=log.weigh(values=True) if weighed else None)


def _sequences(log: Interactions, weighed: bool) -> Sequences:
    return log.sequences(weights=log.weigh(values=True) if weighed else None)


def search(log: Interactions, name: str, labels: list[str], budget: float) -> None:
    for label in labels:
        row = ROWS[label]
        found = tune(
            load_builder(row.builder),
            validation_split(log, name, row.weighed),
            budget=budget,
            space=row.space,
            fixed=dict(row.fixed),
            recents=RECENTS,
            measure="recall",
            k=K,
        )
        found.write_config(_path(name, label))
        best = found.best
        print(f"{name} {label}: {found.measure} {best.value:.4f}, {found.counts()}", flush=True)


def measure(log: Interactions, name: str) -> None:
    split = test_split(log, name, weighed=False)
    targets = np.diff(split.targets.offsets)
    print(
        f"{name}: {len(split.histories)} cases, {targets.mean():.1f} targets each, "
        f"{len(split.train.items):,} events to learn from"
    )
    print(
        f"{'builder':<16}{f'Recall@{K}':>10}{'95 %':>16}{f'NDCG@{K}':>9}{'fit s':>7}  less itemknn"
    )
    known: Any = None
    for label, row in ROWS.items():
        config = _config(name, label)
        split = test_split(log, name, row.weighed)
        with _timed() as seconds:
            builder = config.make().fit(split.train)
        measured = [(label, builder, config.recent)]
        if row.builder == "mf":
            measured.append((f"{label}, {LAST.count}", builder.item_vectors_, LAST))
        for what, thing, recent in measured:
            found = evaluate(thing, split, ks=(K,), recent=recent)
            cases = found.per_case("recall", K)
            beside = "" if known is None else str(paired_bootstrap(cases, known))
            mean = bootstrap(cases)
            print(
                f"{what:<16}{mean.value:>10.4f}{f'{mean.low:.4f}–{mean.high:.4f}':>16}"
                f"{found.per_case('ndcg', K).mean():>9.4f}{seconds[0]:>7.2f}  {beside}"
            )
            if label == "itemknn":
                known = cases
    for label in ("als", "als ratings", "bpr"):
        _beside_implicit(name, label, test_split(log, name, ROWS[label].weighed))


def _beside_implicit(name: str, label: str, split: Split) -> None:
    """Print what the library finds, given the same settings by hand, by its own ``recommend``."""
    config = _config(name, label)
    for threads in (1, 2):
        with _timed() as ours:
            builder = config.make(threads=threads).fit(split.train)
        found = evaluate(builder, split, ks=(K,))
        with threadpool_limits(1, "blas"), _timed() as theirs:
            model, cells, items = fit_by_hand(split.train, {**config.options, "threads": threads})
        recalls, gains = recommend_by_hand(model, cells, items, split)
        same = all(
            np.array_equal(one, other)
            for one, other in (
                (builder.user_vectors_.matrix, model.user_factors),
                (builder.item_vectors_.matrix, model.item_factors),
            )
        )
        print(
            f"{label}, {threads} threads: Recall@{K} {found.per_case('recall', K).mean():.4f}, by "
            f"hand {recalls.mean():.4f}; NDCG@{K} {found.per_case('ndcg', K).mean():.4f}, by hand "
            f"{gains.mean():.4f}; vectors bit for bit: {'yes' if same else 'no'}; fit "
            f"{ours[0]:.2f} s, by hand {theirs[0]:.2f} s"
        )


def fit_by_hand(train: Sequences, options: dict[str, Any]) -> tuple[Any, csr_matrix, Any]:
    """implicit as anyone would call it: its model, the matrix, and the items of its columns."""
    owners = np.repeat(train.owners(), np.diff(train.offsets))
    _, users = np.unique(owners, return_inverse=True)
    items, columns = np.unique(train.items, return_inverse=True)
    amounts = np.ones(len(users)) if train.weights is None else train.weights
    cells = csr_matrix((amounts, (users, columns)), dtype=np.float32)
    if options["model"] == "als":
        cells.data = 1 + np.float32(options["alpha"]) * cells.data
        model = implicit.cpu.als.AlternatingLeastSquares(
            factors=options["dim"],
            regularization=options["regularization"],
            iterations=options["epochs"],
            num_threads=options["threads"],
            random_state=options["seed"],
        )
        model.fit(cells, show_progress=False)
    else:
        model = implicit.cpu.bpr.BayesianPersonalizedRanking(
            factors=options["dim"],
            regularization=options["regularization"],
            learning_rate=options["learning_rate"],
            iterations=1,
            num_threads=options["threads"],
        )
        # One fit of all epochs goes on with the random numbers of the first, which no checkpoint
        # can hold.
        for epoch in range(options["epochs"]):
            model.random_state = (options["seed"], epoch)
            model.fit(cells, show_progress=False)
    return model, cells, items


def recommend_by_hand(
    model: Any, cells: csr_matrix, items: Any, split: Split
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Recall and NDCG of each case, from the library's own lists."""
    trained = np.unique(split.train.owners()[np.diff(split.train.offsets) > 0])
    assert split.histories.users is not None
    users = np.searchsorted(trained, split.histories.users)
    lists, _ = model.recommend(users, cells[users], N=K)
    discounts = 1 / np.log2(np.arange(2, K + 2))
    recalls, gains = [], []
    for listed, targets in zip(lists, split.targets, strict=True):
        hits = np.isin(items[listed], targets)
        recalls.append(hits.sum() / len(targets))
        gains.append(discounts[hits].sum() / discounts[: len(targets)].sum())
    return np.array(recalls), np.array(gains)


def fold_in(log: Interactions, share: float = 0.1, seed: int = 1) -> None:
    """What a fold-in is worth beside training anew, for users and items that were hidden."""
    config = _config("last", "als")
    split = random_events(log.sequences(), seed=seed)
    rng = np.random.default_rng(seed)
    with _timed() as anew:
        whole = config.make().fit(split.train)

    train = split.train
    hidden = rng.random(len(train)) < share
    of_hidden = np.repeat(hidden, np.diff(train.offsets))
    part = config.make().fit(train.where(~of_hidden))
    with _timed() as users_in:
        users = part.fold_in_users(train.where(of_hidden))
    assert split.histories.users is not None
    tested = hidden[split.histories.users]
    folded = UserItemVectors(part.item_vectors_, users)
    print(f"fold-in of {len(users)} users, als, Recall@{K} of their hidden fifth:")
    _show(split, tested, "trained anew", whole, anew[0])
    _show(split, tested, "folded in", folded, users_in[0])
    for recent in RECENTS:
        _show(split, tested, f"mean of {recent}", part.item_vectors_, 0, recent)

    hidden = rng.random(len(train.vocabulary)) < share
    of_hidden = hidden[train.items]
    part = config.make().fit(train.where(~of_hidden))
    with _timed() as items_in:
        items = part.fold_in_items(train.where(of_hidden))
    both = _joined(part, items)
    print(f"fold-in of {len(items)} items, als, Recall@{K} of those among the targets, and of all:")
    only = Split(
        split.name, train, split.histories, split.targets.where(hidden[split.targets.items])
    )
    some = np.diff(only.targets.offsets) > 0
    every = np.ones(len(some), dtype=np.bool_)
    for what, vectors, seconds in (
        ("trained anew", whole, anew[0]),
        ("folded in", both, items_in[0]),
        ("left out", part, 0.0),
    ):
        _show(only, some, what, vectors, seconds)
        _show(split, every, f"{what}, all targets", vectors, seconds)


def _joined(part: MatrixFactorization, items: VectorSet) -> UserItemVectors:
    old = part.item_vectors_
    matrix = np.concatenate([old.matrix, items.matrix])
    both = VectorSet(old.ids.concat(items.ids), matrix, old.metric)
    return UserItemVectors(both, part.user_vectors_)


def _show(
    split: Split,
    tested: np.ndarray[Any, Any],
    what: str,
    vectors: Any,
    seconds: float,
    recent: Recent | None = None,
) -> None:
    recalls = evaluate(vectors, split, ks=(K,), recent=recent).per_case("recall", K)[tested]
    print(f"  {what:<40}{bootstrap(recalls)}{seconds:>8.2f} s")


@contextmanager
def _timed() -> Iterator[list[float]]:
    seconds: list[float] = []
    started = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - started)


def _path(name: str, label: str) -> Path:
    return HOME / f"{name}-{label.replace(' ', '-')}.toml"


def _config(name: str, label: str) -> Configuration:
    if label == "popularity":
        return Configuration("popularity", {}, Recent())
    return read_config(_path(name, label))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tune", type=float, metavar="SECONDS", help="search the settings anew")
    searched = [label for label in ROWS if label != "popularity"]
    parser.add_argument(
        "--builders", nargs="+", default=searched, choices=searched, help="with --tune: only these"
    )
    chosen = parser.parse_args()
    log = read_log(chosen.folder)
    for name in ("time", "last"):
        if chosen.tune:
            search(log, name, chosen.builders, chosen.tune)
        else:
            measure(log, name)
    if not chosen.tune:
        fold_in(log)


if __name__ == "__main__":
    main()
