"""Columns of SQL as arrays, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Codes, encode
from ..core.ids import IdKind, Ids

Array = npt.NDArray[Any]
Reader = Callable[[Sequence[Any]], Array]


class Coder:
    """Ids → codes in order of appearance, batch by batch; sorted at the end. NULL is -1."""

    def __init__(self, kind: IdKind | None = None) -> None:
        self._kind = kind
        self._known: dict[Any, int] = {}

    def read(self, values: Sequence[Any]) -> Array:
        """The codes of a batch, int32."""
        known = self._known
        return np.fromiter(
            (-1 if value is None else known.setdefault(value, len(known)) for value in values),
            np.int32,
        )

    def sort(self, codes: Array) -> tuple[Ids, Codes]:
        """The vocabulary, and the codes of :meth:`read` as rows of it."""
        vocabulary, row_of = encode(Ids(self._known, self._kind))
        return vocabulary, np.append(row_of, np.int32(-1))[codes]


def numbers(values: Sequence[Any]) -> Array:
    """Numbers as float64; NaN for NULL."""
    return np.array(values, dtype=np.float64)


def seconds(stamps: Sequence[Any]) -> Array:
    """Unix seconds of numbers, datetimes or dates; 0 for NULL."""
    try:
        found = numbers(stamps)
    except TypeError:
        found = numbers([_unix(stamp) for stamp in stamps])
    return np.nan_to_num(found, copy=False, nan=0.0)


def _unix(stamp: date | None) -> float | None:
    if stamp is None:
        return None
    if not isinstance(stamp, datetime):
        stamp = datetime.combine(stamp, time.min)
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()
