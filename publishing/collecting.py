"""Removing what nobody needs: old versions, and what killed publishers left behind."""

from __future__ import annotations

from dataclasses import dataclass

from ..catalog.catalog import Catalog
from ..catalog.changes import trim_changes
from ..catalog.versions import State, Version, get_pointer, list_versions
from ..core.errors import InvalidOption, LockedError
from .lease import Publisher
from .removing import remove_version

#: How many versions that were live before the live one are kept to roll back to.
KEEP = 2


@dataclass(frozen=True)
class Collected:
    """A version that can go, or has gone."""

    version: Version
    why: str
    """``"old"``, ``"left behind"`` by a publisher that was killed, ``"half removed"`` or
    ``"never live"``."""
    removed: bool
    """False where somebody reads or writes it still, and in a dry run."""


def collect(
    catalog: Catalog, *, space: str = "items", keep: int = KEEP, dry_run: bool = False
) -> list[Collected]:
    """Remove the vectors of versions that nobody needs; what is known of them stays in SQL.

    The live version stays, and so do newer ones, the ``keep`` newest of those that were live
    before it, and what a process reads.

    Parameters
    ----------
    keep
        At least 0.
    dry_run
        Say what would go, and remove nothing.

    Returns
    -------
    list of Collected
        Oldest first.

    Raises
    ------
    PublishConflict
        Somebody publishes into the space.
    BackendError
        A backend does not remove its own; the next call tries again.
    """
    if keep < 0:
        raise InvalidOption(f"keep is at least 0; received {keep}.", option="keep", received=keep)
    live = get_pointer(catalog, space).live
    if dry_run:
        return [Collected(*pair, False) for pair in _unneeded(catalog, space, live, keep)]
    with Publisher(catalog, space):
        found = [
            Collected(version, why, _removed(catalog, version))
            for version, why in _unneeded(catalog, space, live, keep)
        ]
        trim_changes(catalog, space)
    return found


def _removed(catalog: Catalog, version: Version) -> bool:
    try:
        return remove_version(catalog, version)
    except LockedError:  # its publisher, who was taken for dead, removes it
        return False


def _unneeded(
    catalog: Catalog, space: str, live: int | None, keep: int
) -> list[tuple[Version, str]]:
    versions = list_versions(catalog, space)
    older = [one for one in versions if one.state is State.READY and one.number < (live or 0)]
    once_live = [one.number for one in older if one.activated_at]
    kept = once_live[len(once_live) - min(keep, len(once_live)) :]
    reasons = {
        one.number: "old" if one.activated_at else "never live"
        for one in older
        if one.number not in kept
    }
    left = {State.LOADING: "left behind", State.REMOVING: "half removed"}
    reasons |= {one.number: left[one.state] for one in versions if one.state in left}
    return [(one, reasons[one.number]) for one in versions if one.number in reasons]
