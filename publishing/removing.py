"""Removing a version's vectors; what is known of it stays in SQL."""

from __future__ import annotations

from ..catalog.catalog import Catalog
from ..catalog.leases import claim_removing
from ..catalog.versions import State, Version, forget_version, list_versions, set_state
from ..users import remove_user_store
from .loading import remove_items


def remove_version(catalog: Catalog, version: Version) -> bool:
    """Remove items and users of a version that is not live and that nobody reads: was it so?

    One that was never complete is forgotten altogether.

    Users that another version has too stay. Broken off, it can be begun again.

    Raises
    ------
    BackendError, CorruptData
        A backend does not remove its own.
    """
    if not claim_removing(catalog, version):
        return False
    remove_items(version.url)
    if version.users is not None and version.users.url not in _users_of_others(catalog, version):
        remove_user_store(version.users.url)
    if version.was_ready:
        set_state(catalog, version, State.REMOVING, state=State.REMOVED)
    else:
        forget_version(catalog, version)
    return True


def _users_of_others(catalog: Catalog, version: Version) -> set[str]:
    return {
        one.users.url
        for one in list_versions(catalog, version.space)
        if one.users is not None
        and one.number != version.number
        and one.state in (State.LOADING, State.READY)
    }
