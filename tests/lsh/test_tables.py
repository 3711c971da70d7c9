import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from itemspace.core.errors import CorruptData
from itemspace.lsh.tables import Tables, hash_rows, project

CODES = st.integers(1, 6).flatmap(
    lambda bits: st.tuples(
        st.just(bits),
        arrays(
            np.uint32,
            st.tuples(st.integers(1, 4), st.integers(0, 40)),
            elements=st.integers(0, 2**bits - 1),
        ),
    )
)


@given(CODES)
def test_each_row_is_in_the_bucket_of_its_code(drawn: tuple[int, np.ndarray]) -> None:
    bits, codes = drawn
    tables = Tables.build(codes, bits)
    assert tables.bits == bits
    for table, line in enumerate(codes):
        for code in range(2**bits):
            bucket = tables.rows[table, tables.starts[table, code] : tables.starts[table, code + 1]]
            assert bucket.tolist() == np.flatnonzero(line == code).tolist()
    assert np.array_equal(tables.codes(), codes)
    again = Tables.checked(tables.rows, tables.starts, *codes.shape)
    assert np.array_equal(again.codes(), codes)


def test_codes_are_the_sides_of_the_planes() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50, 7)).astype(np.float32)
    planes = rng.standard_normal((7, 12)).astype(np.float32)
    margins = project(rows, planes)
    assert np.allclose(margins, rows.astype(np.float64) @ planes, atol=1e-5)
    codes = hash_rows(rows, planes, 3)
    for table in range(3):
        for bit in range(4):
            sides = margins[:, table * 4 + bit] > 0
            assert np.array_equal(codes[table] >> bit & 1, sides)
    alone = np.hstack([hash_rows(rows[at : at + 1], planes, 3) for at in range(50)])
    assert np.array_equal(alone, codes)


def damaged() -> list[tuple[str, np.ndarray, np.ndarray]]:
    good = Tables.build(np.random.default_rng(1).integers(0, 8, (2, 20)).astype(np.uint32), 3)
    cases = []
    for name, place, value in (
        ("row out of range", (0, 3), 20),
        ("negative row", (1, 0), -1),
    ):
        rows = good.rows.copy()
        rows[place] = value
        cases.append((name, rows, good.starts))
    for name, place, value in (
        ("start", (0, 0), 1),
        ("end", (1, 8), 21),
        ("backwards", (0, 4), 20),
        ("negative", (1, 2), -5),
    ):
        starts = good.starts.copy()
        starts[place] = value
        cases.append((name, good.rows, starts))
    cases += [
        ("types", good.rows.astype(np.int64), good.starts),
        ("starts' type", good.rows, good.starts.astype(np.float32)),
        ("one table", good.rows[:1], good.starts),
        ("flat", good.rows, good.starts.ravel()),
        ("no power of two", good.rows, np.ascontiguousarray(good.starts[:, [0, 1, 2, 8]])),
        ("no buckets", good.rows, good.starts[:, :1]),
        ("other count", good.rows[:, :19], good.starts),
    ]
    return cases


@pytest.mark.parametrize(
    ("name", "rows", "starts"), damaged(), ids=lambda x: x if isinstance(x, str) else ""
)
def test_damaged_tables_are_refused(name: str, rows: np.ndarray, starts: np.ndarray) -> None:
    with pytest.raises(CorruptData):
        Tables.checked(rows, starts, 2, 20)
