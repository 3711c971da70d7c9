"""Versions whose users are in a Redis."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import Ids, Space, UserSource, VectorSet
from itemspace.catalog import Catalog
from itemspace.core.errors import BackendNotFound, BackendUnavailable, VersionMismatch
from itemspace.publishing import publish
from itemspace.users import remove_user_store


def vectors(seed: int, ids: Any) -> VectorSet:
    matrix = np.random.default_rng(seed).standard_normal((len(ids), 8))
    return VectorSet(Ids(ids), matrix)


ITEMS = vectors(0, [f"p{at}" for at in range(190)])


def test_each_version_has_its_own_users(shop: Catalog, tmp_path: Path, redis_server: Any) -> None:
    to, users_to = f"exact:{tmp_path}/published", redis_server.unix("shop:users")
    first = publish(shop, ITEMS, to, users=vectors(1, range(20)), users_to=users_to)
    second = publish(shop, ITEMS, to, users=vectors(2, range(10)), users_to=users_to)
    for version, seed, count in ((first, 1, 20), (second, 2, 10)):
        assert version.users is not None
        assert "shop%3Ausers%3Aitems-000" in version.users.url
        with Space.open(shop, version=version.number) as space:
            assert space.user_vectors is not None and len(space.user_vectors) == count
            rows = space.for_user(3, 5).execute()
            wanted = vectors(seed, range(count)).vectors([3])
            seen = [one for one in ITEMS.ids if one not in {row.sku for row in rows}]
            assert rows.source is UserSource.PUBLISHED
            best = space.retriever.search(wanted, 190)[0].ids.tolist()
            assert [name for name in best if name not in seen] == [row.sku for row in rows]
            sources = [one.source for one in space.for_users([3, 15, 99], 2)]
            known = UserSource.PUBLISHED if count > 15 else UserSource.RECENT
            assert sources == [UserSource.PUBLISHED, known, UserSource.POPULAR]
    remove_user_store(second.users.url)  # type: ignore[union-attr]
    with pytest.raises(BackendNotFound, match="publish again"):
        Space.open(shop)
    Space.open(shop, version=1).close()


def test_users_that_somebody_exchanged(shop: Catalog, tmp_path: Path, redis_server: Any) -> None:
    from itemspace.users import create_user_store

    to, users_to = f"exact:{tmp_path}/published", redis_server.unix()
    made = publish(shop, ITEMS, to, users=vectors(1, range(20)), users_to=users_to)
    assert made.users is not None
    remove_user_store(made.users.url)
    create_user_store(made.users.url, vectors(2, range(20))).close()
    with pytest.raises(VersionMismatch, match="not those that were published"):
        Space.open(shop)


def test_a_server_that_stops(
    shop: Catalog, tmp_path: Path, start_redis: Callable[..., Any]
) -> None:
    server = start_redis()
    to = f"exact:{tmp_path}/published"
    publish(shop, ITEMS, to)
    server.stop()
    with pytest.raises(BackendUnavailable):
        publish(shop, ITEMS, to, users=vectors(1, range(20)), users_to=server.unix("u"))
    with Space.open(shop) as space:
        assert space.version == 1  # which serves on
        assert len(space.for_user(3, 5).execute()) == 5
    server.start()
    publish(shop, ITEMS, to, users=vectors(1, range(20)), users_to=server.unix("u", timeout=1))
    with Space.open(shop) as space:
        assert len(space.for_user(3, 5).execute()) == 5
        server.stop()
        with pytest.raises(BackendUnavailable, match="does not answer"):
            space.for_user(3, 5).execute()
