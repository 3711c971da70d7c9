"""Searching a builder's options on validation data, by TPE with pruning.

Bergstra et al., "Algorithms for Hyper-Parameter Optimization" (2011), and the median rule of
Golovin et al., "Google Vizier" (2017); both are Optuna's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..builders.options import SearchSpace
from ..builders.registry import BUILDERS
from ..core.errors import InvalidOption, MissingExtra
from ..core.histories import Recent
from ..core.progress import Progress
from ..core.side_information import SideInformation
from .attempts import Clock, Judge, attempt
from .proposals import Plan, tell
from .splits import Split
from .trials import State, Trial, Tuning, recording

MEASURES = ("hr", "recall", "ndcg", "mrr")
#: Ways in which a history may become a user vector.
RECENTS = (Recent(1), Recent(10), Recent(50, 0.8), Recent(50, 0.6))
#: A search ends when so many trials in a row failed.
MOST_FAILURES = 100


def tune(
    kind: type[Any],
    split: Split,
    *,
    budget: float | None = None,
    trials: int | None = None,
    space: SearchSpace | None = None,
    fixed: Mapping[str, Any] = {},
    recents: Sequence[Recent] = RECENTS,
    side: SideInformation | None = None,
    measure: str = "hr",
    k: int = 10,
    cases: int = 10_000,
    seed: int = 1,
    record: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Tuning:
    """Search the options of a builder for the best value on a split.

    The first trial is the builder's defaults. Where they lie outside of ``space``, they are tried
    all the same, and the search does not learn from them. A trial whose options are refused fails,
    and the search goes on.

    A builder that can be monitored is judged after each epoch, and its trial is ended where it is
    worse than the median of the complete ones, from three tenths of its epochs on. Trials are
    compared at the same tenth of their own epochs, not at the same epoch: a learning rate falls
    over all the epochs of a trial, so that at first a long one is behind a short one, whatever it
    comes to. The value of a trial is that after its last epoch, not that of its best, for a build
    on all the data has nothing to choose an epoch by.

    The best of many values is too good by chance: measure the winner on data that the search has
    not seen. ``leave_last_out(sequences, skip=1)`` keeps each last item for that.

    Parameters
    ----------
    kind
        The builder's class.
    split
        Validation data.
    budget
        Seconds, above 0. When they are over, the running trial is ended too; one of a builder that
        does not report how far it is runs to its end.
    trials
        How many trials, at least 1. At least one of ``budget`` and ``trials`` is needed. The
        search ends earlier where it finds nothing new to try, or only what fails.
    space
        What is searched; the builder's ``search_space`` if left out.
    fixed
        Options that have one value; they are not searched.
    recents
        Ways in which a history becomes a user vector, at least one; each trial has one of them.
        For a builder without vectors they are values of its options ``recent`` and ``decay``; of
        one with vectors of users there is nothing to choose.
    side
        What is known of the items, for a builder that supports it; fix its ``fields``.
    measure, k
        ``hr``, ``recall``, ``ndcg`` or ``mrr``, and the length of the lists, at least 1.
    cases
        The most cases that a trial is judged by, drawn at random from the split's; at least 1.
    seed
        Of the search and of the cases, from 0 to 2³² − 1. The same seed and number of trials give
        the same search if the builder gives the same vectors: training on several threads is a
        race. With a budget, the number of trials is up to the machine.
    record
        A file to which each trial is added when it ends, as a line of JSON.
    options
        Of :func:`~.evaluate.evaluate`.

    Raises
    ------
    InvalidOption
        An argument out of its range, an unknown option, or no trial that came to a value.
    MissingExtra
        Optuna is not installed.
    """
    clock = Clock(budget, progress)
    _check(budget, trials, recents, measure, k, cases, seed)
    optuna = _optuna()
    judge = Judge(split.drawn(cases, seed), measure, k, options)
    done: list[Trial] = []
    with _quiet(optuna), recording(record) as write:
        plan = Plan(kind, space, fixed, recents)
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            # Tenths of a trial; a median of fewer than three says little.
            pruner=optuna.pruners.MedianPruner(5, n_warmup_steps=3, n_min_trials=3),
        )
        for proposal in plan.proposals(study, seed):
            trial = attempt(kind, len(done), proposal, judge, clock, side)
            bad = trial.state in (State.PRUNED, State.FAILED)
            tell(study, proposal.asked, trial.value, bad=bad)
            write(trial)
            done.append(trial)
            if progress is not None and trials is not None:
                progress(len(done), trials, "trials")
            hopeless = all(one.state is State.FAILED for one in done[-MOST_FAILURES:])
            if len(done) == trials or clock.is_over() or (len(done) >= MOST_FAILURES and hopeless):
                break
    _check_values(kind, done, budget)
    return Tuning(
        name_of(kind),
        judge.name,
        split.name,
        len(judge.split.histories),
        plan.searched,
        clock.seconds,
        done,
    )


def name_of(kind: type[Any]) -> str:
    """The registered name of a builder's class; ``module:class`` where it has none."""
    place = f"{kind.__module__}:{kind.__qualname__}"
    return BUILDERS.name_of(place) or place


def _check(
    budget: float | None,
    trials: int | None,
    recents: Sequence[Recent],
    measure: str,
    k: int,
    cases: int,
    seed: int,
) -> None:
    counted = "a whole number of at least 1"
    checks: dict[str, tuple[Any, bool, str]] = {
        "budget": (budget, budget is None or 0 < budget < math.inf, "a number of seconds above 0"),
        "trials": (trials, trials is None or _is_whole(trials, 1), counted),
        "recents": (recents, len(recents) > 0, "at least one way of weighing a history"),
        "measure": (measure, measure in MEASURES, f"one of {', '.join(MEASURES)}"),
        "k": (k, _is_whole(k, 1), counted),
        "cases": (cases, _is_whole(cases, 1), counted),
        "seed": (seed, _is_whole(seed, 0) and seed < 1 << 32, "a whole number from 0 to 2³² − 1"),
    }
    for name, (received, holds, expected) in checks.items():
        if not holds:
            raise InvalidOption(
                f"{name} is {expected}; received {received!r}.", option=name, received=received
            )
    if budget is None and trials is None:
        raise InvalidOption(
            "A search ends by a budget of seconds or a number of trials; give one of them, or "
            "both.",
            option="budget",
            received=None,
        )


def _is_whole(number: Any, least: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= least


def _check_values(kind: type[Any], done: list[Trial], budget: float | None) -> None:
    """Raise :class:`InvalidOption` unless a trial came to a value."""
    if any(trial.value is not None for trial in done):
        return
    failed = [trial for trial in done if trial.state is State.FAILED]
    if failed:
        raise InvalidOption(
            f"None of {len(done)} trials of {kind.__name__} came to a value; the first that "
            f"failed said: {failed[0].message}",
            option="space",
            received=failed[0].options,
        )
    raise InvalidOption(
        f"No trial ended within {budget:g} seconds; give a larger budget, or fix smaller options.",
        option="budget",
        received=budget,
    )


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Optuna's own log says nothing below a warning meanwhile."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "Searching options needs Optuna; pip install 'itemspace[tuning]'.", extra="tuning"
        ) from error
    return optuna
