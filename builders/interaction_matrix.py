"""Sequences as a matrix: how much each user has to do with each item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from ..core.behaviour import Codes, Sequences
from ..core.errors import EmptyInput, InvalidOption
from ..core.ids import Ids


@dataclass(frozen=True, eq=False)
class InteractionMatrix:
    """The users and items that have to do with each other."""

    users: Ids
    items: Ids
    amounts: csr_matrix
    """r, (users, items) float32, above 0 where it is stored; no row or column is empty."""

    @classmethod
    def from_sequences(cls, sequences: Sequences, half_life: float | None) -> InteractionMatrix:
        """Sum up what each user did with each item, whatever the order.

        An event counts its weight (1 in sequences without :attr:`.Sequences.weights`), halved for
        each ``half_life`` seconds that it is older than the newest. Users are in the order of
        their numbers, items in that of the vocabulary; without an event above 0, neither is there.

        Raises
        ------
        InvalidOption
            A weight that is negative or not finite; a half-life for sequences without times.
        EmptyInput
            No event counts more than 0.
        """
        users = np.repeat(sequences.owners(), np.diff(sequences.offsets))
        shape = (int(users.max(initial=-1)) + 1, len(sequences.vocabulary))
        cells = (_event_weights(sequences, half_life), (users, sequences.items))
        amounts = csr_matrix(cells, shape=shape).astype(np.float32)
        amounts.eliminate_zeros()
        rows, columns = (np.flatnonzero(np.diff(m.indptr)) for m in (amounts, amounts.tocsc()))
        if not len(rows):
            raise EmptyInput(
                f"There is nothing to factorise: {len(sequences.items):,} events, none of which "
                "counts more than 0.",
                path="sequences",
            )
        return cls(
            ids_of_users(sequences, rows),
            sequences.vocabulary[columns],
            amounts[rows][:, columns],
        )


def ids_of_users(sequences: Sequences, codes: Codes | npt.NDArray[np.int64]) -> Ids:
    """The ids of some users of sequences; where these have none, the users' numbers."""
    numbers = np.asarray(codes, dtype=np.int64)
    return Ids(numbers) if sequences.user_ids is None else sequences.user_ids[numbers]


def _event_weights(sequences: Sequences, half_life: float | None) -> npt.NDArray[np.float64]:
    weights = np.ones(len(sequences.items))
    if sequences.weights is not None:
        bad = ~(np.isfinite(sequences.weights) & (sequences.weights >= 0))
        if bad.any():
            raise InvalidOption(
                "Events count finite numbers of at least 0; the first of "
                f"{np.count_nonzero(bad):,} others is {sequences.weights[bad][0]:g}.",
                option="weights",
                received=sequences.weights,
            )
        weights *= sequences.weights
    decay = sequences.decay(half_life)
    return weights if decay is None else weights * decay
