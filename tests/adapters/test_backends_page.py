"""The table of docs/backends.md is what the backends declare, which the suite checks of each."""

import re
from pathlib import Path

import numpy as np
from itemspace import Ids, VectorSet, create_retriever
from itemspace.adapters.registry import BACKENDS, remove_retriever

PAGE = Path(__file__).parent.parent.parent / "docs" / "backends.md"
VECTORS = VectorSet(Ids(range(300)), np.random.default_rng(0).standard_normal((300, 8)))
COLUMNS = (
    "exact", "exact ties", "scores", "stores", "filters inside", "upsert all or nothing",
    "can be opened again",
)  # fmt: skip


def lines(folder: Path, postgresql: str) -> list[str]:
    urls = [
        f"exact:{folder}/a", f"lsh:{folder}/b", f"faiss:{folder}/c?factory=Flat",
        f"faiss:{folder}/d?factory=HNSW32", f"faiss:{folder}/e?factory=IVF1024,Flat",
        f"faiss:{folder}/f?factory=LSH256r", f"faiss:{folder}/g?factory=LSH256r&rerank=0",
        f"hnswlib:{folder}/h", f"usearch:{folder}/i", f"voyager:{folder}/j",
        f"milvus+lite:{folder}/l", f"milvus+lite:{folder}/m?index=flat",
        f"chroma:{folder}/n", f"lancedb:{folder}/o", f"lancedb:{folder}/p?index=none",
        f"sqlite-vec:{folder}/q.db",
        f"qdrant+edge:{folder}/k", f"{postgresql}&collection=page",
        f"{postgresql}&collection=page&index=none", f"{postgresql}&collection=page&storage=halfvec",
    ]  # fmt: skip
    found = []
    for url in urls:
        with create_retriever(url, VECTORS) as retriever:
            able = retriever.capabilities
        if able.persistent:
            remove_retriever(url)
        scheme, _, rest = url.partition(":")
        query = re.sub(r"(host|collection)=[^&]*&?", "", rest.partition("?")[2]).rstrip("&")
        cells = [
            able.is_exact, able.supports_exact_ties, able.scores, able.stores,
            able.supports_filter, able.supports_atomic_upsert, able.persistent,
        ]  # fmt: skip
        texts = ["yes" if c is True else "–" if c is False else str(c) for c in cells]
        found.append(f"| `{scheme}:{'?' if query else ''}{query}` | " + " | ".join(texts) + " |")
    return found


def test_the_page_says_what_is_declared(tmp_path: Path, postgresql_url: str) -> None:
    table = "\n".join(
        [
            "| backend | " + " | ".join(COLUMNS) + " |",
            "|---" * (len(COLUMNS) + 1) + "|",
            *lines(tmp_path, postgresql_url.replace("postgresql+", "pgvector+")),
        ]
    )
    assert table in PAGE.read_text(), f"docs/backends.md should have this table:\n{table}"
    for scheme in BACKENDS.builtins:
        assert f"`{scheme}:" in PAGE.read_text()
