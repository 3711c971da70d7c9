"""Publishing: load a version beside the live one, check it, move the pointer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..adapters import RetrieverURL, open_retriever
from ..adapters.registry import check_url, load_backend, place_below
from ..catalog.builds import Build, get_build
from ..catalog.catalog import Catalog
from ..catalog.changes import read_changes
from ..catalog.versions import (
    Version,
    ensure_space,
    get_pointer,
    get_version,
    swap_live,
    version_before,
)
from ..core.errors import (
    CanaryFailed,
    CorruptData,
    EmptyInput,
    InvalidOption,
    VersionMismatch,
)
from ..core.ids import Ids
from ..core.progress import Progress
from ..core.vectors import VectorSet, check_one_space
from ..space.following import followers_of
from ..space.overlay import Changes
from ..users import place_below as users_below
from .lease import Publisher
from .staging import K, Staging, lasting

log = logging.getLogger(__name__)
#: The recall below which a version does not go live by itself.
MIN_RECALL = 0.5
#: What becomes of the changes since the live version.
WhatChanged = Literal["drop", "fold"]


def publish_build(
    catalog: Catalog,
    build: Build,
    to: str | RetrieverURL,
    *,
    users_to: str | RetrieverURL | None = None,
    **options: Any,
) -> Version:
    """Publish a recorded build, with its users if it has any.

    Its files are compared with the checksums in SQL first. ``options`` are :func:`publish`'s.

    Raises :class:`~itemspace.core.errors.CorruptData` where they differ, and whatever
    :func:`publish` raises; the live version serves on.
    """
    vectors = _verified(build, build.path, build.checksum)
    users = None
    if "user_vectors" in build.lineage:
        users = _verified(build, build.user_vectors_path, build.lineage["user_vectors"])
    return publish(catalog, vectors, to, build=build, users=users, users_to=users_to, **options)


def _verified(build: Build, path: Path, checksum: str) -> VectorSet:
    if VectorSet.verify(path) != checksum:
        raise CorruptData(
            f"The vectors at {path} are not those of build {build.id}; build again.",
            path=str(path),
        )
    return VectorSet.open(path)


def publish(
    catalog: Catalog,
    vectors: VectorSet,
    to: str | RetrieverURL,
    *,
    space: str = "items",
    build: Build | None = None,
    users: VectorSet | None = None,
    users_to: str | RetrieverURL | None = None,
    changes: WhatChanged = "drop",
    stage_only: bool = False,
    resume: bool = False,
    min_recall: float = MIN_RECALL,
    min_overlap: float = 0.0,
    wait: float = 0.0,
    progress: Progress | None = None,
) -> Version:
    """Load ``vectors`` as the space's next version, check it, and make it live.

    Whatever happens, and wherever the process is killed, the live version serves on until the one
    compare-and-swap in SQL that makes the new one live, with its users.

    Parameters
    ----------
    to
        The backend's URL; the version goes one level below it, into ``<space>-<number>-<random>``.
    space
        Made on its first publishing.
    users, users_to
        The users' vectors, of the same training as the items', and the URL of the store below
        which they go (:func:`~itemspace.users.create_user_store`); beside the items where that is
        a folder.
    changes
        What becomes of :meth:`.Space.upsert` and :meth:`.Space.delete` since the live version.
        ``"drop"``: ``vectors`` are of a new training, and are all there is; only what is deleted
        while they load stays deleted. ``"fold"``: ``vectors`` are of the live version's training;
        the changes are laid over them, and what changes meanwhile stays as well.
    stage_only
        Do not make it live: :func:`activate` does.
    resume
        Go on with a publishing that was killed while it loaded: what is there of it, bit for bit,
        is not loaded again.
    min_recall, min_overlap
        The version stays staged where, of 100 items, it finds a smaller share of the 10 nearest
        than this, or gives fewer of those that the live version gives; from 0 to 1.
    wait
        Seconds to wait for another publisher of the space.
    progress
        Called with (done, total, text) while vectors are loaded and verified.

    Returns
    -------
    Version
        The one that is live now, or staged. Older versions stay where they are (:func:`collect`).

    Raises
    ------
    EmptyInput
        There are no vectors.
    CorruptData
        The backend does not give back what was loaded.
    CanaryFailed
        The version is loaded, and staged.
    DimensionMismatch, InvalidVectors, VersionMismatch
        The vectors of users and items, or of the live version, do not belong together.
    InvalidOption
        There are users, ``users_to`` is left out, and ``to`` is no folder; a share out of range.
    PublishConflict
        Another publisher is at work, or was faster.
    InvalidURL, BackendError, …
        What :func:`~itemspace.adapters.create_retriever` raises.
    """
    if not len(vectors):
        raise EmptyInput("There are no vectors to publish.", path=str(to))
    for name, share in (("min_recall", min_recall), ("min_overlap", min_overlap)):
        if not 0 <= share <= 1:
            raise InvalidOption(
                f"{name} is a share from 0 to 1; received {share!r}.", option=name, received=share
            )
    if changes not in ("drop", "fold"):
        raise InvalidOption(
            f"changes is 'drop' or 'fold'; received {changes!r}.",
            option="changes",
            received=changes,
        )
    base = _base(to, space)
    if users is not None:
        check_one_space(vectors, users)
        users_to = _users_base(base, users_to)
    else:
        users_to = None
    ensure_space(catalog, space)
    with Publisher(catalog, space, wait) as publisher:
        stand = _Stand.now(catalog, space)
        facts = _facts(build, stand)
        if changes == "fold" and stand.live is not None:
            vectors = _folded(catalog, stand.live, vectors, stand.revision)
            facts["training"] = stand.live.training

        def users_url(name: str) -> str | None:
            return None if users_to is None else lasting(users_below(users_to, f"{name}-users"))

        staging = Staging(catalog, space, base, vectors, facts, users_url, resume)
        ready = staging.run(users, stand.live, progress)
        _judge(ready, min_recall, min_overlap)
        if not stage_only:
            _go_live(catalog, ready, stand.number, publisher)
    return get_version(catalog, space, ready.number)


def move(
    catalog: Catalog,
    to: str | RetrieverURL,
    *,
    space: str = "items",
    resume: bool = False,
    min_recall: float = MIN_RECALL,
    wait: float = 0.0,
    progress: Progress | None = None,
) -> Version:
    """Publish the live version of a space anew, with its changes, into this or another backend.

    Its users stay where they are. Lookups go on with the old version until the new one is live.
    Raises what :func:`publish` does.
    """
    base = _base(to, space)
    with Publisher(catalog, space, wait) as publisher:
        stand = _Stand.now(catalog, space)
        live = get_version(catalog, space, stand.number)
        vectors = _folded(catalog, live, _stored(live), stand.revision)
        build = None if live.build_id is None else get_build(catalog, live.build_id)
        facts = {**_facts(build, stand), "training": live.training}
        url = None if live.users is None else live.users.url
        staging = Staging(catalog, space, base, vectors, facts, lambda _name: url, resume)
        ready = staging.run(live.users, live, progress)
        _judge(ready, min_recall, 0.0)
        _go_live(catalog, ready, live.number, publisher)
    return get_version(catalog, space, ready.number)


def activate(catalog: Catalog, number: int, *, space: str = "items") -> Version:
    """Make a version live that was published or staged; with its users, and its changes.

    Raises
    ------
    NothingPublished, UnknownSpace
        There is none.
    PublishConflict
        It is not complete, or was removed; or another one was made live at this moment.
    """
    stand = _Stand.now(catalog, space)
    _go_live(catalog, get_version(catalog, space, number), stand.number)
    return get_version(catalog, space, number)


def rollback(catalog: Catalog, *, space: str = "items") -> Version:
    """Make the version live again that was before the live one: the next older that ever was.

    Items that were deleted since stay deleted; those upserted for a newer training are not in it.
    Raises :class:`~itemspace.core.errors.NothingPublished` where there is none.
    """
    stand = _Stand.now(catalog, space)
    before = version_before(catalog, space)
    _go_live(catalog, before, stand.number)
    return get_version(catalog, space, before.number)


@dataclass(frozen=True)
class _Stand:
    """Where a space stands when a publisher begins."""

    live: Version | None
    revision: int

    @classmethod
    def now(cls, catalog: Catalog, space: str) -> _Stand:
        pointer = get_pointer(catalog, space)
        live = None if pointer.live is None else get_version(catalog, space, pointer.live)
        return cls(live, pointer.revision)

    @property
    def number(self) -> int | None:
        return None if self.live is None else self.live.number


def _go_live(
    catalog: Catalog, version: Version, expected: int | None, publisher: Publisher | None = None
) -> None:
    """The swap; the spaces of this process see it when this returns."""
    holder = None if publisher is None else publisher.holder
    swap_live(catalog, version, expected=expected, publisher=holder)
    for follower in followers_of(catalog, version.space):
        follower.look_again()


def _facts(build: Build | None, stand: _Stand) -> dict[str, Any]:
    return {
        "build_id": build.id if build else None,
        "checksum": build.checksum if build else "",
        "base_revision": stand.revision,
    }


def _folded(catalog: Catalog, live: Version, vectors: VectorSet, revision: int) -> VectorSet:
    """Vectors of the live version's training, with what has changed since."""
    if (vectors.dim, vectors.metric, vectors.ids.kind) != (live.dim, live.metric, live.id_kind):
        raise VersionMismatch(
            f"The vectors have {vectors.dim} dimensions, {vectors.metric} and {vectors.ids.kind} "
            f"ids, version {live.number} has {live.dim}, {live.metric} and {live.id_kind}: they "
            "are of another training, and its changes are not for them (changes='drop')."
        )
    log = read_changes(catalog, live, live.base_revision, revision)
    changed = Changes.none(live.base_revision, live.id_kind, live.dim).then(log, revision)
    if not len(changed):
        return vectors
    kept = np.flatnonzero(changed.ids.rows_of(vectors.ids) < 0)
    alive = np.flatnonzero(changed.alive)
    ids = vectors.ids[kept].concat(changed.ids[alive])
    matrix = np.concatenate([vectors.matrix[kept], changed.vectors[alive]])
    if not len(ids):
        raise EmptyInput("Every item was deleted; there are no vectors to publish.", path="")
    return VectorSet(ids, matrix, vectors.metric, vectors.lineage)


