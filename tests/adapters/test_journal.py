import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import Ids, VectorSet, create_retriever, open_retriever
from itemspace.adapters import journal
from itemspace.adapters.generations import Generations
from itemspace.adapters.row_store import Changes
from itemspace.core.errors import BackendUnavailable, CorruptData
from itemspace.core.retriever import Retriever

DIM = 4


def some(n: int = 300, kind: str = "str") -> VectorSet:
    matrix = np.random.default_rng(0).standard_normal((n, DIM)).astype(np.float32)
    return VectorSet(Ids(range(n) if kind == "int" else [f"i{at}" for at in range(n)]), matrix)


def full(*values: float) -> Any:
    return np.array([[value] * DIM for value in values], dtype=np.float32)


def held(retriever: Retriever) -> dict[int | str, list[float]]:
    pairs = [
        (name, vector.tolist())
        for ids, matrix in retriever.scan()
        for name, vector in zip(ids, matrix, strict=True)
    ]
    assert len(dict(pairs)) == len(pairs) == len(retriever)
    return dict(pairs)


def stored(url: str) -> dict[int | str, list[float]]:
    with open_retriever(url) as retriever:
        return held(retriever)


def generation(folder: Path) -> str:
    return (folder / "CURRENT").read_text()


def file_of(folder: Path) -> Path:
    return folder / generation(folder) / "changes.sqlite"


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


# -- what a flush keeps ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["int", "str"])
@pytest.mark.parametrize("scheme", ["exact", "faiss", "lsh"])
def test_a_flush_keeps_the_generation(tmp_path: Path, scheme: str, kind: str) -> None:
    folder, vectors = tmp_path / "index", some(5000, kind)
    old, new = vectors.ids[:20].to_list(), [9001, 9002] if kind == "int" else ["é", "new"]
    with create_retriever(f"{scheme}://{folder}", vectors) as retriever:
        first = contents(folder / generation(folder))
        retriever.upsert([*new, old[0]], full(1, 2, 3))
        retriever.flush()
        assert stored(f"{scheme}://{folder}") == held(retriever)
        retriever.delete([new[0], old[0], old[1]])
        retriever.upsert([old[1], old[2]], full(4, 5))
        retriever.flush()
        retriever.upsert([new[0]], full(6))
        retriever.flush()
        expected = held(retriever)
        asked = retriever.search(vectors.matrix[:5], 5)
    assert stored(f"{scheme}://{folder}") == expected
    assert contents(folder / generation(folder)).keys() == first.keys()
    with open_retriever(f"{scheme}://{folder}", "rw") as retriever:
        for one, other in zip(asked, retriever.search(vectors.matrix[:5], 5), strict=True):
            assert one.ids.tolist() == other.ids.tolist()
        assert old[0] not in retriever
        assert retriever.delete(new) == 2
    assert stored(f"{scheme}://{folder}").keys() == expected.keys() - set(new)


@pytest.mark.parametrize("start", [0, 40])
def test_any_changes_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    monkeypatch.setattr(journal, "LEAST", 120)
    url, draw, generations = f"exact://{tmp_path}/index", random.Random(start), set()
    vectors = some(start, "int")
    model = dict(zip(vectors.ids, vectors.matrix.tolist(), strict=True))
    create_retriever(url, vectors).close()
    for step in range(60):
        with open_retriever(url, "rw") as retriever:
            for _ in range(draw.randrange(1, 4)):
                names = draw.sample(range(60), draw.randrange(1, 6))
                if draw.random() < 0.6:
                    matrix = full(*(step + 1 + at for at in range(len(names))))
                    retriever.upsert(names, matrix)
                    model.update(zip(names, matrix.tolist(), strict=True))
                else:
                    gone = [model.pop(name) for name in names if name in model]
                    assert retriever.delete(names) == len(gone)
                if draw.random() < 0.3:
                    retriever.flush()
        assert stored(url) == model
        generations.add(generation(tmp_path / "index"))
    assert 3 < len(generations) < 30


