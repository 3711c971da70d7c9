"""A version on its way from vectors to where it can be made live."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import unquote

import numpy as np

from ..adapters import RetrieverURL, open_retriever
from ..adapters.copying import ExactSample
from ..adapters.registry import place_below
from ..catalog.catalog import Catalog
from ..catalog.versions import (
    PublishedUsers,
    State,
    Version,
    add_version,
    finish_version,
    get_version,
    list_versions,
    set_state,
)
from ..core.errors import ItemspaceError
from ..core.ids import Ids
from ..core.progress import Progress
from ..core.retriever import Retriever, known_vectors
from ..core.vectors import VectorSet
from .comparing import overlaps_of
from .loading import bytes_of, check_items, load_items, load_users
from .removing import remove_version

log = logging.getLogger(__name__)
#: Items whose neighbours are looked at, and how many neighbours of each.
SAMPLE, K = 100, 10
#: Users whose vectors an index is tuned with.
_SAMPLE_USERS = 1000


class Staging:
    """A version on its way from vectors to ``READY``.

    Parameters
    ----------
    users_url
        Where the users go, by the version's name; None: there are none.
    """

    def __init__(
        self,
        catalog: Catalog,
        space: str,
        base: RetrieverURL,
        vectors: VectorSet,
        facts: dict[str, Any],
        users_url: Callable[[str], str | None],
        resume: bool,
    ) -> None:
        self._catalog, self._vectors = catalog, vectors
        facts = {
            **facts,
            "item_count": len(vectors),
            "dim": vectors.dim,
            "metric": vectors.metric.value,
            "id_kind": vectors.ids.kind,
            "lineage": dict(vectors.lineage),
        }
        versions = list_versions(catalog, space)
        left = [one for one in versions if resume and _is_same(one, base, facts)]
        self._resumes = bool(left)
        if left:
            facts["users_url"] = users_url(_name_of(left[-1]))
            set_state(catalog, left[-1], State.LOADING, **facts)
            self._version = get_version(catalog, space, left[-1].number)
            return
        number = 1 + max((one.number for one in versions), default=0)
        # A name of its own: what an earlier publishing left behind, killed, is in nobody's way.
        name = f"{space}-{number:04d}-{secrets.token_hex(4)}"
        # Where everything will be is said first, so that nothing is ever left behind unknown.
        facts |= {"url": lasting(place_below(base, name)), "users_url": users_url(name)}
        self._version = add_version(catalog, space, number, **facts)

    def run(
        self,
        users: VectorSet | PublishedUsers | None,
        live: Version | None,
        progress: Progress | None,
    ) -> Version:
        """Load, verify, measure; what was loaded is removed again where something fails.

        Users that are published already stay as they are.
        """
        version, vectors = self._version, self._vectors
        queries = None
        if isinstance(users, VectorSet) and len(users) > 1:  # who lie elsewhere than items
            queries = users.matrix[:: max(1, len(users) // _SAMPLE_USERS)]
        try:
            started = monotonic()
            place = RetrieverURL.parse(version.url)
            with load_items(
                place, vectors, queries, resume=self._resumes, progress=progress
            ) as made:
                loaded = monotonic()
                check_items(made, vectors, progress)
                if isinstance(users, VectorSet) and version.users is not None:
                    users = load_users(users, version.users.url)
                checked = monotonic()
                measures = _measured(made, vectors, live)
            measures["bytes"] = bytes_of(version.url)
            measures["seconds"] = {
                "load": round(loaded - started, 3),
                "verify": round(checked - loaded, 3),
                "measure": round(monotonic() - checked, 3),
            }
            assert not isinstance(users, VectorSet)
            return finish_version(self._catalog, version, measures, users)
        except Exception:
            try:
                remove_version(self._catalog, version)
            except ItemspaceError as error:  # collect() tries again
                log.warning("What was loaded of %s is left behind: %s", version.url, error)
            raise


def _is_same(version: Version, base: RetrieverURL, facts: dict[str, Any]) -> bool:
    """Whether a version was being loaded from the same vectors into the same place."""
    same = ("build_id", "checksum", "item_count", "dim", "metric", "id_kind")
    return (
        version.state is State.LOADING
        and lasting(place_below(base, _name_of(version))) == version.url
        and all(getattr(version, name) == facts[name] for name in same)
    )


def _name_of(version: Version) -> str:
    """``<space>-<number>-<random>``, which its URL ends with, or its collection does."""
    match = re.search(rf"-{version.number:04d}-([0-9a-f]{{8}})(?![0-9a-f])", unquote(version.url))
    return f"{version.space}-{version.number:04d}-{match[1] if match else ''}"


def _measured(made: Retriever, vectors: VectorSet, live: Version | None) -> dict[str, Any]:
    """Recall against exact search, and how much the answers are those of the live version."""
    exact = ExactSample(vectors.metric)
    exact.look(vectors.ids, vectors.matrix)
    return {"recall": exact.recall(made), "overlap": _overlap(made, vectors.ids, live)}


def _overlap(made: Retriever, ids: Ids, live: Version | None) -> float | None:
    """None where there is nothing to compare with."""
    if live is None:
        return None
    some = ids[np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(np.int64)]
    try:
        with open_retriever(live.url) as before:
            if before.id_kind != ids.kind:
                return None
            some = some[np.flatnonzero(known_vectors(before, some)[0])]
            return float(overlaps_of(before, made, some, K).mean()) if len(some) else None
    except ItemspaceError as error:  # a new version is what helps where the live one is broken
        log.warning("The live version %d cannot be compared with: %s", live.number, error)
        return None


def lasting(place: RetrieverURL) -> str:
    """The URL to open it by from any working directory."""
    if not place.authority and place.path and not place.path.startswith("/"):
        place = replace(place, path=str(Path(place.path).resolve()))
    return place.render()
