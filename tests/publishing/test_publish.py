from pathlib import Path

import numpy as np
import pytest
from itemspace import Ids, Metric, VectorSet, create_retriever
from itemspace.catalog import Catalog
from itemspace.catalog.bookkeeping import space_table, version_table
from itemspace.catalog.builds import get_build, record_build
from itemspace.catalog.versions import add_version, get_pointer, get_version, swap_live
from itemspace.core.errors import (
    CorruptData,
    EmptyInput,
    InvalidOption,
    InvalidURL,
    NothingPublished,
    PublishConflict,
    UnknownBuild,
    UnknownParameter,
    UnknownSpace,
)
from itemspace.publishing import move, publish, publish_build
from itemspace.space import Space
from sqlalchemy import delete, select


def vectors(dim: int = 8) -> VectorSet:
    matrix = np.random.default_rng(dim).standard_normal((20, dim))
    return VectorSet(Ids([f"p{at}" for at in range(20)]), matrix, Metric.COSINE, {"builder": "x"})


def recorded(shop: Catalog, path: Path, dim: int = 8) -> int:
    made = vectors(dim)
    checksum = made.save(path)
    return record_build(shop, made, builder="x", path=path, checksum=checksum).id


def test_versions_follow_each_other_and_stay(shop: Catalog, tmp_path: Path) -> None:
    first = publish(shop, vectors(8), f"lsh:{tmp_path}/published")
    with Space.open(shop) as following, following.pin() as old:
        second = publish(shop, vectors(4), f"exact:{tmp_path}/published")
        assert (first.number, second.number) == (1, 2)
        assert old.version == 1
        assert len(old.similar_to("p3").execute()) == 10
        with Space.open(shop) as new, Space.open(shop, version=1) as named:
            assert (new.version, new.retriever.dim) == (2, 4)
            assert (named.version, named.retriever.dim) == (1, 8)
    names = sorted(path.name for path in (tmp_path / "published").iterdir())
    assert [name[:10] for name in names] == ["items-0001", "items-0002"]


def test_spaces_live_side_by_side(shop: Catalog, tmp_path: Path) -> None:
    publish(shop, vectors(8), f"exact:{tmp_path}/v", space="a")
    publish(shop, vectors(4), f"exact:{tmp_path}/v", space="b")
    with Space.open(shop, "a") as a, Space.open(shop, "b") as b:
        assert (a.retriever.dim, b.retriever.dim) == (8, 4)


def test_a_relative_url_opens_from_anywhere(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    publish(shop, vectors(), "lsh:published?trees=2")
    monkeypatch.chdir("/")
    with Space.open(shop) as space:
        assert len(space.retriever) == 20
        assert "trees=2" in str(space.retriever.url)


def test_builds(shop: Catalog, tmp_path: Path) -> None:
    with pytest.raises(UnknownBuild, match="itemspace build"):
        get_build(shop)
    first, second = recorded(shop, tmp_path / "1"), recorded(shop, tmp_path / "2", 4)
    assert get_build(shop).id == second
    found = get_build(shop, first)
    assert (found.item_count, found.dim, found.metric) == (20, 8, Metric.COSINE)
    assert found.lineage == {"builder": "x"}
    version = publish_build(shop, found, f"exact:{tmp_path}/published")
    assert get_version(shop, "items").checksum == version.checksum == found.checksum
    with pytest.raises(UnknownBuild, match="no build 99"):
        get_build(shop, 99)


def test_a_flipped_byte_is_found_before_anything_moves(shop: Catalog, tmp_path: Path) -> None:
    publish(shop, vectors(), f"exact:{tmp_path}/published")
    number = recorded(shop, tmp_path / "build")
    file = tmp_path / "build" / "matrix.npy"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptData, match=r"matrix\.npy"):
        publish_build(shop, get_build(shop, number), f"exact:{tmp_path}/published")
    assert get_pointer(shop, "items").live == 1


def test_other_vectors_in_the_place_of_a_build(shop: Catalog, tmp_path: Path) -> None:
    number = recorded(shop, tmp_path / "build")
    (tmp_path / "build").rename(tmp_path / "away")
    vectors(4).save(tmp_path / "build")
    with pytest.raises(CorruptData, match=f"not those of build {number}"):
        publish_build(shop, get_build(shop, number), f"exact:{tmp_path}/published")


