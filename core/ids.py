"""Ids: strings or int64, one kind per set, never hashed, never altered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from .errors import DuplicateIds, InvalidId

IdKind = Literal["int", "str"]
Int64Array = npt.NDArray[np.int64]
ByteArray = npt.NDArray[np.uint8]

MAX_ID_LENGTH = 255
_SHOWN = 5


class Ids:
    """An immutable sequence of ids of one kind.

    Strings are UTF-8 without NUL, at most 255 characters, kept as one blob of bytes with
    (n + 1) int64 offsets; integers are int64. Order and equality of strings are those of their
    code points (which UTF-8 keeps byte by byte).

    Parameters
    ----------
    values
        Strings or integers: a list, any iterable, a NumPy array (integer, ``U``, ``StringDType``
        or object), or ``Ids`` themselves.
    kind
        ``"int"`` or ``"str"``; found from the values when left out. Needed for an empty set.

    Raises
    ------
    InvalidId
        A value of another kind, a bool, a float, a string that is too long, holds NUL or is no
        valid Unicode, an integer outside int64.
    """

    __slots__ = ("_blob", "_index", "_offsets", "_values", "kind")

    kind: IdKind

    def __init__(self, values: Iterable[Any], kind: IdKind | None = None) -> None:
        self._index: _Index | None = None
        if isinstance(values, Ids):
            _check_kind(values, kind)
            self._adopt(values.kind, values._values, values._blob, values._offsets)
            return
        if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
            self._adopt("int", _to_int64(values), None, None)
        else:
            items = values.tolist() if isinstance(values, np.ndarray) else list(values)
            found = kind or (_kind_of(items[0]) if items else "int")
            if found == "int":
                self._adopt("int", _to_int64(_checked_ints(items)), None, None)
            else:
                self._adopt("str", None, *_encode(items))
        _check_kind(self, kind)

    @classmethod
    def from_buffers(cls, values: Int64Array | ByteArray, offsets: Int64Array | None = None) -> Ids:
        """Over buffers as :attr:`buffers` gives them (not copied, not checked).

        Integers alone, or UTF-8 with offsets.
        """
        ids = cls.__new__(cls)
        ids._index = None
        if offsets is None:
            ids._adopt("int", values, None, None)  # type: ignore[arg-type]
        else:
            ids._adopt("str", None, values, offsets)  # type: ignore[arg-type]
        return ids

    def _adopt(
        self,
        kind: IdKind,
        values: Int64Array | None,
        blob: ByteArray | None,
        offsets: Int64Array | None,
    ) -> None:
        self.kind = kind
        self._values = None if values is None else _plain(values)
        self._blob = None if blob is None else _plain(blob)
        self._offsets = None if offsets is None else _plain(offsets)

    @property
    def buffers(self) -> dict[str, np.ndarray[Any, Any]]:
        """What a file stores: ``{"ids": int64 (n,)}`` or ``{"ids_utf8": …, "ids_offsets": …}``."""
        if self._values is not None:
            return {"ids": self._values}
        assert self._blob is not None and self._offsets is not None
        return {"ids_utf8": self._blob, "ids_offsets": self._offsets}

    def __len__(self) -> int:
        if self._values is not None:
            return len(self._values)
        assert self._offsets is not None
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, key: int) -> int | str: ...
    @overload
    def __getitem__(self, key: slice | npt.NDArray[Any]) -> Ids: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int | np.integer):
            if self._values is not None:
                return int(self._values[key])
            return self._bytes(range(len(self))[int(key)]).decode()
        if self._values is not None:
            return Ids.from_buffers(self._values[key])
        if isinstance(key, slice):
            rows = np.arange(*key.indices(len(self)))
        else:
            is_mask = np.asarray(key).dtype == np.bool_
            rows = np.flatnonzero(key) if is_mask else np.asarray(key, dtype=np.int64)
            rows = np.where(rows < 0, rows + len(self), rows)
        return Ids.from_buffers(*_join(self._bytes_at(rows)))

    def __iter__(self) -> Iterator[int | str]:
        return iter(self.to_list())

    def __contains__(self, value: object) -> bool:
        if _kind_of(value) != self.kind:
            return False
        return bool(self.rows_of(Ids([value], self.kind))[0] >= 0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ids):
            return NotImplemented
        mine, theirs = self.buffers, other.buffers
        return mine.keys() == theirs.keys() and all(
            np.array_equal(mine[name], theirs[name]) for name in mine
        )

    def __hash__(self) -> int:
        raise TypeError("Ids are not hashable")

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:_SHOWN]))
        more = ", …" if len(self) > _SHOWN else ""
        return f"Ids([{shown}{more}], kind={self.kind!r}, n={len(self)})"

    def to_list(self) -> list[Any]:
        """As a list of ``int`` or ``str``."""
        if self._values is not None:
            numbers: list[Any] = self._values.tolist()
            return numbers
        return [piece.decode() for piece in self._all_bytes()]

    def to_array(self) -> npt.NDArray[Any]:
        """As an array: int64, or object of ``str``."""
        if self._values is not None:
            return self._values
        array = np.empty(len(self), dtype=object)
        array[:] = self.to_list()
        return array

    def values_at(self, rows: Int64Array) -> npt.NDArray[Any]:
        """The ids at some rows, none negative, as :meth:`to_array` gives all."""
        if self._values is not None:
            return self._values[rows]
        assert self._blob is not None and self._offsets is not None
        blob = self._blob.data
        starts, ends = self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        array = np.empty(len(starts), dtype=object)
        array[:] = [str(blob[i:j], "utf-8") for i, j in zip(starts, ends, strict=True)]
        return array

    def rows_of(self, ids: Ids) -> Int64Array:
        """Row of each of ``ids`` in this set, -1 where it is absent; int64, (len(ids),).

        Where an id stands more than once, its first row. The first call builds the lookup.
        """
        if ids.kind != self.kind:
            if len(ids) == 0 or len(self) == 0:
                return np.full(len(ids), -1, dtype=np.int64)
            raise InvalidId(
                f"These ids are of kind {self.kind!r}, but {ids[0]!r} is of kind {ids.kind!r}; "
                f"use {self.kind} ids."
            )
        if self._index is None:
            self._index = _Index(self)
        return self._index.rows_of(ids)

    def check_unique(self, what: str = "these ids") -> None:
        """Raise :class:`DuplicateIds`, naming some, where an id stands more than once."""
        rows = self.rows_of(self)
        repeated = np.flatnonzero(rows != np.arange(len(self)))
        if repeated.size:
            some = self[repeated[:_SHOWN]].to_list()
            raise DuplicateIds(
                f"{repeated.size} duplicate ids in {what}, {some[0]!r} among them; "
                "each id may stand only once.",
                ids=some,
            )

    @classmethod
    def joined(cls, some: Sequence[Ids], kind: IdKind) -> Ids:
        """Some of one kind after each other, copied once; of that kind where there are none."""
        some = [ids for ids in some if len(ids)]
        if len(some) < 2:
            return some[0] if some else cls([], kind)
        parts = [ids.buffers for ids in some]
        if kind == "int":
            return cls.from_buffers(np.concatenate([part["ids"] for part in parts]))
        starts = np.cumsum([0, *(part["ids_offsets"][-1] for part in parts)])
        moved = [part["ids_offsets"][1:] + at for part, at in zip(parts, starts, strict=False)]
        return cls.from_buffers(
            np.concatenate([part["ids_utf8"] for part in parts]), np.concatenate([[0], *moved])
        )

    def concat(self, other: Ids) -> Ids:
        """These ids followed by ``other``."""
        if len(self) and len(other) and self.kind != other.kind:
            raise InvalidId(f"Cannot join {self.kind} ids and {other.kind} ids.")
        return Ids.joined([self, other], self.kind if len(self) else other.kind)

    @property
    def _texts(self) -> tuple[ByteArray, Int64Array]:
        """The blob and its offsets."""
        if self._blob is None or self._offsets is None:  # an empty set of the other kind
            return _plain(np.empty(0, np.uint8)), _plain(np.zeros(1, np.int64))
        return self._blob, self._offsets

    def _bytes(self, row: int) -> bytes:
        assert self._blob is not None and self._offsets is not None
        return self._blob[self._offsets[row] : self._offsets[row + 1]].tobytes()

    def _bytes_at(self, rows: Int64Array) -> list[bytes]:
        assert self._blob is not None and self._offsets is not None
        blob = self._blob.data
        starts, ends = self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        return [bytes(blob[start:end]) for start, end in zip(starts, ends, strict=True)]

    def _all_bytes(self) -> list[bytes]:
        assert self._blob is not None and self._offsets is not None
        blob, ends = self._blob.tobytes(), self._offsets.tolist()
        return [blob[start:end] for start, end in pairwise(ends)]


class _Index:
    """id → first row: a sorted array for integers, a hash table for strings."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        if ids._values is not None:
            self._order = np.argsort(ids._values, kind="stable")
            self._sorted = ids._values[self._order]
        else:
            from .text_index import make_table

            self._table = make_table(*ids._texts)

    def rows_of(self, ids: Ids) -> Int64Array:
        if self._ids._values is None:
            from .text_index import find_rows

            return find_rows(self._table, *self._ids._texts, *ids._texts)
        rows = np.full(len(ids), -1, dtype=np.int64)
        if self._sorted.size == 0:
            return rows
        wanted = ids.to_array()
        at = np.minimum(np.searchsorted(self._sorted, wanted), self._sorted.size - 1)
        found = self._sorted[at] == wanted
        rows[found] = self._order[at[found]]
        return rows


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view that cannot be written, so that kernels are compiled for one kind of array.

    Of a memmap a plain array, too, a slice of which costs a tenth.
    """
    view: npt.NDArray[Any] = np.asarray(array)[:]
    view.flags.writeable = False
    return view


def _kind_of(value: object) -> IdKind:
    if isinstance(value, str):
        return "str"
    if isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_):
        return "int"
    raise InvalidId(
        f"An id is a string or an integer; received {value!r} of type {type(value).__name__}."
    )


def _check_kind(ids: Ids, kind: IdKind | None) -> None:
    if kind is not None and ids.kind != kind and len(ids):
        raise InvalidId(f"Expected {kind} ids; received {ids[0]!r}, of kind {ids.kind!r}.")


def _checked_ints(items: list[Any]) -> npt.NDArray[Any]:
    for value in items:
        if _kind_of(value) != "int":
            raise InvalidId(f"Expected int ids throughout; received {value!r} among them.")
    try:
        return np.array(items, dtype=np.int64)
    except OverflowError:
        wide = next(v for v in items if not -(2**63) <= v < 2**63)
        raise InvalidId(f"Integer ids are int64; {wide} does not fit. Use strings.") from None


def _to_int64(values: npt.NDArray[Any]) -> Int64Array:
    if values.ndim != 1:
        raise InvalidId(f"Ids are one-dimensional; received an array of shape {values.shape}.")
    if values.dtype.kind == "u" and values.size and int(values.max()) >= 2**63:
        raise InvalidId(f"Integer ids are int64; {int(values.max())} does not fit. Use strings.")
    # A copy: ids do not change when the caller uses the array for something else.
    copied = np.array(values, dtype=np.int64)
    copied.flags.writeable = False
    return copied


def _encode(items: list[Any]) -> tuple[ByteArray, Int64Array]:
    try:
        joined = "".join(items)
        lengths = np.fromiter(map(len, items), np.int64, len(items))
        if joined.isascii() and "\0" not in joined and lengths.max(initial=0) <= MAX_ID_LENGTH:
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            return np.frombuffer(joined.encode(), dtype=np.uint8), offsets
    except TypeError:
        pass  # said below, of the value that is no text
    return _join([_checked_text(value) for value in items])


def _checked_text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise InvalidId(f"Expected str ids throughout; received {value!r} among them.")
    if len(value) > MAX_ID_LENGTH or "\0" in value:
        raise InvalidId(
            f"String ids have at most {MAX_ID_LENGTH} characters and no NUL; "
            f"received {value[:40]!r} of {len(value)} characters."
        )
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidId(f"The id {value!r} is not valid Unicode text.") from error


def _join(pieces: list[bytes]) -> tuple[ByteArray, Int64Array]:
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)), out=offsets[1:])
    return np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets
