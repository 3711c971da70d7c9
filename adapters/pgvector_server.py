"""What ``pgvector:`` retrievers talk to: connections with our timeouts, retries and errors."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors as theirs
from psycopg.pq import TransactionStatus

from ..core.errors import (
    BackendError,
    BackendExists,
    BackendNotFound,
    BackendUnavailable,
    ClosedError,
    ItemspaceError,
)
from .pgvector_options import PgvectorOptions, login_of
from .pgvector_wire import Binary, BinaryDumper
from .url import RetrieverURL

#: The client waits so much longer than the server's statement_timeout, whose error says more.
_GRACE = 0.5
_RETRIES, _PAUSE = 2, (0.02, 0.2)
_DROPPED = (theirs.AdminShutdown, theirs.CrashShutdown, theirs.IdleSessionTimeout)
#: What psycopg raises, what that is here, what is the matter, what to do; the first that fits.
ERRORS: tuple[tuple[tuple[type[Exception], ...], type[BackendError], str, str], ...] = (
    (
        (theirs.QueryCanceled,),
        BackendError,
        "took too long",
        "raise timeout, or ask for less at once",
    ),
    (
        (theirs.InsufficientPrivilege, theirs.InvalidSchemaName),
        BackendError,
        "does not allow it",
        "have its owner create the schema and GRANT the right",
    ),
    ((theirs.UndefinedTable,), BackendNotFound, "no longer has the table", "create it again"),
    ((theirs.DuplicateTable,), BackendExists, "has that table", "drop it, or name another"),
    (
        (theirs.UndefinedObject, theirs.UndefinedFunction, theirs.UndefinedFile),
        BackendError,
        "lacks pgvector",
        "install it, and run CREATE EXTENSION vector in a schema of the search path",
    ),
    (
        (theirs.FeatureNotSupported,),
        BackendError,
        "cannot do that",
        "install pgvector 0.8 or later on the server, and open the retriever again",
    ),
    (
        (theirs.ReadOnlySqlTransaction,),
        BackendError,
        "is read-only",
        "write to the primary, or open with mode='rw'",
    ),
    (
        (theirs.DiskFull, theirs.OutOfMemory, theirs.ProgramLimitExceeded),
        BackendError,
        "is full",
        "give it more disk or memory (in a container /dev/shm, too)",
    ),
    (
        (
            theirs.DeadlockDetected,
            theirs.SerializationFailure,
            theirs.LockNotAvailable,
            psycopg.IntegrityError,
        ),
        BackendError,
        "had another writer there",
        "try again; nothing was changed",
    ),
    ((psycopg.DataError,), BackendError, "refuses a value", "see its log"),
    (
        (psycopg.OperationalError, psycopg.InterfaceError),
        BackendUnavailable,
        "does not answer",
        "check that it runs, can be reached and lets us in; it may need a higher max_connections",
    ),
    ((psycopg.Error,), BackendError, "refuses", "see its log"),
)


@dataclass
class _Pool:
    """The connections of one process."""

    slots: threading.BoundedSemaphore
    idle: list[Connection] = field(default_factory=list)


class Connection(psycopg.Connection[Any]):
    """Waits for nothing longer than ``seconds``, whatever becomes of the server."""

    seconds = 60.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(gen, interval, self.seconds if timeout is None else timeout)


class PgvectorServer:
    """One database; safe to use from several threads, and after a fork.

    Connections are made when they are needed, and kept. They are the server's own, so what a
    statement needs is set once for each. psycopg's pool would connect in threads of its own, which
    do not live on in a forked child, and keep to itself why it failed.
    """

    def __init__(
        self,
        url: RetrieverURL,
        options: PgvectorOptions,
        *,
        writable: bool,
    ) -> None:
        self.url, self._timeout, self._most = url, options.timeout, options.max_connections
        self._login = login_of(url, options)
        self._settings = {
            **options.settings,
            "statement_timeout": _milliseconds(options.timeout),
            "default_transaction_read_only": "off" if writable else "on",
        }
        self._pools: dict[int, _Pool] = {}
        self._closed = False

    def read(self, statement: str, *parameters: Any, **settings: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement that may be sent again where a connection breaks.

        ``settings`` hold for it alone.
        """
        with self._translated():
            for attempt in range(_RETRIES + 1):
                with self._connection() as connection:
                    try:
                        return _fetch(connection, statement, parameters, settings)
                    except psycopg.OperationalError as error:
                        if attempt == _RETRIES or not _was_dropped(connection, error):
                            raise
                self._drop_idle()
                time.sleep(random.uniform(*_PAUSE))
        raise AssertionError("unreachable")

    @contextmanager
    def transaction(self, seconds: float = 0.0) -> Iterator[Connection]:
        """All or nothing, on a connection that answers; each statement has ``seconds`` more."""
        with self._translated(), self._connection(checked=True) as connection:
            try:
                connection.execute("BEGIN")
                self.allow(connection, seconds)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            connection.seconds = self._timeout + _GRACE

    def allow(self, connection: Connection, seconds: float) -> None:
        """Give the statements of a transaction ``seconds`` more than usual."""
        connection.seconds = self._timeout + seconds + _GRACE
        value = _milliseconds(self._timeout + seconds)
        connection.execute("SELECT set_config('statement_timeout', $1, true)", [value])

    def close(self) -> None:
        """Disconnect; connections in use are closed by who uses them."""
        self._closed = True
        self._drop_idle()

    @property
    def _pool(self) -> _Pool:
        # A forked child must neither use its parent's connections nor close them.
        own = self._pools.get(os.getpid())
        if own is None:
            slots = threading.BoundedSemaphore(self._most)
            own = self._pools.setdefault(os.getpid(), _Pool(slots))
        return own

    @contextmanager
    def _connection(self, *, checked: bool = False) -> Iterator[Connection]:
        if self._closed:
            raise ClosedError(f"The retriever {self.url} was closed; open it again.")
        pool = self._pool
        if not pool.slots.acquire(timeout=self._timeout):
            raise BackendUnavailable(
                f"All {self._most} connections to {self.url} were in use for {self._timeout:g} "
                "seconds; raise max_connections."
            )
        try:
            connection = self._take(pool, checked)
            try:
                yield connection
            finally:
                idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
                if idle:
                    pool.idle.append(connection)
                else:
                    connection.close()
                if self._closed:
                    self._drop_idle()
        finally:
            pool.slots.release()

    def _take(self, pool: _Pool, checked: bool) -> Connection:
        while pool.idle:
            try:
                connection = pool.idle.pop()
            except IndexError:  # another thread was faster
                break
            try:
                if checked:
                    connection.execute("SELECT 1")
                return connection
            except psycopg.OperationalError as error:
                dropped = _was_dropped(connection, error)
                connection.close()
                if not dropped:
                    raise
        return self._connect()

    def _connect(self) -> Connection:
        connection = Connection.connect(
            autocommit=True,
            cursor_factory=psycopg.RawCursor,  # $1, so that a % in a name means nothing
            client_encoding="UTF8",
            application_name="itemspace",
            **self._login,
        )
        connection.seconds = self._timeout + _GRACE
        connection.adapters.register_dumper(Binary, BinaryDumper)
        try:
            _set(connection, self._settings, for_good=True)
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop_idle(self) -> None:
        idle, self._pool.idle = self._pool.idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise translate(error, self.url) from error


