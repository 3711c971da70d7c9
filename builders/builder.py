"""What every builder of vectors is like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from ..core.behaviour import Sequences
from ..core.progress import Progress
from ..core.side_information import SideInformation
from ..core.vectors import VectorSet, check_one_space

#: Called with the vectors so far, a VectorSet or, of a builder with ``supports_users``, a
#: :class:`UserItemVectors`; returns what they are worth, higher is better.
Monitor = Callable[[Any], float]


@dataclass(frozen=True, eq=False)
class UserItemVectors:
    """Vectors of items and users in one space: what can be evaluated in place of a builder.

    Raises what :func:`.check_one_space` does.
    """

    item_vectors_: VectorSet
    user_vectors_: VectorSet
    supports_vectors: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_one_space(self.item_vectors_, self.user_vectors_)


class Builder(Protocol):
    """scikit-learn's habits: options in the constructor, stored unchanged; ``fit`` returns self;
    what is learned ends in an underscore.

    A builder may also have ``search_space``, what :func:`~itemspace.evaluation.tune` searches by
    default (:mod:`.options`), and ``supports_monitor``: its ``fit`` then takes ``monitor``, a
    :data:`Monitor` that is called after each epoch; and ``supports_side``: its ``fit`` then takes
    ``side``, a :class:`.SideInformation`, and its option ``fields`` says what it reads of that, as
    :meth:`.Field.parse` reads it; and ``supports_users``: it also has ``user_vectors_``, in one
    space with the items'. It may have ``report_``, sentences on what was left out,
    ``field_weights_``, slot → weight, and ``cold_start_``, a :class:`.ColdStart` or None.
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


def fit_builder(
    builder: Any,
    sequences: Sequences,
    *,
    side: SideInformation | None = None,
    monitor: Monitor | None = None,
    progress: Progress | None = None,
) -> Any:
    """Call ``fit``, handing on ``side`` and ``monitor`` where the builder supports them."""
    given: dict[str, Any] = {"side": side, "monitor": monitor}
    supported = {
        name: value
        for name, value in given.items()
        if value is not None and getattr(builder, f"supports_{name}", False)
    }
    if progress is not None:
        supported["progress"] = progress
    return builder.fit(sequences, **supported)
