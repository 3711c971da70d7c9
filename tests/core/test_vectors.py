import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace.core.errors import (
    BackendExists,
    CorruptData,
    DuplicateIds,
    IncompatibleFormat,
    InvalidOption,
    InvalidVectors,
    UnknownIds,
)
from itemspace.core.ids import Ids
from itemspace.core.metric import Metric
from itemspace.core.vectors import VectorSet


def some(kind: str = "int", n: int = 20, dim: int = 3) -> VectorSet:
    names: list[Any] = [f"é{at}" if kind == "str" else -at for at in range(n)]
    matrix = np.random.default_rng(0).standard_normal((n, dim)).astype(np.float32)
    return VectorSet(Ids(names), matrix, Metric.EUCLIDEAN, {"builder": "test", "nested": {"a": 1}})


@pytest.mark.parametrize("kind", ["int", "str"])
def test_saved_and_opened(tmp_path: Path, kind: str) -> None:
    vectors = some(kind)
    checksum = vectors.save(tmp_path / "v")
    assert VectorSet.verify(tmp_path / "v") == checksum
    back = VectorSet.open(tmp_path / "v")
    assert back.ids == vectors.ids
    assert np.array_equal(back.matrix, vectors.matrix)
    assert isinstance(back.matrix, np.memmap)
    assert (back.metric, back.lineage) == (vectors.metric, vectors.lineage)
    assert np.array_equal(back.vectors(vectors.ids[3:5]), vectors.matrix[3:5])
    with pytest.raises(BackendExists):
        vectors.save(tmp_path / "v")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v"]


@pytest.mark.parametrize("kind", ["int", "str"])
def test_every_flipped_byte_is_found(tmp_path: Path, kind: str) -> None:
    some(kind, n=3).save(tmp_path / "v")
    for file in sorted((tmp_path / "v").iterdir()):
        whole = file.read_bytes()
        for at in range(0, len(whole), 7):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(CorruptData):
                VectorSet.verify(tmp_path / "v")
        file.write_bytes(whole)
    VectorSet.verify(tmp_path / "v")


def test_a_cut_file_is_found_on_opening(tmp_path: Path) -> None:
    some().save(tmp_path / "v")
    for file in sorted((tmp_path / "v").iterdir()):
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
        with pytest.raises(CorruptData):
            VectorSet.open(tmp_path / "v")
        file.unlink()
        with pytest.raises(CorruptData):
            VectorSet.open(tmp_path / "v")
        file.write_bytes(whole)
    VectorSet.open(tmp_path / "v")


def test_another_format(tmp_path: Path) -> None:
    some().save(tmp_path / "v")
    manifest = tmp_path / "v" / "manifest.json"
    facts = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(facts | {"format": 99}))
    with pytest.raises(IncompatibleFormat, match="format 99"):
        VectorSet.open(tmp_path / "v")
    manifest.write_text(json.dumps(facts | {"kind": "graph"}))
    with pytest.raises(CorruptData, match="graph"):
        VectorSet.open(tmp_path / "v")
    manifest.write_text(json.dumps(facts | {"files": {"../../etc/passwd": {}}}))
    with pytest.raises(CorruptData):
        VectorSet.open(tmp_path / "v")
    with pytest.raises(FileNotFoundError):
        VectorSet.open(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("ids", "matrix", "error"),
    [
        ([1, 2], np.ones((3, 2)), InvalidVectors),
        ([1, 1], np.ones((2, 2)), DuplicateIds),
        ([1], [[np.nan, 1]], InvalidVectors),
        ([1], [[1e39, 1]], InvalidVectors),
        ([1], [1.0, 2.0], InvalidVectors),
        ([1], np.ones((1, 0)), InvalidVectors),
        ([1], [["a"]], InvalidVectors),
    ],
)
def test_bad_input(ids: Any, matrix: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        VectorSet(Ids(ids), matrix)


def test_unknown_ids_are_named() -> None:
    with pytest.raises(UnknownIds, match="7") as caught:
        some().vectors([0, 7])
    assert caught.value.ids == [7]


def test_embedding_matrix() -> None:
    vectors = some(n=4)
    weights, rows = vectors.embedding_matrix()
    assert weights.shape == (5, 3)
    assert not weights[0].any()
    for name, row in rows.items():
        assert np.array_equal(weights[row], vectors.vectors([name])[0])
    weights, rows = vectors.embedding_matrix([99, -2], padding=False)
    assert rows == {99: 0, -2: 1}
    assert np.allclose(weights[0], vectors.matrix.mean(axis=0))
    assert np.array_equal(weights[1], vectors.matrix[2])
    assert not vectors.embedding_matrix([99], unknown="zeros")[0].any()
    with pytest.raises(UnknownIds):
        vectors.embedding_matrix([99], unknown="error")
    with pytest.raises(DuplicateIds):
        vectors.embedding_matrix([1, 1])
    with pytest.raises(InvalidOption):
        vectors.embedding_matrix(unknown="guess")  # type: ignore[arg-type]


def test_embedding_matrix_in_a_deep_model() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: the round trip through "
                                "its Embedding is checked with NumPy alone")  # fmt: skip
    vectors = some("str")
    weights, rows = vectors.embedding_matrix()
    layer = torch.nn.Embedding.from_pretrained(torch.from_numpy(weights), padding_idx=0)
    names = vectors.ids.to_list()
    out = layer(torch.tensor([rows[name] for name in names])).numpy()
    assert np.array_equal(out, vectors.matrix)


def test_lineage_is_what_json_can_hold() -> None:
    for value in (np.float32(1), float("nan"), {1, 2}):
        with pytest.raises(InvalidOption, match="lineage"):
            VectorSet(Ids([1]), np.ones((1, 2)), lineage={"recall": value})