def translate(error: psycopg.Error, url: RetrieverURL) -> ItemspaceError:
    """The error of ours for one of psycopg's."""
    kind, matter, advice = next(row[1:] for row in ERRORS if isinstance(error, row[0]))
    told = error.diag.message_primary or str(error).partition("\n")[0] or type(error).__name__
    return kind(f"{url} {matter} ({told[:300].rstrip('.')}); {advice}.")


def _was_dropped(connection: Connection, error: psycopg.Error) -> bool:
    return connection.broken or isinstance(error, _DROPPED)


def _fetch(
    connection: Connection, statement: str, parameters: tuple[Any, ...], settings: dict[str, Any]
) -> list[tuple[Any, ...]]:
    if not settings:
        return connection.execute(statement, parameters, prepare=True, binary=True).fetchall()
    with connection.pipeline():
        connection.execute("BEGIN")
        _set(connection, settings, for_good=False)
        cursor = connection.execute(statement, parameters, prepare=True, binary=True)
        connection.execute("COMMIT")
    return cursor.fetchall()


def _set(connection: Connection, settings: dict[str, Any], *, for_good: bool) -> None:
    local = "false" if for_good else "true"
    calls = [f"set_config('{name}', ${at}, {local})" for at, name in enumerate(settings, 1)]
    connection.execute(f"SELECT {', '.join(calls)}", [str(value) for value in settings.values()])


def _milliseconds(seconds: float) -> str:
    return str(max(1, min(int(1000 * seconds), 2**31 - 1)))
