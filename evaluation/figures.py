"""Figures, by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import InvalidOption, MissingExtra


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure of a size in inches; :class:`MissingExtra` without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "Figures need matplotlib; pip install 'itemspace[evaluation]'.", extra="evaluation"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def check_figure(path: str | Path) -> None:
    """Raise where no figure can be written to a path: before the work whose outcome it draws.

    Raises :class:`InvalidOption` for an ending that is no format of figures, or a folder that is
    not there; :class:`MissingExtra` without matplotlib.
    """
    known = new_figure(1, 1).canvas.get_supported_filetypes()
    expected = ""
    if Path(path).suffix[1:].lower() not in known:
        expected = f"ends in .{', .'.join(sorted(known))}"
    elif not Path(path).parent.is_dir():
        expected = "stands in a folder that is there"
    if expected:
        raise InvalidOption(
            f"A figure's file {expected}; received {str(path)!r}.",
            option="figure",
            received=str(path),
        )


def draw_field_weights(weights: Mapping[str, float], path: str | Path) -> None:
    """Bars of what the slots of items weigh, the heaviest on top; the format is the ending.

    Raises :class:`MissingExtra` without matplotlib.
    """
    figure = new_figure(6, 1 + 0.3 * len(weights))
    axes = figure.subplots()
    ranked = sorted(weights.items(), key=lambda pair: pair[1])
    bars = axes.barh([name for name, _ in ranked], [weight for _, weight in ranked])
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.set(xlabel="mean weight α over the items that have it", xlim=(0, 1))
    figure.savefig(path)
