"""What every builder of vectors is like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self

from ..core.behaviour import Sequences
from ..core.progress import Progress
from ..core.vectors import VectorSet

#: Called with the vectors so far; returns what they are worth, higher is better.
Monitor = Callable[[VectorSet], float]


class Builder(Protocol):
    """scikit-learn's habits: options in the constructor, stored unchanged; ``fit`` returns self;
    what is learned ends in an underscore.

    A builder may also have ``search_space``, what :func:`~itemspace.evaluation.tune` searches by
    default (:mod:`.options`), and ``supports_monitor``: its ``fit`` then takes ``monitor``, a
    :data:`Monitor` that is called after each epoch.
    """

    supports_vectors: ClassVar[bool]
    """Whether there are ``item_vectors_``; a builder without them has ``scores(histories)``."""

    def get_params(self) -> dict[str, Any]:
        """The options, by name."""

    def fit(self, sequences: Sequences, *, progress: Progress | None = None) -> Self:
        """Learn from sequences."""

    @property
    def item_vectors_(self) -> VectorSet:
        """The items' vectors, with lineage."""
