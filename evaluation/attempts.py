"""One trial of a search: a builder's fit, judged and watched."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from ..builders.builder import fit_builder
from ..core.errors import EmptyInput, InvalidOption, InvalidVectors, UnsupportedError
from ..core.histories import Recent
from ..core.progress import Progress
from ..core.side_information import SideInformation
from ..core.vectors import VectorSet
from .evaluate import monitor
from .proposals import Proposal
from .splits import Split
from .trials import State, Trial


class Judge:
    """What vectors or a builder are worth on the validation data."""

    def __init__(self, split: Split, measure: str, k: int, options: Mapping[str, Any]) -> None:
        self.split = split
        self.name = measure if measure == "mrr" else f"{measure}@{k}"
        self._measure, self._k, self._options = measure, k, options

    def __call__(self, thing: Any, recent: Recent) -> float:
        """The mean over the cases; see :func:`~.evaluate.evaluate` for ``thing``."""
        judge = monitor(
            self.split, measure=self._measure, k=self._k, recent=recent, **self._options
        )
        return judge(thing)


class Clock:
    """How long the search has been going on, and may."""

    def __init__(self, budget: float | None, progress: Progress | None) -> None:
        self._started = time.perf_counter()
        self._budget, self._progress = budget, progress

    @property
    def seconds(self) -> float:
        """Since the search began."""
        return time.perf_counter() - self._started

    def is_over(self) -> bool:
        """Whether the budget is used up; tells the progress how much of it is."""
        if self._budget is None:
            return False
        spent = self.seconds
        if self._progress is not None:
            whole = math.ceil(self._budget)
            self._progress(min(int(spent), whole), whole, "seconds")
        return spent >= self._budget


class _Ended(Exception):
    """Leaves a builder's ``fit``."""

    def __init__(self, state: State) -> None:
        super().__init__(state.value)
        self.state = state


class Watch:
    """Follows a trial's epochs, and ends it where it has no prospects or no time.

    The last epoch always counts.
    """

    def __init__(self, proposal: Proposal, judge: Judge, clock: Clock) -> None:
        self.values: list[float] = []
        epochs = proposal.options.get("epochs")
        self.epochs = epochs if isinstance(epochs, int) else None
        self._proposal, self._judge, self._clock, self._step = proposal, judge, clock, 0

    def monitor(self, vectors: VectorSet) -> float:
        """Judge the vectors of an epoch."""
        recent = Recent(self._proposal.recent, self._proposal.decay)
        value = self._judge(vectors, recent)
        self.values.append(value)
        done = len(self.values)
        if done != self.epochs:
            step = 10 * done // self.epochs if self.epochs else done
            asked = self._proposal.asked
            if asked is not None and step > self._step:
                self._step = step
                asked.report(value, step)
                if asked.should_prune():
                    raise _Ended(State.PRUNED)
            if self._clock.is_over():
                raise _Ended(State.CUT_OFF)
        return value

    def progress(self, done: int, total: int, text: str) -> None:  # noqa: ARG002
        """Look at the clock, for builders that tell how far they are but cannot be monitored."""
        if self._clock.is_over() and done < total:
            raise _Ended(State.CUT_OFF)

    def last(self) -> float | None:
        """The value after the last epoch; ``None`` if the builder was not monitored.

        Raises :class:`InvalidOption` where there were fewer epochs than a build would train.
        """
        if self.epochs and 0 < len(self.values) < self.epochs:
            raise InvalidOption(
                f"The training stopped after {len(self.values)} of {self.epochs} epochs, where a "
                "build, which has nothing to stop by, goes on; search without stopping early "
                "(patience=none).",
                option="patience",
                received=len(self.values),
            )
        return self.values[-1] if self.values else None


def attempt(
    kind: type[Any],
    number: int,
    proposal: Proposal,
    judge: Judge,
    clock: Clock,
    side: SideInformation | None = None,
) -> Trial:
    """Fit and judge a builder with the proposed options."""
    started = clock.seconds
    value, message, state = None, None, State.COMPLETE
    watch = Watch(proposal, judge, clock)
    try:
        builder = kind(**proposal.options)
        fit_builder(
            builder,
            judge.split.train,
            side=side,
            monitor=watch.monitor,
            progress=watch.progress,
        )
        value = watch.last()
        if value is None:
            value = judge(builder, Recent(proposal.recent, proposal.decay))
    except _Ended as end:
        state = end.state
    except (EmptyInput, InvalidOption, InvalidVectors, UnsupportedError) as error:
        state, message = State.FAILED, str(error)
    return Trial(
        number,
        state,
        proposal.options,
        proposal.recent,
        proposal.decay,
        value,
        tuple(watch.values),
        clock.seconds - started,
        message,
    )
