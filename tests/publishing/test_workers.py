"""A web server of several processes: what is published, and what one deletes, all of them see."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from itemspace import Ids, Space, VectorSet
from itemspace.catalog import Catalog
from itemspace.publishing import publish
from servers import free_port, running

pytest.importorskip("gunicorn")

WORKERS = 4
APPLICATION = """
import json, os
from urllib.parse import parse_qs
from itemspace import Catalog, Space

catalog = Catalog(os.environ["SHOP"], items="product", id_column="sku")
space = Space.open(catalog, refresh=0.1)


def application(environ, start_response):
    item = parse_qs(environ["QUERY_STRING"])["item"][0]
    answer = {"pid": os.getpid()}
    if environ["PATH_INFO"] == "/delete":
        answer["deleted"] = space.delete([item])
    else:
        rows = space.similar_to(item).execute()
        answer["items"], answer["scores"] = zip(*((row.sku, row.score) for row in rows))
        answer["version"], answer["revision"] = rows.version, rows.revision
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
"""


def vectors(seed: int) -> VectorSet:
    matrix = np.random.default_rng(seed).standard_normal((200, 8))
    return VectorSet(Ids([f"p{at}" for at in range(200)]), matrix)


class Site:
    """The web server, as its visitors see it."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> Any:
        with urlopen(self._address + path, timeout=10) as answer:
            return json.load(answer)

    def ask(self) -> list[Any]:
        """Several answers at once, so that several workers give them."""
        with ThreadPoolExecutor(2 * WORKERS) as pool:
            return list(pool.map(self.get, ["/similar?item=p3"] * 2 * WORKERS))

    def wait_for(self, holds: Callable[[Any], bool], seconds: float = 20.0) -> set[int]:
        """Ask until as many workers as there are gave an answer that holds; who they are."""
        seen: set[int] = set()
        end = monotonic() + seconds
        while len(seen) < WORKERS:
            assert monotonic() < end, f"only {seen}"
            seen |= {answer["pid"] for answer in self.ask() if holds(answer)}
        assert all(map(holds, self.ask()))
        return seen


@contextmanager
def serving(shop: Catalog, folder: Path, *options: str) -> Iterator[Site]:
    """Ends without having complained."""
    (folder / "application.py").write_text(APPLICATION)
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "gunicorn", f"--workers={WORKERS}", f"--chdir={folder}"]
    url = shop.engine.url.render_as_string(hide_password=False)
    command += [f"--bind=127.0.0.1:{port}", f"--env=SHOP={url}", *options, "application"]
    site = Site(port)
    with running(command, log, lambda: site.get("/similar?item=p3")) as server:
        try:
            yield site
        finally:
            server.terminate()
            server.wait(30)
    for complaint in ("Traceback", "answers on"):
        assert complaint not in log.read_text()


@pytest.mark.parametrize(
    ("engine", "options"),
    [("sqlite", ["--preload"]), ("postgresql", ["--preload"]), ("sqlite", [])],
    ids=["sqlite-preload", "postgresql-preload", "sqlite-each"],
    indirect=["engine"],
)
def test_all_workers_see_the_same(
    shop: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where gunicorn has a socket for its control
    publish(shop, vectors(1), f"lsh:{tmp_path}/published")
    with serving(shop, tmp_path, *options) as site:
        site.wait_for(lambda answer: bool(answer["version"] == 1))

        publish(shop, vectors(2), f"faiss:{tmp_path}/published?factory=Flat")
        with Space.open(shop) as space:
            rows = space.similar_to("p3").execute()
        expected = [row.sku for row in rows], [row.score for row in rows], 2
        workers = site.wait_for(
            lambda answer: (answer["items"], answer["scores"], answer["version"]) == expected
        )

        gone = expected[0][0]
        first = site.get(f"/delete?item={gone}")
        assert first["deleted"] == 1
        assert first["pid"] in workers

        def is_without(answer: Any) -> bool:
            return answer["version"] == 2 and gone not in answer["items"]

        assert site.wait_for(is_without, seconds=2) == workers

        os.kill(first["pid"], signal.SIGKILL)
        assert first["pid"] not in site.wait_for(is_without)