def test_a_long_journal_ends_in_a_generation(tmp_path: Path) -> None:
    folder, vectors = tmp_path / "index", some(4000)
    with create_retriever(f"exact://{folder}", vectors) as retriever:
        for size, name in ((journal.LEAST, "1"), (1, "2"), (1, "2")):
            retriever.upsert([f"{time.time_ns()} {at}" for at in range(size)], full(*[1] * size))
            retriever.flush()
            assert generation(folder) == f"generation-00000{name}"
        assert [path.name for path in folder.glob("generation-*")] == [generation(folder)]
        expected = held(retriever)
    assert stored(f"exact://{folder}") == expected


def test_an_index_that_was_trained_is_written(tmp_path: Path) -> None:
    folder, vectors = tmp_path / "index", some(12_000)
    with create_retriever(f"faiss://{folder}?factory=IVF4,Flat", some(9000)) as retriever:
        retriever.upsert(vectors.ids[9000:10_100], vectors.matrix[9000:10_100])
    assert (folder / generation(folder) / "index" / "index.faiss").exists()
    assert generation(folder) == "generation-000002"


def test_a_flush_that_fails_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with create_retriever(f"exact://{folder}", some()) as retriever:
        for at, damage in enumerate(
            (Path.unlink, lambda path: path.write_bytes(b"no SQLite" * 99))
        ):
            retriever.upsert([f"new {at}"], full(1))
            damage(file_of(folder))
            with pytest.raises(BackendUnavailable, match="last flushed state"):
                retriever.flush()
            retriever.flush()
            assert generation(folder) == f"generation-00000{at + 2}"
            assert stored(f"exact://{folder}") == held(retriever)


