from pathlib import Path

import numpy as np
import pytest
from itemspace import Ids, Metric, VectorSet
from itemspace.catalog import Catalog
from itemspace.core.errors import InvalidOption, UnknownIds
from itemspace.core.histories import Recent
from itemspace.publishing import publish
from itemspace.space import Space
from itemspace.users import recommend


def opened(shop: Catalog, folder: Path, metric: Metric = Metric.COSINE) -> Space:
    ids = [f"p{at}" for at in range(195)]
    matrix = np.random.default_rng(0).standard_normal((195, 8))
    publish(shop, VectorSet(Ids(ids), matrix, metric), f"exact:{folder}/published")
    return Space.open(shop)


@pytest.mark.parametrize("metric", list(Metric))
def test_near_the_mean_without_what_was_seen(shop: Catalog, tmp_path: Path, metric: Metric) -> None:
    with opened(shop, tmp_path, metric) as space:
        user = 3
        seen = set(shop.seen_items(user))
        recent = [item for item in shop.recent_items(user, 5) if item in space.retriever]
        mean = Recent(5).mean(space.retriever.vectors(recent), metric)
        expected = space.retriever.search(mean, 10, excluded=list(seen))
        rows = recommend(space, user, 10, recent=5).execute()
        assert [row.sku for row in rows] == expected[0].ids.tolist()
        assert not seen & {row.sku for row in rows}
        everything = recommend(space, user, 500, recent=5, exclude_seen=False).execute()
        assert len(everything) == 195


def test_newest_first_each_once(shop: Catalog) -> None:
    items = shop.recent_items(3, 1000)
    assert len(items) == len(set(items))
    assert set(items) == set(shop.seen_items(3))
    log = shop.read_interactions()
    rows = np.flatnonzero(log.user_codes == log.users.to_list().index(3))
    assert log.times is not None
    latest: dict[str, float] = {}
    for row in rows:
        name = str(log.items[int(log.item_codes[row])])
        latest[name] = max(latest.get(name, 0), log.times[row])
    stamps = [latest[item] for item in items]
    assert stamps == sorted(stamps, reverse=True)
    assert shop.recent_items(3, 3) == items[:3]


def test_users_without_anything(shop: Catalog, tmp_path: Path) -> None:
    with opened(shop, tmp_path) as space:
        with pytest.raises(UnknownIds, match="99 has no events"):
            recommend(space, 99)
        with pytest.raises(InvalidOption, match="recent items"):
            recommend(space, 3, recent=0)
