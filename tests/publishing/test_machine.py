"""Publishing, changing, going back, collecting, crashing, in any order, beside a dictionary."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from itemspace import Ids, Metric, Space, VectorSet
from itemspace.catalog import Catalog, ensure, open_engine
from itemspace.catalog.bookkeeping import version_table
from itemspace.catalog.versions import get_pointer, list_versions
from itemspace.core.errors import NothingPublished, PublishConflict, VersionMismatch
from itemspace.publishing import activate, collect, move, publish, rollback
from sqlalchemy import text, update

NAMES = [f"p{at}" for at in range(8)]
some_names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)


class Killed(BaseException):
    """As a signal that nobody can catch."""


class Publishing(RuleBasedStateMachine):
    """The model: of each version what it held, its training and its base; and the log."""

    versions = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="itemspace-")
        self.path = Path(self._folder.name)
        engine = open_engine(f"sqlite:///{self.path}/shop.db", create=True)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE item (item_id TEXT PRIMARY KEY)"))
            for name in NAMES:
                connection.execute(text("INSERT INTO item VALUES (:name)"), {"name": name})
        ensure(engine)
        self.engine, self.catalog = engine, Catalog(engine)
        self.held: dict[int, dict[str, float]] = {}
        self.training: dict[int, int] = {}
        self.base: dict[int, int] = {}
        self.log: list[tuple[int, dict[str, float | None]]] = []
        self.live: int | None = None
        self.once_live: set[int] = set()
        self.gone: set[int] = set()
        self.space: Space | None = None
        self.value = 0.0

    def teardown(self) -> None:
        if self.space is not None:
            self.space.close()
        self.engine.dispose()
        self._folder.cleanup()

    # -- what the answers should be ------------------------------------------------------------

    def now(self, number: int) -> dict[str, float]:
        """What a version holds, with the changes that are for it."""
        found = dict(self.held[number])
        for revision, (training, change) in enumerate(self.log, 1):
            if revision > self.base[number]:
                for name, value in change.items():
                    if value is None:
                        found.pop(name, None)
                    elif training == self.training[number]:
                        found[name] = value
        return found

    def made(self, names: list[str]) -> dict[str, float]:
        """New vectors, each unlike any before."""
        found = {}
        for name in names:
            self.value += 1
            found[name] = self.value
        return found

    def vectors(self, values: dict[str, float]) -> VectorSet:
        matrix = np.array([[value, 1] for value in values.values()], np.float32).reshape(-1, 2)
        return VectorSet(Ids(list(values), "str"), matrix, Metric.EUCLIDEAN)

    def note(self, number: int, values: dict[str, float], training: int) -> None:
        self.held[number], self.training[number] = values, training
        self.base[number] = len(self.log)

    def set_live(self, number: int) -> None:
        self.live = number
        self.once_live.add(number)
        if self.space is not None:
            self.space._source.look()  # type: ignore[attr-defined]

    # -- rules ---------------------------------------------------------------------------------

    @rule(target=versions, names=some_names, backend=st.sampled_from(["exact", "lsh"]))
    def publish_new(self, names: list[str], backend: str) -> int:
        values = self.made(names)
        found = publish(self.catalog, self.vectors(values), f"{backend}:{self.path}/v")
        self.note(found.number, values, found.number)
        self.set_live(found.number)
        return found.number

    @rule(target=versions, names=some_names)
    def stage(self, names: list[str]) -> int:
        values = self.made(names)
        place = f"exact:{self.path}/v"
        found = publish(self.catalog, self.vectors(values), place, stage_only=True)
        self.note(found.number, values, found.number)
        return found.number

    @precondition(lambda self: self.live and self.now(self.live))
    @rule(target=versions)
    def fold(self) -> int:
        assert self.live is not None
        values = self.now(self.live)
        found = move(self.catalog, f"exact:{self.path}/v")
        self.note(found.number, values, self.training[self.live])
        self.set_live(found.number)
        return found.number

    @rule(names=some_names, where=st.sampled_from(["check_items", "finish_version"]))
    def crash(self, names: list[str], where: str) -> None:
        def dies(*_: object) -> None:
            raise Killed

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(f"itemspace.publishing.staging.{where}", dies)
            publish(self.catalog, self.vectors(self.made(names)), f"exact:{self.path}/v")

    @rule(number=versions)
    def activate(self, number: int) -> None:
        if number in self.gone:
            with pytest.raises(PublishConflict, match="not ready"):
                activate(self.catalog, number)
            return
        activate(self.catalog, number)
        self.set_live(number)

    @precondition(lambda self: self.live)
    @rule()
    def roll_back(self) -> None:
        assert self.live is not None
        older = [one for one in self.once_live - self.gone if one < self.live]
        if not older:
            with pytest.raises(NothingPublished):
                rollback(self.catalog)
            return
        assert rollback(self.catalog).number == max(older)
        self.set_live(max(older))

    @precondition(lambda self: self.live)
    @rule(names=some_names)
    def upsert(self, names: list[str]) -> None:
        assert self.live is not None
        values = self.made(names)
        with Space.open(self.catalog) as space:
            given = self.vectors(values)
            assert space.upsert(given.ids, given.matrix) == len(self.log) + 1
        self.log.append((self.training[self.live], dict(values)))

    @rule(names=some_names, number=versions)
    def upsert_to_another(self, names: list[str], number: int) -> None:
        if number in self.gone or self.live is None:
            return
        values = self.made(names)
        with Space.open(self.catalog, version=number) as space:
            given = self.vectors(values)
            if self.training[number] != self.training[self.live]:
                with pytest.raises(VersionMismatch):
                    space.upsert(given.ids, given.matrix)
                return
            space.upsert(given.ids, given.matrix)
        self.log.append((self.training[number], dict(values)))

    @precondition(lambda self: self.live)
    @rule(names=some_names)
    def delete(self, names: list[str]) -> None:
        assert self.live is not None
        with Space.open(self.catalog) as space:
            assert space.delete(names) == len(set(names) & set(self.now(self.live)))
        self.log.append((0, dict.fromkeys(names)))

    @rule(keep=st.integers(0, 2))
    def collect(self, keep: int) -> None:
        with self.engine.begin() as connection:  # nobody has read for a while
            connection.execute(update(version_table).values(read_until=0))
        if self.space is not None:
            self.space._source.look()  # type: ignore[attr-defined]
        try:
            found = collect(self.catalog, keep=keep)
        except Exception:
            assert self.live is None
            return
        self.gone |= {
            one.version.number for one in found if one.removed and one.why != "left behind"
        }
        assert self.live not in self.gone

    @precondition(lambda self: self.live)
    @rule()
    def reopen(self) -> None:
        if self.space is not None:
            self.space.close()
        self.space = Space.open(self.catalog, refresh=3600)

    # -- laws ----------------------------------------------------------------------------------

    @invariant()
    def answers_are_those_of_the_model(self) -> None:
        if self.live is None:
            return
        expected = self.now(self.live)
        opened = [Space.open(self.catalog)] + ([self.space] if self.space else [])
        for space in opened:
            assert space.version == self.live
            assert space.revision == len(self.log)
            assert len(space.retriever) == len(expected)
            found = space.retriever.search([[0.0, 1.0]], 20)[0]
            best = sorted(expected, key=lambda name: expected[name])
            assert found.ids.tolist() == best
            assert found.scores.tolist() == [-expected[name] for name in best]
            rows = space.near([0.0, 1.0], k=20).execute()
            assert [row.item_id for row in rows] == best
            assert (rows.version, rows.revision) == (self.live, len(self.log))
        opened[0].close()

    @invariant()
    def versions_are_those_of_the_model(self) -> None:
        if self.held:
            known = {one.number for one in list_versions(self.catalog, "items") if one.was_ready}
            assert known == set(self.held)
            assert get_pointer(self.catalog, "items").live == self.live


TestPublishing = Publishing.TestCase
TestPublishing.settings = settings(
    max_examples=12,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
class TestPublishingForLong(TestPublishing):
    settings = settings(
        max_examples=150,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
