from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace.builders.denoising import Denoising, DenoisingReport, Size
from itemspace.builders.replaced import replaced_items
from itemspace.core.behaviour import Interactions
from itemspace.core.errors import DuplicateIds, InvalidId, InvalidOption
from itemspace.core.ids import Ids

OFF = Denoising(min_dwell=None, max_clicks=None, max_purchases=None)
Event = tuple[int, int, float, bool, float | None]
#: (user, item, time in halves of a second, is a purchase, dwell)
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 4),
        st.integers(0, 12).map(lambda half: half / 2),
        st.booleans(),
        st.sampled_from([None, 0.0, 0.5, 1.0, 2.0]),
    ),
    max_size=30,
)
RULES = st.builds(
    Denoising,
    min_dwell=st.sampled_from([None, 0.5, 1.0, 1.5]),
    max_clicks=st.sampled_from([None, 1, 2, 4]),
    max_purchases=st.sampled_from([None, 1, 3]),
    period=st.sampled_from([0.5, 2.0, 100.0, float("inf")]),
)


def log_of(events: list[Event], *, timed: bool = True) -> Interactions:
    columns = [[event[at] for event in events] for at in range(3)]
    return Interactions.from_columns(*columns[: 3 if timed else 2])


def clicks(*times: float, user: str = "u") -> Interactions:
    """One user's clicks, each on an item of its own."""
    return Interactions.from_columns(
        [user] * len(times), [f"i{at}" for at in range(len(times))], times
    )


# -- by plain Python ---------------------------------------------------------------------------


def slow_dwell(events: list[Event], timed: bool) -> list[float | None]:
    """The time to the next event of the user, found by looking at all others."""
    stayed: list[float | None] = []
    for at, (user, _, time, *_) in enumerate(events):
        later = [
            (other[2], place)
            for place, other in enumerate(events)
            if other[0] == user and (other[2], place) > (time, at)
        ]
        stayed.append(min(later)[0] - time if later and timed else None)
    return stayed


def slow_short(rules: Denoising, events: list[Event], timed: bool, given: bool) -> list[bool]:
    least = rules.min_dwell
    if least is None:
        return [False] * len(events)
    stayed = [event[4] for event in events] if given else slow_dwell(events, timed)
    judged = [None if event[3] else dwell for event, dwell in zip(events, stayed, strict=True)]
    near = sum(dwell is not None and 0 < dwell <= least for dwell in judged)
    if not given and judged.count(0) > near:
        moments = [event[0::2][:2] for event in events]
        judged = [
            dwell if moments.count(moment) == 1 else None
            for dwell, moment in zip(judged, moments, strict=True)
        ]
    return [dwell is not None and dwell < least for dwell in judged]


def slow_over_active(rules: Denoising, events: list[Event], timed: bool) -> set[int]:
    """Every window that begins with an event is counted."""
    found = set()
    for user, _, start, *_ in events:
        inside = [
            purchase
            for other, _, time, purchase, _ in events
            if other == user and (not timed or start <= time < start + rules.period)
        ]
        bought = sum(inside)
        if rules.max_clicks is not None and len(inside) - bought > rules.max_clicks:
            found.add(user)
        if rules.max_purchases is not None and bought >= rules.max_purchases:
            found.add(user)
    return found


