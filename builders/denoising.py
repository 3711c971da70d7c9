"""De-noising: a log without accidental clicks, over-active users and replaced items.

The three rules of Wang et al., "Billion-scale Commodity Embedding for E-commerce Recommendation in
Alibaba" (EGES, KDD 2018, arXiv 1803.02349), section 2.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

import numpy as np

from ..core.behaviour import Interactions, Mask, Times
from ..core.errors import InvalidOption
from ..core.ids import Ids
from .fields import some
from .options import check_option


@dataclass(frozen=True)
class Size:
    """How many events, how many users they are of, and how many items."""

    events: int
    users: int
    items: int

    def __sub__(self, other: Size) -> Size:
        return Size(self.events - other.events, self.users - other.users, self.items - other.items)

    def __str__(self) -> str:
        return f"{self.events:,} events, {self.users:,} users, {self.items:,} items"


@dataclass(frozen=True, eq=False)
class DenoisingReport:
    """What each rule dropped: ``before`` less the three rules is ``after``, number by number.

    What several rules drop is counted for the first of them. A user or an item is dropped by the
    rule that took its last event.
    """

    before: Size
    dwell: Size
    activity: Size
    replaced: Size
    after: Size
    over_active: Ids
    """All users whom the rule of activity judged so."""
    unknown: Ids
    """Those of the replaced items that the log does not know."""
    kept: Mask
    """bool, one per event of the log: for what else is aligned with it."""
    notes: tuple[str, ...]
    """Where a rule could not judge as it should, and why."""

    def sentences(self) -> list[str]:
        """What each rule dropped, if anything, and the notes, to be read by a person."""
        before, after = self.before, self.after
        found = [
            f"De-noising kept {after.events:,} of {before.events:,} events, {after.users:,} of "
            f"{before.users:,} users, {after.items:,} of {before.items:,} items."
        ]
        rules = {"Dwell": self.dwell, "Activity": self.activity, "Replaced items": self.replaced}
        found += [f"{rule}: dropped {size}." for rule, size in rules.items() if size.events]
        if len(self.over_active):
            found.append(f"Activity: {len(self.over_active):,} users are over-active.")
        if len(self.unknown):
            found.append(
                f"Replaced items: {len(self.unknown):,} of them are not in the log: "
                f"{some(self.unknown)}."
            )
        return [*found, *self.notes]


@dataclass(frozen=True)
class Denoising:
    """Three rules against noise in a log of behaviour; ``None`` switches one off.

    Every rule judges the log as it is given, so their order does not matter: a robot that clicks
    all day is one even if most of its clicks are too short to count. (The paper does not say.)

    **Dwell**: clicks after which the user stayed less than ``min_dwell`` seconds. Purchases stay.

    **Activity**: all events of users who, in less than ``period`` seconds anywhere in the log,
    clicked more than ``max_clicks`` times or purchased ``max_purchases`` times or more. Without
    times the whole log counts as one period.

    **Replaced items**: all events of items whose content was changed under the same id, if they
    are given; :func:`.replaced_items` finds them.

    Parameters
    ----------
    min_dwell
        Seconds, above 0.
    max_clicks, max_purchases
        At least 1. An event is a purchase or a click.
    period
        Seconds, above 0; the paper's three months are taken as 90 days.

    Raises
    ------
    InvalidOption
        An option out of its range.
    """

    min_dwell: float | None = 1.0
    max_clicks: int | None = 3500
    max_purchases: int | None = 1000
    period: float = 90 * 86400.0

    def __post_init__(self) -> None:
        if self.min_dwell is not None:
            check_option(self, "min_dwell", float, _is_positive, "None or above 0")
        for name in ("max_clicks", "max_purchases"):
            if getattr(self, name) is not None:
                check_option(self, name, int, lambda value: value >= 1, "None or at least 1")
        check_option(self, "period", float, lambda value: value > 0, "above 0")

    def apply(
        self,
        log: Interactions,
        *,
        purchases: Iterable[int | str] = (),
        replaced: Iterable[int | str] = (),
    ) -> tuple[Interactions, DenoisingReport]:
        """The log without the noise, and what went. The log itself stays as it is.

        The events keep their order, and users and items their codes and vocabularies, also those
        without events. Deterministic. Applied to its result again it drops nothing more, except
        where the log has no dwell and identical times told nothing (below): with fewer, they may.

        Where the log has a dwell, that is judged, and events of unknown dwell are kept. Where it
        has none, the time to the user's next event stands for it, be that a click or a purchase;
        the last event of each user is kept. A log without times then keeps all.

        Identical times are no dwell of 0 where the clock is coarse (days, minutes) or events are
        logged together (pages, baskets): then more pauses are 0 than a little above it. So where
        more clicks have a pause of 0 than one above 0 up to and including ``min_dwell``, the
        clicks at the time of another event of their user are all kept, and ``notes`` says so.
        Whole seconds can tell a ``min_dwell`` of 1 or more.

        Parameters
        ----------
        purchases
            The kinds of event that are purchases; without any, all events are clicks.
        replaced
            Items whose content was changed. Those that the log does not know are reported.

        Raises
        ------
        InvalidOption
            Purchases that are no kind of the log's events, times that are not finite.
        InvalidId
            ``replaced`` of another kind than the items.
        """
        _check_times(log)
        bought = log.of_kind(purchases)
        short, note = self._short(log, bought)
        over_active, other_note = self._over_active(log, bought)
        gone, unknown = _rows(log.items, Ids(replaced))

        kept = np.ones(len(log), dtype=np.bool_)
        sizes = [_size(log, kept)]
        for noise in (short, over_active[log.user_codes], gone[log.item_codes]):
            kept &= ~noise
            sizes.append(_size(log, kept))
        before, after_dwell, after_activity, after = sizes
        report = DenoisingReport(
            before=before,
            dwell=before - after_dwell,
            activity=after_dwell - after_activity,
            replaced=after_activity - after,
            after=after,
            over_active=log.users[over_active],
            unknown=unknown,
            kept=kept,
            notes=tuple(filter(None, [note, other_note])),
        )
        return log.where(kept), report

    def _short(self, log: Interactions, bought: Mask) -> tuple[Mask, str]:
        """The clicks that the user left too soon, and what could not be told."""
        none = np.zeros(len(log), dtype=np.bool_)
        if self.min_dwell is None:
            return none, ""
        if log.dwell is not None:
            unknown = np.sum(np.isnan(log.dwell) & ~bought)
            note = f"Dwell: unknown for {unknown:,} clicks, which are kept." if unknown else ""
            return (log.dwell < self.min_dwell) & ~bought, note
        if log.times is None:
            return none, "Dwell: skipped, for the log has neither dwell nor times (dwell_column)."
        return _short_pauses(log, log.times, bought, self.min_dwell)

    def _over_active(self, log: Interactions, bought: Mask) -> tuple[Mask, str]:
        """The users who click or purchase too much, bool, one per user; and a note."""
        over = np.zeros(len(log.users), dtype=np.bool_)
        if self.max_clicks is not None:
            over |= _busy(log, ~bought, self.max_clicks + 1, self.period)
        if self.max_purchases is not None:
            over |= _busy(log, bought, self.max_purchases, self.period)
        if log.times is not None or (self.max_clicks is None and self.max_purchases is None):
            return over, ""
        return over, "Activity: the log has no times, so all of it counts as one period."


def _is_positive(value: float) -> bool:
    return value > 0 and isfinite(value)


def _short_pauses(log: Interactions, times: Times, bought: Mask, least: float) -> tuple[Mask, str]:
    """The clicks less than ``least`` before the user's next event, and what could not be told."""
    order = np.lexsort((times, log.user_codes))
    clicks, users, times = ~bought[order], log.user_codes[order], times[order]
    pauses = np.full(len(log), np.nan)
    followed = np.flatnonzero(users[1:] == users[:-1])
    pauses[followed] = times[followed + 1] - times[followed]
    noise, note = clicks & (pauses < least), ""
    ties = pauses == 0
    num_ties = np.sum(clicks & ties)
    num_near = np.sum(clicks & (pauses > 0) & (pauses <= least))
    if num_ties > num_near:
        noise[ties] = False
        noise[1:][ties[:-1]] = False
        note = (
            f"Dwell: {num_ties} clicks have the time of their user's next event, but only "
            f"{num_near} a pause above 0 up to {least:g} s: the clock is coarse, or events were "
            "logged together. Clicks at the time of another event are kept; a log with dwell tells "
            "(dwell_column)."
        )
    short = np.empty(len(log), dtype=np.bool_)
    short[order] = noise
    return short, note


