"""What a collection says of itself, in JSON, wherever its engine keeps such a thing."""

from __future__ import annotations

import json
from typing import Any

from ..core.errors import BackendNotFound, CorruptData, IncompatibleFormat
from ..core.ids import IdKind
from ..core.metric import Metric

_KINDS = ("int", "str")


def facts_of(
    written_as: int, dim: int, metric: Metric, ids: IdKind, options: dict[str, Any]
) -> dict[str, Any]:
    """The facts of a new collection: its format, its shape, and the options that it keeps."""
    return {
        "format": written_as,
        "dim": dim,
        "metric": metric.value,
        "ids": ids,
        "options": options,
    }


def read_facts(
    text: str | bytes | None, where: str, readable: int, options: type[Any]
) -> dict[str, Any]:
    """The reverse of ``json.dumps`` of :func:`facts_of`, checked.

    Parameters
    ----------
    text
        None where the collection says nothing.
    where
        The collection, for errors.
    readable
        The format that this release reads.
    options
        Their dataclass.

    Raises
    ------
    BackendNotFound
        It says nothing: it is somebody else's.
    IncompatibleFormat, CorruptData
        It is in another format, or says what cannot be.
    """
    if text is None:
        raise BackendNotFound(f"The collection at {where} is somebody else's; name another.")
    try:
        facts: dict[str, Any] = json.loads(text)
        written_as = facts["format"]
        if written_as == readable:
            Metric(facts["metric"])
            options(**facts["options"])
            if facts["ids"] not in _KINDS or facts["dim"] < 1:
                raise ValueError(f"{facts['ids']!r} ids, {facts['dim']} dimensions")
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptData(
            f"What the collection at {where} says of itself cannot be read ({error!r}); restore "
            "it, or load it again.",
            path=where,
        ) from error
    if written_as != readable:
        raise IncompatibleFormat(
            f"{where} is in format {written_as}; this release reads format {readable}. Load it "
            "again, or use the release that wrote it.",
            path=where,
        )
    return facts
