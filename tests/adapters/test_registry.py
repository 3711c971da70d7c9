import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from itemspace import VectorSet, create_retriever, open_retriever
from itemspace.adapters import registry
from itemspace.core.errors import (
    BrokenPlugin,
    InvalidOption,
    MissingExtra,
    UnknownParameter,
    UnknownScheme,
)
from itemspace.core.ids import Ids

VECTORS = VectorSet(Ids([1, 2]), np.eye(2))


def test_unknown_scheme() -> None:
    with pytest.raises(UnknownScheme, match=r"exact, faiss, .*lsh.*Did you mean 'faiss'"):
        create_retriever("fais://", VECTORS)
    with pytest.raises(UnknownScheme):
        open_retriever("nothing:x")


def test_unknown_parameter_names_the_known_ones() -> None:
    with pytest.raises(UnknownParameter, match=r"'factroy'.*ef_search, factory.*Did you mean"):
        create_retriever("faiss://?factroy=Flat", VECTORS)
    with pytest.raises(InvalidOption, match="int"):
        create_retriever("faiss://?nprobe=many", VECTORS)
    with pytest.raises(InvalidOption, match="mode"):
        open_retriever("exact:x", "w")  # type: ignore[arg-type]


def test_the_table_is_sorted_and_read_only() -> None:
    assert list(registry.BACKENDS.builtins) == sorted(registry.BACKENDS.builtins)
    with pytest.raises(TypeError):
        registry.BACKENDS.builtins["x"] = None  # type: ignore[index]


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "itemspace.adapters.faiss", raising=False)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtra, match=r"pip install 'itemspace\[faiss\]'") as caught:
        create_retriever("faiss://", VECTORS)
    assert caught.value.extra == "faiss"


def plugins(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    points = [EntryPoint(name, target, registry.BACKENDS.group) for name, target in targets.items()]
    monkeypatch.setattr("itemspace.core.plugins.entry_points", lambda group: points)


def test_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins(
        monkeypatch,
        mine="itemspace.adapters.exact:backend",
        broken="no_such_module:backend",
        odd="itemspace.core.metric:Metric",
        lsh="itemspace.adapters.exact:backend",
    )
    with create_retriever("mine://", VECTORS) as retriever:
        assert retriever.search([1, 0], 1)[0].ids.tolist() == [1]
    for name in ("broken", "odd"):
        with pytest.raises(BrokenPlugin) as caught:
            create_retriever(f"{name}://", VECTORS)
        assert caught.value.__cause__ is not None
    assert registry.load_backend("lsh") is not registry.load_backend("mine")
    with pytest.raises(UnknownScheme, match="mine"):
        create_retriever("mind://", VECTORS)


def test_importing_loads_nothing_heavy() -> None:
    heavy = ("numba", "faiss", "gensim", "scipy", "sqlalchemy", "duckdb", "alembic", "numpy")
    code = f"import itemspace, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names() -> None:
    import itemspace

    assert sorted(itemspace.__all__) == itemspace.__all__
    assert set(itemspace._HOMES) == set(itemspace.__all__)
    for name in itemspace.__all__:
        assert getattr(itemspace, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = itemspace.nothing  # type: ignore[attr-defined]
    assert set(itemspace.__all__) <= set(dir(itemspace))


@dataclass(frozen=True)
class Options:
    count: int = 3
    share: float = 0.5
    name: str | None = None
    fast: bool = False


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("count=5&share=.25", {"count": 5, "share": 0.25}),
        ("name=a%20b&fast=true", {"name": "a b", "fast": True}),
        ("fast=0", {"fast": False}),
    ],
)
def test_parameters(query: str, expected: dict[str, Any]) -> None:
    from itemspace.adapters.options import parse_parameters
    from itemspace.adapters.url import RetrieverURL

    assert parse_parameters(RetrieverURL.parse(f"x:?{query}"), Options) == expected


def test_options_that_belong_to_the_build_cannot_change(tmp_path: Path) -> None:
    url = f"faiss://{tmp_path}/index"
    create_retriever(f"{url}?factory=HNSW8", VECTORS).close()
    open_retriever(f"{url}?ef_search=50").close()
    open_retriever(f"{url}?factory=HNSW8").close()
    with pytest.raises(InvalidOption, match="built with factory='HNSW8'"):
        open_retriever(f"{url}?factory=Flat")
