"""Every error that itemspace raises on purpose.

::

    ItemspaceError
    ├── UsageError                    the call is wrong; change the call
    │   ├── InvalidOption             ValueError
    │   ├── InvalidId                 ValueError
    │   ├── DuplicateIds              ValueError
    │   ├── UnknownIds                KeyError
    │   ├── InvalidVectors            ValueError
    │   │   └── DimensionMismatch
    │   ├── InvalidGraph              ValueError
    │   ├── InvalidURL                ValueError
    │   │   ├── UnknownScheme
    │   │   └── UnknownParameter
    │   ├── InvalidCondition          ValueError
    │   ├── UnknownColumn             KeyError
    │   ├── ClosedError               RuntimeError
    │   └── ReadOnlyError             PermissionError
    ├── UnsupportedError              the backend cannot; NotImplementedError
    ├── PluginError                   ImportError
    │   ├── MissingExtra              an optional package is not installed
    │   └── BrokenPlugin              a plugin is installed and does not load
    ├── BackendError                  the engine or its place is in trouble
    │   ├── BackendUnavailable        ConnectionError
    │   ├── BackendExists             FileExistsError
    │   ├── BackendNotFound           FileNotFoundError
    │   └── LockedError               another writer holds it; BlockingIOError
    ├── CorruptData                   what is on disk is not what was written
    │   ├── MissingData               it is not there; FileNotFoundError
    │   └── IncompatibleFormat        written by another version of the format
    ├── InputError                    a file given by the user; ValueError
    │   ├── MissingColumn
    │   ├── EmptyInput
    │   ├── BadRow
    │   └── AlreadyIngested
    └── CatalogError                  the SQL side
        ├── DatabaseUnavailable       ConnectionError
        ├── SchemaOutdated            RuntimeError
        ├── QueryTimeout              TimeoutError
        ├── UnmappedTable             LookupError
        ├── UnknownBuild              LookupError
        ├── UnknownSpace              LookupError
        ├── NothingPublished          LookupError
        ├── PublishConflict           RuntimeError
        ├── CanaryFailed              RuntimeError
        └── VersionMismatch           ValueError

A leaf also inherits the builtin that a caller would catch. The parts of a message are
attributes (see each class), and every error pickles.
"""

from __future__ import annotations

from typing import Any


class ItemspaceError(Exception):
    """The root: catch it to catch everything that itemspace raises on purpose."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        for name, value in details.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        # KeyError.__str__ would print the repr of the message.
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.details)


def _rebuild(kind: type[ItemspaceError], message: str, details: dict[str, Any]) -> ItemspaceError:
    return kind(message, **details)


class UsageError(ItemspaceError):
    """The call is wrong; changing the call mends it."""


class InvalidOption(UsageError, ValueError):
    """An option is out of its range or of the wrong type."""

    option: str
    received: Any


class InvalidId(UsageError, ValueError):
    """An id is neither a valid string nor an int64, or of another kind than its set."""


class DuplicateIds(UsageError, ValueError):
    """The same id twice where each may stand once."""

    ids: list[Any]


class UnknownIds(UsageError, KeyError):
    """Ids that are not there."""

    ids: list[Any]


class InvalidVectors(UsageError, ValueError):
    """Vectors that are not finite float numbers of the right shape."""


class DimensionMismatch(InvalidVectors):
    """Vectors of another dimension than the index or set they meet."""

    expected: int
    received: int


class InvalidGraph(UsageError, ValueError):
    """Edges with weights or ends that no graph has."""


class InvalidURL(UsageError, ValueError):
    """A retriever URL that cannot be read."""

    url: str


class UnknownScheme(InvalidURL):
    """No backend is registered under the URL's scheme."""

    scheme: str


class UnknownParameter(InvalidURL):
    """A URL parameter that the backend does not have."""

    parameter: str


class InvalidCondition(UsageError, ValueError):
    """A condition text that is not one boolean expression over the mapped columns."""

    text: str


class UnknownColumn(UsageError, KeyError):
    """A column that the mapped tables do not have."""

    column: str


class ClosedError(UsageError, RuntimeError):
    """A retriever or space is used after it was closed."""


class ReadOnlyError(UsageError, PermissionError):
    """A write through something that was opened for reading."""


class UnsupportedError(ItemspaceError, NotImplementedError):
    """The backend declares that it cannot do this."""


class PluginError(ItemspaceError, ImportError):
    """A backend or builder cannot be loaded."""


class MissingExtra(PluginError):
    """An optional package is not installed; the message holds the command."""

    extra: str


class BrokenPlugin(PluginError):
    """A plugin is installed but raises while loading; the cause is chained."""


class BackendError(ItemspaceError, RuntimeError):
    """A vector engine, or the place where it lives, is in trouble."""


class BackendUnavailable(BackendError, ConnectionError):
    """The engine does not answer."""


class BackendExists(BackendError, FileExistsError):
    """Something is already stored where a new index should go."""


class BackendNotFound(BackendError, FileNotFoundError):
    """Nothing is stored where an index should be opened."""


class LockedError(BackendError, BlockingIOError):
    """Another writer holds the index."""

    holder: str


class CorruptData(ItemspaceError, ValueError):
    """Stored data differs from what was written, or was never a whole."""

    path: str


class MissingData(CorruptData, FileNotFoundError):
    """What was stored is no longer there."""


class IncompatibleFormat(CorruptData):
    """Data in a format version that this release does not read."""


class InputError(ItemspaceError, ValueError):
    """A file that the user gave cannot be taken as it is."""

    path: str


class MissingColumn(InputError):
    """A needed column is not in the file."""

    column: str
    columns: list[str]


class EmptyInput(InputError):
    """The file holds no rows."""


class BadRow(InputError):
    """A row that cannot be loaded: file, line, column and value are named."""

    line: int | None
    column: str | None
    value: str | None
    reason: str


class AlreadyIngested(InputError):
    """The same bytes were ingested before."""


class CatalogError(ItemspaceError):
    """The SQL side of a space."""


class DatabaseUnavailable(CatalogError, ConnectionError):
    """The database is not there or does not let us in."""


class SchemaOutdated(CatalogError, RuntimeError):
    """itemspace's tables are missing, older or newer than this release needs."""


class QueryTimeout(CatalogError, TimeoutError):
    """A statement took longer than it may."""

    seconds: float


class UnmappedTable(CatalogError, LookupError):
    """No table is mapped for what was asked."""


class UnknownBuild(CatalogError, LookupError):
    """No build of that number."""


class UnknownSpace(CatalogError, LookupError):
    """No space of that name."""


class NothingPublished(CatalogError, LookupError):
    """The space has no live version."""


class PublishConflict(CatalogError, RuntimeError):
    """Another publisher moved the live pointer first; the live version stands."""


class CanaryFailed(CatalogError, RuntimeError):
    """A version was loaded, and is worse than what was asked for; it is staged, not live."""


class VersionMismatch(CatalogError, ValueError):
    """Vectors of users and items that were not made together."""