@given(RULES, EVENTS, st.booleans(), st.booleans(), st.sets(st.integers(0, 6)))
def test_the_rules_are_those_of_plain_python(
    rules: Denoising, events: list[Event], timed: bool, given: bool, replaced: set[int]
) -> None:
    log = log_of(events, timed=timed)
    purchases = np.array([event[3] for event in events], dtype=bool)
    dwell = np.array([event[4] for event in events], dtype=float) if given else None
    clean, report = rules.apply(log, dwell=dwell, purchases=purchases, replaced=replaced)

    short = slow_short(rules, events, timed, given)
    spam = slow_over_active(rules, events, timed)
    causes = [
        "dwell"
        if fleeting
        else "activity"
        if event[0] in spam
        else "replaced"
        if event[1] in replaced
        else None
        for event, fleeting in zip(events, short, strict=True)
    ]
    kept = [event for event, cause in zip(events, causes, strict=True) if cause is None]
    assert clean.users[clean.user_codes].to_list() == [event[0] for event in kept]
    assert clean.items[clean.item_codes].to_list() == [event[1] for event in kept]
    if timed:
        assert clean.times is not None
        assert clean.times.tolist() == [event[2] for event in kept]
    else:
        assert clean.times is None
    assert (clean.users, clean.items) == (log.users, log.items)
    assert clean.user_codes.dtype == clean.item_codes.dtype == np.int32
    assert report.kept.tolist() == [cause is None for cause in causes]
    for rule in ("dwell", "activity", "replaced"):
        assert getattr(report, rule).events == causes.count(rule)
    assert report.over_active.to_list() == sorted(spam)
    assert report.unknown.to_list() == sorted(replaced - {event[1] for event in events})
    assert_adds_up(report)
    assert report.after == Size(
        len(kept), len({event[0] for event in kept}), len({event[1] for event in kept})
    )

    again, second = rules.apply(
        clean,
        dwell=None if dwell is None else dwell[report.kept],
        purchases=purchases[report.kept],
        replaced=replaced,
    )
    if not any(note.startswith("dwell") for note in report.notes):
        assert second.after == second.before == report.after
        assert len(again) == len(clean)


def assert_adds_up(report: DenoisingReport) -> None:
    dropped = [astuple(rule) for rule in (report.dwell, report.activity, report.replaced)]
    assert report.before - report.after == Size(*map(sum, zip(*dropped, strict=True)))
    assert report.after.events == report.kept.sum()
    assert min(min(rule) for rule in dropped) >= 0


# -- by hand -----------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_paper() -> None:
    assert astuple(Denoising()) == (1.0, 3500, 1000, 7_776_000.0)


def test_short_clicks() -> None:
    """0.5 s after i0, 1 s after i1, nothing after i2; another user's events do not count."""
    log = Interactions.from_columns(
        ["u", "v", "u", "u"], ["i0", "w", "i1", "i2"], [10, 10.2, 10.5, 11.5]
    )
    clean, report = Denoising().apply(log)
    assert clean.items[clean.item_codes].to_list() == ["w", "i1", "i2"]
    assert report.dwell == Size(1, 0, 1)
    assert report.notes == ()


def test_purchases_are_not_short_but_end_a_dwell() -> None:
    log = clicks(0, 0.5, 0.7)
    clean, _ = Denoising().apply(log, purchases=[False, True, False])
    assert clean.item_codes.tolist() == [1, 2]
    clean, _ = Denoising().apply(log, purchases=[False, True, True], dwell=[0.9, 0.1, 0.1])
    assert clean.item_codes.tolist() == [1, 2]


def test_dwell_of_ones_own() -> None:
    log = clicks(0, 0.1, 0.2, 5)
    clean, report = Denoising().apply(log, dwell=[1, np.nan, 0.99, 0])
    assert clean.item_codes.tolist() == [0, 1]
    assert report.dwell.events == 2
    whole, _ = Denoising().apply(log, dwell=np.array([1, 2, 1, 1], dtype=np.uint8))
    assert len(whole) == 4
    untimed, report = Denoising().apply(
        Interactions.from_columns([1, 1], [1, 2]), dwell=[0.5, np.inf]
    )
    assert untimed.item_codes.tolist() == [1]
    assert [note.partition(":")[0] for note in report.notes] == ["activity"]


