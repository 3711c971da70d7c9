import numpy as np
import pytest
from itemspace.lsh.planes import gaussian, orthogonal

COUNT = 4096


@pytest.mark.parametrize("family", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("degrees", [5, 30, 60, 90, 150])
def test_two_vectors_are_separated_in_proportion_to_their_angle(
    family: str, degrees: float
) -> None:
    """P[same side] = 1 − θ/π, within four standard errors of 100 × 4,096 planes."""
    angle = np.radians(degrees)
    one = np.zeros(16, dtype=np.float32)
    other = one.copy()
    one[0], other[0], other[1] = 1, np.cos(angle), np.sin(angle)
    same = [
        np.mean((planes @ one > 0) == (planes @ other > 0))
        for planes in (
            {"gaussian": gaussian, "orthogonal": orthogonal}[family](COUNT, 16, seed)
            for seed in range(100)
        )
    ]
    expected = 1 - angle / np.pi
    error = np.sqrt(expected * (1 - expected) / (100 * COUNT))
    assert abs(np.mean(same) - expected) < 4 * error


@pytest.mark.parametrize("family", ["gaussian", "orthogonal"])
@pytest.mark.parametrize(("count", "dim"), [(1, 1), (3, 16), (16, 16), (50, 16), (5, 300)])
def test_form(family: str, count: int, dim: int) -> None:
    planes = {"gaussian": gaussian, "orthogonal": orthogonal}[family](count, dim, 7)
    assert planes.shape == (count, dim)
    assert planes.dtype == np.float32
    assert np.allclose(np.linalg.norm(planes, axis=1), 1, atol=1e-6)
    assert np.array_equal(
        planes, {"gaussian": gaussian, "orthogonal": orthogonal}[family](count, dim, 7)
    )
    assert (
        not np.array_equal(
            planes, {"gaussian": gaussian, "orthogonal": orthogonal}[family](count, dim, 8)
        )
        or dim == 1
    )


def test_blocks_are_orthogonal() -> None:
    planes = orthogonal(40, 16, 1)
    for start in (0, 16, 32):
        block = planes[start : start + 16]
        assert np.allclose(block @ block.T, np.eye(len(block)), atol=1e-5)
