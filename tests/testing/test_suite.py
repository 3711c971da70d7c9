"""The conformance suite is itself tested: it passes a plugin as documented, and fails thinned or
lying ones."""

import re
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from itemspace.adapters import exact, registry
from itemspace.adapters.in_process import InProcessBackend
from itemspace.core.capabilities import Capabilities
from itemspace.core.eligible import Eligible
from itemspace.core.vectors import RowView
from itemspace.testing import RetrieverSuite

PAGE = Path(__file__).parent.parent.parent / "docs" / "plugins.md"


def documented() -> Any:
    """The backend of the documentation's example."""
    code = re.search(r"```python\n# mine/backend.py\n(.*?)```", PAGE.read_text(), re.S)
    assert code is not None
    module = types.ModuleType("mine_backend")
    sys.modules["mine_backend"] = module
    exec(code[1], vars(module))
    return module.backend


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a backend known as ``mine:``."""

    def register(backend: Any) -> None:
        module = types.ModuleType("mine_plugin")
        module.backend = backend  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "mine_plugin", module)
        point = EntryPoint("mine", "mine_plugin:backend", registry.BACKENDS.group)
        monkeypatch.setattr("itemspace.core.plugins.entry_points", lambda group: [point])

    return register


class TestDocumented(RetrieverSuite):
    @pytest.fixture(autouse=True)
    def plugin(self, registered: Any) -> None:
        registered(documented())

    def url(self, folder: Path) -> str:
        return f"mine://{folder}/index"

    def memory_url(self) -> str:
        return "mine://"


def test_a_thinned_suite_is_an_error() -> None:
    with pytest.raises(TypeError, match="replaces test_ties_are_ordered_by_id"):

        class Thinned(RetrieverSuite):
            test_ties_are_ordered_by_id = None

    with pytest.raises(TypeError, match="never by leaving a test out"):

        class AlsoThinned(RetrieverSuite):
            def test_empty(self) -> None: ...


class LyingIndex(exact.NoIndex):
    """Says that it is exact, and proposes the first rows there are."""

    capabilities = Capabilities(is_exact=True)
    tail_limit = 0
    scan_limit = 0

    def search(self, rows: RowView, queries: Any, k: int, eligible: Eligible | None) -> Any:
        found, scores = super().search(rows, queries, k, eligible)
        found[:] = range(k)
        return found, scores


SUBCLASS = """
from itemspace import Metric
from itemspace.testing import RetrieverSuite

class TestIt(RetrieverSuite):
    metrics = {metrics}

    def url(self, folder):
        return f"mine://{{folder}}/index"
"""


def failing(pytester: pytest.Pytester, metrics: str) -> set[str]:
    """Names of the tests that fail."""
    pytester.makepyfile(SUBCLASS.format(metrics=metrics))
    result = pytester.runpytest_inprocess("-q", "-rf", "-p", "no:cacheprovider")
    lines = (line for line in result.outlines if line.startswith("FAILED"))
    return {re.split(r"::|\[| - ", line)[2] for line in lines}


def test_a_lie_is_found(registered: Any, pytester: pytest.Pytester) -> None:
    registered(InProcessBackend(exact.ExactOptions, LyingIndex))
    assert failing(pytester, "tuple(Metric)") == {"test_finds_the_nearest"}


def test_leaving_out_a_metric_that_is_offered_fails(
    registered: Any, pytester: pytest.Pytester
) -> None:
    registered(exact.backend)
    assert failing(pytester, "tuple(Metric)") == set()
    assert failing(pytester, "(Metric.COSINE,)") == {"test_metrics"}