@pytest.mark.parametrize("tick", [86400, 3600, 60])
def test_a_coarse_clock_drops_nothing(tick: int) -> None:
    rng = np.random.default_rng(4)
    fine = rng.integers(0, 100 * tick, 500)
    log = Interactions.from_columns(rng.integers(0, 9, 500), rng.integers(0, 50, 500), fine)
    coarse = Interactions(
        log.users, log.items, log.user_codes, log.item_codes, np.floor(fine / tick) * tick
    )
    clean, report = Denoising().apply(coarse)
    assert len(clean) == 500
    (note,) = report.notes
    assert "but only 0 a pause above 0" in note
    assert "clock is coarse" in note
    # From its own tick on, such a clock tells.
    assert Denoising(min_dwell=float(tick)).apply(coarse)[1].dwell.events > 0


def test_whole_seconds_tell_a_second() -> None:
    """Two in one second are less than a second apart; a click of 1 may be of one, and is kept."""
    log = clicks(0, 0, 1, 2, 9)
    clean, report = Denoising().apply(log)
    assert clean.item_codes.tolist() == [1, 2, 3, 4]
    assert report.notes == ()
    clean, report = Denoising(min_dwell=0.5).apply(log)
    assert len(clean) == 5
    assert "1 clicks have the time" in report.notes[0]


def test_pages_logged_at_once_are_no_short_clicks() -> None:
    """Ten at each time, of which none is the last; and a true short click."""
    log = clicks(*np.repeat([0.0, 60, 120, 180], 10), 180.5, 180.9)
    clean, report = Denoising().apply(log)
    assert np.flatnonzero(~report.kept).tolist() == [40]
    assert "36 clicks" in report.notes[0] and "only 2 a pause" in report.notes[0]
    again, _ = Denoising().apply(clean)
    assert len(again) == len(clean) == 41


def test_what_told_nothing_may_tell_the_second_time() -> None:
    """Not idempotent: two pauses of 0 against one of 1, then one against one."""
    log = clicks(0, 0, 10, 10, 11)
    first, report = Denoising().apply(log, replaced=["i0"])
    assert first.item_codes.tolist() == [1, 2, 3, 4] and report.notes
    second, report = Denoising().apply(first)
    assert second.item_codes.tolist() == [1, 3, 4] and not report.notes


def test_a_basket_is_no_sign_of_a_coarse_clock() -> None:
    log = clicks(0, 0, 0, 0, 5, 5, 6)
    clean, report = Denoising().apply(log, purchases=[True] * 4 + [False] * 3)
    assert clean.item_codes.tolist() == [0, 1, 2, 3, 5, 6]
    assert report.notes == ()


def test_over_active_users() -> None:
    """In less than 10 s: three clicks are too many, two purchases are."""
    rules = Denoising(min_dwell=None, max_clicks=2, max_purchases=2, period=10)
    events: list[Event] = [
        *[(1, item, time, False, None) for item, time in enumerate([0, 5, 10, 15])],
        *[(2, item, time, False, None) for item, time in enumerate([90, 0, 99, 95])],
        *[(3, 7, time, True, None) for time in (0, 10, 20)],
        *[(4, 8, time, True, None) for time in (100, 9, 0)],
        *[(5, 0, time, time == 1, None) for time in (0, 1, 2)],
    ]
    clean, report = rules.apply(log_of(events), purchases=[event[3] for event in events])
    assert report.over_active == Ids([2, 4])
    assert report.activity == Size(7, 2, 1)
    assert set(clean.users[clean.user_codes]) == {1, 3, 5}
    assert report.notes == ()


def test_limits_count_as_the_paper_does() -> None:
    """3,500 clicks and 999 purchases are a busy user's; one more is a robot's."""
    for count, bought, over in [
        (3500, False, 0),
        (3501, False, 1),
        (999, True, 0),
        (1000, True, 1),
    ]:
        log = Interactions.from_columns(["u"] * count, np.arange(count), np.arange(count) * 60)
        _, report = Denoising().apply(log, purchases=np.full(count, bought))
        assert len(report.over_active) == over


