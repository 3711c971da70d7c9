"""Fields of side information: what a user declares, and values read in one comparable form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import chain, islice
from math import isinf, isnan
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Offsets
from ..core.errors import BadRow, InvalidOption
from ..core.ids import Ids
from ..core.side_information import PANDAS_GAPS, SEVERAL

Kind = Literal["categorical", "multi", "numeric"]

SOURCE = "side information"
_BUCKETS, _SEPARATOR = 10, "|"
_EXPECTED = {
    "categorical": "one Unicode text, number or boolean (a field of several is multi)",
    "multi": "a list or set of Unicode texts, numbers and booleans, or one text",
    "numeric": "a finite number",
}
_BOOLEAN, _WHOLE, _FLOAT = (bool, np.bool_), (int, np.integer), (float, np.floating)
#: np.timedelta64 calls itself an np.integer, so these are asked for before numbers.
_TIME = (np.datetime64, np.timedelta64)
_NUMBER, _NO_NUMBER = (*_FLOAT, *_WHOLE, Decimal), (*_BOOLEAN, *_TIME)


@dataclass(frozen=True)
class Field:
    """A field of side information, as a user declares it.

    As text: ``brand``, ``genres:multi``, ``genres:multi:;``, ``price:numeric``,
    ``price:numeric:20``.

    Parameters
    ----------
    name
        The column; not empty, without a colon.
    kind
        ``"categorical"``: one value per item; ``"multi"``: any number; ``"numeric"``: a number,
        of which its quantile bucket counts.
    buckets
        Of a numeric field: how many, at least 2.
    separator
        Of a multi field: what stands between the values of a text.

    Raises
    ------
    InvalidOption
        An option out of its range, or one of another kind of field.
    """

    name: str
    kind: Kind = "categorical"
    buckets: int = _BUCKETS
    separator: str = _SEPARATOR

    def __post_init__(self) -> None:
        whole = isinstance(self.buckets, int) and not isinstance(self.buckets, bool)
        for option, holds, expected in (
            ("name", self.name and ":" not in self.name, "not empty and has no colon"),
            ("kind", self.kind in get_args(Kind), f"one of {', '.join(get_args(Kind))}"),
            ("buckets", whole and self.buckets >= 2, "a whole number of at least 2"),
            ("separator", self.separator, "not empty"),
            ("buckets", self.kind == "numeric" or self.buckets == _BUCKETS, "for numeric fields"),
            ("separator", self.kind == "multi" or self.separator == _SEPARATOR, "for multi fields"),
        ):
            if not holds:
                received = getattr(self, option)
                raise InvalidOption(
                    f"Field {self.name!r}: {option} is {expected}; received {received!r}.",
                    option=option,
                    received=received,
                )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` writes; :class:`InvalidOption` for anything else."""
        name, *more = text.split(":", 2) if isinstance(text, str) else ("", "", "")
        kind: Any = more[0] if more else "categorical"
        if len(more) < 2:
            return cls(name, kind)
        if kind == "multi":
            return cls(name, kind, separator=more[1])
        if kind == "numeric" and more[1].isascii() and more[1].isdigit():
            return cls(name, kind, buckets=int(more[1]))
        raise InvalidOption(
            f"A field is NAME, NAME:multi, NAME:multi:SEPARATOR, NAME:numeric or "
            f"NAME:numeric:BUCKETS; received {text!r}.",
            option="field",
            received=text,
        )

    def __str__(self) -> str:
        if self.separator != _SEPARATOR:
            return f"{self.name}:{self.kind}:{self.separator}"
        if self.buckets != _BUCKETS:
            return f"{self.name}:{self.kind}:{self.buckets}"
        return self.name if self.kind == "categorical" else f"{self.name}:{self.kind}"


class Cells(NamedTuple):
    """A column as read: item i has ``values[offsets[i]:offsets[i + 1]]``."""

    offsets: Offsets
    """int64 (n + 1)."""
    values: Any
    """A list of texts, distinct and ascending for each item; or float64, none of it NaN."""
    nans: int
    """Of a numeric field: how many values were NaN."""


