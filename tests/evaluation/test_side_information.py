"""Side information reaches the builders that take it, and no others."""

import sys
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from itemspace import Sequences
from itemspace.builders import SideInformation
from itemspace.builders.counting import ItemKNN, Popularity
from itemspace.builders.options import OneOf
from itemspace.core.errors import InvalidOption, MissingExtra
from itemspace.evaluation import compare, leave_last_out, tune
from itemspace.evaluation.figures import check_figure, draw_field_weights

SIDE = SideInformation.from_columns(["a", "b", "c"], brand=["x", "x", "y"])


class Reader(Popularity):
    """Takes side information, and notes what it was given."""

    supports_side: ClassVar[bool] = True
    search_space: ClassVar[Any] = {"fields": OneOf((("brand",), ("price",)))}
    given: ClassVar[list[Any]] = []

    def __init__(self, fields: tuple[str, ...] = ("brand",)) -> None:
        super().__init__()
        self.fields = fields

    def fit(
        self, sequences: Sequences, *, side: SideInformation | None = None, **more: Any
    ) -> Self:
        self.given.append(side)
        super().fit(sequences, **more)
        return self


@pytest.fixture(autouse=True)
def given() -> list[Any]:
    Reader.given.clear()
    return Reader.given


def split() -> Any:
    return leave_last_out(Sequences.from_lists([["a", "b", "c"], ["b", "c", "a"]]))


def test_compare(given: list[Any]) -> None:
    compared = compare({"reader": Reader(), "knn": ItemKNN()}, split(), side=SIDE)
    assert [entry.name for entry in compared.entries] == ["reader", "knn"]
    assert given == [SIDE]
    compare({"reader": Reader()}, split())
    assert given == [SIDE, None]


def test_tune(given: list[Any]) -> None:
    tune(Reader, split(), trials=2, side=SIDE)
    assert given == [SIDE, SIDE]
    tune(ItemKNN, split(), trials=1, space={"window": OneOf((1, 2))}, side=SIDE)


def test_a_chart_of_field_weights(tmp_path: Path) -> None:
    for name in ("weights.png", "weights.SVG"):
        check_figure(tmp_path / name)
        draw_field_weights({"item": 0.25, "brand": 0.75}, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    with pytest.raises(InvalidOption, match=r"ends in .*\.png"):
        check_figure(tmp_path / "weights.txt")
    with pytest.raises(InvalidOption, match="folder that is there"):
        check_figure(tmp_path / "no" / "weights.png")


def test_a_chart_needs_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match="evaluation"):
        check_figure("weights.png")
