"""Side information: what is known of items, by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .errors import InvalidOption, UnknownColumn
from .ids import Ids


@dataclass(frozen=True, eq=False)
class SideInformation:
    """The values of items by column, not encoded yet.

    Parameters
    ----------
    ids
        The items, n distinct ids, or what :class:`.Ids` takes.
    columns
        Name → n values, in the order of ``ids``: lists, arrays (masked is missing), Arrow columns.

    Raises
    ------
    DuplicateIds
        An item twice.
    InvalidOption
        A column of another length.
    """

    ids: Ids
    columns: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        ids = Ids(self.ids)
        ids.check_unique("the side information")
        columns = {str(name): _as_list(column) for name, column in self.columns.items()}
        for name, column in columns.items():
            if len(column) != len(ids):
                raise InvalidOption(
                    f"Expected a value per item in every column; {name!r} has {len(column):,} for "
                    f"{len(ids):,} items.",
                    option=name,
                    received=len(column),
                )
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "columns", columns)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], id_column: str = "item_id") -> Self:
        """From a mapping per item, as SQL and ``csv.DictReader`` give them; absent keys are None.

        Raises :class:`UnknownColumn` for a row without an id.
        """
        table = list(rows)
        for number, row in enumerate(table):
            if id_column not in row:
                raise _unknown_column(id_column, row, f"Row {number}")
        names = dict.fromkeys(name for row in table for name in row)
        ids = Ids([row[id_column] for row in table])
        return cls(
            ids, {name: [row.get(name) for row in table] for name in names if name != id_column}
        )

    @classmethod
    def from_columns(
        cls, ids: Any, columns: Mapping[str, Any] | None = None, /, **more: Any
    ) -> Self:
        """From ids and columns, given as a mapping, by name, or both."""
        return cls(ids, {**(columns or {}), **more})

    def __len__(self) -> int:
        """How many items."""
        return len(self.ids)

    def __repr__(self) -> str:
        names = ", ".join(self.columns) or "no columns"
        return f"<SideInformation of {len(self):,} items: {names}>"

    def column(self, name: str) -> Sequence[Any]:
        """The values of one column; :class:`UnknownColumn` names those there are."""
        if name not in self.columns:
            raise _unknown_column(name, self.columns, "The side information")
        return self.columns[name]

    def without(self, items: Ids) -> Self:
        """The other items, in their order."""
        rows: npt.NDArray[np.int64] = np.flatnonzero(items.rows_of(self.ids) < 0)
        places = rows.tolist()
        columns = {name: [values[at] for at in places] for name, values in self.columns.items()}
        return type(self)(self.ids[rows], columns)


def _as_list(column: Any) -> list[Any]:
    """A column as Python values: of any iterable, NumPy or Arrow; masked is None."""
    if hasattr(column, "to_pylist"):
        return list(column.to_pylist())
    if isinstance(column, np.ndarray):
        # tolist() would make integers of nanoseconds, and 0.10000000149… of the float32 0.1.
        exact = column.dtype.kind in "biuUO" or column.dtype == np.float64
        if exact or np.ma.isMaskedArray(column):
            return list(column.tolist())
    return list(column)


def _unknown_column(name: str, columns: Iterable[str], what: str) -> UnknownColumn:
    there = list(columns)
    return UnknownColumn(
        f"{what} has no column {name!r}; it has: {', '.join(map(str, there)) or 'none'}.",
        column=name,
        columns=there,
    )
