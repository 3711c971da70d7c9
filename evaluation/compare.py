"""Several builders on one split: a table, JSON and a figure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..builders.builder import fit_builder
from ..core.side_information import SideInformation
from .evaluate import Evaluation, evaluate
from .figures import new_figure
from .memory import forget_peak, peak_megabytes
from .splits import Split


@dataclass(frozen=True, eq=False)
class Entry:
    """One builder's outcome."""

    name: str
    options: dict[str, Any]
    evaluation: Evaluation
    fit_seconds: float
    peak_megabytes: float
    """The process's peak during the fit, where the system can start it afresh (Linux); elsewhere a
    builder that comes later never shows less."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Builders beside each other, in the order in which they were given."""

    split: Split
    entries: list[Entry]

    def table(self, k: int = 10) -> tuple[list[str], list[list[Any]]]:
        """Column names, and a row per builder."""
        columns = ["builder", f"HR@{k}", "95 %", f"NDCG@{k}", "MRR", "coverage", "fit s", "peak MB"]
        rows = []
        for entry in self.entries:
            hits = entry.evaluation.estimate("hr", k)
            gain = entry.evaluation.per_case("ndcg", k).mean()
            first = entry.evaluation.per_case("mrr", k).mean()
            beyond = entry.evaluation.beyond
            covered = next(value for name, value in beyond.items() if name.startswith("coverage"))
            rows.append(
                [
                    entry.name,
                    f"{hits.value:.4f}",
                    f"{hits.low:.4f}–{hits.high:.4f}",
                    f"{gain:.4f}",
                    f"{first:.4f}",
                    f"{covered.value:.3f}",
                    f"{entry.fit_seconds:.1f}",
                    f"{entry.peak_megabytes:.0f}",
                ]
            )
        return columns, rows

    def to_dict(self) -> dict[str, Any]:
        """All measures of all builders, for JSON."""
        return {
            "split": self.split.name,
            "cases": len(self.split.histories),
            "items": len(self.split.train.vocabulary),
            "builders": [
                {
                    "name": entry.name,
                    "options": entry.options,
                    "fit_seconds": entry.fit_seconds,
                    "peak_megabytes": entry.peak_megabytes,
                    **entry.evaluation.summary(),
                }
                for entry in self.entries
            ],
        }

    def write_json(self, path: str | Path) -> None:
        """Write :meth:`to_dict`."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def write_figure(self, path: str | Path) -> None:
        """HR against k, and HR@10 against the time of the fit; the format is the path's ending.

        Raises :class:`MissingExtra` without matplotlib.
        """
        figure = new_figure(10, 4 + 0.2 * len(self.entries))
        by_k, by_time = figure.subplots(1, 2)
        for entry in self.entries:
            ks = entry.evaluation.ks
            values = [entry.evaluation.estimate("hr", k).value for k in ks]
            by_k.plot(ks, values, marker="o", label=entry.name)
            hits = entry.evaluation.estimate("hr", 10)
            spread = [[hits.value - hits.low], [hits.high - hits.value]]
            by_time.errorbar([entry.fit_seconds], [hits.value], spread, fmt="o", label=entry.name)
        by_k.set(xlabel="k", ylabel="HR@k", title=self.split.name, xticks=ks, ylim=(0, None))
        by_time.set(xlabel="seconds to fit", ylabel="HR@10, 95 %", xscale="log", ylim=(0, None))
        figure.legend(*by_k.get_legend_handles_labels(), loc="outside lower center")
        figure.savefig(path)


def compare(
    builders: Mapping[str, Any],
    split: Split,
    *,
    side: SideInformation | None = None,
    **options: Any,
) -> Comparison:
    """Fit each builder on the split's training data and evaluate it.

    Parameters
    ----------
    builders
        Name → builder, not fitted yet.
    side
        What is known of the items, for the builders that support it.
    options
        Of :func:`~.evaluate.evaluate`.
    """
    entries = []
    for name, builder in builders.items():
        forget_peak()
        started = time.perf_counter()
        fit_builder(builder, split.train, side=side)
        seconds = time.perf_counter() - started
        peak = peak_megabytes()
        found = evaluate(builder, split, **options)
        entries.append(Entry(name, builder.get_params(), found, seconds, peak))
    return Comparison(split, entries)
