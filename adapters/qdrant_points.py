"""Qdrant's points: their numbers for ids."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from ..core.ids import IdKind, Ids

_KEY = "id"
_SIGN = np.uint64(1 << 63)


class PointNumbers(Protocol):
    """A reversible numbering of ids."""

    def find(self, ids: Ids) -> list[int | None]:
        """The number under which each would be stored; None: under none."""

    def assign(self, ids: Ids) -> list[int]:
        """The number to store each under."""

    def payloads(self, ids: Ids) -> list[dict[str, str] | None]:
        """What to store with each."""

    def restore(self, points: Iterable[Any]) -> None:
        """Take in stored points; ``KeyError`` or ``TypeError`` where one has no payload of ours."""

    def forget(self, numbers: Iterable[int]) -> None:
        """These are stored no more."""

    def to_ids(self, numbers: list[int]) -> Ids:
        """The ids of stored points."""


class IntNumbers:
    """int64 → uint64, order and all: the sign bit is turned over."""

    def find(self, ids: Ids) -> list[int | None]:
        numbers: list[int | None] = (ids.to_array().view(np.uint64) ^ _SIGN).tolist()
        return numbers

    assign: Any = find

    def payloads(self, ids: Ids) -> list[dict[str, str] | None]:
        return [None] * len(ids)

    def restore(self, points: Iterable[Any]) -> None:
        pass

    def forget(self, numbers: Iterable[int]) -> None:
        pass

    def to_ids(self, numbers: list[int]) -> Ids:
        return Ids.from_buffers((np.array(numbers, np.uint64) ^ _SIGN).view(np.int64))


class StrNumbers:
    """Strings are counted; each is its point's payload, and known here in memory."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._next = 0

    def find(self, ids: Ids) -> list[int | None]:
        return [self._numbers.get(name) for name in ids.to_list()]

    def assign(self, ids: Ids) -> list[int]:
        for name in ids.to_list():
            if name not in self._numbers:
                self._add(self._next, name)
        return [self._numbers[name] for name in ids.to_list()]

    def payloads(self, ids: Ids) -> list[dict[str, str] | None]:
        return [{_KEY: name} for name in ids.to_list()]

    def restore(self, points: Iterable[Any]) -> None:
        for point in points:
            self._add(point.id, point.payload[_KEY])

    def forget(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            del self._numbers[self._names.pop(number)]

    def to_ids(self, numbers: list[int]) -> Ids:
        return Ids([self._names[number] for number in numbers], "str")

    def _add(self, number: int, name: str) -> None:
        self._numbers[name], self._names[number] = number, name
        self._next = max(self._next, number + 1)


def point_numbers(kind: IdKind) -> PointNumbers:
    """An empty numbering of ids of a kind; ``KeyError`` where there is no such kind."""
    kinds: dict[IdKind, type[PointNumbers]] = {"int": IntNumbers, "str": StrNumbers}
    return kinds[kind]()
