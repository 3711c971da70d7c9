"""``pgvector:`` URLs, their parameters, and what a table keeps of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self
from urllib.parse import unquote, urlsplit

from psycopg.sql import Identifier

from ..core.errors import (
    BackendError,
    BackendNotFound,
    CorruptData,
    IncompatibleFormat,
    InvalidURL,
    UnsupportedError,
)
from ..core.ids import IdKind
from ..core.metric import Metric
from .options import check_option, search_time
from .url import RetrieverURL

FORMAT = 1
#: What the comment of our tables starts with, and the oldest pgvector with iterative scans.
_MARK, _OLDEST = "itemspace ", (0, 8)
#: Candidates of an HNSW search, at most.
WIDEST_EF = 1_000
#: Dimensions that a column, and that an index, can have.
WIDEST = {"vector": (16_000, 2_000), "halfvec": (16_000, 4_000)}


@dataclass(frozen=True)
class PgvectorOptions:
    """Parameters of a ``pgvector:`` URL.

    What it leaves out, such as SSL, libpq takes from its own environment variables and files.

    Parameters
    ----------
    collection, schema
        Name of the table, at most 63 bytes of UTF-8, and its schema; by default the first of the
        search path.
    host
        The folder of a Unix socket, where the URL names no host.
    index
        ``hnsw``, ``ivfflat``, or ``none``: exact, up to the rounding of pgvector's float32
        distances, which overflow for lengths beyond 1e17 and vanish below 1e-15.
    m, ef_construction
        Edges a node, and width of the search while building, of HNSW.
    lists
        Lists of IVFFlat; by default as many as thousands of vectors when it is built.
    storage
        ``vector``, or ``halfvec`` for half the bytes and three decimal digits.
    ef_search
        Width of the search in HNSW, at most 1,000; more where k needs it.
    probes
        Lists that IVFFlat looks into first; √lists is a good value.
    iterative_scan, max_scan_tuples
        How an index goes on where a filter left too few: ``relaxed_order``, ``strict_order`` (HNSW
        alone) or ``off``, and after how many rows it gives up. An exact scan then finds the rest.
    connect_timeout
        Whole seconds to connect, at least 2.
    timeout
        Seconds of a statement, and to wait for a connection while all are in use. A load gets 20 ms
        a row more.
    max_connections
        How many are open at most, in each process.
    """

    collection: str = search_time("items")
    schema: str | None = search_time(None)
    host: str | None = search_time(None)
    index: str = "hnsw"
    m: int = 16
    ef_construction: int = 64
    lists: int | None = None
    storage: str = "vector"
    ef_search: int = search_time(40)
    probes: int = search_time(10)
    iterative_scan: str = search_time("relaxed_order")
    max_scan_tuples: int = search_time(20_000)
    connect_timeout: int = search_time(5)
    timeout: float = search_time(10.0)
    max_connections: int = search_time(8)

    def __post_init__(self) -> None:
        for name, holds, expected in (
            ("collection", _is_name(self.collection), "a name of 1 to 63 bytes, without NUL"),
            (
                "schema",
                self.schema is None or _is_name(self.schema),
                "a name of 1 to 63 bytes, without NUL",
            ),
            ("index", self.index in ("hnsw", "ivfflat", "none"), "hnsw, ivfflat or none"),
            ("m", 2 <= self.m <= 100, "from 2 to 100"),
            (
                "ef_construction",
                max(4, 2 * self.m) <= self.ef_construction <= 1000,
                "at least 2 m and at most 1,000",
            ),
            ("lists", self.lists is None or 1 <= self.lists <= 32_768, "from 1 to 32,768"),
            ("storage", self.storage in WIDEST, "vector or halfvec"),
            ("ef_search", 1 <= self.ef_search <= WIDEST_EF, "from 1 to 1,000"),
            ("probes", 1 <= self.probes <= 32_768, "from 1 to 32,768"),
            (
                "iterative_scan",
                self.iterative_scan in ("relaxed_order", "strict_order", "off"),
                "relaxed_order, strict_order or off",
            ),
            ("max_scan_tuples", 1 <= self.max_scan_tuples < 2**31, "from 1 to 2,147,483,647"),
            ("connect_timeout", 2 <= self.connect_timeout <= 3600, "from 2 to 3600 seconds"),
            ("timeout", 0 < self.timeout <= 86_400, "over 0 and at most 86,400 seconds"),
            ("max_connections", 1 <= self.max_connections <= 10_000, "from 1 to 10,000"),
        ):
            check_option(self, name, holds, expected)

    @property
    def table(self) -> str:
        """Its quoted name."""
        names = [name for name in (self.schema, self.collection) if name is not None]
        return Identifier(*names).as_string(None)

    @property
    def settings(self) -> dict[str, Any]:
        """What its connections set at the server."""
        goes_on = "off" if self.iterative_scan == "off" else "relaxed_order"
        return {
            "jit": "off",  # compiling takes longer than any of these statements
            "plan_cache_mode": "force_generic_plan",  # planning around an id array does, too
            "enable_sort": "off",  # a disabled sort leaves the index as the only order there is
            "hnsw.ef_search": self.ef_search,
            "hnsw.iterative_scan": self.iterative_scan,
            "hnsw.max_scan_tuples": self.max_scan_tuples,
            "ivfflat.probes": self.probes,
            "ivfflat.iterative_scan": goes_on,
        }

    def check_dimension(self, dim: int) -> None:
        """Raise :class:`UnsupportedError` where pgvector cannot hold or index such vectors."""
        column, index = WIDEST[self.storage]
        widest = column if self.index == "none" else index
        if dim <= widest:
            return
        others = [
            "storage=halfvec" if self.storage == "vector" and dim <= WIDEST["halfvec"][1] else "",
            "index=none" if self.index != "none" and dim <= column else "",
            "fewer dimensions",
        ]
        raise UnsupportedError(
            f"pgvector's index={self.index} over storage={self.storage} has at most {widest:,} "
            f"dimensions; these vectors have {dim:,}. Use {' or '.join(filter(None, others))}."
        )


@dataclass(frozen=True)
class PgvectorFacts:
    """What a table is; its comment says it in JSON."""

    query: ClassVar[str] = """
        SELECT obj_description(c.oid, 'pg_class'), e.extversion,
            to_regtype('vector')::oid, to_regtype('halfvec')::oid
        FROM pg_class c LEFT JOIN pg_extension e ON e.extname = 'vector'
        WHERE c.oid = to_regclass($1)"""

    dim: int
    metric: str
    kind: IdKind
    options: dict[str, Any]
    format: int = FORMAT

    def to_comment(self) -> str:
        """The reverse of :meth:`from_rows`."""
        return _MARK + json.dumps(asdict(self))

    @classmethod
    def from_rows(
        cls, url: RetrieverURL, rows: list[tuple[Any, ...]]
    ) -> tuple[Self, dict[str, int]]:
        """From what :attr:`query` gives; and the numbers of the types ``vector`` and ``halfvec``.

        Raises
        ------
        BackendNotFound
            No such table, or somebody else's.
        BackendError
            No pgvector, or an old one.
        CorruptData, IncompatibleFormat
            The comment.
        """
        comment, version, *oids = rows[0] if rows else (None, None)
        if not (comment or "").startswith(_MARK):
            there = "a table of somebody else's" if rows else "nothing"
            raise BackendNotFound(
                f"There is {there} at {url}; check collection and schema, or create it."
            )
        if None in (version, *oids) or _numbers(version) < _OLDEST:
            raise BackendError(
                f"{url} has pgvector {version}; itemspace needs 0.8 or later in a schema of the "
                "search path. Install it on the server, and run ALTER EXTENSION vector UPDATE."
            )
        return cls._parse(url, comment.removeprefix(_MARK)), dict(zip(WIDEST, oids, strict=True))

    @classmethod
    def _parse(cls, url: RetrieverURL, text: str) -> Self:
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise IncompatibleFormat(
                    f"{url} is in format {found['format']}; this release reads format {FORMAT}. "
                    "Load it again, or use the release that wrote it.",
                    path=str(url),
                )
            facts = cls(**found)
            Metric(facts.metric)
            if facts.kind not in ("int", "str") or facts.dim < 1:
                raise ValueError(f"kind={facts.kind!r}, dim={facts.dim!r}")
            PgvectorOptions(**facts.options)
        except IncompatibleFormat:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptData(
                f"The comment of the table at {url} cannot be read ({error}); restore it, or load "
                "the table again.",
                path=str(url),
            ) from error
        return facts


def login_of(url: RetrieverURL, options: PgvectorOptions) -> dict[str, Any]:
    """What to connect with; where the URL says nothing, libpq's defaults hold."""
    shape = f"{url.scheme}://user:password@host:5432/database?collection=items"
    database = url.path.removeprefix("/")
    try:
        parts = urlsplit(f"//{url.authority}")
        port = parts.port
        if parts.netloc != url.authority or "/" in database or "\0" in unquote(url.authority):
            raise ValueError
        if parts.hostname and options.host:
            raise ValueError
    except ValueError:
        raise InvalidURL(
            f"This {url.scheme} URL cannot be read; write {shape}, or the folder of a Unix socket "
            "as ?host=/folder and no other host. In a user and a password, / is %2F, ? is %3F, "
            "# is %23 and @ is %40.",
            url=f"{url.scheme}:",
        ) from None
    return {
        "host": options.host or parts.hostname,
        "port": port,
        "user": unquote(parts.username or "") or None,
        "password": unquote(parts.password or "") or None,
        "dbname": database or None,
        "connect_timeout": options.connect_timeout,
    }


def _is_name(name: str) -> bool:
    try:
        return 1 <= len(name.encode()) <= 63 and "\0" not in name
    except UnicodeEncodeError:
        return False


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
