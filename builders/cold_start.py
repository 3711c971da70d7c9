"""Vectors for items that were not trained, from their side information alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..core.errors import CorruptData, InvalidOption
from ..core.metric import Metric
from ..core.side_information import SideInformation
from ..core.storage import open_directory, verify_directory, write_directory
from ..core.vectors import FloatMatrix, VectorSet
from .encodings import Encoding
from .side_information import layout_of_new

_KIND, _FORMAT = "cold start", 1


class ColdVectors(NamedTuple):
    """What :meth:`ColdStart.vectors` gives."""

    vectors: VectorSet
    report: list[str]
    """Values that training did not see, missing ones, and items that get no vector for it."""


@dataclass(frozen=True, eq=False)
class ColdStart:
    """The rows of field values that EGES trained, and how to read values.

    Parameters
    ----------
    encodings
        Of the fields, in their order.
    rows
        float32 (values, dim): one for each code of the first encoding, then of the second, ….
    weights
        float32 (fields,): the weight α of each field, a mean over the trained items that have it.
    """

    encodings: Sequence[Encoding]
    rows: FloatMatrix
    weights: npt.NDArray[np.float32]

    def vectors(
        self, side: SideInformation, *, method: Literal["mean", "weighted"] = "mean"
    ) -> ColdVectors:
        """Vectors of the items of ``side``, in their order; those without a known value have none.

        Any subset of the fields will do. Each field gives the mean of its values' rows.

        Parameters
        ----------
        side
            Needs every field as a column; None is no value.
        method
            ``mean``: the plain mean over the fields that an item has, the paper's (section 3.3);
            ``weighted``: by :attr:`weights`, over those fields.

        Raises
        ------
        InvalidOption
            Another method.
        UnknownColumn, BadRow
            See :func:`.layout_of_new`.
        """
        if method not in ("mean", "weighted"):
            raise InvalidOption(
                f"method is mean or weighted; received {method!r}.",
                option="method",
                received=method,
            )
        layout, report = layout_of_new(self.encodings, side)
        items = np.repeat(np.arange(len(side)), np.diff(layout.offsets))
        weights = self.weights if method == "weighted" else np.ones_like(self.weights)
        shares = layout.shares * weights[layout.slots - 1]
        total = np.zeros(len(side))
        np.add.at(total, items, shares)
        matrix = np.zeros((len(side), self.rows.shape[1]), dtype=np.float32)
        np.add.at(matrix, items, self.rows[layout.rows] * shares[:, None])
        known = np.flatnonzero(total > 0)
        matrix[known] /= total[known, None].astype(np.float32)
        lineage = {"builder": "eges cold start", "method": method}
        return ColdVectors(
            VectorSet(side.ids[known], matrix[known], Metric.COSINE, lineage), report
        )

    def save(self, path: str | Path) -> str:
        """Write to a new directory and return its checksum; :class:`BackendExists` if taken."""
        arrays = {"rows": self.rows, "weights": self.weights}
        meta = {"encodings": [encoding.to_dict() for encoding in self.encodings]}
        return write_directory(Path(path), _KIND, _FORMAT, arrays, meta)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote; :class:`CorruptData`, :class:`MissingData`."""
        verify_directory(Path(path), _KIND, _FORMAT)
        meta, arrays = open_directory(Path(path), _KIND, _FORMAT)
        try:
            encodings = tuple(Encoding.from_dict(stored) for stored in meta["encodings"])
            rows, weights = arrays["rows"], arrays["weights"]
            if rows.shape[0] != sum(map(len, encodings)) or weights.shape != (len(encodings),):
                raise ValueError(f"rows of shape {rows.shape} for {len(encodings)} fields")
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptData(f"{path} is no whole cold start: {error}.", path=str(path)) from error
        return cls(encodings, np.array(rows), np.array(weights))
