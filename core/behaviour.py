"""Behaviour: who did something with what, when; as flat integer arrays over vocabularies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InvalidOption, InvalidVectors
from .ids import Ids

Codes = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Times = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


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
    user_ids: Ids | None = None
    """The users that the codes of :attr:`users` stand for, where they have ids."""
    weights: Weights | None = None
    """How much each event counts, float32, one per item, for builders that ask (factorisation of
    users and items); ``None``: 1."""

    def __post_init__(self) -> None:
        items, offsets = self.items, self.offsets
        if self.weights is not None and len(self.weights) != len(items):
            raise InvalidVectors("Sequences with weights have one for each item.")
        if self.times is not None and len(self.times) != len(items):
            raise InvalidVectors("Sequences with times have one for each item.")
        if self.users is not None and len(self.users) != len(offsets) - 1:
            raise InvalidVectors("Sequences with users have one for each sequence.")
        if self.user_ids is not None and self.users is None:
            raise InvalidVectors("Sequences with ids of users say whose each sequence is.")
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

    def where(self, kept: Mask) -> Sequences:
        """The sequences with only the events that are true in ``kept``; empty ones stay."""
        before = np.concatenate([[0], np.cumsum(kept)])
        offsets = before[self.offsets].astype(np.int64)
        return replace(
            self,
            items=self.items[kept],
            offsets=offsets,
            times=_at(self.times, kept),
            weights=_at(self.weights, kept),
        )

    def over(self, rows: npt.NDArray[np.int64]) -> Sequences:
        """Over the items ``rows`` of the vocabulary alone, renumbered in their order."""
        return self.onto(self.vocabulary[rows])

    def onto(self, vocabulary: Ids) -> Sequences:
        """The same events under the numbers of another vocabulary; others are left out."""
        codes = vocabulary.rows_of(self.vocabulary).astype(np.int32)[self.items]
        return replace(self.where(codes >= 0), vocabulary=vocabulary, items=codes[codes >= 0])

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
        return replace(
            self,
            items=self.items[events],
            offsets=offsets,
            times=_at(self.times, events),
            users=self.users[order],
            weights=_at(self.weights, events),
        )

    def decay(self, half_life: float | None) -> Weights | None:
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
        weights: Weights = np.exp2(-ages / half_life).astype(np.float32)
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
    kinds: Ids | None = None
    """What an event can be, such as view, cart, purchase; ``None`` where the log does not say."""
    kind_codes: Codes | None = None
    """int32 rows of ``kinds``, one per event; -1: unknown."""
    values: Times | None = None
    """A rating, a quantity, a price: float64, one per event; NaN: unknown."""
    dwell: Times | None = None
    """Seconds that the user stayed, float64 of at least 0, one per event; NaN: unknown."""

    def __post_init__(self) -> None:
        columns = (self.user_codes, self.item_codes, self.times, self.kind_codes, self.values)
        lengths = {len(column) for column in (*columns, self.dwell) if column is not None}
        if len(lengths) > 1:
            raise InvalidVectors("The columns of the log differ in length.")
        if (self.kinds is None) != (self.kind_codes is None):
            raise InvalidVectors("A log has kinds of events and their codes, or neither.")
        if self.dwell is not None and (self.dwell < 0).any():
            raise InvalidOption(
                "The dwell time of an event is seconds, at least 0, or NaN where it is unknown; "
                f"received {self.dwell[self.dwell < 0].min():g}.",
                option="dwell",
                received=self.dwell,
            )

    @classmethod
    def from_columns(
        cls,
        users: Any,
        items: Any,
        times: Any = None,
        *,
        kinds: Any = None,
        values: Any = None,
        dwell: Any = None,
    ) -> Interactions:
        """From columns of ids and numbers, one entry per event; the vocabularies are sorted.

        Raises
        ------
        InvalidVectors
            Columns of different lengths.
        InvalidId
            Users, items or kinds that are neither all texts nor all integers.
        InvalidOption
            Numbers that are none, a negative dwell.
        """
        user_ids, user_codes = encode(Ids(users))
        item_ids, item_codes = encode(Ids(items))
        names, codes = (None, None) if kinds is None else encode(Ids(kinds))
        numbers = {"times": times, "values": values, "dwell": dwell}
        stamps, amounts, stayed = (_numbers(name, column) for name, column in numbers.items())
        return cls(
            user_ids, item_ids, user_codes, item_codes, stamps, names, codes, amounts, stayed
        )

    def __len__(self) -> int:
        return len(self.item_codes)

    def where(self, kept: Mask) -> Interactions:
        """The events that are true in ``kept``, in their order; the vocabularies stay whole."""
        names = ("user_codes", "item_codes", "times", "kind_codes", "values", "dwell")
        return replace(self, **{name: _at(getattr(self, name), kept) for name in names})

    def of_kind(self, kinds: Iterable[Any]) -> Mask:
        """Which events are of one of some kinds, bool, one per event.

        Raises
        ------
        InvalidOption
            A kind that no event of the log is of, or a log that has no kinds.
        """
        chosen = list(kinds)
        if not chosen:
            return np.zeros(len(self), dtype=np.bool_)
        # One more, for what is unknown: -1 is the last.
        table = np.zeros(len(self.kinds or ()) + 1, dtype=np.bool_)
        table[self._kind_rows(chosen)] = True
        of_some: Mask = table[self.kind_codes]
        return of_some

    def weigh(self, kinds: Mapping[Any, float] | None = None, *, values: bool = False) -> Weights:
        """How much each event counts, float32: the weight of its kind, times its value.

        Parameters
        ----------
        kinds
            Kind → weight, finite and at least 0; others, and unknown ones, count 1.
        values
            Whether to multiply by :attr:`values`; an unknown one is 1.

        Raises
        ------
        InvalidOption
            A weight that is negative or not finite, a kind that no event is of, or a log without
            kinds or values where they are asked for.
        """
        weights = np.ones(len(self), dtype=np.float32)
        if kinds:
            given = np.array(list(kinds.values()), dtype=np.float32)
            if not (np.isfinite(given) & (given >= 0)).all():
                raise InvalidOption(
                    f"Weights of events are finite numbers of at least 0; received {dict(kinds)}.",
                    option="kinds",
                    received=kinds,
                )
            rows = self._kind_rows(list(kinds))
            table = np.ones(len(self.kinds or ()) + 1, dtype=np.float32)
            table[rows] = given
            weights *= table[self.kind_codes]
        if values:
            if self.values is None:
                raise InvalidOption(
                    "The log has no values; map the column that holds them (value_column).",
                    option="values",
                    received=values,
                )
            known = np.where(np.isnan(self.values), 1, self.values)
            if not (np.isfinite(known) & (known >= 0)).all():
                raise InvalidOption(
                    "Events are weighed by values that are finite and at least 0; the log has "
                    f"{np.sum(~(np.isfinite(known) & (known >= 0))):,} others.",
                    option="values",
                    received=values,
                )
            weights *= known.astype(np.float32)
        return weights

    def _kind_rows(self, names: list[Any]) -> npt.NDArray[np.int64]:
        if self.kinds is None:
            raise InvalidOption(
                "The log does not say what its events are; map the column that does (kind_column).",
                option="kinds",
                received=names,
            )
        places = {kind: row for row, kind in enumerate(self.kinds)}
        for name in names:
            if name not in places:
                raise InvalidOption(
                    f"No event is of the kind {name!r}; there are: "
                    f"{', '.join(map(str, self.kinds)) or 'none'}.",
                    option="kinds",
                    received=name,
                )
        return np.array([places[name] for name in names], dtype=np.int64)

    def sequences(self, *, gap: float | None = None, weights: Weights | None = None) -> Sequences:
        """One sequence per user in order of time, cut where a pause exceeds ``gap`` seconds.

        Events of one user at the same time keep the order of the log. Deterministic.

        Parameters
        ----------
        gap
            Seconds, > 0; ``None`` keeps each user's history whole. Needs times.
        weights
            How much each event counts, as :meth:`weigh` gives it.
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
        times = _at(self.times, order)
        if gap is not None and times is not None:
            cuts |= times[1:] - times[:-1] > gap
        ends = np.flatnonzero(cuts) + 1
        last = [len(order)] if len(order) else []
        offsets = np.array([0, *ends.tolist(), *last], dtype=np.int64)
        return Sequences(
            self.items,
            self.item_codes[order],
            offsets,
            times,
            users[offsets[:-1]],
            self.users,
            _at(weights, order),
        )


def _at(column: npt.NDArray[Any] | None, places: npt.NDArray[Any]) -> Any:
    """Some places of a column that may not be there."""
    return None if column is None else column[places]


def _numbers(name: str, column: Any) -> Times | None:
    if column is None:
        return None
    try:
        return np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidOption(
            f"{name} are numbers, one per event: {error}.", option=name, received=column
        ) from error


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