def test_over_active_by_clicks_that_are_too_short() -> None:
    """A robot is judged by all that it did, though rule one drops most of it."""
    log = clicks(0, 0.1, 0.2, 0.3, 50)
    clean, report = Denoising(max_clicks=4).apply(log)
    assert len(clean) == 0
    assert report.dwell == Size(3, 0, 3)
    assert report.activity == Size(2, 1, 2)


def test_a_log_without_times() -> None:
    log = Interactions.from_columns(["a", "a", "a", "b"], ["x", "y", "x", "z"])
    clean, report = Denoising(max_clicks=2).apply(log)
    assert report.over_active == Ids(["a"])
    assert clean.items[clean.item_codes].to_list() == ["z"]
    assert [note.partition(":")[0] for note in report.notes] == ["dwell", "activity"]
    assert OFF.apply(log)[1].notes == ()


def test_replaced_items_go_with_all_their_events() -> None:
    log = Interactions.from_columns(["a", "a", "b"], ["x", "y", "x"], [0, 100, 200])
    clean, report = Denoising().apply(log, replaced=["x", "never seen"])
    assert clean.items[clean.item_codes].to_list() == ["y"]
    assert clean.items == log.items
    assert report.replaced == Size(2, 1, 1)
    assert report.unknown == Ids(["never seen"])
    assert OFF.apply(log, replaced=Ids(["y"]))[1].replaced == Size(1, 0, 1)
    with pytest.raises(InvalidId):
        Denoising().apply(log, replaced=[1])


def test_no_rules_and_no_events() -> None:
    log = clicks(0, 0.1, 0.1)
    clean, report = OFF.apply(log)
    assert clean.item_codes.tolist() == [0, 1, 2]
    assert report.before == report.after == Size(3, 1, 3)
    assert report.notes == ()
    clean, report = Denoising().apply(Interactions.from_columns([], [], []))
    assert len(clean) == 0
    assert report.after == Size(0, 0, 0)


def test_the_input_stays_as_it_was() -> None:
    log = clicks(3, 0, 0, 0.5, 9)
    dwell = np.array([0.1, np.nan, 3, 4, 5])
    purchases = np.array([False, True, False, False, True])
    arrays = [log.user_codes, log.item_codes, log.times, dwell, purchases]
    before = [array.copy() for array in arrays if array is not None]
    for array in arrays:
        assert array is not None
        array.flags.writeable = False
    for stayed in (dwell, None):
        rules = Denoising(max_clicks=1, max_purchases=1, period=5)
        clean, _ = rules.apply(log, dwell=stayed, purchases=purchases, replaced=["i0"])
        assert len(clean) < len(log)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("min_dwell", 0),
        ("min_dwell", -1.0),
        ("min_dwell", float("nan")),
        ("min_dwell", float("inf")),
        ("max_clicks", 0),
        ("max_clicks", 1.5),
        ("max_purchases", True),
        ("period", 0),
        ("period", float("nan")),
        ("period", None),
    ],
)
def test_options_out_of_range(option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{option} is") as caught:
        Denoising(**{option: value})
    assert caught.value.option == option


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("dwell", [1.0]),
        ("dwell", [1.0, -0.5]),
        ("dwell", [np.nan, np.nan, np.nan]),
        ("dwell", [[1.0, 2.0]]),
        ("dwell", ["1", "2"]),
        ("dwell", [1.0, None]),
        ("purchases", [True]),
        ("purchases", [0, 1]),
    ],
)
def test_columns_that_do_not_fit(column: str, value: Any) -> None:
    for rules in (Denoising(), OFF):
        with pytest.raises(InvalidOption, match="each of the 2 events; received") as caught:
            rules.apply(clicks(0, 9), **{column: value})
        assert caught.value.option == column


def test_times_that_are_not_finite() -> None:
    with pytest.raises(InvalidOption, match="1 are not") as caught:
        Denoising().apply(clicks(0, np.nan))
    assert caught.value.option == "log"