def _busy(log: Interactions, events: Mask, least: int, period: float) -> Mask:
    """The users with ``least`` of the events in less than ``period`` seconds; bool, per user."""
    total = np.bincount(log.user_codes[events], minlength=len(log.users))
    busy: Mask = total >= least
    if log.times is None:
        return busy
    # Few users have so many at all: only their events are sorted.
    chosen = np.flatnonzero(events & busy[log.user_codes])
    order = chosen[np.lexsort((log.times[chosen], log.user_codes[chosen]))]
    users, times = log.user_codes[order], log.times[order]
    starts, ends = slice(len(order) - least + 1), slice(least - 1, None)
    together = (users[starts] == users[ends]) & (times[ends] - times[starts] < period)
    busy[:] = False
    busy[users[starts][together]] = True
    return busy


def _rows(vocabulary: Ids, ids: Ids) -> tuple[Mask, Ids]:
    """Which of the vocabulary are among ``ids``, and which of ``ids`` it lacks."""
    rows = vocabulary.rows_of(ids)
    found = np.zeros(len(vocabulary), dtype=np.bool_)
    found[rows[rows >= 0]] = True
    return found, ids[rows < 0]


def _size(log: Interactions, kept: Mask) -> Size:
    users = np.zeros(len(log.users), dtype=np.bool_)
    items = np.zeros(len(log.items), dtype=np.bool_)
    users[log.user_codes[kept]] = True
    items[log.item_codes[kept]] = True
    return Size(int(kept.sum()), int(users.sum()), int(items.sum()))


def _check_times(log: Interactions) -> None:
    if log.times is not None and not np.isfinite(log.times).all():
        raise InvalidOption(
            "De-noising needs a log whose times are all finite, or one without times; "
            f"{np.sum(~np.isfinite(log.times))} are not.",
            option="log",
            received=log,
        )
