"""Vectors in and out: word2vec, gensim, npz, Parquet.

Vectors made elsewhere, by any network, enter by the same door as our own builders'. Each pair
``to_x`` / ``from_x`` keeps float32 values bit for bit, except the word2vec text format, which
prints nine significant digits (enough to restore a float32 exactly). Only npz keeps metric and
lineage; elsewhere the metric is an argument.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .duck import connect_duckdb, quoted
from .errors import InputError, InvalidId, InvalidOption, ItemspaceError, MissingColumn
from .ids import IdKind, Ids
from .metric import Metric
from .vectors import VectorSet, ids_from_arrays

_FLOAT_BYTES = 4
_LONGEST_TOKEN = 4096


def to_word2vec(vectors: VectorSet, path: str | Path, *, binary: bool = False) -> None:
    """Write the format of word2vec.c: a line ``n d``, then each id, a space, and its vector.

    Raises :class:`InvalidId` for ids with white space in them, which the format cannot hold.
    """
    names = [str(name) for name in vectors.ids]
    broken = next((name for name in names if not name or len(name.split()) != 1), None)
    if broken is not None:
        raise InvalidId(
            f"The word2vec format separates by spaces and cannot hold the id {broken!r}; export "
            "as npz or Parquet."
        )
    with Path(path).open("wb") as stream:
        stream.write(f"{len(vectors)} {vectors.dim}\n".encode())
        for name, row in zip(names, vectors.matrix, strict=True):
            stream.write(name.encode() + b" ")
            if binary:
                stream.write(row.astype("<f4").tobytes())
            else:
                stream.write(" ".join(f"{value:.9g}" for value in row.tolist()).encode())
            stream.write(b"\n")


def from_word2vec(
    path: str | Path,
    *,
    binary: bool = False,
    metric: Metric = Metric.COSINE,
    id_kind: IdKind | None = None,
) -> VectorSet:
    """Read the format of word2vec.c.

    Parameters
    ----------
    id_kind
        ``"str"`` keeps ids as they stand; ``"int"`` reads integers; left out: integers where
        every id is one in its plain form (``"7"``, not ``"007"``).

    Raises
    ------
    InputError
        Not such a file, or one cut short; the entry is named.
    """
    with _reading(path), Path(path).open("rb") as stream:
        count, dim = _header(stream, path)
        read = _read_binary if binary else _read_text
        matrix = np.empty((count, dim), dtype=np.float32)
        names = [read(stream, path, entry, matrix[entry]) for entry in range(count)]
    return VectorSet(_plain_ids(names, id_kind), matrix, metric, _imported(path))


def to_keyed_vectors(vectors: VectorSet) -> Any:
    """A gensim ``KeyedVectors`` with the ids, as strings, for keys."""
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(vectors.dim, dtype=np.float32)
    keyed.add_vectors([str(name) for name in vectors.ids], np.array(vectors.matrix))
    return keyed


def from_keyed_vectors(
    keyed: Any, *, metric: Metric = Metric.COSINE, id_kind: IdKind | None = None
) -> VectorSet:
    """From a gensim ``KeyedVectors`` (``model.wv``)."""
    names = [str(key) for key in keyed.index_to_key]
    return VectorSet(
        _plain_ids(names, id_kind), keyed.vectors, metric, {"builder": "gensim KeyedVectors"}
    )


def to_npz(vectors: VectorSet, path: str | Path) -> None:
    """Write one NumPy ``.npz`` (no pickle): matrix, ids, and metric and lineage as JSON."""
    meta = json.dumps({"metric": vectors.metric.value, "lineage": dict(vectors.lineage)})
    with Path(path).open("wb") as stream:
        arrays: dict[str, Any] = {
            "matrix": vectors.matrix,
            "meta": np.frombuffer(meta.encode(), dtype=np.uint8),
            **vectors.ids.buffers,
        }
        np.savez(stream, **arrays)


def from_npz(path: str | Path, *, metric: Metric | None = None) -> VectorSet:
    """Read :func:`to_npz`, or any ``.npz`` with ``matrix`` or ``vectors`` and maybe ``ids``.

    Without ids, the row numbers are the ids.
    """
    # A stream of our own: np.load leaks the file that it opens when it is no zip.
    with (
        _reading(path),
        Path(path).open("rb") as stream,
        np.load(stream, allow_pickle=False) as loaded,
    ):
        arrays = dict(loaded)
        if "matrix" in arrays and "meta" in arrays:
            meta = json.loads(arrays["meta"].tobytes())
            ids, lineage = ids_from_arrays(arrays), meta["lineage"]
            return VectorSet(ids, arrays["matrix"], metric or Metric(meta["metric"]), lineage)
        matrix = arrays.get("matrix", arrays.get("vectors"))
        if matrix is None:
            raise InputError(
                f"{path} holds no array 'matrix' or 'vectors'; it holds: {', '.join(arrays)}.",
                path=str(path),
            )
        names: Any = arrays.get("ids", arrays.get("words", np.arange(len(matrix))))
        return VectorSet(Ids(names), matrix, metric or Metric.COSINE, _imported(path))


def to_parquet(vectors: VectorSet, path: str | Path) -> None:
    """Write Parquet with the columns ``item_id`` (BIGINT or VARCHAR) and ``vector`` (FLOAT[])."""
    columns = {f"c{at}": vectors.matrix[:, at] for at in range(vectors.dim)}
    with connect_duckdb() as connection:
        connection.register("source", {"item_id": vectors.ids.to_array(), **columns})
        connection.execute(
            f"COPY (SELECT item_id, [{', '.join(columns)}]::FLOAT[] AS vector FROM source) "
            "TO $path (FORMAT parquet)",
            {"path": str(path)},
        )


def from_parquet(
    path: str | Path,
    *,
    metric: Metric = Metric.COSINE,
    id_column: str = "item_id",
    vector_column: str = "vector",
) -> VectorSet:
    """Read a column of ids and a column of lists of numbers, all of one length."""
    with _reading(path), connect_duckdb() as connection:
        source = connection.read_parquet(glob.escape(str(path)))
        for column in (id_column, vector_column):
            if column not in source.columns:
                raise MissingColumn(
                    f"{path} has no column {column!r}; it has: {', '.join(source.columns)}.",
                    path=str(path),
                    column=column,
                    columns=list(source.columns),
                )
        name, vector = quoted(id_column), quoted(vector_column)
        ids = source.project(name).fetchnumpy()[id_column]
        if np.ma.is_masked(ids) or (ids.dtype == object and any(one is None for one in ids)):
            raise InputError(f"An id in {path} is NULL.", path=str(path))
        shape = source.aggregate(f"min(len({vector})), max(len({vector})), count({vector})")
        shortest, longest, count = shape.fetchall()[0]
        if shortest != longest or count != len(ids) or not longest:
            raise InputError(
                f"The vectors in {path} have {shortest} to {longest} numbers, {count} of "
                f"{len(ids)} rows have one; every row needs one of the same length.",
                path=str(path),
            )
        flat = source.project(f"unnest({vector})::FLOAT AS x").fetchnumpy()["x"]
        if np.ma.isMaskedArray(flat) and np.ma.is_masked(flat):
            raise InputError(f"A vector in {path} holds NULL.", path=str(path))
        matrix = np.asarray(flat).reshape(count, longest)
        return VectorSet(Ids(ids), matrix, metric, _imported(path))


class Format(NamedTuple):
    """How to read and write one kind of file."""

    read: Callable[..., VectorSet]
    write_file: Callable[[VectorSet, Path], None]
    suffixes: tuple[str, ...]

    def write(self, vectors: VectorSet, path: Path) -> None:
        """Write a file; :class:`InputError` where that is not possible."""
        with _writing(path):
            self.write_file(vectors, path)


FORMATS = MappingProxyType(
    {
        "npz": Format(from_npz, to_npz, (".npz",)),
        "parquet": Format(from_parquet, to_parquet, (".parquet", ".pq")),
        "word2vec": Format(from_word2vec, to_word2vec, (".txt", ".vec", ".w2v")),
        "word2vec-binary": Format(
            partial(from_word2vec, binary=True), partial(to_word2vec, binary=True), (".bin",)
        ),
    }
)


def format_of(path: str | Path, name: str | None = None) -> Format:
    """The format of that name, or the one that the file's ending tells."""
    suffix = Path(path).suffix.lower()
    for known, found in FORMATS.items():
        if known == name or (name is None and suffix in found.suffixes):
            return found
    raise InvalidOption(
        f"{name or suffix or str(path)!r} is no known format of vectors; name one of: "
        f"{', '.join(FORMATS)}.",
        option="format",
        received=name or suffix,
    )


