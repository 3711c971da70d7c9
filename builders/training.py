"""The epochs of a training: judged, kept, and taken up again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from ..core.progress import Progress
from .builder import Monitor

Vectors = TypeVar("Vectors")


class Trained(Protocol):
    """A state that is trained epoch by epoch, such as :class:`.SkipGram`."""

    @property
    def epoch(self) -> int:
        """How many epochs are done."""

    @property
    def epochs(self) -> int:
        """How many there are to be."""

    def train_epoch(self) -> float:
        """One epoch more; returns its loss."""

    def finish(self) -> None:
        """Let go of what only training needs."""

    def save(self, folder: Path) -> None:
        """Write the state into a folder."""

    def resume(self, folder: Path) -> bool:
        """Take up the newest state of a folder; whether there was one."""


def train_epochs(
    trained: Trained,
    look: Callable[[], Vectors],
    *,
    patience: int | None,
    progress: Progress | None,
    monitor: Monitor | None,
    checkpoint: str | Path | None,
) -> tuple[Vectors, list[float]]:
    """Train to the end, or until ``patience`` epochs brought nothing better.

    Parameters
    ----------
    look
        The vectors so far, a copy.

    Returns
    -------
    tuple
        The vectors of the epoch that ``monitor`` found best, or the last without one, and what it
        said of each.
    """
    folder = None if checkpoint is None else Path(checkpoint)
    if folder is not None:
        trained.resume(folder)
    scores: list[float] = []
    best = None
    while trained.epoch < trained.epochs:
        trained.train_epoch()
        if folder is not None:
            trained.save(folder)
        if progress is not None:
            progress(trained.epoch, trained.epochs, "training")
        if monitor is None:
            continue
        vectors = look()
        scores.append(monitor(vectors))
        at = int(np.argmax(scores))
        if at == len(scores) - 1:
            best = vectors
        if patience is not None and len(scores) - 1 - at >= patience:
            break
    trained.finish()
    return look() if best is None else best, scores
