"""Items whose content was changed under the same id, found from snapshots of side information.

Their clicks are of another item than they seem to be; see :class:`.Denoising`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from ..core.errors import InvalidOption
from ..core.ids import Ids


def replaced_items(
    first: Mapping[str, Iterable[Any]],
    *later: Mapping[str, Iterable[Any]],
    fields: Sequence[str],
    item: str = "item_id",
) -> Ids:
    """The items that have two different values in one of the fields, over all snapshots; sorted.

    NULL (None, NaN) is no value, and an item that is not in a snapshot has none there: neither is
    a change. One that changes and changes back was changed.

    Parameters
    ----------
    first, later
        Snapshots of what is known of the items: columns by name, all of one length, one row per
        item. Values are compared by ``==``: numbers, strings, or lists and sets of them.
    fields
        The columns that make an item what it is: its category rather than its price.
    item
        The column of ids.

    Raises
    ------
    InvalidOption
        No fields, or a snapshot without one of the columns or with columns of different lengths.
    DuplicateIds
        An item twice in one snapshot.
    InvalidId
    """
    if isinstance(fields, str) or not fields:
        raise InvalidOption(
            f"fields names the columns to compare, at least one; received {fields!r}.",
            option="fields",
            received=fields,
        )
    snapshots = [first, *later]
    items = [Ids(_column(snapshot, item, "item")) for snapshot in snapshots]
    for ids in items:
        ids.check_unique("a snapshot")
    changed: set[Any] = set()
    for field in fields:
        known: dict[Any, Any] = {}
        for ids, snapshot in zip(items, snapshots, strict=True):
            for name, value in zip(ids, _values(snapshot, field, len(ids)), strict=True):
                if not _is_null(value) and known.setdefault(name, value) != value:
                    changed.add(name)
    return Ids(sorted(changed), reduce(Ids.concat, items).kind)


def _is_null(value: Any) -> bool:
    return value is None or bool(value != value)  # noqa: PLR0124 (NaN, NaT)


def _column(snapshot: Mapping[str, Iterable[Any]], name: str, option: str) -> list[Any]:
    try:
        column = snapshot[name]
    except KeyError:
        raise InvalidOption(
            f"A snapshot has no column {name!r}; it has {', '.join(map(str, snapshot))}.",
            option=option,
            received=name,
        ) from None
    # Only so does a masked array give None for what is masked.
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _values(snapshot: Mapping[str, Iterable[Any]], field: str, items: int) -> list[Any]:
    values = _column(snapshot, field, "fields")
    if len(values) != items:
        raise InvalidOption(
            f"A snapshot has {items} items, but {len(values)} values of {field!r}.",
            option="fields",
            received=field,
        )
    return values
