"""What can be chosen about the index."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log2
from typing import Any

from ..core.errors import InvalidOption
from .planes import FAMILIES

MAX_INT = 2**31 - 1
_SEARCH = {"search": True}


@dataclass(frozen=True)
class LSHOptions:
    """Parameters of an ``lsh:`` URL; ``recall``, ``patience``, ``rerank``, ``scan_limit`` and
    ``threads`` may differ at each opening.

    Parameters
    ----------
    recall
        The share of the true 10 nearest that a search shall find, above 0 and below 1. It sets
        ``patience``, from what was found for a sample of the vectors when the index was built
        (:mod:`.calibration`), less its standard error. Of more neighbours about the same is
        found: a search for them is the more patient.
    patience
        Instead of ``recall``: a search ends after so many buckets in a row that brought nothing
        into the k best; at least 1, more for k above 10. Higher finds more and takes longer.
    family
        How space is cut: ``adapted``, ``pairs``, ``orthogonal`` or ``gaussian`` (:mod:`.planes`).
    trees
        Trees of hyperplanes, 1 to 64, each with codes of all vectors: a quarter of their memory.
        By default 1, and 4 of the random families.
    bucket
        Vectors that a bucket holds at most when the index is built, 16 to 65,536; one that grows
        to twice of that is split. By default 128 to 1,024, by the number of vectors: what is read
        of the tree for another bucket costs more in a large one, which is not in the cache.
    rerank
        How many candidates are scored exactly for each query, at least k; by default 10 more than
        k, or half as many again.
    scan_limit
        With no more vectors than this to choose from, all of them are scored, which is exact and
        as fast; at least 0.
    threads
        For building, and for batches of queries; by default one for each core.
    seed
        At least 0. The same seed and vectors give the same index and answers, at any number of
        threads.
    """

    recall: float = field(default=0.95, metadata=_SEARCH)
    patience: int | None = field(default=None, metadata=_SEARCH)
    family: str = "adapted"
    trees: int | None = None
    bucket: int | None = None
    rerank: int | None = field(default=None, metadata=_SEARCH)
    scan_limit: int = field(default=4096, metadata=_SEARCH)
    threads: int | None = field(default=None, metadata=_SEARCH)
    seed: int = 1

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[int, int]] = {
            "patience": (1, MAX_INT),
            "trees": (1, 64),
            "bucket": (16, 1 << 16),
            "rerank": (1, MAX_INT),
            "scan_limit": (0, MAX_INT),
            "threads": (1, 1024),
            "seed": (0, MAX_INT),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise _invalid(name, f"at least {least} and at most {most:,}", value)
        if not 0 < self.recall < 1:
            raise _invalid("recall", "above 0 and below 1", self.recall)
        if self.family not in FAMILIES:
            raise _invalid("family", f"one of {', '.join(FAMILIES)}", self.family)

    @property
    def num_trees(self) -> int:
        """``trees``, or the family's default."""
        return self.trees or (1 if FAMILIES[self.family] is None else 4)

    def bucket_for(self, count: int) -> int:
        """``bucket``, or the default for so many vectors."""
        return self.bucket or 2 ** min(10, max(7, round(log2(max(1, count)) / 2 - 1)))

    def candidates(self, k: int) -> int:
        """How many are scored exactly."""
        return max(k, self.rerank if self.rerank is not None else k + max(10, k // 2))


def _invalid(name: str, expected: str, received: Any) -> InvalidOption:
    return InvalidOption(
        f"{name} is {expected}; received {received!r}.", option=name, received=received
    )
