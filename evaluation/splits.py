"""Splits: what a builder learns from, and what it is asked afterwards.

Deterministic: the same input and seed give the same split.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Interactions, Sequences, Weights
from ..core.errors import EmptyInput, InvalidOption

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Split:
    """Train on :attr:`train`; then, given each history, find its targets."""

    name: str
    train: Sequences
    histories: Sequences
    """What is known of each case, oldest first; over the vocabulary of ``train``, and with its
    users where the cases are theirs."""
    targets: Sequences
    """What each case did next, at least one item; as many as ``histories``."""

    def __post_init__(self) -> None:
        if not len(self.targets):
            raise EmptyInput(
                f"The split {self.name!r} leaves nothing to test on; every case needs a history "
                "and something after it.",
                path=self.name,
            )

    def drawn(self, cases: int, seed: int = 1) -> Split:
        """The split with at most so many of its cases, drawn at random, in their order."""
        count = len(self.histories)
        if count <= cases:
            return self
        kept = np.sort(np.random.default_rng(seed).choice(count, cases, replace=False))
        parts = (
            _pick(part, kept, part.offsets[kept], part.offsets[kept + 1])
            for part in (self.histories, self.targets)
        )
        return Split(self.name, self.train, *parts)


def leave_last_out(sequences: Sequences, *, skip: int = 0) -> Split:
    """The last item of each sequence is its target, everything before it its history.

    Sequences of one item stay in the training data.

    Parameters
    ----------
    skip
        How many items at the end of each sequence are left out altogether: with 1, the last but
        one is the target, which makes validation data that never meet the test items. At least 0.
    """
    if skip < 0:
        raise InvalidOption(f"skip is at least 0; received {skip}.", option="skip", received=skip)
    sequences = _owned(sequences)
    lengths = np.diff(sequences.offsets)
    tested = lengths >= skip + 2
    known = np.where(lengths > 1, np.maximum(lengths - skip - 1, 1), lengths)
    ends = sequences.offsets[1:] - skip
    return Split(
        "leave last out" if not skip else f"leave last out, {skip} skipped",
        sequences.where(_heads(sequences, known)),
        _pick(sequences, tested, sequences.offsets[:-1][tested], ends[tested] - 1),
        _pick(sequences, tested, ends[tested] - 1, ends[tested]),
    )


def by_time(
    interactions: Interactions, *, share: float = 0.2, weights: Weights | None = None
) -> Split:
    """The latest events are targets, of users who have earlier ones; those are the histories.

    Parameters
    ----------
    share
        The share of all events that are after the cut, in (0, 1). Needs times. Events at the
        moment of the cut are before it.
    weights
        How much each event counts in training, as :meth:`.Interactions.weigh` gives it.
    """
    _check_share(share)
    if interactions.times is None:
        raise InvalidOption(
            "A split by time needs a log with times.", option="share", received=share
        )
    if not len(interactions):
        raise EmptyInput("The log has no events to split.", path="interactions")
    cut = np.quantile(interactions.times, 1 - share, method="lower")
    whole = interactions.sequences(weights=weights)
    assert whole.times is not None
    early = whole.times <= cut
    starts, ends = whole.offsets[:-1], whole.offsets[1:]
    cuts = starts + np.add.reduceat(early.astype(np.int64), starts)
    tested = (starts < cuts) & (cuts < ends)
    return Split(
        f"by time, the last {share:.0%}",
        whole.where(early),
        _pick(whole, tested, starts[tested], cuts[tested]),
        _pick(whole, tested, cuts[tested], ends[tested]),
    )


def random_events(sequences: Sequences, *, share: float = 0.2, seed: int = 1) -> Split:
    """A random share of each sequence's events are its targets, the others its history.

    Each sequence of two events or more gives up at least one and keeps at least one.
    """
    _check_share(share)
    rng = np.random.default_rng(seed)
    draws = rng.random(len(sequences.items))
    held = draws < share
    starts, lengths = sequences.offsets[:-1], np.diff(sequences.offsets)
    for at in range(len(sequences)):
        here = slice(starts[at], starts[at] + lengths[at])
        if lengths[at] < 2:
            held[here] = False
        elif not held[here].any():
            held[starts[at] + int(draws[here].argmin())] = True
        elif held[here].all():
            held[starts[at] + int(draws[here].argmax())] = False
    return _divided(sequences, held, f"random events, {share:.0%}")


def cold_items(sequences: Sequences, *, share: float = 0.1, seed: int = 1) -> Split:
    """A random share of the items is hidden from training altogether; they are the targets."""
    _check_share(share)
    rng = np.random.default_rng(seed)
    count = max(1, round(share * len(sequences.vocabulary)))
    cold = np.zeros(len(sequences.vocabulary), dtype=np.bool_)
    cold[rng.permutation(len(cold))[:count]] = True
    return _divided(sequences, cold[sequences.items], f"cold items, {share:.0%}")


def next_item(train: Sequences, prefixes: Any, targets: Any) -> Split:
    """Cases of one's own: lists of ids known, and the one item that came next.

    Cases whose target or whole history is not in the training data are kept: they are misses.
    """
    found = [_known_codes(train, prefix) for prefix in prefixes]
    codes = [_known_codes(train, [target]) for target in targets]
    if len(found) != len(codes):
        raise InvalidOption(
            f"Each prefix has one target; received {len(found)} and {len(codes)}.",
            option="targets",
            received=len(codes),
        )
    return Split("next item", train, _from_codes(train, found), _from_codes(train, codes))


def _known_codes(train: Sequences, ids: Any) -> npt.NDArray[np.int32]:
    from ..core.ids import Ids

    rows = train.vocabulary.rows_of(Ids(list(ids), train.vocabulary.kind))
    return rows[rows >= 0].astype(np.int32)


def _from_codes(train: Sequences, pieces: list[npt.NDArray[np.int32]]) -> Sequences:
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    items = np.concatenate([np.empty(0, dtype=np.int32), *pieces])
    return Sequences(train.vocabulary, items, offsets)


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise InvalidOption(
            f"share is between 0 and 1; received {share}.", option="share", received=share
        )


def _heads(sequences: Sequences, lengths: npt.NDArray[np.int64]) -> Mask:
    """Which events are among the first ``lengths`` of their sequence."""
    places = np.arange(len(sequences.items)) - np.repeat(
        sequences.offsets[:-1], np.diff(sequences.offsets)
    )
    found: Mask = places < np.repeat(lengths, np.diff(sequences.offsets))
    return found


def _owned(sequences: Sequences) -> Sequences:
    """The sequences saying whose each is."""
    return replace(sequences, users=sequences.owners())


def _pick(
    sequences: Sequences,
    rows: npt.NDArray[Any],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
) -> Sequences:
    """Slices of the flat items as sequences, of the users of the sequences ``rows``."""
    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return Sequences(
        sequences.vocabulary,
        sequences.items[np.repeat(starts, lengths) + within],
        offsets,
        users=None if sequences.users is None else sequences.users[rows],
        user_ids=sequences.user_ids,
    )


def _divided(sequences: Sequences, held: Mask, name: str) -> Split:
    """Held events are targets, the others train and are histories."""
    sequences = _owned(sequences)
    train, targets = sequences.where(~held), sequences.where(held)
    tested = (np.diff(train.offsets) > 0) & (np.diff(targets.offsets) > 0)
    return Split(
        name,
        train,
        _pick(train, tested, train.offsets[:-1][tested], train.offsets[1:][tested]),
        _pick(targets, tested, targets.offsets[:-1][tested], targets.offsets[1:][tested]),
    )
