"""What a search may try: a builder's options with their ranges, and Optuna's names for them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..builders.options import OneOf, Real, SearchSpace, Whole
from ..core.errors import InvalidOption
from ..core.histories import Recent

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as Asked
    from optuna.distributions import BaseDistribution

#: A search ends when so many proposals in a row were tried before.
MOST_REPEATS = 100
#: What a search calls the choice of a :class:`Recent`; no option can have this name.
_USER = "(user)"
#: Options by which a builder without vectors weighs histories itself.
_OWN = ("recent", "decay")


@dataclass(frozen=True)
class Proposal:
    """What to try next."""

    options: dict[str, Any]
    """All options of the builder."""
    recent: int
    decay: float
    asked: Asked | None = None
    """Optuna's side of it; ``None`` where it cannot know the options."""


class Plan:
    """The options of a builder: fixed, searched, or left at their defaults.

    Raises :class:`InvalidOption` for an option that the builder does not have or that needs a
    value, for a range that cannot be searched, and where nothing is left to search.
    """

    def __init__(
        self,
        kind: type[Any],
        space: SearchSpace | None,
        fixed: Mapping[str, Any],
        recents: Sequence[Recent],
    ) -> None:
        found = getattr(kind, "search_space", {}) if space is None else space
        known = inspect.signature(kind).parameters
        for name in (*found, *fixed):
            if name not in known:
                raise InvalidOption(
                    f"{kind.__name__} has no option {name!r}; it has: {', '.join(known)}.",
                    option=name,
                    received=name,
                )
        self._defaults = {name: one.default for name, one in known.items()} | dict(fixed)
        for name, value in self._defaults.items():
            if value is inspect.Parameter.empty:
                raise InvalidOption(
                    f"{name} of {kind.__name__} has no default to begin with; fix it.",
                    option=name,
                    received=None,
                )
        self._space = {name: one for name, one in found.items() if name not in fixed}
        self._weighs = not kind.supports_vectors and set(_OWN) <= set(known)
        self._user = Recent()
        self._choose_users(kind, fixed, recents)
        if not self._space:
            raise InvalidOption(
                f"There is nothing to search: no option of {kind.__name__} has a range that is not "
                "fixed; fix fewer, or give a space.",
                option="space",
                received=space,
            )
        self._distributions = {name: _distribution(name, one) for name, one in self._space.items()}

    @property
    def searched(self) -> tuple[str, ...]:
        """The names of the options that are searched."""
        return tuple(name for name in self._space if name != _USER)

    def proposals(self, study: Study, seed: int) -> Iterator[Proposal]:
        """The defaults, then what the study asks for, and random options in place of repetitions.

        The study is to be told of each before the next is taken. Ends where nothing new is found.
        """
        from optuna.samplers import RandomSampler

        sampler, chance = study.sampler, RandomSampler(seed=seed)
        start = {name: self._defaults.get(name, self._user) for name in self._space}
        codes = {name: _code(one, start[name]) for name, one in self._space.items()}
        if None in codes.values():
            yield self._proposal(start, None)
        else:
            study.enqueue_trial(codes)
        tried, repeats = set[str](), 0
        while repeats < MOST_REPEATS:
            asked = study.ask(self._distributions)
            chosen = {name: _value(one, asked.params[name]) for name, one in self._space.items()}
            proposal = self._proposal(chosen, asked)
            key = repr((proposal.options, proposal.recent, proposal.decay))
            if key in tried:
                tell(study, asked, None)
                repeats += 1
                study.sampler = chance
                continue
            tried.add(key)
            study.sampler, repeats = sampler, 0
            yield proposal

    def _choose_users(
        self, kind: type[Any], fixed: Mapping[str, Any], recents: Sequence[Recent]
    ) -> None:
        """Which ways of weighing a history there are to choose from, and the first to be tried."""
        if self._weighs:
            self._user = Recent(self._defaults["recent"], self._defaults["decay"])
            if not set(_OWN).isdisjoint(self._space):
                return  # the space has ranges for them
            recents = [
                Recent(fixed.get("recent", one.count), fixed.get("decay", one.decay))
                for one in recents
            ]
        elif not kind.supports_vectors or getattr(kind, "supports_users", False):
            return
        choices = tuple(dict.fromkeys(recents))
        if self._user not in choices:
            self._user = choices[0]
        if len(choices) > 1:
            self._space[_USER] = OneOf(choices)

    def _proposal(self, chosen: Mapping[str, Any], asked: Asked | None) -> Proposal:
        values = {_USER: self._user} | dict(chosen)
        user = values.pop(_USER)
        if not self._weighs:
            return Proposal(self._defaults | values, user.count, user.decay, asked)
        options = self._defaults | {"recent": user.count, "decay": user.decay} | values
        return Proposal(options, options["recent"], options["decay"], asked)


def tell(study: Study, asked: Asked | None, value: float | None, *, bad: bool = False) -> None:
    """Tell a study what came of its proposal.

    A value; or ``bad``, for which the sampler takes it to be worse than all that have a value; or
    neither, and it learns nothing.
    """
    from optuna.trial import TrialState

    if asked is None:
        return
    if value is not None:
        study.tell(asked, value)
    else:
        # Samplers pass over FAIL, so that they would come back to options that are refused.
        study.tell(asked, state=TrialState.PRUNED if bad else TrialState.FAIL)


def _distribution(name: str, one: Whole | Real | OneOf) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    try:
        if isinstance(one, OneOf):
            # By their places: Optuna takes plain values only.
            return CategoricalDistribution(tuple(range(len(one.values))))
        if not (math.isfinite(one.low) and math.isfinite(one.high)):
            raise ValueError("its ends are not finite")
        if isinstance(one, Whole):
            return IntDistribution(one.low, one.high, log=one.log)
        return FloatDistribution(one.low, one.high, log=one.log)
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidOption(
            f"The range of {name} cannot be searched: {error}; it is a Whole, Real or OneOf, from "
            f"low to high (above 0 with log); received {one!r}.",
            option=name,
            received=one,
        ) from error


def _code(one: Whole | Real | OneOf, value: Any) -> Any:
    """What Optuna calls a value; ``None`` where it is not in the range."""
    if isinstance(one, OneOf):
        return next((at for at, other in enumerate(one.values) if other == value), None)
    kinds = int if isinstance(one, Whole) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return None
    return value if one.low <= value <= one.high else None


def _value(one: Whole | Real | OneOf, code: Any) -> Any:
    return one.values[code] if isinstance(one, OneOf) else code
