"""``redis:``, ``rediss:``, ``unix:``: user vectors in a Redis, one key per user.

Under a prefix, ``{prefix}:v:{id}`` is a vector, d float32, little-endian, and ``{prefix}:meta`` a
hash that says what they are. It is written last: without it nothing is stored there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import cast

import numpy as np

from ..adapters.options import parse_parameters
from ..adapters.url import RetrieverURL
from ..core.errors import (
    BackendExists,
    BackendNotFound,
    CorruptData,
    IncompatibleFormat,
    InvalidId,
    InvalidOption,
    ItemspaceError,
)
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.vectors import FloatMatrix, VectorSet
from .redis_client import RedisOptions
from .redis_server import RedisServer
from .store import Found

FORMAT = 1
#: Keys of one MGET.
_READ = 10_000
#: Keys of one MSET, and bytes of their vectors, at most.
_LOAD, _LOAD_BYTES = 5_000, 4 << 20


@dataclass(frozen=True)
class _Meta:
    dim: int
    metric: Metric
    kind: IdKind
    count: int
    checksum: str
    format: int = FORMAT


class RedisStore:
    """A :class:`.UserStore` in a Redis: one ``MGET`` for as many as 10,000 ids.

    Of a vector that is read, the length is checked and that its numbers are finite. A key that
    was evicted is a user who is not found. Forked children may go on using it.
    """

    def __init__(self, server: RedisServer, meta: _Meta) -> None:
        self._server, self._count = server, meta.count
        self.dim, self.metric, self.id_kind = meta.dim, meta.metric, meta.kind
        self.checksum = meta.checksum

    def __repr__(self) -> str:
        return f"<RedisStore of {len(self):,} × {self.dim}, {self.metric}, {self._server.url}>"

    def __len__(self) -> int:
        return self._count

    def vectors(self, ids: Ids) -> tuple[Found, FloatMatrix]:
        if ids.kind != self.id_kind and len(ids) and len(self):
            raise InvalidId(
                f"These ids are of kind {self.id_kind!r}, but {ids[0]!r} is of kind "
                f"{ids.kind!r}; use {self.id_kind} ids."
            )
        return self._read(_keys(self._server, ids))

    def scan(self, batch_size: int = 10_000) -> Iterator[tuple[Ids, FloatMatrix]]:
        if batch_size < 1:
            raise InvalidOption(
                f"batch_size is at least 1; received {batch_size}.",
                option="batch_size",
                received=batch_size,
            )
        seen: set[bytes] = set()
        waiting: list[bytes] = []
        for keys in self._server.scan():
            waiting += set(keys) - seen
            seen.update(keys)
            while len(waiting) >= batch_size:
                yield self._named(waiting[:batch_size])
                del waiting[:batch_size]
        if waiting:
            yield self._named(waiting)

    def close(self) -> None:
        self._server.close()

    def _named(self, keys: list[bytes]) -> tuple[Ids, FloatMatrix]:
        found, matrix = self._read(keys)
        try:
            texts = [key[len(self._server.stem) :].decode() for key in keys]
            ids = Ids(map(int, texts) if self.id_kind == "int" else texts, self.id_kind)
        except ValueError as error:
            raise self._damaged(f"a key is no {self.id_kind} id ({error})") from error
        return ids[found], matrix

    def _read(self, keys: list[bytes]) -> tuple[Found, FloatMatrix]:
        values: list[bytes | None] = []
        for start in range(0, len(keys), _READ):
            values += self._server.ask("MGET", *keys[start : start + _READ])
        found = np.fromiter((value is not None for value in values), np.bool_, len(values))
        stored = [value for value in values if value is not None]
        width = 4 * self.dim
        for at, value in enumerate(stored):
            if len(value) != width:
                raise self._damaged(f"{_at(keys, found, at)} is not {width} bytes long")
        # Of a bytearray the matrix may be written into, as any other that we hand out.
        numbers = np.frombuffer(bytearray().join(stored), "<f4").astype(np.float32, copy=False)
        matrix = numbers.reshape(len(stored), self.dim)
        finite = np.isfinite(matrix).all(axis=1)
        if not finite.all():
            raise self._damaged(f"{_at(keys, found, int(np.argmin(finite)))} holds NaN or infinity")
        return found, matrix

    def _damaged(self, what: str) -> CorruptData:
        return _damaged(self._server.url, what)


class RedisBackend:
    """Vectors under a prefix of their own, one key each, in one Redis (not a cluster).

    How durable they are is up to the server: see ``appendonly`` and ``save`` in its configuration.
    Its ``maxmemory-policy`` should be ``noeviction``: a key that is evicted is a user who is lost.
    ``rediss:`` trusts the system's certificates, or those in the file ``SSL_CERT_FILE`` names.
    """

    options = RedisOptions

    def child(self, url: RetrieverURL, name: str) -> RetrieverURL:
        """The name is added to the prefix."""
        prefix = RedisOptions(**parse_parameters(url, RedisOptions)).prefix
        return replace(url, parameters={**url.parameters, "prefix": f"{prefix}:{name}"})

    def create(self, url: RetrieverURL, options: RedisOptions, vectors: VectorSet) -> RedisStore:
        meta = _Meta(
            vectors.dim, vectors.metric, vectors.ids.kind, len(vectors), _checksum(vectors)
        )
        with _connected(url, options) as server:
            token = server.claim()
            if server.ask("EXISTS", server.meta):
                server.change(token, last=True)
                raise BackendExists(f"{url} holds users already; remove them, or choose a prefix.")
            try:
                _load(server, token, vectors)
                facts = [part for pair in asdict(meta).items() for part in pair]
                server.change(token, ("HSET", server.meta, *facts), last=True)
            except BaseException:
                with suppress(ItemspaceError):
                    server.discard(token)
                raise
            return RedisStore(server, meta)

    def open(self, url: RetrieverURL, options: RedisOptions) -> RedisStore:
        with _connected(url, options) as server:
            facts = server.ask("HGETALL", server.meta)
            if not facts:
                raise BackendNotFound(
                    f"No user vectors are stored at {url}; check the prefix, or publish again."
                )
            return RedisStore(server, _read_meta(url, facts))

    def remove(self, url: RetrieverURL, options: RedisOptions) -> None:
        with _connected(url, options) as server:
            server.discard(server.claim(over=True))
            server.close()


@contextmanager
def _connected(url: RetrieverURL, options: RedisOptions) -> Iterator[RedisServer]:
    """Closed after an error alone."""
    server = RedisServer(url, options)
    try:
        yield server
    except BaseException:
        server.close()
        raise


def _load(server: RedisServer, token: bytes, vectors: VectorSet) -> None:
    server.discard_vectors(token)  # of a load that was killed
    width = 4 * vectors.dim
    rows = min(_LOAD, max(1, _LOAD_BYTES // width))
    for start in range(0, len(vectors), rows):
        batch = slice(start, start + rows)
        values = np.ascontiguousarray(vectors.matrix[batch], "<f4").tobytes()
        pairs: list[bytes] = []
        for at, key in enumerate(_keys(server, vectors.ids[batch])):
            pairs += (key, values[at * width : (at + 1) * width])
        server.change(token, ("MSET", *pairs))


def _keys(server: RedisServer, ids: Ids) -> list[bytes]:
    return [server.stem + str(name).encode() for name in ids.to_list()]


def _at(keys: list[bytes], found: Found, row: int) -> str:
    return repr(keys[np.flatnonzero(found)[row]])


def _read_meta(url: RetrieverURL, facts: dict[bytes, bytes]) -> _Meta:
    try:
        named = {name.decode(): value.decode() for name, value in facts.items()}
        written_as = int(named["format"])
        if written_as != FORMAT:
            raise IncompatibleFormat(
                f"{url} is in format {written_as}; this release reads format {FORMAT}. Store it "
                "again, or use the release that wrote it.",
                path=str(url),
            )
        dim, count, kind = int(named["dim"]), int(named["count"]), named["kind"]
        if dim < 1 or count < 0 or kind not in ("int", "str"):
            raise ValueError(f"dim={dim}, count={count}, kind={kind!r}")
        metric, checksum = Metric(named["metric"]), named["checksum"]
        return _Meta(dim, metric, cast(IdKind, kind), count, checksum)
    except IncompatibleFormat:
        raise
    except (KeyError, ValueError) as error:
        raise _damaged(url, f"its meta cannot be read ({error})") from error


def _damaged(url: RetrieverURL, what: str) -> CorruptData:
    return CorruptData(f"{url} is damaged: {what}; remove it and store it again.", path=str(url))


def _checksum(vectors: VectorSet) -> str:
    """SHA-256 of kind, metric, dimension, ids and vectors, in their order."""
    digest = hashlib.sha256(f"{vectors.ids.kind} {vectors.metric} {vectors.dim}\n".encode())
    for name, buffer in vectors.ids.buffers.items():
        digest.update(f"{name} {len(buffer)}\n".encode())
        digest.update(np.ascontiguousarray(buffer, buffer.dtype.newbyteorder("<")).tobytes())
    for start in range(0, len(vectors), _LOAD):
        digest.update(np.ascontiguousarray(vectors.matrix[start : start + _LOAD], "<f4").tobytes())
    return digest.hexdigest()


backend = RedisBackend()
