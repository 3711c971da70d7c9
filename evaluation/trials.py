"""The trials of a search: each with its outcome, as a record, a table and a configuration."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..core.histories import Recent
from .configuration import Configuration


class State(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    """It was worse than the median of the others."""
    FAILED = "failed"
    """Its options cannot be built with; the message says why."""
    CUT_OFF = "cut off"
    """The budget was over."""


@dataclass(frozen=True)
class Trial:
    """One set of options and what came of it."""

    number: int
    """From 0, the builder's defaults."""
    state: State
    options: dict[str, Any]
    """All options of the builder."""
    recent: int
    """With ``decay``: how a history became a user vector."""
    decay: float
    value: float | None
    """The measure after the last epoch; only complete trials have one."""
    epochs: tuple[float, ...]
    """The measure after each epoch; none for builders that cannot be monitored."""
    seconds: float
    message: str | None = None


@dataclass(frozen=True, eq=False)
class Tuning:
    """All trials of a search, in their order; at least one is complete."""

    builder: str
    measure: str
    """With its k: ``hr@10``."""
    split: str
    cases: int
    searched: tuple[str, ...]
    """The options that were searched."""
    seconds: float
    trials: list[Trial]

    @property
    def best(self) -> Trial:
        """The complete trial of the highest value; the first of several."""
        return self.ranked()[0]

    def ranked(self) -> list[Trial]:
        """Complete trials, best first, then pruned, cut off and failed ones."""
        order = (State.COMPLETE, State.PRUNED, State.CUT_OFF, State.FAILED)
        return sorted(
            self.trials,
            key=lambda trial: (order.index(trial.state), -(trial.value or 0), trial.number),
        )

    def counts(self) -> dict[str, int]:
        """How many trials ended in each state."""
        return dict(Counter(trial.state.value for trial in self.trials))

    def table(self, most: int | None = None) -> tuple[list[str], list[list[Any]]]:
        """Column names, and a row per trial, best first; the first ``most`` of them, or all."""
        measure, at, k = self.measure.partition("@")
        names = [name for name in self.searched if name not in ("recent", "decay")]
        columns = ["trial", "state", measure.upper() + at + k, *names, "recent", "decay", "s"]
        rows = []
        for trial in self.ranked()[:most]:
            value = "" if trial.value is None else f"{trial.value:.4f}"
            options = [_brief(trial.options[name]) for name in names]
            user = [str(trial.recent), _brief(trial.decay)]
            seconds = f"{trial.seconds:.1f}"
            rows.append([str(trial.number), trial.state.value, value, *options, *user, seconds])
        return columns, rows

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "builder": self.builder,
            "measure": self.measure,
            "split": self.split,
            "cases": self.cases,
            "searched": list(self.searched),
            "seconds": self.seconds,
            "best": self.best.number,
            "trials": [asdict(trial) for trial in self.trials],
        }

    def configuration(self) -> Configuration:
        """The best trial's, with every option of the builder."""
        best = self.best
        found = {
            "measure": self.measure,
            "value": best.value,
            "split": self.split,
            "trials": len(self.trials),
            "seconds": round(self.seconds, 1),
        }
        return Configuration(self.builder, best.options, Recent(best.recent, best.decay), found)

    def write_config(self, path: str | Path) -> None:
        """Write :meth:`configuration` as TOML; see :func:`~.configuration.read_config`.

        Raises :class:`InvalidOption` where an option is no plain value.
        """
        self.configuration().write(path)


@contextmanager
def recording(path: str | Path | None) -> Iterator[Callable[[Trial], None]]:
    """A function that adds a trial to the file as one line of JSON and flushes it."""
    if path is None:
        yield lambda trial: None  # noqa: ARG005
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("a", encoding="utf-8") as stream:

        def write(trial: Trial) -> None:
            line = json.dumps(asdict(trial), ensure_ascii=False, default=str)
            stream.write(line + "\n")
            stream.flush()

        yield write


def _brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
