"""Which snapshot of a space answers: one that was pinned, or always the live one."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from contextlib import suppress
from time import monotonic
from typing import Protocol

from sqlalchemy.pool import SingletonThreadPool, StaticPool

from ..catalog.catalog import Catalog
from ..catalog.changes import append_changes, read_changes
from ..catalog.leases import claim_reading, look
from ..catalog.versions import READING_SECONDS, Pointer, State, get_pointer, get_version
from ..core.errors import ClosedError, InvalidOption, NothingPublished, ReadOnlyError
from ..core.ids import Ids
from ..core.vectors import FloatMatrix
from .snapshot import OpenVersion, Snapshot

log = logging.getLogger(__name__)
#: From so many changes on a log line advises to publish anew.
MANY_CHANGES = 20_000
#: A version is renewed where it is kept for less than this, in seconds.
_RENEWED = READING_SECONDS * 2 / 3


class Source(Protocol):
    """Where a space's snapshot comes from."""

    def current(self) -> Snapshot:
        """The one that a request beginning now sees."""

    def append(self, ids: Ids, vectors: FloatMatrix | None) -> int:
        """Add changes; the snapshots of this process have them on return."""

    def close(self) -> None:
        """Let go of it."""


class Pinned:
    """One snapshot, whatever is published."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot: Snapshot | None = snapshot

    def current(self) -> Snapshot:
        """Always the same."""
        if self._snapshot is None:
            raise ClosedError("This space was closed; pin or open it again.")
        return self._snapshot

    def append(self, ids: Ids, vectors: FloatMatrix | None) -> int:
        """Not here."""
        del ids, vectors
        raise ReadOnlyError("A pinned space never changes; write to the one that was opened.")

    def close(self) -> None:
        """Let go of it."""
        self._snapshot = None


class Follower:
    """The live version of a space, or one version, with its changes; looked for by a thread.

    What cannot be opened is logged, and the version before answers on. After a fork the child
    begins a thread of its own with its first request.

    Parameters
    ----------
    number
        Follow the changes of this version only; None: whatever is live.
    refresh
        Seconds between two looks, at most.
    """

    def __init__(
        self, catalog: Catalog, name: str, number: int | None = None, refresh: float = 1.0
    ) -> None:
        if not refresh > 0:
            raise InvalidOption(
                f"refresh is a number of seconds above 0; received {refresh!r}.",
                option="refresh",
                received=refresh,
            )
        self._catalog, self._name, self._number = catalog, name, number
        self._keeper: Keeper | None = Keeper(catalog, name, refresh)
        self._snapshot: Snapshot | None = None
        self._snapshot = self._open(self._keeper, number)
        self._advised, self._said, self._looked = 0, "", monotonic()
        _followers.add(self)
        self._keeper.start(self)

    def current(self) -> Snapshot:
        """The newest snapshot that was found."""
        found, keeper = self._snapshot, self._keeper
        if found is None or keeper is None:
            raise ClosedError(f"The space {self._name!r} was closed; open it again.")
        if keeper.process != os.getpid():
            keeper.start(self)
        if monotonic() - self._looked > keeper.patience:
            self.look_again()
            found = self._snapshot or found
        return found

    def append(self, ids: Ids, vectors: FloatMatrix | None) -> int:
        """Write to the log; every follower of the space in this process looks at once."""
        version = self.current().opened.version
        revision = append_changes(self._catalog, version, ids, vectors)
        for follower in followers_of(self._catalog, self._name):
            follower.look_again()  # the change is written, whatever else is wrong
        return revision

    def close(self) -> None:
        """Follow no longer, and leave the database alone; what is pinned stays open."""
        _followers.discard(self)
        keeper = self._keeper
        if keeper is not None:
            with keeper.lock:  # after a look that is under way
                self._snapshot = self._keeper = None

    def look(self) -> None:
        """See what is live and what has changed, and take it over."""
        keeper = self._keeper
        if keeper is None:
            return
        with keeper.lock:
            now = self._snapshot
            if now is None:  # closed meanwhile
                return
            pointer, self._looked = keeper.renew(), monotonic()
            try:
                if self._number is None and pointer.live not in (None, now.version):
                    now = self._open(keeper, pointer.live)
                    self._take_over(now)
            finally:  # the version before sees what changes, too, where it answers on
                if pointer.revision > now.revision:
                    version = now.opened.version
                    changes = read_changes(self._catalog, version, now.revision, pointer.revision)
                    self._take_over(now.then(changes, pointer.revision))

    def look_again(self) -> None:
        """:meth:`look`, where a failure is logged, once: the version before answers on."""
        said = ""
        try:
            self.look()
        except Exception as error:
            self._looked = monotonic()  # no request has to try as well
            now, said = self._snapshot, str(error)
            if now is not None and said != self._said:
                log.warning("%s: %s; version %d answers on", self._name, said, now.version)
        self._said = said

    def _open(self, keeper: Keeper, number: int | None) -> Snapshot:
        """A version, warm, with its changes so far."""
        for _ in range(3):
            version = get_version(self._catalog, self._name, number)
            try:
                opened = OpenVersion(self._catalog, version, keeper)
                break
            except NothingPublished:
                if number is not None:
                    raise  # or else it was live a moment ago, and no longer
        else:
            raise NothingPublished(f"The live version of {self._name!r} goes before it is opened.")
        keeper.opened.add(opened)
        if self._snapshot is not None:
            opened.warm()
        revision = get_pointer(self._catalog, self._name).revision
        changes = read_changes(self._catalog, version, version.base_revision, revision)
        return Snapshot.of(self._catalog, opened, changes, revision)

    def _take_over(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        if len(snapshot.changes) > MANY_CHANGES and self._advised != snapshot.version:
            self._advised = snapshot.version
            log.warning(
                "%s has %s changes since version %d; searches are slower with each: publish "
                "again, or fold them in with `itemspace move`",
                self._name,
                f"{len(snapshot.changes):,}",
                snapshot.version,
            )


class Keeper:
    """Keeps versions that are open here from being removed, as long as anybody holds one of them.

    It has the thread that looks: for its follower while there is one, and then for itself. The
    thread, the follower and the versions do not hold each other, so that all of them go when their
    users do.
    """

    def __init__(self, catalog: Catalog, name: str, refresh: float) -> None:
        self._catalog, self._name = catalog, name
        self.opened: weakref.WeakSet[OpenVersion] = weakref.WeakSet()
        #: Held while something is looked for, and while the process forks.
        self.lock = threading.RLock()
        #: In which process the thread is.
        self.process = 0
        # A pool of one connection has nothing for other threads: requests look for themselves.
        pool = catalog.bookkeeping.pool
        self._has_thread = not isinstance(pool, SingletonThreadPool | StaticPool)
        #: Where nothing was heard of the thread for so many seconds, a request looks.
        self.patience = READING_SECONDS / 2 if self._has_thread else refresh
        self._pause = min(refresh, READING_SECONDS / 3)
        _keepers.add(self)

    def start(self, follower: Follower) -> None:
        """Begin the thread of this process, if it has none yet."""
        with self.lock:  # several requests may be a child's first
            if self.process == os.getpid():
                return
            self.process = os.getpid()
            for opened in self.opened:
                opened.renew_lock()
            if not self._has_thread:
                return
            stop = threading.Event()
            weakref.finalize(self, stop.set)
            threading.Thread(
                target=_follow,
                args=(weakref.ref(self), weakref.ref(follower), stop, self._pause),
                name=f"itemspace-{self._name}",
                daemon=True,
            ).start()

    def renew(self) -> Pointer:
        """Where the space stands; the versions that are open here are kept for another while."""
        with self.lock:
            held = list(self.opened)
            numbers = {opened.version.number for opened in held}
            pointer, kept = look(self._catalog, self._name, numbers)
            for opened in held:
                state, left = kept[opened.version.number]
                if state is State.READY and left < _RENEWED:
                    claim_reading(self._catalog, opened.version)
            return pointer


def followers_of(catalog: Catalog, name: str) -> list[Follower]:
    """Those in this process that follow a space."""
    mine = catalog.bookkeeping.url, name
    return [one for one in list(_followers) if (one._catalog.bookkeeping.url, one._name) == mine]


def _follow(
    keeper_of: weakref.ref[Keeper],
    follower_of: weakref.ref[Follower],
    stop: threading.Event,
    pause: float,
) -> None:
    """Look again and again, for as long as somebody holds what is open."""
    while not stop.wait(pause):
        keeper, follower = keeper_of(), follower_of()
        if keeper is None:
            return
        if follower is not None and follower._keeper is not None:
            follower.look_again()
        elif keeper.opened:
            with suppress(Exception):  # it is tried again
                keeper.renew()
        del keeper, follower


_followers: weakref.WeakSet[Follower] = weakref.WeakSet()
#: None of them looks while the process forks.
_keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()
_held: list[Keeper] = []


def _hold() -> None:
    for keeper in list(_keepers):
        keeper.lock.acquire()
        _held.append(keeper)


def _release() -> None:
    while _held:
        _held.pop().lock.release()


os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)