def _imported(path: str | Path) -> dict[str, Any]:
    return {"builder": "import", "source": Path(path).name}


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A place that cannot be written to becomes one :class:`InputError`."""
    if not path.parent.is_dir():
        raise InputError(
            f"There is no folder {path.parent} to write {path.name} into.", path=str(path)
        )
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}.", path=str(path)) from error


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Whatever a foreign file makes a reader raise becomes one :class:`InputError`."""
    if not Path(path).is_file():
        raise InputError(f"There is no file {path}.", path=str(path))
    try:
        yield
    except ItemspaceError:
        raise
    except Exception as error:  # zip, JSON, Parquet and struct readers each have their own
        raise InputError(f"{path} cannot be read as vectors: {error}.", path=str(path)) from error


def _header(stream: BinaryIO, path: str | Path) -> tuple[int, int]:
    line = stream.readline(_LONGEST_TOKEN)
    try:
        count, dim = map(int, line.split())
    except ValueError:
        count = dim = -1
    # No vector takes less than two bytes a number: a false header must not take all memory.
    if count < 0 or dim < 1 or 2 * count * dim > Path(path).stat().st_size:
        raise InputError(
            f"{path} does not begin with the number of vectors and of dimensions that it holds: "
            f"{line[:40]!r}.",
            path=str(path),
        )
    return count, dim


