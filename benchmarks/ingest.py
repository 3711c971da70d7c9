"""Ingest of generated interactions from Parquet into SQLite: rows per second, peak memory.

    python benchmarks/ingest.py                 ten million rows, and one million beside them
    python benchmarks/ingest.py --rows 1000000 --json

Each size runs in a process of its own, so that its peak is its own. Memory is flat where the peak
does not follow the rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
from itemspace.catalog import open_engine
from itemspace.catalog.ingest import ingest

LOG = """
    SELECT (hash(i) % 200000)::BIGINT AS user_id,
           (pow(hash(i, 1) / 18446744073709551615.0, 3) * 50000)::BIGINT AS item_id,
           1700000000 + i // 10 AS timestamp,
           ['view', 'cart', 'buy'][(1 + hash(i, 2) % 3)::BIGINT] AS event
    FROM range({rows}) t(i)
"""


def write_log(rows: int, path: Path) -> None:
    """A log of 200,000 users and 50,000 items, a few of which are in most events."""
    with duckdb.connect() as db:
        db.execute(f"COPY ({LOG.format(rows=rows)}) TO '{path}' (FORMAT parquet)")


def run(path: Path) -> dict[str, float]:
    """One ingest, in this process."""
    engine = open_engine(f"sqlite:///{path.with_suffix('.db')}", create=True)
    report = ingest(engine, interactions=path)
    engine.dispose()
    rows = report.rows["interaction"]
    return {
        "rows": rows,
        "seconds": round(report.seconds, 2),
        "rows_per_second": round(rows / report.seconds),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.one)))
        return
    results = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log.parquet"
            write_log(rows, path)
            # A process of its own, whose peak is the ingest's.
            words = [sys.executable, __file__, "--one", str(path)]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(done.stdout))
    if options.json:
        print(json.dumps(results, indent=1))
        return
    print(f"DuckDB {duckdb.__version__}: Parquet → SQLite, index included")
    print(f"{'rows':>12}{'seconds':>10}{'rows/s':>12}{'peak MB':>10}")
    for result in results:
        rows, seconds, rate, peak = result.values()
        print(f"{rows:>12,}{seconds:>10.1f}{rate:>12,}{peak:>10,}")


if __name__ == "__main__":
    main()