def test_a_journal_that_another_wrote_is_not_appended_to(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with create_retriever(f"exact://{folder}", some()) as retriever:
        empty = file_of(folder).read_bytes()
        retriever.delete(["i0"])
        retriever.flush()
        file_of(folder).write_bytes(empty)
        retriever.delete(["i1"])
        with pytest.raises(BackendUnavailable, match="as this process left it"):
            retriever.flush()
    assert stored(f"exact://{folder}").keys() == set(some().ids[2:])


# -- readers ---------------------------------------------------------------------------------


def test_readers_keep_their_state_and_write_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "index #1?%"
    with create_retriever(
        f"exact://{str(folder).replace('%', '%25').replace('#', '%23').replace('?', '%3F')}", some()
    ) as retriever:
        url = str(retriever.url)
        retriever.delete(["i0"])
        retriever.flush()
        before = contents(folder)
        for path in (folder / generation(folder), folder):
            path.chmod(0o555)
        with open_retriever(url) as reader:
            assert contents(folder) == before
            folder.chmod(0o755)
            (folder / generation(folder)).chmod(0o755)
            retriever.delete(["i1"])
            retriever.flush()
            assert len(reader) == 299
            retriever.delete(some().ids[:200])
            retriever.flush()
            assert held(reader).keys() == set(some().ids[1:])
        assert len(stored(url)) == 100


def interrupted(folder: Path, copy: Path) -> None:
    """A copy of an index whose writer was killed when half of a flush was in the file."""
    connection = sqlite3.connect(file_of(folder), isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN")
    for _ in range(50):
        connection.execute("INSERT INTO entry (ids) VALUES (?)", [bytes(5000)])
    connection.execute("UPDATE state SET checksum = x'00'")
    shutil.copytree(folder, copy)
    connection.execute("ROLLBACK")
    connection.close()


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_half_a_flush_is_undone(tmp_path: Path, mode: Any) -> None:
    folder, copy = tmp_path / "index", tmp_path / "copy"
    with create_retriever(f"exact://{folder}", some()) as retriever:
        retriever.delete(["i0"])
    interrupted(folder, copy)
    undo = file_of(copy).with_name("changes.sqlite-journal")
    assert undo.exists()
    assert file_of(copy).stat().st_size > 50 * 5000
    before = contents(copy)
    with open_retriever(f"exact://{copy}", mode) as retriever:
        assert held(retriever).keys() == set(some().ids[1:])
        if mode == "r":
            assert contents(copy) == before
        else:
            assert not undo.exists()


# -- damage ----------------------------------------------------------------------------------


@pytest.fixture
def journaled(tmp_path: Path) -> Path:
    """An index with three entries in its journal."""
    folder = tmp_path / "index"
    with create_retriever(f"exact://{folder}", some(20)) as retriever:
        for at in range(3):
            retriever.upsert([f"new {at}"], full(at + 1))
            retriever.delete([f"i{at}"])
            retriever.flush()
    return folder


def check_refused(folder: Path, reason: str = "") -> None:
    for mode in ("r", "rw"):
        with pytest.raises(CorruptData, match=f"{reason}.*backup or build it again"):
            open_retriever(f"exact://{folder}", mode)  # type: ignore[arg-type]


def test_a_cut_or_missing_or_strange_file(journaled: Path) -> None:
    file = file_of(journaled)
    whole = file.read_bytes()
    for size in (*range(0, len(whole), 512), len(whole) - 1):
        file.write_bytes(whole[:size])
        check_refused(journaled)
    file.write_bytes(b"no database at all" * 1000)
    check_refused(journaled, "not a database")
    file.unlink()
    check_refused(journaled, "unable to open")
    file.mkdir()
    check_refused(journaled)


def test_flipped_bytes(journaled: Path) -> None:
    """What holds the changes is noticed; what SQLite does not read does no harm."""
    file, expected = file_of(journaled), stored(f"exact://{journaled}")
    whole, noticed = file.read_bytes(), 0
    for at in [*range(0, 120), *range(120, len(whole), 23)]:
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            assert stored(f"exact://{journaled}") == expected
        except CorruptData:
            noticed += 1
    assert noticed > 30
    for piece in (b"new 1", full(2).tobytes(), b"entry"):
        at = whole.index(piece)
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        check_refused(journaled)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entry WHERE number = 3",
        "DELETE FROM entry WHERE number = 1",
        "DELETE FROM state",
        "DELETE FROM entry",
        "UPDATE entry SET number = 9 - number",
        "UPDATE entry SET vectors = NULL",
        "UPDATE entry SET ids = 'text' WHERE number = 2",
        "UPDATE entry SET dead = 5",
        "INSERT INTO entry (ids, lengths, vectors, dead) VALUES (x'', x'', x'', x'')",
        "INSERT INTO state SELECT * FROM state",
        "DROP TABLE entry",
        "ALTER TABLE entry RENAME COLUMN dead TO living",
    ],
)
def test_entries_that_were_altered(journaled: Path, statement: str) -> None:
    connection = sqlite3.connect(file_of(journaled))
    connection.execute(statement)
    connection.commit()
    connection.close()
    check_refused(journaled)


def test_the_journal_of_another_generation(tmp_path: Path, journaled: Path) -> None:
    with create_retriever(f"exact://{tmp_path}/other", some(21)) as retriever:
        retriever.delete(["i0"])
    shutil.copyfile(file_of(tmp_path / "other"), file_of(journaled))
    check_refused(journaled, "checksum differs")


