"""Side information: what is known of items, as the rows that their vectors are made of.

EGES (Wang et al., KDD 2018, section 3.3) makes an item's vector from a row of its own and a row per
field of side information. Beyond the paper, a field may have several values, which share its slot,
or none, and then the item has no part there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Codes, Offsets
from ..core.errors import InvalidOption
from ..core.ids import Ids
from ..core.side_information import SideInformation
from .encodings import Encoded, Encoding
from .fields import Field, read_column, some


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
    _check_fields(side, fields)
    rows = side.ids.rows_of(vocabulary).tolist()
    count, absent = len(rows), rows.count(-1)
    report = []
    if absent:
        report.append(f"No row in the side information for {absent:,} of {count:,} items.")
    encodings, parts = [], [_Part(np.arange(count + 1), np.arange(count, dtype=np.int32), count)]
    for field in fields:
        column = side.column(field.name)
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
    _check_fields(side, [encoding.field for encoding in encodings])
    report: list[str] = []
    parts = []
    for encoding in encodings:
        encoded = encoding.encode(side.column(encoding.field.name), side.ids)
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


def _check_fields(side: SideInformation, fields: Iterable[Field]) -> None:
    """Raise unless each field is a column of ``side`` and stands once."""
    seen: set[str] = set()
    for field in fields:
        side.column(field.name)
        if field.name in seen:
            raise InvalidOption(
                f"The field {field.name!r} is declared twice; declare it once.",
                option="fields",
                received=field.name,
            )
        seen.add(field.name)


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
