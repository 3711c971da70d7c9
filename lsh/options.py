"""What can be chosen about the index."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, log2

from ..core.errors import InvalidOption
from .planes import FAMILIES

MAX_TABLES, MAX_BITS, MAX_INT = 256, 24, 2**31 - 1
#: The number of vectors per bucket that the number of bits is chosen for.
_PER_BUCKET = 4


@dataclass(frozen=True)
class LSHOptions:
    """Parameters of an ``lsh:`` URL.

    Parameters
    ----------
    tables
        Hash tables, 1 to 256. Each takes 4 bytes per vector.
    bits
        Hyperplanes per table, 1 to 24; by default as many as give buckets of about 4 vectors on
        average (those of clustered data are far from equal), and more as the index grows.
    family
        How hyperplanes are drawn: ``gaussian`` or ``orthogonal`` (see :mod:`.planes`).
    patience
        A search ends after so many buckets in a row that brought no nearer item; at least 1.
        Higher finds more and takes longer.
    scan_limit
        With no more vectors than this to choose from, all of them are scored, which is exact and
        as fast; at least 0.
    seed
        Of the hyperplanes, at least 0. The same seed and vectors give the same index and answers.
    """

    tables: int = 8
    bits: int | None = None
    family: str = "orthogonal"
    patience: int = field(default=100, metadata={"search": True})
    scan_limit: int = field(default=4096, metadata={"search": True})
    seed: int = 1

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[int, int]] = {
            "tables": (1, MAX_TABLES),
            "bits": (1, MAX_BITS),
            "patience": (1, MAX_INT),
            "scan_limit": (0, MAX_INT),
            "seed": (0, MAX_INT),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not least <= value <= most:
                raise InvalidOption(
                    f"{name} is at least {least} and at most {most:,}; received {value}.",
                    option=name,
                    received=value,
                )
        if self.family not in FAMILIES:
            raise InvalidOption(
                f"family is one of {', '.join(FAMILIES)}; received {self.family!r}.",
                option="family",
                received=self.family,
            )

    def bits_for(self, count: int) -> int:
        """Hyperplanes per table for ``count`` vectors."""
        if self.bits is not None:
            return self.bits
        return min(MAX_BITS, max(1, ceil(log2(max(2, count / _PER_BUCKET)))))
