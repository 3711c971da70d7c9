"""``milvus:`` and ``milvus+lite:`` URLs and their parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from ..core.errors import InvalidURL
from .options import check_choice, check_option, check_range, search_time
from .url import RetrieverURL

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_INDEXES = ("hnsw", "ivf_flat", "flat")


@dataclass(frozen=True)
class MilvusOptions:
    """Parameters of a ``milvus+lite:`` URL.

    Parameters
    ----------
    collection
        Its name in Milvus: up to 255 of a-z, A-Z, 0-9 and ``_``, the first one no digit.
    index
        ``hnsw``, ``ivf_flat``, or ``flat``: all are compared. Milvus' other types are left out:
        milvus-lite takes them and scans.
    m, ef_construction
        Edges per node of the HNSW graph, and the width of the search that builds it.
    nlist
        Lists of ``ivf_flat``; milvus-lite makes no more than there are items.
    ef_search
        Width of a search of the graph, more where k needs it.
    nprobe
        Lists that a search looks at, of ``nlist``.
    """

    collection: str = search_time("items")
    index: str = "hnsw"
    m: int = 16
    ef_construction: int = 100
    nlist: int = 128
    ef_search: int = search_time(100)
    nprobe: int = search_time(16)

    def __post_init__(self) -> None:
        check_range(self, "m", 2, 2_048)
        check_range(self, "ef_construction", 1, 100_000)
        check_range(self, "nlist", 1, 65_536)
        check_range(self, "ef_search", 1, 32_768)
        check_range(self, "nprobe", 1, 65_536)
        check_choice(self, "index", _INDEXES)
        expected = "up to 255 of a-z, A-Z, 0-9 and '_', the first one no digit"
        check_option(self, "collection", _NAME.fullmatch(self.collection), expected)

    def index_params(self) -> dict[str, Any]:
        """Milvus' own, of the index."""
        return {
            "hnsw": {"M": self.m, "efConstruction": self.ef_construction},
            "ivf_flat": {"nlist": self.nlist},
            "flat": {},
        }[self.index]

    def search_params(self, limit: int) -> dict[str, Any]:
        """Milvus' own, of a search for ``limit`` items."""
        return {
            "hnsw": {"ef": max(self.ef_search, limit)},
            "ivf_flat": {"nprobe": min(self.nprobe, self.nlist)},
            "flat": {},
        }[self.index]


@dataclass(frozen=True)
class MilvusServerOptions(MilvusOptions):
    """Parameters of a ``milvus:`` URL, beside those of ``milvus+lite:``.

    Parameters
    ----------
    token
        An API key or ``user:password``, where the URL does not say who is asking.
    secure
        Whether to speak TLS.
    timeout
        Seconds to connect, and to wait for an answer.
    """

    token: str | None = search_time(None, repr=False)
    secure: bool = search_time(False)
    timeout: float = search_time(30.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "timeout", 0.001, 86_400)

    def client(self, url: RetrieverURL) -> dict[str, Any]:
        """What pymilvus' client is made with."""
        try:
            parts = urlsplit(f"//{url.authority}")
            port = parts.port or 19_530
            database = url.path.strip("/")
            if not parts.hostname or ":" in parts.hostname or "/" in database:
                raise ValueError
        except ValueError:
            raise InvalidURL(
                "This milvus URL cannot be read; write "
                "milvus://user:password@host:19530/database?collection=items.",
                url="milvus:",
            ) from None
        login = (
            f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
        )
        return {
            "uri": f"{'https' if self.secure else 'http'}://{parts.hostname}:{port}",
            "token": self.token or unquote(login.strip(":")),
            "db_name": database,
            "timeout": self.timeout,
        }