def test_nothing_is_published_by_halves(shop: Catalog, tmp_path: Path) -> None:
    with pytest.raises(EmptyInput):
        publish(shop, VectorSet(Ids([]), np.empty((0, 4))), f"exact:{tmp_path}/published")
    with pytest.raises(UnknownParameter):
        publish(shop, vectors(), f"lsh:{tmp_path}/published?trese=3")
    with pytest.raises(InvalidURL, match="ends with its process"):
        publish(shop, vectors(), "lsh://?trees=2")
    with pytest.raises(UnknownSpace):
        Space.open(shop)
    with shop.engine.connect() as connection:
        assert connection.scalars(select(version_table.c.id)).all() == []


def test_a_failed_publishing_is_in_nobodys_way(shop: Catalog, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="factory"):
        publish(shop, vectors(), f"faiss:{tmp_path}/published?factory=LSHfoo")
    assert not (tmp_path / "published").exists()
    publish(shop, vectors(), f"faiss:{tmp_path}/published?factory=LSH8")
    # As a publisher that was killed leaves it: a folder that no version names.
    create_retriever(f"faiss:{tmp_path}/published/items-0002", vectors()).close()
    assert publish(shop, vectors(), f"faiss:{tmp_path}/published").number == 2


def test_a_version_of_the_same_number(shop: Catalog, tmp_path: Path) -> None:
    publish(shop, vectors(), f"exact:{tmp_path}/published")
    with pytest.raises(PublishConflict, match="at the same moment"):
        values = {"dim": 4, "metric": "cosine", "id_kind": "str", "lineage": {}}
        add_version(shop, "items", 1, url="exact:x", checksum="", item_count=1, **values)


def test_the_slower_of_two_publishers_is_told(shop: Catalog, tmp_path: Path) -> None:
    first = publish(shop, vectors(), f"exact:{tmp_path}/published")
    publish(shop, vectors(), f"exact:{tmp_path}/published")
    for expected in (1, None):
        with pytest.raises(PublishConflict, match="another publisher"):
            swap_live(shop, first, expected=expected)
    with pytest.raises(PublishConflict):
        swap_live(shop, first, expected=2, publisher="somebody else")
    assert get_pointer(shop, "items").live == 2


def test_spaces_that_cannot_be_opened(shop: Catalog, tmp_path: Path) -> None:
    with pytest.raises(UnknownSpace, match="nothing"):
        Space.open(shop, "nothing")
    publish(shop, vectors(), f"exact:{tmp_path}/published")
    with pytest.raises(NothingPublished, match="version 7"):
        Space.open(shop, version=7)
    with shop.engine.begin() as connection:
        connection.execute(space_table.update().values(live_version=None))
        connection.execute(delete(version_table))
    with pytest.raises(NothingPublished):
        Space.open(shop)


def test_an_index_is_tuned_with_the_users(shop: Catalog, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    matrix = abs(rng.standard_normal((20_000, 16))) * rng.lognormal(0, 0.3, (20_000, 1))
    items = VectorSet(Ids([f"p{at}" for at in range(20_000)]), matrix, Metric.INNER_PRODUCT)
    users = VectorSet(Ids(range(50)), -abs(rng.standard_normal((50, 16))), Metric.INNER_PRODUCT)
    patience = []
    for some in (None, users, VectorSet(Ids([], "int"), users.matrix[:0], users.metric)):
        publish(shop, items, f"lsh:{tmp_path}/published", users=some)
        with Space.open(shop) as space:
            driver = space._now.opened.retriever._driver  # type: ignore[attr-defined]
            patience.append(driver._index.describe()["patience"])
    assert patience[0] == patience[2] < patience[1]


def test_a_move_changes_the_backend_and_nothing_else(shop: Catalog, tmp_path: Path) -> None:
    number = recorded(shop, tmp_path / "build")
    users = VectorSet(Ids(range(20)), np.random.default_rng(3).standard_normal((20, 8)))
    build = get_build(shop, number)
    given = VectorSet.open(build.path)
    first = publish(shop, given, f"lsh:{tmp_path}/one", build=build, users=users)
    with Space.open(shop) as following, following.pin() as old:
        second = move(shop, f"faiss:{tmp_path}/two?factory=HNSW16")
        assert (second.number, second.build_id) == (2, number)
        assert (second.users, second.lineage) == (first.users, first.lineage)
        with Space.open(shop) as new:
            assert new.version == 2
            for one, other in (
                (old.similar_to("p3"), new.similar_to("p3")),
                (old.for_user(3), new.for_user(3)),
            ):
                pairs = [[(row.sku, row.score) for row in near.execute()] for near in (one, other)]
                assert pairs[0] == pairs[1]
    with pytest.raises(UnknownSpace):
        move(shop, f"lsh:{tmp_path}/three", space="nothing")
    with pytest.raises(InvalidURL, match="ends with its process"):
        move(shop, "lsh://")
    with Space.open(shop) as still:
        assert still.version == 2
