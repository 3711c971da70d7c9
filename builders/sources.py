"""Where a training's sequences come from: a log, or walks made when they are needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Offsets, Sequences
from .sampling import Floats
from .skipgram_kernel import Events

Counts = npt.NDArray[np.int64]


class Taken(NamedTuple):
    """Chunks to train on: chunk i goes from ``firsts[i]`` to ``lasts[i]`` of the sequences."""

    events: Events
    firsts: Offsets
    lasts: Offsets


class Source(Protocol):
    """Sequences in chunks, which threads take in any order; every epoch has as many."""

    lengths: Offsets
    """How long sequences are, of all or of a fair sample."""
    largest: int
    """The most events of a chunk; set by :meth:`split`."""

    def counts(self) -> Counts:
        """How often each item comes in an epoch, (items,)."""

    def split(self, size: int) -> int:
        """Decide on chunks of about ``size`` events, and return how many there are."""

    def take(self, epoch: int, chunks: npt.NDArray[np.int64]) -> Taken:
        """The chunks of an epoch with these numbers: the same whenever it is called."""

    def identity(self) -> Iterable[npt.NDArray[Any]]:
        """Arrays that differ where the sequences differ."""


class Log:
    """Sequences of a log, the same in each epoch.

    Parameters
    ----------
    weights
        For each event the share of the epochs in which it is a position, in [0, 1], float32;
        ``None``: all.
    """

    def __init__(self, sequences: Sequences, weights: Floats | None = None) -> None:
        self._sequences = sequences
        unweighted = np.empty(0, dtype=np.float32)
        self._events = Events(
            sequences.items, sequences.offsets, unweighted if weights is None else weights
        )
        self.lengths = np.diff(sequences.offsets)

    def counts(self) -> Counts:
        """How often each item stands in the sequences."""
        return self._sequences.counts()

    def split(self, size: int) -> int:
        """Into runs of whole sequences."""
        offsets = self._events.offsets
        marks = np.arange(0, int(offsets[-1]) + 1, size)
        bounds = np.unique(np.searchsorted(offsets, marks, side="left"))
        self._bounds = np.unique(np.concatenate([[0], bounds, [len(offsets) - 1]])).astype(np.int64)
        self.largest = int(np.diff(offsets[self._bounds]).max(initial=0))
        return len(self._bounds) - 1

    def take(self, epoch: int, chunks: npt.NDArray[np.int64]) -> Taken:  # noqa: ARG002
        """All events, and the bounds of the chunks."""
        return Taken(self._events, self._bounds[chunks], self._bounds[chunks + 1])

    def identity(self) -> Iterable[npt.NDArray[Any]]:
        """The events."""
        return self._events
