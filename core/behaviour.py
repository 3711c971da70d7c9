"""Behaviour: who did something with what, when; as flat integer arrays over vocabularies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InvalidOption, InvalidVectors
from .ids import Ids

Codes = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Times = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Item sequences (sessions, histories, walks) over a vocabulary.

    Sequence i is ``items[offsets[i]:offsets[i + 1]]``.
    """

    vocabulary: Ids
    """The items that the codes stand for."""
    items: Codes
    """int32 codes, rows of ``vocabulary``."""
    offsets: Offsets
    """int64 (number of sequences + 1), from 0 to ``len(items)``."""
    times: Times | None = None
    """When each event was, Unix seconds, float64, one per item; ``None`` where that is unknown."""
    users: Codes | None = None
    """Whose each sequence is, int32, one per sequence; ``None``: each is another user's."""

    def __post_init__(self) -> None:
        items, offsets = self.items, self.offsets
        if self.times is not None and len(self.times) != len(items):
            raise InvalidVectors("Sequences with times have one for each item.")
        if self.users is not None and len(self.users) != len(offsets) - 1:
            raise InvalidVectors("Sequences with users have one for each sequence.")
        if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(items):
            raise InvalidVectors("The offsets of the sequences do not fit their items.")
        if len(items) and not 0 <= int(items.min()) <= int(items.max()) < len(self.vocabulary):
            raise InvalidVectors("An item code lies outside the vocabulary.")

    @classmethod
    def from_lists(cls, sequences: Iterable[Iterable[Any]]) -> Sequences:
        """From sequences of ids, for small data and examples; the vocabulary is sorted."""
        lists = [list(sequence) for sequence in sequences]
        flat = Ids([item for sequence in lists for item in sequence])
        vocabulary, codes = encode(flat)
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(sequence) for sequence in lists], out=offsets[1:])
        return cls(vocabulary, codes, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, at: int) -> Codes:
        at = range(len(self))[at]
        return self.items[self.offsets[at] : self.offsets[at + 1]]

    def __iter__(self) -> Iterator[Codes]:
        return (self[at] for at in range(len(self)))

    def where(self, kept: npt.NDArray[np.bool_]) -> Sequences:
        """The sequences with only the events that are true in ``kept``; empty ones stay."""
        before = np.concatenate([[0], np.cumsum(kept)])
        offsets = before[self.offsets].astype(np.int64)
        times = None if self.times is None else self.times[kept]
        return Sequences(self.vocabulary, self.items[kept], offsets, times, self.users)

    def over(self, rows: npt.NDArray[np.int64]) -> Sequences:
        """Over the items ``rows`` of the vocabulary alone, renumbered in their order."""
        return self.onto(self.vocabulary[rows])

    def onto(self, vocabulary: Ids) -> Sequences:
        """The same events under the numbers of another vocabulary; others are left out."""
        codes = vocabulary.rows_of(self.vocabulary).astype(np.int32)[self.items]
        kept = self.where(codes >= 0)
        return Sequences(vocabulary, codes[codes >= 0], kept.offsets, kept.times, self.users)

    def owners(self) -> Codes:
        """Whose each sequence is; without :attr:`users` their numbers, each another's."""
        return np.arange(len(self), dtype=np.int32) if self.users is None else self.users

    def by_user(self) -> Sequences:
        """The sequences with those of a user together, users ascending, otherwise in order."""
        if self.users is None or not (np.diff(self.users) < 0).any():
            return self
        order = np.argsort(self.users, kind="stable")
        lengths = np.diff(self.offsets)[order]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        events = np.arange(offsets[-1]) + np.repeat(self.offsets[order] - offsets[:-1], lengths)
        times = None if self.times is None else self.times[events]
        return Sequences(self.vocabulary, self.items[events], offsets, times, self.users[order])

    def decay(self, half_life: float | None) -> npt.NDArray[np.float32] | None:
        """The weight of each event, float32: halved for each ``half_life`` seconds before the last.

        ``None`` for ``None``: all alike. Raises :class:`InvalidOption` for sequences without times,
        or with one that is no number.
        """
        if half_life is None:
            return None
        if self.times is None or not np.isfinite(self.times).all():
            lack = "none" if self.times is None else "some that are not finite"
            raise InvalidOption(
                f"half_life needs sequences with times; these have {lack}.",
                option="half_life",
                received=half_life,
            )
        ages = self.times.max(initial=-np.inf) - self.times
        weights: npt.NDArray[np.float32] = np.exp2(-ages / half_life).astype(np.float32)
        return weights

    def counts(self) -> npt.NDArray[np.int64]:
        """How often each item of the vocabulary stands in the sequences, int64."""
        return np.bincount(self.items, minlength=len(self.vocabulary)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Interactions:
    """A log: one row per event, as codes over two vocabularies."""

    users: Ids
    items: Ids
    user_codes: Codes
    """int32 rows of ``users``, one per event."""
    item_codes: Codes
    """int32 rows of ``items``, one per event."""
    times: Times | None = None
    """Unix seconds, float64, one per event; ``None`` where the log has no times and stands in
    order."""

    @classmethod
    def from_columns(cls, users: Any, items: Any, times: Any = None) -> Interactions:
        """From columns of ids; the vocabularies are sorted (numbers, or code points)."""
        user_ids, user_codes = encode(Ids(users))
        item_ids, item_codes = encode(Ids(items))
        stamps = None if times is None else np.asarray(times, dtype=np.float64)
        if len(user_codes) != len(item_codes) or (
            stamps is not None and len(stamps) != len(item_codes)
        ):
            raise InvalidVectors("The columns of the log differ in length.")
        return cls(user_ids, item_ids, user_codes, item_codes, stamps)

    def __len__(self) -> int:
        return len(self.item_codes)

    def sequences(self, *, gap: float | None = None) -> Sequences:
        """One sequence per user in order of time, cut where a pause exceeds ``gap`` seconds.

        Events of one user at the same time keep the order of the log. Deterministic.

        Parameters
        ----------
        gap
            Seconds, > 0; ``None`` keeps each user's history whole. Needs times.
        """
        if gap is not None and (self.times is None or not gap > 0):
            raise InvalidOption(
                f"gap is a number of seconds above 0 and needs a log with times; received {gap!r}"
                f"{' for a log without times' if self.times is None else ''}.",
                option="gap",
                received=gap,
            )
        keys = (self.user_codes,) if self.times is None else (self.times, self.user_codes)
        order = np.lexsort(keys)
        users = self.user_codes[order]
        cuts = users[1:] != users[:-1]
        times = None if self.times is None else self.times[order]
        if gap is not None and times is not None:
            cuts |= times[1:] - times[:-1] > gap
        ends = np.flatnonzero(cuts) + 1
        last = [len(order)] if len(order) else []
        offsets = np.array([0, *ends.tolist(), *last], dtype=np.int64)
        return Sequences(self.items, self.item_codes[order], offsets, times, users[offsets[:-1]])


def encode(ids: Ids) -> tuple[Ids, Codes]:
    """The distinct ids, sorted, and each id's row among them as int32."""
    if ids.kind == "int":
        distinct, codes = np.unique(ids.to_array(), return_inverse=True)
        return Ids(distinct, ids.kind), codes.astype(np.int32)
    # A dict is several times faster than sorting every string.
    names = ids.to_list()
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    found = np.fromiter(map(places.__getitem__, names), np.int32, len(names))
    return Ids(places, ids.kind), found
