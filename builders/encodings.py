"""Encodings: the values of one declared field as codes, learned once and kept with the vectors."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Codes, Offsets
from ..core.errors import CorruptData
from ..core.ids import Ids
from .fields import SOURCE, Cells, Field, offsets_of, read_column

Edges = npt.NDArray[np.float64]


class Encoded(NamedTuple):
    """A column as codes: item i has ``codes[offsets[i]:offsets[i + 1]]``, ascending."""

    offsets: Offsets
    """int64 (n + 1)."""
    codes: Codes
    """int32, each from 0 to ``len(encoding) - 1``."""
    unknown: dict[str, int]
    """Values that the encoding does not have, and how often they were met; most frequent first."""
    missing: int
    """How many items have no value, unknown ones not counted."""
    nans: int
    """How many values were NaN (each of them is missing)."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """One field's values as codes 0 … n - 1.

    Parameters
    ----------
    field
        Whose values.
    values
        The texts that the codes stand for, ascending; empty for a numeric field.
    edges
        Of a numeric field: float64, ascending, where one bucket ends and the next, which includes
        the edge, begins. The first and the last bucket are open, so that any number has one.
    """

    field: Field
    values: tuple[str, ...] = ()
    edges: Edges = dataclasses.field(default_factory=lambda: np.zeros(0))

    @classmethod
    def learn(cls, field: Field, column: Sequence[Any] | Cells, ids: Ids | None = None) -> Self:
        """The encoding of every value in a column; see :func:`read_column` for the parameters.

        Each code stands for at least one value of the column.
        """
        cells = read_column(field, column, ids)
        if field.kind == "numeric":
            return cls(field, edges=_quantile_edges(cells.values, field.buckets))
        return cls(field, tuple(sorted(set(cells.values))))

    def __len__(self) -> int:
        """How many codes."""
        return len(self.edges) + 1 if self.field.kind == "numeric" else len(self.values)

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return {value: code for code, value in enumerate(self.values)}

    def encode(self, column: Sequence[Any] | Cells, ids: Ids | None = None) -> Encoded:
        """The codes of a column; see :func:`read_column` for the parameters.

        Values that the encoding does not have are left out and counted.
        """
        offsets, values, nans = read_column(self.field, column, ids)
        missing = int(np.count_nonzero(np.diff(offsets) == 0))
        if self.field.kind == "numeric":
            codes = np.searchsorted(self.edges, values, side="right").astype(np.int32)
            return Encoded(offsets, codes, {}, missing, nans)
        codes = np.fromiter(map(self._code_of.get, values, repeat(-1)), np.int32, len(values))
        known = codes >= 0
        unknown = Counter(values[at] for at in np.flatnonzero(~known).tolist())
        kept = offsets_of(known)[offsets]
        return Encoded(kept, codes[known], dict(unknown.most_common()), missing, nans)

    def to_dict(self) -> dict[str, Any]:
        """What a manifest stores: plain JSON."""
        kept = self.edges.tolist() if self.field.kind == "numeric" else list(self.values)
        return {"field": str(self.field), "values": kept}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote; :class:`CorruptData` for anything else."""
        try:
            field = Field.parse(stored["field"])
            numeric = field.kind == "numeric"
            kept: list[Any] = [float(one) if numeric else str(one) for one in stored["values"]]
            if kept != sorted(set(kept)):
                raise ValueError("its values do not ascend")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptData(f"This is no encoding of a field: {error}.", path=SOURCE) from error
        return cls(field, edges=np.array(kept)) if numeric else cls(field, tuple(kept))


def _quantile_edges(numbers: Edges, buckets: int) -> Edges:
    """Where buckets of about equally many numbers begin, without the first; none is empty.

    Equal numbers share a bucket, that of their middle rank: a price that most items have becomes
    one bucket, and the rest is still told apart.
    """
    distinct, counts = np.unique(numbers, return_counts=True)
    if len(distinct) <= buckets:
        return distinct[1:]
    middle = np.cumsum(counts) - counts / 2
    bucket = (buckets * middle / len(numbers)).astype(np.int64)
    return distinct[1:][np.diff(bucket) > 0]