def _read_text(stream: BinaryIO, path: str | Path, entry: int, row: Any) -> str:
    name, *values = stream.readline().decode("utf-8").rstrip("\n").rstrip(" ").split(" ")
    if len(values) != len(row):
        raise InputError(
            f"{path}: vector {entry + 1} ({name!r}) has {len(values)} of {len(row)} numbers.",
            path=str(path),
        )
    row[:] = values
    return name


def _read_binary(stream: BinaryIO, path: str | Path, entry: int, row: Any) -> str:
    name = bytearray()
    while (byte := stream.read(1)) not in (b" ", b""):
        name += byte
        if len(name) > _LONGEST_TOKEN:
            break
    data = stream.read(_FLOAT_BYTES * len(row))
    if len(data) != _FLOAT_BYTES * len(row):
        raise InputError(f"{path} ends within vector {entry + 1}.", path=str(path))
    row[:] = np.frombuffer(data, dtype="<f4")
    # word2vec.c ends each vector with a newline, gensim does not.
    return name.decode("utf-8").lstrip("\n")


def _plain_ids(names: list[str], kind: IdKind | None) -> Ids:
    if kind == "str":
        return Ids(names, "str")
    try:
        numbers = [int(name) for name in names]
        plain = all(
            str(number) == name and -(2**63) <= number < 2**63
            for number, name in zip(numbers, names, strict=True)
        )
    except ValueError:
        plain = False
    if plain:
        return Ids(numbers, "int")
    if kind == "int":
        raise InvalidId("Not every id is a plain integer that fits int64; read them as strings.")
    return Ids(names, "str")
