"""Side information: what is known of items, as the rows that their vectors are made of.

EGES (Wang et al., KDD 2018, section 3.3) makes an item's vector from a row of its own and a row per
field of side information. Beyond the paper, a field may have several values, which share its slot,
or none, and then the item has no part there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Codes, Offsets
from ..core.errors import InvalidOption, UnknownColumn
from ..core.ids import Ids
from .encodings import Encoded, Encoding
from .fields import Field, read_column, some


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

    def check_fields(self, fields: Iterable[Field]) -> None:
        """Raise unless each field is a column and stands once.

        Raises
        ------
        UnknownColumn
            A field that is no column.
        InvalidOption
            A field that stands twice.
        """
        seen: set[str] = set()
        for field in fields:
            if field.name not in self.columns:
                raise _unknown_column(field.name, self.columns, "The side information")
            if field.name in seen:
                raise InvalidOption(
                    f"The field {field.name!r} is declared twice; declare it once.",
                    option="fields",
                    received=field.name,
                )
            seen.add(field.name)


class Layout(NamedTuple):
    """Which rows make each item's vector: its parts are ``offsets[i]`` to ``offsets[i + 1]``."""

    offsets: Offsets
    """int64 (n + 1)."""
    rows: Codes
    """int32 (parts): the row of the table of vectors."""
    slots: Codes
    """int32 (parts): 0 for the item's own row, f + 1 for a value of the encoding f; ascending."""
    shares: npt.NDArray[np.float32]
    """float32 (parts): 1 / (values that the item has in the slot); they sum to 1 in each slot."""


def encode_side(
    vocabulary: Ids, side: SideInformation, fields: Sequence[Field]
) -> tuple[list[Encoding], Layout, list[str]]:
    """Learn encodings from the items of a vocabulary, and lay out their parts.

    Row i is item i's own; after the n rows of the items come those of the first encoding's codes,
    then the second's, and so on. Items of ``side`` that are not in the vocabulary are not read.

    Returns
    -------
    encodings
        Of the fields that tell items apart, in their order.
    layout
        Every item begins with its own row, slot 0, share 1.
    report
        Sentences: fields left out, items without a row, missing values.

    Raises
    ------
    UnknownColumn
        A field that ``side`` does not have.
    InvalidOption
        A field that stands twice.
    BadRow
        A value that its field cannot have.
    InvalidId
        Ids of ``side`` of another kind than the vocabulary's.
    """
    side.check_fields(fields)
    rows = side.ids.rows_of(vocabulary).tolist()
    count, absent = len(rows), rows.count(-1)
    report = []
    if absent:
        report.append(f"No row in the side information for {absent:,} of {count:,} items.")
    encodings, parts = [], [_Part(np.arange(count + 1), np.arange(count, dtype=np.int32), count)]
    for field in fields:
        column = side.columns[field.name]
        values = [column[row] if row >= 0 else None for row in rows]
        cells = read_column(field, values, vocabulary)
        encoding = Encoding.learn(field, cells)
        encoded = encoding.encode(cells)
        report += _told(field, encoded)
        if useless := _useless(encoding, encoded):
            report.append(f"Field {field.name!r} is left out: {useless}.")
            continue
        encodings.append(encoding)
        parts.append(_Part(encoded.offsets, encoded.codes, len(encoding)))
    return encodings, _lay_out(count, parts, first=0), report


def layout_of_new(encodings: Sequence[Encoding], side: SideInformation) -> tuple[Layout, list[str]]:
    """Lay out items that have no rows of their own, from encodings learned on others.

    Returns
    -------
    layout
        Of the items of ``side``, in their order. Slots begin with 1, and row 0 is the first code
        of the first encoding. An item without a usable value has no part.
    report
        Sentences: missing values, values that training did not see, items without a part.

    Raises
    ------
    UnknownColumn, InvalidOption, BadRow
        As for :func:`encode_side`.
    """
    side.check_fields([encoding.field for encoding in encodings])
    report: list[str] = []
    parts = []
    for encoding in encodings:
        encoded = encoding.encode(side.columns[encoding.field.name], side.ids)
        report += _told(encoding.field, encoded)
        parts.append(_Part(encoded.offsets, encoded.codes, len(encoding)))
    layout = _lay_out(len(side), parts, first=1)
    empty = np.flatnonzero(np.diff(layout.offsets) == 0)
    if len(empty):
        report.append(
            f"No value that training saw for {len(empty):,} of {len(side):,} items: "
            f"{some(side.ids[empty])}."
        )
    return layout, report


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


class _Part(NamedTuple):
    """What one slot gives every item: ``codes[offsets[i]:offsets[i + 1]]`` of ``size`` rows."""

    offsets: Offsets
    codes: Codes
    size: int


def _lay_out(items: int, parts: Sequence[_Part], *, first: int) -> Layout:
    """Slots from ``first`` on, their rows one after another."""
    offsets = np.zeros(items + 1, dtype=np.int64)
    for part in parts:
        offsets += part.offsets
    total = int(offsets[-1])
    layout = Layout(
        offsets,
        np.empty(total, dtype=np.int32),
        np.empty(total, dtype=np.int32),
        np.empty(total, dtype=np.float32),
    )
    free = offsets[:-1].copy()
    row = 0
    for slot, (starts, codes, size) in enumerate(parts, first):
        lengths = np.diff(starts)
        places = np.arange(len(codes)) + np.repeat(free - starts[:-1], lengths)
        layout.rows[places] = codes + row
        layout.slots[places] = slot
        layout.shares[places] = 1 / np.repeat(lengths, lengths)
        free += lengths
        row += size
    return layout


def _useless(encoding: Encoding, encoded: Encoded) -> str:
    """Why the field cannot tell items apart; empty if it can."""
    if not len(encoded.codes):
        return "no item has a value"
    if len(encoding) == 1 and not encoded.missing:
        return "all items have the same value"
    return ""


def _told(field: Field, encoded: Encoded) -> list[str]:
    items, name = len(encoded.offsets) - 1, repr(field.name)
    told = []
    if encoded.missing:
        told.append(f"Field {name}: no value for {encoded.missing:,} of {items:,} items.")
    if encoded.nans:
        told.append(f"Field {name}: NaN, taken as no value, for {encoded.nans:,} of them.")
    if encoded.unknown:
        times = sum(encoded.unknown.values())
        told.append(
            f"Field {name}: values that training did not see, skipped {times:,} times, "
            f"{len(encoded.unknown):,} distinct: {some(encoded.unknown)}."
        )
    return told


def _unknown_column(name: str, columns: Iterable[str], what: str) -> UnknownColumn:
    there = list(columns)
    return UnknownColumn(
        f"{what} has no column {name!r}; it has: {', '.join(map(str, there)) or 'none'}.",
        column=name,
        columns=there,
    )