def read_column(field: Field, column: Sequence[Any] | Cells, ids: Ids | None = None) -> Cells:
    """The values of a column in the one form in which they are compared.

    Categorical and multi: as text, so that 1 from SQL, ``"1"`` from a file and 1.0 from a column
    with gaps are one value. Whole floats and decimals are integers, booleans ``true`` and
    ``false``, anything else its ``str``. None, NaN, NaT and the empty text are missing. A text of
    a multi field is split at the separator, blanks around its values dropped; an item has each
    value once. Numeric: float64 from numbers and texts of numbers.

    Parameters
    ----------
    column
        Python values, one per item; or :class:`Cells`, which are returned.
    ids
        The items, to be named in errors; ``None``: they are numbered.

    Raises
    ------
    BadRow
        A value that the field cannot have: nested ones, bytes; of a numeric field whatever is no
        finite number, booleans included. Item, field and value are named.
    """
    if isinstance(column, Cells):
        return column
    found = list(_each(field, column, ids))
    if field.kind == "multi":
        offsets = offsets_of(np.fromiter(map(len, found), np.int64, len(found)))
        return Cells(offsets, list(chain.from_iterable(found)), 0)
    gaps = found.count(None)
    if field.kind == "numeric":
        numbers = np.array(found, dtype=np.float64)
        present = ~np.isnan(numbers)
        return Cells(offsets_of(present), numbers[present], int((~present).sum()) - gaps)
    present = np.fromiter((text is not None for text in found), np.bool_, len(found))
    return Cells(offsets_of(present), [text for text in found if text is not None], 0)


def some(values: Iterable[Any], shown: int = 3) -> str:
    """The first few values, to be named in a sentence."""
    first = list(islice(values, shown + 1))
    return ", ".join(repr(value)[:60] for value in first[:shown]) + ", …" * (len(first) > shown)


def _each(field: Field, column: Sequence[Any], ids: Ids | None) -> Iterator[Any]:
    """Every value as read; :class:`BadRow` for one that cannot be."""
    several = partial(_texts, separator=field.separator)
    readers: dict[Kind, Callable[[Any], Any]]
    readers = {"categorical": _text, "multi": several, "numeric": _number}
    read = readers[field.kind]
    for row, value in enumerate(column):
        try:
            yield read(value)
        except (TypeError, ValueError, ArithmeticError) as error:
            item = row if ids is None else ids[row]
            reason = f"expected {_EXPECTED[field.kind]}"
            raise BadRow(
                f"Item {item!r}, field {field.name!r}: {reason}; received {some([value])}.",
                path=SOURCE,
                line=None,
                item=item,
                column=field.name,
                value=repr(value),
                reason=reason,
            ) from error


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        if not value.isascii():
            value.encode()  # A lone surrogate would fail after the training, when it is saved.
        return str(value) or None
    if value is None or type(value).__name__ in PANDAS_GAPS:
        return None
    if isinstance(value, _TIME):
        return None if np.isnat(value) else str(value)
    if isinstance(value, _BOOLEAN):
        return "true" if value else "false"
    if isinstance(value, _WHOLE):
        return str(int(value))
    if isinstance(value, _FLOAT):
        return None if isnan(value) else str(int(value) if value.is_integer() else value)
    if isinstance(value, Decimal):
        if value.is_nan():
            return None
        # Not normalize(), which rounds to the digits of a context.
        return str(int(value)) if value == int(value) else f"{value:f}".rstrip("0")
    if isinstance(value, Iterable):
        raise ValueError("nested")
    return str(value)


def _texts(value: Any, separator: str) -> list[str]:
    if isinstance(value, str):
        found = {piece.strip() for piece in (_text(value) or "").split(separator)}
        return sorted(found - {""})
    pieces = map(_text, value if isinstance(value, SEVERAL) else (value,))
    return sorted({piece for piece in pieces if piece is not None})


def _number(value: Any) -> float | None:
    if value is None or type(value).__name__ in PANDAS_GAPS:
        return None
    if isinstance(value, str):
        if not value.strip():
            return None
    elif isinstance(value, _NO_NUMBER) or not isinstance(value, _NUMBER):
        raise ValueError("no number")
    number = float(value)
    if isinf(number):
        raise ValueError("infinite")
    return number


def offsets_of(lengths: npt.NDArray[Any]) -> Offsets:
    """Where each of some runs begins, and the last ends; int64."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
