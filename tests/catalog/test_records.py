from pathlib import Path

import pytest
from itemspace import Metric, VectorSet
from itemspace.catalog import Catalog
from itemspace.catalog.builds import cold_start_path, get_build, record_build
from itemspace.core.errors import UnknownBuild


def test_builds_with_a_cold_start(shop: Catalog, tmp_path: Path) -> None:
    """On SQLite and PostgreSQL."""
    plain = VectorSet(["a", "b"], [[1, 0], [0, 1]], Metric.COSINE)
    with pytest.raises(UnknownBuild, match="no build yet that has a cold start"):
        get_build(shop, with_cold_start=True)
    for vectors in (plain.with_lineage(cold_start="sum"), plain):
        record_build(shop, vectors, builder="eges", path=tmp_path / "set", checksum="0")
    assert get_build(shop).id == 2
    found = get_build(shop, with_cold_start=True)
    assert found.id == 1
    assert found.cold_start_path == cold_start_path(tmp_path / "set")
    assert found.cold_start_path.name == "set-cold-start"
    with pytest.raises(UnknownBuild, match=r"no build 2 that has a cold start.*build eges --field"):
        get_build(shop, 2, with_cold_start=True)