# -- replaced_items ----------------------------------------------------------------------------

BEFORE = {
    "item_id": ["lamp", "rug", "cup", "pan"],
    "category": ["light", "floor", None, "kitchen"],
    "price": [10.0, np.nan, 3.0, 4.0],
}
AFTER = {
    "item_id": ["pan", "cup", "rug", "new"],
    "category": ["phone", "kitchen", "floor", "floor"],
    "price": np.array([4, 2.5, 7, 1]),
}


def test_items_that_were_replaced() -> None:
    assert replaced_items(BEFORE, AFTER, fields=["category"]) == Ids(["pan"])
    assert replaced_items(BEFORE, AFTER, fields=["price"]) == Ids(["cup"])
    assert replaced_items(BEFORE, AFTER, fields=("price", "category")) == Ids(["cup", "pan"])
    assert replaced_items(BEFORE, BEFORE, fields=["category", "price"]) == Ids([], "str")


def test_more_than_two_snapshots() -> None:
    """1 comes back to what it was, 2 changes across a NULL, 3 is away for a while."""
    values: list[list[Any]] = [["a", "a", "a"], ["b", None], ["a", "b", "a"]]
    items = [[1, 2, 3], [1, 2], [1, 2, 3]]
    snapshots = [{"sku": ids, "kind": kinds} for ids, kinds in zip(items, values, strict=True)]
    assert replaced_items(*snapshots, fields=["kind"], item="sku") == Ids([1, 2])
    assert replaced_items(snapshots[0], fields=["kind"], item="sku") == Ids([], "int")


def test_values_of_many_kinds() -> None:
    """Lists of one length, masked arrays, 1 and 1.0."""
    before = {"item_id": [1, 2], "tags": [["a", "b"], ["c", "d"]], "size": np.array([1, 2])}
    masked = np.ma.masked_array([9.0, 2.5], mask=[True, False])
    after = {"item_id": [1, 2], "tags": [["a", "b"], ["c"]], "size": masked}
    assert replaced_items(before, after, fields=["tags"]) == Ids([2])
    assert replaced_items(before, after, fields=["size"]) == Ids([2])
    whole = {"item_id": Ids([2, 1]), "size": np.array([2.0, 1.0])}
    assert replaced_items(before, whole, fields=["size"]) == Ids([], "int")


@given(
    st.lists(
        st.dictionaries(st.integers(0, 4), st.sampled_from([None, "a", "b"])),
        min_size=1,
        max_size=4,
    )
)
def test_replaced_are_those_with_two_values(snapshots: list[dict[int, str | None]]) -> None:
    columns = [{"item_id": list(one), "kind": list(one.values())} for one in snapshots]
    expected = [item for item in range(5) if len({one.get(item) for one in snapshots} - {None}) > 1]
    assert replaced_items(*columns, fields=["kind"]).to_list() == expected


def test_snapshots_that_do_not_fit() -> None:
    with pytest.raises(InvalidOption, match="no column 'brand'; it has item_id, category"):
        replaced_items(BEFORE, AFTER, fields=["brand"])
    with pytest.raises(InvalidOption, match="'sku'") as caught:
        replaced_items(BEFORE, AFTER, fields=["price"], item="sku")
    assert caught.value.option == "item"
    for fields in ([], "price"):
        with pytest.raises(InvalidOption, match="fields names"):
            replaced_items(BEFORE, AFTER, fields=fields)
    with pytest.raises(InvalidOption, match="4 items, but 1 values of 'price'"):
        replaced_items({**BEFORE, "price": [1]}, fields=["price"])
    with pytest.raises(DuplicateIds):
        replaced_items({"item_id": [1, 1], "price": [2, 3]}, fields=["price"])
    with pytest.raises(InvalidId):
        replaced_items({"item_id": [1], "price": [2]}, BEFORE, fields=["price"])
