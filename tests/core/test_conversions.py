from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from itemspace.core import conversions
from itemspace.core.conversions import from_parquet, from_word2vec, to_parquet
from itemspace.core.errors import InputError, InvalidId, InvalidOption, MissingColumn
from itemspace.core.ids import Ids
from itemspace.core.metric import Metric
from itemspace.core.vectors import VectorSet

INTS = [0, -5, 2**62]
TEXTS = ["é", "007", "7x"]


def some(names: list[Any]) -> VectorSet:
    matrix = np.array([[1e-30, -0.1, 3e38], [1 / 3, 2, 0], [5, 6, 7]], dtype=np.float32)
    return VectorSet(Ids(names), matrix, Metric.INNER_PRODUCT, {"builder": "test"})


@pytest.mark.parametrize("names", [INTS, TEXTS])
@pytest.mark.parametrize("name", conversions.FORMATS)
def test_bit_for_bit(tmp_path: Path, name: str, names: list[Any]) -> None:
    vectors, path = some(names), tmp_path / "vectors"
    chosen = conversions.format_of(path, name)
    chosen.write(vectors, path)
    back = chosen.read(path, metric=Metric.INNER_PRODUCT)
    assert back.ids == vectors.ids
    assert np.array_equal(back.matrix, vectors.matrix)
    assert back.metric is Metric.INNER_PRODUCT


def test_npz_keeps_metric_and_lineage(tmp_path: Path) -> None:
    conversions.to_npz(some(INTS), tmp_path / "v.npz")
    back = conversions.from_npz(tmp_path / "v.npz")
    assert (back.metric, back.lineage) == (Metric.INNER_PRODUCT, {"builder": "test"})
    np.savez(tmp_path / "w.npz", words=np.array(["a", "b"]), vectors=np.ones((2, 3)))
    assert conversions.from_npz(tmp_path / "w.npz").ids.to_list() == ["a", "b"]


def test_gensim_reads_what_we_write_and_we_read_what_it_writes(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    for binary in (False, True):
        vectors = some(TEXTS)
        conversions.to_word2vec(vectors, tmp_path / "ours", binary=binary)
        keyed = KeyedVectors.load_word2vec_format(str(tmp_path / "ours"), binary=binary)
        assert keyed.index_to_key == TEXTS
        assert np.array_equal(keyed.vectors, vectors.matrix)
        keyed = conversions.to_keyed_vectors(vectors)
        keyed.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
        back = conversions.from_word2vec(tmp_path / "theirs", binary=binary)
        assert back.ids == vectors.ids
        if binary:
            assert np.array_equal(back.matrix, vectors.matrix)
    assert conversions.from_keyed_vectors(keyed).ids == vectors.ids


def test_ids_that_the_word2vec_format_cannot_hold(tmp_path: Path) -> None:
    for name in ("a b", "", "a\nb"):
        with pytest.raises(InvalidId, match="npz or Parquet"):
            conversions.to_word2vec(some([name, "b", "c"]), tmp_path / "v")
    conversions.to_word2vec(some(TEXTS), tmp_path / "v")
    with pytest.raises(InvalidId):
        conversions.from_word2vec(tmp_path / "v", id_kind="int")
    conversions.to_word2vec(some(INTS), tmp_path / "w")
    assert conversions.from_word2vec(tmp_path / "w", id_kind="str").ids.to_list()[1] == "-5"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello\n",
        b"2 3\na 1 2 3\n",
        b"1 3\na 1 2\n",
        b"1 3\na 1 2 x\n",
        b"1000000000 64\na 1\n",
        b"1 2\n\xff 1 2\n",
        b"-1 3\n",
        b"1 2\na 1 nan\n",
    ],
)
@pytest.mark.parametrize("binary", [False, True])
def test_broken_word2vec(tmp_path: Path, content: bytes, binary: bool) -> None:
    path = tmp_path / "v"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        conversions.from_word2vec(path, binary=binary)
    assert str(caught.value)


@pytest.mark.parametrize("name", conversions.FORMATS)
def test_no_file_and_garbage(tmp_path: Path, name: str) -> None:
    read = conversions.FORMATS[name].read
    with pytest.raises(InputError, match="no file"):
        read(tmp_path / "nothing")
    (tmp_path / "v").write_bytes(b"PK\x03\x04 garbage \x00\x01\x02")
    with pytest.raises(InputError):
        read(tmp_path / "v")


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", matrix=np.array([object()]))
    with pytest.raises(InputError):
        conversions.from_npz(tmp_path / "v.npz")


def test_parquet_that_does_not_fit(tmp_path: Path) -> None:
    import duckdb

    for number, query in enumerate(
        (
            "SELECT 1 AS item_id, [1.0, 2.0] AS vector UNION ALL SELECT 2, [1.0]",
            "SELECT 1 AS item_id, [1.0, NULL] AS vector",
            "SELECT 1 AS item_id, NULL::FLOAT[] AS vector",
        )
    ):
        path = tmp_path / f"{number}.parquet"
        duckdb.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
        with pytest.raises(InputError):
            conversions.from_parquet(path)
    with pytest.raises(MissingColumn, match="'embedding'") as caught:
        conversions.from_parquet(path, vector_column="embedding")
    assert caught.value.columns == ["item_id", "vector"]


def test_formats_by_ending() -> None:
    assert conversions.format_of("a/b.PARQUET") is conversions.FORMATS["parquet"]
    assert conversions.format_of("x.bin", "npz") is conversions.FORMATS["npz"]
    with pytest.raises(InvalidOption, match="npz, parquet"):
        conversions.format_of("x.h5")


def test_ids_of_parquet_that_are_null(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    for ids in ("5, NULL, 7", "'a', NULL, 'b'"):
        with duckdb.connect() as db:
            db.execute(
                f"COPY (SELECT unnest([{ids}]) AS item_id, [1.0, 2.0] AS vector) "
                f"TO '{path}' (FORMAT parquet)"
            )
        with pytest.raises(InputError, match="NULL"):
            from_parquet(path)


def test_a_name_with_brackets_is_no_wildcard(tmp_path: Path) -> None:
    for at, name in enumerate(("v1.parquet", "v[1].parquet")):
        to_parquet(VectorSet(Ids([at]), np.ones((1, 2))), tmp_path / name)
    assert from_parquet(tmp_path / "v[1].parquet").ids.to_list() == [1]


def test_digits_beyond_64_bits_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("2 1\n99999999999999999999 1\n7 2\n")
    assert from_word2vec(path).ids.to_list() == ["99999999999999999999", "7"]
    path.write_text("1 1\n-0 1\n")
    with pytest.raises(InvalidId, match="plain integer"):
        from_word2vec(path, id_kind="int")