def _stored(version: Version) -> VectorSet:
    with open_retriever(version.url) as source:
        batches = list(source.scan())
        ids = Ids.joined([some for some, _ in batches], source.id_kind)
        matrix = np.concatenate([some for _, some in batches])
        return VectorSet(ids, matrix, source.metric, version.lineage)


def _judge(version: Version, min_recall: float, min_overlap: float) -> None:
    """Raise :class:`CanaryFailed` where a version is worse than what was asked for."""
    for what, least in (("recall", min_recall), ("overlap", min_overlap)):
        found = version.measures[what]
        if found is not None and found < least:
            raise CanaryFailed(
                f"Version {version.number} of {version.space!r} is staged, not live: its {what} "
                f"of {K} neighbours is {found:.3f}, and at least {least} is asked for "
                f"(min_{what}). `itemspace activate {version.number}` makes it live all the same."
            )


def _base(to: str | RetrieverURL, space: str) -> RetrieverURL:
    """Where versions go; refused at once where it is wrong, or ends with the process."""
    base = RetrieverURL.parse(to)
    check_url(base)
    place_below(base, space)
    return base


def _users_base(base: RetrieverURL, users_to: str | RetrieverURL | None) -> RetrieverURL:
    """Where user vectors go: what was said, or the folder of the items."""
    if users_to is not None:
        return RetrieverURL.parse(users_to)
    if hasattr(load_backend(base.scheme), "child"):
        raise InvalidOption(
            f"{base} is no folder that user vectors could go into as well; say where they go "
            "(users_to), such as 'redis://localhost/0'.",
            option="users_to",
            received=None,
        )
    return RetrieverURL("vectorset", "", base.path)
