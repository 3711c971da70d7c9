"""Which items have a vector, and which vectors an item."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from ..catalog.catalog import Bind, Catalog
from ..core.ids import Ids
from ..core.retriever import Retriever, known_vectors

_PAGE = 10_000


@dataclass(frozen=True)
class Coverage:
    """How the rows of the items and a version's vectors meet."""

    rows: int
    """Of the mapped items."""
    items: int
    """Distinct ids among them."""
    without_id: int
    """Rows whose id is NULL."""
    vectors: int
    items_without_vector: int
    """They never come back; build with newer interactions, or by side information."""
    vectors_without_item: int
    """They are passed over."""

    @property
    def repeated(self) -> int:
        """Rows beyond the first of each id. A lookup gives them all, and counts the item once."""
        return self.rows - self.without_id - self.items

    def sentences(self) -> list[str]:
        """What is not as it might be; nothing where every item has a vector and a row."""
        return [
            f"{count:,} {text}"
            for count, text in (
                (self.items_without_vector, f"of {self.items:,} items have no vector."),
                (self.vectors_without_item, f"of {self.vectors:,} vectors have no item in SQL."),
                (self.repeated, "rows repeat the id of another row."),
                (self.without_id, "rows have no id."),
            )
            if count
        ]


def find_coverage(catalog: Catalog, retriever: Retriever, bind: Bind | None = None) -> Coverage:
    """Two statements; the ids are streamed."""
    items = catalog.items
    counts = select(func.count(), func.count(items.id), func.count(items.id.distinct()))
    ids = select(items.id).where(items.id.is_not(None)).distinct()
    with catalog.connection(bind) as connection:
        rows, named, distinct = connection.execute(counts.select_from(items.table)).one()
        known = 0
        with connection.execute(ids.execution_options(yield_per=_PAGE)) as result:
            for page in result.scalars().partitions():
                known += int(known_vectors(retriever, Ids(page, items.id_kind))[0].sum())
    return Coverage(
        rows=rows,
        items=distinct,
        without_id=rows - named,
        vectors=len(retriever),
        items_without_vector=distinct - known,
        vectors_without_item=len(retriever) - known,
    )
