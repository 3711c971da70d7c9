"""Items whose content was changed under the same id, found from snapshots of side information.

Their clicks are of another item than they seem to be; see :class:`.Denoising`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

from ..core.errors import InvalidOption
from ..core.ids import Ids
from ..core.side_information import SideInformation
from .fields import Field, read_column


def replaced_items(*snapshots: SideInformation, fields: Sequence[str]) -> Ids:
    """The items that have two different values in one of the fields, over all snapshots; sorted.

    A missing value is no value, and an item that is not in a snapshot has none there: neither is a
    change. One that changes and changes back was changed.

    Parameters
    ----------
    snapshots
        What was known of the items at different times.
    fields
        What makes an item what it is: its category rather than its price. Written as
        :meth:`.Field.parse` reads them; values are compared as :func:`.read_column` reads them.

    Raises
    ------
    InvalidOption
        No fields, or one that cannot be read.
    UnknownColumn
        A snapshot without the column of a field.
    BadRow
        A value that a field cannot have.
    InvalidId
        Items of one snapshot that are of another kind than those of the others.
    """
    if isinstance(fields, str) or not fields:
        raise InvalidOption(
            f"fields names the columns to compare, at least one; received {fields!r}.",
            option="fields",
            received=fields,
        )
    kind = reduce(Ids.concat, (side.ids for side in snapshots), Ids([])).kind
    changed: set[Any] = set()
    for field in map(Field.parse, fields):
        known: dict[Any, list[Any]] = {}
        for side in snapshots:
            cells = read_column(field, side.column(field.name), side.ids)
            values = list(cells.values)
            for item, (start, end) in zip(side.ids, pairwise(cells.offsets.tolist()), strict=True):
                own = values[start:end]
                if own and known.setdefault(item, own) != own:
                    changed.add(item)
    return Ids(sorted(changed), kind)
