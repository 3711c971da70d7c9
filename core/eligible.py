"""The rows of an index that may come back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Eligible:
    """Some of n rows, in the forms that engines want; each is made once."""

    mask: npt.NDArray[np.bool_]
    """(n,)."""

    @cached_property
    def count(self) -> int:
        """How many they are."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """Their numbers, ascending."""
        return np.flatnonzero(self.mask)

    @cached_property
    def bits(self) -> npt.NDArray[np.uint8]:
        """A bit for each row, the first being the lowest of its byte."""
        return np.packbits(self.mask, bitorder="little")

    def among(self, first: int) -> Eligible:
        """Those of the ``first`` rows alone."""
        return self if first == len(self.mask) else Eligible(self.mask[:first])
