"""Recommendations for every user: page by page, resumable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..catalog.catalog import Catalog
from ..catalog.user_events import count_users, user_pages
from ..core.errors import EmptyInput
from ..core.progress import Progress
from .batches import Batch, Recommendation

#: Users that are answered together: of 100 items each, a page takes some 20 MB.
PAGE = 2_000
Job = Mapping[str, Any]


class Output(Protocol):
    """Where recommendations go; each page goes in whole or not at all."""

    def start(self, job: Job) -> tuple[int, Any]:
        """How many users are in already, and the last of them (None: nobody), of this very job."""

    def write(self, page: Sequence[Recommendation]) -> None:
        """Add the answers of a page."""

    def finish(self) -> None:
        """All pages are there."""


def recommend_all(
    catalog: Catalog,
    batch: Batch,
    output: Output,
    job: Job,
    *,
    page_size: int = PAGE,
    progress: Progress | None = None,
) -> int:
    """Recommend to every user who has events, in the order of their ids.

    A run that was broken off goes on after the last page that went in, where ``job`` is the same.
    Memory does not grow with the number of users.

    Parameters
    ----------
    job
        What the recommendations are made by, as JSON can hold it: version, k, conditions, ….

    Returns
    -------
    int
        How many users are in the output.
    """
    total = count_users(catalog)
    if not total:
        raise EmptyInput(
            f"The table {catalog.interactions.table} holds no events, so there is nobody to "
            "recommend to.",
            path=str(catalog.interactions.table),
        )
    done, last = output.start(job)
    for users in user_pages(catalog, page_size, after=last):
        output.write(batch.recommend(users))
        done += len(users)
        if progress is not None:
            progress(done, total, "recommending")
    output.finish()
    return done