@pytest.mark.parametrize(
    ("ids", "matrix", "dead"),
    [
        (Ids([1]), full(1), []),
        (Ids(["one"]), full(1)[:, :-1], []),
        (Ids(["one"]), full(1, 2), []),
        (Ids(["one"]), full(np.nan), []),
        (Ids(["one"]), full(np.inf), []),
        (Ids.from_buffers(np.array([255], np.uint8), np.array([0, 1])), full(1), []),
        (Ids.from_buffers(np.array([97], np.uint8), np.array([0, 2])), full(1), []),
        (Ids.from_buffers(np.array([97], np.uint8), np.array([0, 2, 1])), full(1, 1), []),
        (Ids([], "str"), full()[:, None], [23]),
        (Ids([], "str"), full()[:, None], [-1]),
    ],
)
def test_entries_that_no_flush_writes(journaled: Path, ids: Ids, matrix: Any, dead: Any) -> None:
    """Whole, with their checksum, and yet not trusted."""
    place = Generations(journaled, "exact")
    place.read()
    assert place._journal is not None
    place._journal.append(Changes(ids, matrix, np.array(dead, dtype=np.int64)))
    check_refused(journaled)


# -- kills -----------------------------------------------------------------------------------


def write_for_ever(url: str, least: int, told: Connection) -> None:
    """State ``n``: two twins [n, …] and the last three of the ids ``new n``; told when flushed."""
    journal.LEAST = least
    with open_retriever(url, "rw") as retriever:
        at = int(retriever.vectors(["twin a"])[0, 0])
        while True:
            at += 1
            retriever.upsert(["twin a", f"new {at}", "twin b"], full(at, at, at))
            retriever.delete([f"new {at - 3}"])
            retriever.flush()
            told.send(at)


def state_of(url: str, mode: Any) -> int:
    with open_retriever(url, mode) as retriever:
        found = held(retriever)
    at = int(found.pop("twin a")[0])
    expected = {name: full(at)[0].tolist() for name in ("twin b", f"new {at}")}
    expected |= {f"new {before}": full(before)[0].tolist() for before in (at - 1, at - 2)}
    assert found == expected
    return at


def kill_and_look(folder: Path, kills: int, seed: int) -> None:
    """Writers that are killed within a few flushes, with and without generations in between."""
    url, draw = f"exact://{folder}", random.Random(seed)
    names = ["twin a", "twin b", "new 1", "new 2", "new 3"]
    create_retriever(url, VectorSet(Ids(names), full(3, 3, 1, 2, 3))).close()
    context, last = multiprocessing.get_context("fork"), 3
    for _ in range(kills):
        told, tell = context.Pipe(duplex=False)
        arguments = (url, draw.choice([20, 4096]), tell)
        writer = context.Process(target=write_for_ever, args=arguments, daemon=True)
        writer.start()
        tell.close()
        first = told.recv()
        assert first == last + 1
        time.sleep(draw.random() * 0.03)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        flushed = first
        while told.poll():
            try:
                flushed = told.recv()
            except EOFError:
                break
        told.close()
        last = state_of(url, "r")
        assert last in (flushed, flushed + 1)
        if draw.random() < 0.5:
            assert state_of(url, "rw") == last


def test_killed_at_random_moments(tmp_path: Path) -> None:
    kill_and_look(tmp_path / "index", kills=12, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_many_random_moments(tmp_path: Path, seed: int) -> None:
    kill_and_look(tmp_path / "index", kills=200, seed=seed + 1)


@pytest.mark.parametrize("least", [20, 4096])
def test_opening_beside_flushes(tmp_path: Path, least: int) -> None:
    url = f"exact://{tmp_path}/index"
    names = ["twin a", "twin b", "new 1", "new 2", "new 3"]
    create_retriever(url, VectorSet(Ids(names), full(3, 3, 1, 2, 3))).close()
    context, seen = multiprocessing.get_context("fork"), [3]
    told, tell = context.Pipe(duplex=False)
    writer = context.Process(target=write_for_ever, args=(url, least, tell), daemon=True)
    writer.start()
    while len(set(seen)) < 20:
        flushed = seen[-1]
        while told.poll():
            flushed = told.recv()
        seen.append(state_of(url, "r"))
        assert seen[-1] >= flushed
    writer.kill()
    writer.join()
    told.close()
    tell.close()
