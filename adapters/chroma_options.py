"""``chroma:`` URLs and their parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..core.errors import InvalidOption, InvalidURL
from .options import check_option, check_range, search_time
from .url import RetrieverURL

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]")
_PORTS = {"http": 8000, "https": 443}


@dataclass(frozen=True)
class ChromaOptions:
    """Parameters of a ``chroma:`` URL.

    Parameters
    ----------
    collection
        Its name in Chroma: 3 to 512 of a-z, A-Z, 0-9, ``.``, ``_`` and ``-``.
    m, ef_construction
        Edges per node of the HNSW graph, and the width of the search that builds it.
    ef_search
        Width of a search, more where k needs it; as the others it is set for good.
    sync_threshold
        Changes after which the graph is written to disk. What is not is put into it anew by the
        first search after opening, 12,000 vectors of 64 dimensions a second.
    """

    collection: str = search_time("items")
    m: int = 16
    ef_construction: int = 100
    ef_search: int = 100
    sync_threshold: int = 10_000

    def __post_init__(self) -> None:
        check_range(self, "m", 2, 1_000)
        check_range(self, "ef_construction", 1, 100_000)
        check_range(self, "ef_search", 1, 100_000)
        check_range(self, "sync_threshold", 2, 1_000_000_000)
        self._check_name("collection")

    def _check_name(self, name: str) -> None:
        expected = "3 to 512 of a-z, A-Z, 0-9, '.', '_' and '-', a letter or a digit at both ends"
        check_option(self, name, _NAME.fullmatch(getattr(self, name)), expected)


@dataclass(frozen=True)
class ChromaServerOptions(ChromaOptions):
    """Parameters of a ``chroma+http:`` or ``chroma+https:`` URL, beside those of ``chroma:``.

    Parameters
    ----------
    tenant, database
        Where the collection is; they have to be there.
    token
        Sent as ``Authorization: Bearer`` and as ``X-Chroma-Token``.
    timeout
        Seconds to connect, and to wait for an answer.
    """

    tenant: str = search_time("default_tenant")
    database: str = search_time("default_database")
    token: str | None = search_time(None, repr=False)
    timeout: float = search_time(30.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_name("tenant")
        self._check_name("database")
        check_range(self, "timeout", 0.001, 86_400)
        if self.token is not None and not re.fullmatch(r"[!-~]+", self.token):
            raise InvalidOption(
                "token is of visible ASCII characters.", option="token", received="***"
            )

    @property
    def scope(self) -> dict[str, str]:
        """Where the collection is, as Chroma's methods want it."""
        return {"tenant": self.tenant, "database": self.database}

    def client(self, url: RetrieverURL) -> dict[str, Any]:
        """The settings of Chroma's client."""
        protocol = url.scheme.rpartition("+")[2]
        shape = f"{url.scheme}://host:{_PORTS[protocol]}/?collection=items"
        try:
            parts = urlsplit(f"//{url.authority}")
            port = parts.port or _PORTS[protocol]
            if not parts.hostname or "@" in url.authority or url.path not in ("", "/"):
                raise ValueError
        except ValueError:
            raise InvalidURL(
                f"This {url.scheme} URL cannot be read; write {shape}, and a secret as token=.",
                url=f"{url.scheme}:",
            ) from None
        host, token = parts.hostname, self.token
        return {
            "chroma_server_host": f"[{host}]" if ":" in host else host,
            "chroma_server_http_port": port,
            "chroma_server_ssl_enabled": protocol == "https",
            "chroma_server_headers": (
                {"Authorization": f"Bearer {token}", "X-Chroma-Token": token} if token else {}
            ),
        }
