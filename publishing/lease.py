"""One publisher at a time in each space, who is heard of while it works."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from time import monotonic
from typing import Self

from ..catalog.catalog import Catalog
from ..catalog.leases import (
    PUBLISHING_SECONDS,
    claim_publishing,
    new_holder,
    release_publishing,
    renew_publishing,
)
from ..core.errors import CatalogError, InvalidOption, PublishConflict

log = logging.getLogger(__name__)
#: How often it is tried to become the publisher, seconds.
_AGAIN = 0.5


class Publisher:
    """The right to publish into a space, as a context.

    Parameters
    ----------
    wait
        For how many seconds to wait for another one.

    Raises
    ------
    PublishConflict
        On entering: another one publishes still; it is named.
    """

    def __init__(self, catalog: Catalog, space: str, wait: float = 0.0) -> None:
        if not wait >= 0:
            raise InvalidOption(
                f"wait is a number of seconds, at least 0; received {wait!r}.",
                option="wait",
                received=wait,
            )
        self._catalog, self._space, self._wait = catalog, space, wait
        #: Its name in SQL.
        self.holder = new_holder()
        self._done = threading.Event()

    def __enter__(self) -> Self:
        end = monotonic() + self._wait
        while True:
            try:
                claim_publishing(self._catalog, self._space, self.holder)
                break
            except PublishConflict:
                if monotonic() >= end:
                    raise
                self._done.wait(_AGAIN)
        name = f"itemspace-publishing-{self._space}"
        self._thread = threading.Thread(target=self._renew, name=name, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        with suppress(CatalogError):  # it runs out by itself
            release_publishing(self._catalog, self._space, self.holder)

    def _renew(self) -> None:
        while not self._done.wait(PUBLISHING_SECONDS / 3):
            try:
                renew_publishing(self._catalog, self._space, self.holder)
            except PublishConflict as error:
                log.warning("%s", error)
                return  # the swap of the live pointer will not be done
            except CatalogError as error:
                log.warning("%s", error)
