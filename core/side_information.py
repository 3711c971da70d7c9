"""Side information: what is known of items, by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .errors import InvalidOption, UnknownColumn
from .ids import Ids

#: Cells of several values.
SEVERAL = (list, tuple, set, frozenset, np.ndarray)
#: pandas.NaT and pandas.NA, told by name: pandas may not be there.
PANDAS_GAPS = frozenset({"NaTType", "NAType"})


@dataclass(frozen=True)
class ColumnCoverage:
    """How much a column says of the items."""

    column: str
    items: int
    present: int
    """Items that have a value."""
    distinct: int
    """Different values, of all items together."""
    values: int
    """Values of all items; more than ``present`` where items have several."""

    @property
    def share(self) -> float:
        """The part of the items that have a value, from 0 to 1."""
        return self.present / self.items if self.items else 0.0

    @property
    def values_per_item(self) -> float:
        """The mean over the items that have a value."""
        return self.values / self.present if self.present else 0.0

    def __str__(self) -> str:
        several = f", {self.values_per_item:.1f} for each of these items"
        return (
            f"{self.column}: {self.present:,} of {self.items:,} items ({100 * self.share:.1f} %), "
            f"{self.distinct:,} distinct values{several if self.values > self.present else ''}"
        )


@dataclass(frozen=True, eq=False)
class SideInformation:
    """The values of items by column, not encoded yet.

    Parameters
    ----------
    ids
        The items, n distinct ids, or what :class:`.Ids` takes.
    columns
        Name → n values, in the order of ``ids``: lists, arrays (masked is missing), Arrow columns.
    report
        Sentences on how they were read: what was left out.

    Raises
    ------
    DuplicateIds
        An item twice.
    InvalidOption
        A column of another length.
    """

    ids: Ids
    columns: Mapping[str, Sequence[Any]]
    report: Sequence[str] = ()

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
        object.__setattr__(self, "report", tuple(self.report))

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
        return type(self)(self.ids[rows], columns, self.report)

    def coverage(self) -> list[ColumnCoverage]:
        """How many items have a value, and which, by column, in their order.

        None, NaN, NaT and the empty text are no values, nor are they among several. Values are
        told apart as Python does: 1 and 1.0 are one, 1 and "1" are two.
        """
        return [_coverage(name, column) for name, column in self.columns.items()]


def _coverage(name: str, column: Sequence[Any]) -> ColumnCoverage:
    cells = [
        [value for value in (cell if isinstance(cell, SEVERAL) else (cell,)) if not _is_gap(value)]
        for cell in column
    ]
    present = sum(map(bool, cells))
    distinct = len(set(map(_told_apart, chain.from_iterable(cells))))
    return ColumnCoverage(name, len(cells), present, distinct, sum(map(len, cells)))


def _is_gap(value: Any) -> bool:
    """Whether it stands for no value."""
    if isinstance(value, float | Decimal | np.floating | np.datetime64 | np.timedelta64):
        return bool(value != value)  # noqa: PLR0124 – NaN and NaT alone
    if isinstance(value, str):
        return not value
    return value is None or type(value).__name__ in PANDAS_GAPS


def _told_apart(value: Any) -> Any:
    """The value, or its repr where it cannot be a key."""
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


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
