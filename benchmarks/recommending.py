"""Recommending from a million items: to one user at a time, and to all users in one run.

    python benchmarks/recommending.py prepare /tmp/shop    a database and vectors
    python benchmarks/recommending.py one /tmp/shop        p50 and p99 of one recommendation
    python benchmarks/recommending.py all /tmp/shop        100 items for each of 100,000 users

The items are in nested clusters, with lengths as skewed as a factorisation's; a user is a mixture
of three tastes. SQLite holds a million items and three million events.

one
    2,000 users, each asked for once, one after the other, by ``Space.for_user`` with a condition
    that so many of the items meet; what they have seen is left out. Vectors by the native LSH.
all
    ``itemspace recommend --all-users -k 100`` in a process of its own, beside FAISS's exact search
    for the same users in batches, with as many threads, nothing left out and nothing written. The
    recall is that of the items in the file, against what is exact, without what was seen.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
from itemspace import Catalog, Ids, Metric, Space, VectorSet, publish
from itemspace.catalog import ensure, open_engine
from itemspace.core.vectors import FloatMatrix
from sqlalchemy import select

ITEMS, USERS, EVENTS, DIM = 1_000_000, 100_000, 3_000_000, 64
#: Share of the items → condition.
CONDITIONS = {"50 %": "category < 500", "10 %": "category < 100", "1 %": "category < 10"}


def made_vectors(rng: np.random.Generator) -> tuple[FloatMatrix, FloatMatrix]:
    """Items and users."""
    groups = rng.standard_normal((200, 1, DIM))
    centres = (groups + 0.7 * rng.standard_normal((200, 25, DIM))).reshape(-1, DIM)
    shares = rng.permutation(np.arange(1, len(centres) + 1) ** -0.8)
    shares /= shares.sum()
    items = np.empty((ITEMS, DIM), dtype=np.float32)
    for start in range(0, ITEMS, 1 << 17):
        block = items[start : start + (1 << 17)]
        chosen = rng.choice(len(centres), len(block), p=shares)
        block[:] = centres[chosen] + 0.5 * rng.standard_normal((len(block), DIM))
        block *= rng.lognormal(0, 0.5, (len(block), 1)) / np.sqrt(DIM)
    tastes = centres[rng.choice(len(centres), (USERS, 3), p=shares)]
    users = np.einsum("ut,utd->ud", rng.dirichlet([1, 1, 1], USERS), tastes)
    users += 0.3 * rng.standard_normal(users.shape)
    return items, users.astype(np.float32)


def prepare(folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    item_vectors, user_vectors = made_vectors(rng)
    engine = open_engine(f"sqlite:///{folder}/shop.db", create=True)
    ensure(engine)
    with engine.begin() as connection:
        raw = connection.connection
        raw.execute(
            "CREATE TABLE item (item_id TEXT PRIMARY KEY, title TEXT, category INTEGER, "
            "brand INTEGER, price REAL)"
        )
        columns = [rng.integers(1000, size=ITEMS), rng.integers(5000, size=ITEMS)]
        columns.append(rng.gamma(2, 30, ITEMS).round(2))
        rows = zip(range(ITEMS), *(column.tolist() for column in columns), strict=True)
        raw.executemany(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?)",
            ((f"i{at}", f"Item {at}", *rest) for at, *rest in rows),
        )
        raw.execute("CREATE INDEX item_category ON item (category)")
        raw.execute("CREATE TABLE interaction (user_id INTEGER, item_id TEXT, timestamp INTEGER)")
        who = np.sort(rng.integers(USERS, size=EVENTS)).tolist()
        what = (ITEMS * rng.random(EVENTS) ** 3).astype(np.int64).tolist()
        when = rng.integers(1_700_000_000, 1_710_000_000, size=EVENTS).tolist()
        events = zip(who, (f"i{at}" for at in what), when, strict=True)
        raw.executemany("INSERT INTO interaction VALUES (?, ?, ?)", events)
        raw.execute("CREATE INDEX ix_interaction_user_id ON interaction (user_id, timestamp)")
        raw.execute("ANALYZE")
    items = VectorSet(Ids([f"i{at}" for at in range(ITEMS)]), item_vectors, Metric.INNER_PRODUCT)
    users = VectorSet(Ids(np.arange(USERS)), user_vectors, Metric.INNER_PRODUCT)
    items.save(folder / "items")
    users.save(folder / "users")
    started = time.perf_counter()
    with Catalog(engine) as catalog:
        publish(catalog, items, f"lsh:{folder}/published", users=users)
    print(f"published in {time.perf_counter() - started:.1f} s")


def one(folder: Path, count: int = 2_000) -> None:
    users = np.random.default_rng(1).permutation(USERS)[: count + 50].tolist()
    with Catalog(f"sqlite:///{folder}/shop.db") as catalog, Space.open(catalog) as space:
        columns = space.items.columns
        print("condition  p50 ms  p99 ms  vectors  SQL     rest    statements  full")
        for share, text in {"none": None, **CONDITIONS}.items():
            seconds, vectors, sql, statements, full = [], [], [], [], 0
            for at, user in enumerate(users):
                started = time.perf_counter()
                near = space.for_user(user, 10)
                statement = select(columns["item_id"], columns["title"], near.score)
                if text is not None:
                    limit = int(text.rpartition(" ")[2])
                    statement = statement.where(columns["category"] < limit)
                rows = near.execute(statement=statement)
                taken = time.perf_counter() - started
                if at < 50:  # warm
                    continue
                seconds.append(taken)
                vectors.append(rows.plan.seconds_vectors)
                sql.append(rows.plan.seconds_sql)
                statements.append(rows.plan.statements)
                full += len(rows) == 10
            parts = [1e3 * median(part) for part in (vectors, sql)]
            p50, p99 = 1e3 * median(seconds), 1e3 * float(np.quantile(seconds, 0.99))
            print(
                f"{share:<9}  {p50:<6.2f}  {p99:<6.2f}  {parts[0]:<7.2f}  {parts[1]:<6.2f}  "
                f"{p50 - sum(parts):<6.2f}  {median(statements):<10.0f}  {full / count:.1%}"
            )


def everyone(folder: Path, exact_users: int) -> None:
    out = folder / "recommendations.parquet"
    out.unlink(missing_ok=True)
    command = [sys.executable, "-c", "from itemspace.cli.app import main; main()"]
    command += ["recommend", "--all-users", "-k", "100", "--out", str(out)]
    command += ["--database", f"sqlite:///{folder}/shop.db"]
    started = time.perf_counter()
    with subprocess.Popen(command) as process:
        _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    seconds = time.perf_counter() - started
    print(f"itemspace, all in all: {seconds:.0f} s, {usage.ru_maxrss / 1e6:.2f} GB at the peak")

    import duckdb
    import faiss

    items, users = VectorSet.open(folder / "items"), VectorSet.open(folder / "users")
    index = faiss.IndexFlatIP(DIM)
    index.add(np.ascontiguousarray(items.matrix))
    queries = np.ascontiguousarray(users.matrix[:exact_users])
    started = time.perf_counter()
    found = np.concatenate(
        [index.search(queries[at : at + 1000], 150)[1] for at in range(0, exact_users, 1000)]
    )
    exact = (time.perf_counter() - started) * USERS / exact_users
    print(f"FAISS exact, batches of 1,000: {exact:.0f} s (by {exact_users:,} users)")
    with duckdb.connect() as db:
        rows = db.execute(
            "SELECT user_id, list(item_id ORDER BY rank) FROM read_parquet(?) "
            "WHERE user_id < 500 GROUP BY 1",
            [str(out)],
        ).fetchall()
    with Catalog(f"sqlite:///{folder}/shop.db") as catalog:
        from itemspace.catalog.user_events import Seen, seen_items

        seen = seen_items(catalog, list(range(500)), Seen())
    recalls = []
    for user, names in rows:
        out_of = set(seen.get(user, ()))
        truth = [name for name in (f"i{at}" for at in found[user].tolist()) if name not in out_of]
        recalls.append(len(set(names) & set(truth[:100])) / 100)
    print(
        f"recall@100 of {len(recalls)} users: {np.mean(recalls):.3f}; {exact / seconds:.1f} times"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("prepare", "one", "all"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--exact-users", type=int, default=10_000, help="that FAISS is timed with")
    options = parser.parse_args()
    if options.what == "prepare":
        prepare(options.folder)
    elif options.what == "one":
        one(options.folder)
    else:
        everyone(options.folder, options.exact_users)
