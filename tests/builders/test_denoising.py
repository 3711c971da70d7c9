from dataclasses import astuple
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace.builders.denoising import Denoising, DenoisingReport, Size
from itemspace.builders.replaced import replaced_items
from itemspace.core.behaviour import Interactions
from itemspace.core.errors import BadRow, InvalidId, InvalidOption, UnknownColumn
from itemspace.core.ids import Ids
from itemspace.core.side_information import SideInformation

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


def log_of(events: list[Event], *, timed: bool = True, given: bool = False) -> Interactions:
    users, items, times, bought, dwell = ([event[at] for event in events] for at in range(5))
    return Interactions.from_columns(
        users,
        items,
        times if timed else None,
        kinds=["buy" if one else "view" for one in bought],
        dwell=dwell if given else None,
    )


def clicks(*times: float, bought: str = "", dwell: Any = None) -> Interactions:
    """One user's events, each on an item of its own; ``bought`` has a b for each purchase."""
    kinds = ["buy" if one == "b" else "view" for one in bought.ljust(len(times), ".")]
    items = [f"i{at}" for at in range(len(times))]
    return Interactions.from_columns(["u"] * len(times), items, times, kinds=kinds, dwell=dwell)


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
    log = log_of(events, timed=timed, given=given)
    purchases = {"buy"} & set(log.kinds or ())
    clean, report = rules.apply(log, purchases=purchases, replaced=replaced)

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
    assert (clean.users, clean.items, clean.kinds) == (log.users, log.items, log.kinds)
    assert clean.of_kind(purchases).tolist() == [event[3] for event in kept]
    if given:
        assert clean.dwell is not None
        np.testing.assert_array_equal(clean.dwell, np.array([event[4] for event in kept], float))
    else:
        assert clean.dwell is None
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

    again, second = rules.apply(clean, purchases=purchases, replaced=replaced)
    if not any("clock is coarse" in note for note in report.notes):
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
    clean, _ = Denoising().apply(clicks(0, 0.5, 0.7, bought=".b."), purchases=["buy"])
    assert clean.item_codes.tolist() == [1, 2]
    log = clicks(0, 0.5, 0.7, bought=".bb", dwell=[0.9, 0.1, 0.1])
    clean, _ = Denoising().apply(log, purchases=["buy"])
    assert clean.item_codes.tolist() == [1, 2]


def test_which_kinds_are_purchases() -> None:
    """Several, integers too; none unless they are named; others are not taken for one."""
    log = Interactions.from_columns(
        [1] * 4, [1, 2, 3, 4], kinds=[7, 8, 9, 9], dwell=[0, 0, 0, np.nan]
    )
    assert Denoising().apply(log, purchases=[7, 8])[0].item_codes.tolist() == [0, 1, 3]
    assert Denoising().apply(log)[0].item_codes.tolist() == [3]
    with pytest.raises(InvalidOption, match="the kind 'buy'; there are: 7, 8, 9"):
        Denoising().apply(log, purchases=["buy"])
    for rules in (Denoising(), OFF):
        with pytest.raises(InvalidOption, match="kind_column"):
            rules.apply(Interactions.from_columns([1], [1]), purchases=[7])


def test_the_dwell_of_the_log() -> None:
    clean, report = Denoising().apply(clicks(0, 0.1, 0.2, 5, dwell=[1, np.nan, 0.99, 0]))
    assert clean.item_codes.tolist() == [0, 1]
    assert report.dwell.events == 2
    assert report.notes == ("Dwell: unknown for 1 clicks, which are kept.",)
    whole, report = Denoising().apply(clicks(0, 0.1, 0.2, 5, dwell=[1, 2, 1, 1]))
    assert len(whole) == 4
    assert report.notes == ()
    untimed, report = Denoising().apply(
        Interactions.from_columns([1, 1], [1, 2], dwell=[0.5, np.inf])
    )
    assert untimed.item_codes.tolist() == [1]
    assert [note.partition(":")[0] for note in report.notes] == ["Activity"]


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
    log = clicks(0, 0, 0, 0, 5, 5, 6, bought="bbbb...")
    clean, report = Denoising().apply(log, purchases=["buy"])
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
    clean, report = rules.apply(log_of(events), purchases=["buy"])
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
        events = [(1, at, at * 60.0, bought, None) for at in range(count)]
        _, report = Denoising().apply(log_of(events), purchases=["buy"] * bought)
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
    assert [note.partition(":")[0] for note in report.notes] == ["Dwell", "Activity"]
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


@pytest.mark.parametrize("dwell", [[0.1, np.nan, 3, 4, 5], None])
def test_the_input_stays_as_it_was(dwell: list[float] | None) -> None:
    log = clicks(3, 0, 0, 0.5, 9, bought=".b..b", dwell=dwell)
    columns = [log.user_codes, log.item_codes, log.times, log.kind_codes, log.dwell]
    arrays = [array for array in columns if array is not None]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    rules = Denoising(max_clicks=1, max_purchases=1, period=5)
    clean, _ = rules.apply(log, purchases=["buy"], replaced=["i0"])
    assert len(clean) < len(log)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_sentences() -> None:
    log = Interactions.from_columns(
        ["a"] * 4 + ["b"] * 2 + ["c"],
        ["x", "y", "x", "y", "z", "w", "x"],
        kinds=["view"] * 3 + ["buy"] + ["view"] * 3,
        dwell=[9, 9, 9, 0, 0.5, 9, np.nan],
    )
    _, report = Denoising(max_clicks=2).apply(log, purchases=["buy"], replaced=["w", "v"])
    assert report.sentences() == [
        "De-noising kept 1 of 7 events, 1 of 3 users, 1 of 4 items.",
        "Dwell: dropped 1 events, 0 users, 1 items.",
        "Activity: dropped 4 events, 1 users, 1 items.",
        "Replaced items: dropped 1 events, 1 users, 1 items.",
        "Activity: 1 users are over-active.",
        "Replaced items: 1 of them are not in the log: 'v'.",
        "Dwell: unknown for 1 clicks, which are kept.",
        "Activity: the log has no times, so all of it counts as one period.",
    ]
    assert OFF.apply(log)[1].sentences() == [
        "De-noising kept 7 of 7 events, 3 of 3 users, 4 of 4 items."
    ]


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


def test_times_that_are_not_finite() -> None:
    with pytest.raises(InvalidOption, match="1 are not") as caught:
        Denoising().apply(clicks(0, np.nan))
    assert caught.value.option == "log"


# -- replaced_items ----------------------------------------------------------------------------

BEFORE = SideInformation.from_columns(
    ["lamp", "rug", "cup", "pan"],
    category=["light", "floor", None, "kitchen"],
    price=[10.0, np.nan, 3.0, 4.0],
)
AFTER = SideInformation.from_columns(
    ["pan", "cup", "rug", "new"],
    category=["phone", "kitchen", "floor", "floor"],
    price=np.array([4, 2.5, 7, 1]),
)


def test_items_that_were_replaced() -> None:
    assert replaced_items(BEFORE, AFTER, fields=["category"]) == Ids(["pan"])
    assert replaced_items(BEFORE, AFTER, fields=["price:numeric"]) == Ids(["cup"])
    assert replaced_items(BEFORE, AFTER, fields=("price", "category")) == Ids(["cup", "pan"])
    assert replaced_items(BEFORE, BEFORE, fields=["category", "price"]) == Ids([], "str")


def test_more_than_two_snapshots() -> None:
    """1 comes back to what it was, 2 changes across a NULL, 3 is away for a while."""
    values: list[list[Any]] = [["a", "a", "a"], ["b", None], ["a", "b", "a"]]
    items = [[1, 2, 3], [1, 2], [1, 2, 3]]
    snapshots = [
        SideInformation.from_columns(ids, kind=kinds)
        for ids, kinds in zip(items, values, strict=True)
    ]
    assert replaced_items(*snapshots, fields=["kind"]) == Ids([1, 2])
    assert replaced_items(snapshots[0], fields=["kind"]) == Ids([], "int")


def test_values_are_compared_as_fields_read_them() -> None:
    """Lists of one length, masked arrays; 1, 1.0 and "1"; the order of several is none."""
    before = SideInformation.from_columns(
        [1, 2], tags=[["b", "a"], ["c", "d"]], size=np.array([1, 2]), price=["1.50", "2"]
    )
    masked = np.ma.masked_array([9.0, 2.5], mask=[True, False])
    after = SideInformation.from_columns(
        [1, 2], tags=["a|b", "c"], size=masked, price=[Decimal("1.5"), 2]
    )
    assert replaced_items(before, after, fields=["tags:multi"]) == Ids([2])
    assert replaced_items(before, after, fields=["size"]) == Ids([2])
    assert replaced_items(before, after, fields=["price:numeric"]) == Ids([], "int")
    whole = SideInformation.from_columns(Ids([2, 1]), size=np.array([2.0, 1.0]))
    texts = SideInformation.from_columns([1, 2], size=["1", "2"])
    assert replaced_items(before, whole, texts, fields=["size"]) == Ids([], "int")


@given(
    st.lists(
        st.dictionaries(st.integers(0, 4), st.sampled_from([None, "a", "b"])),
        min_size=1,
        max_size=4,
    )
)
def test_replaced_are_those_with_two_values(snapshots: list[dict[int, str | None]]) -> None:
    sides = [SideInformation.from_columns(list(one), kind=list(one.values())) for one in snapshots]
    expected = [item for item in range(5) if len({one.get(item) for one in snapshots} - {None}) > 1]
    assert replaced_items(*sides, fields=["kind"]).to_list() == expected


def test_snapshots_that_do_not_fit() -> None:
    with pytest.raises(UnknownColumn, match="no column 'brand'; it has: category, price"):
        replaced_items(BEFORE, AFTER, fields=["brand"])
    for fields in ([], "price", ["price:many"]):
        with pytest.raises(InvalidOption, match=r"fields names|kind is one of"):
            replaced_items(BEFORE, AFTER, fields=fields)
    with pytest.raises(BadRow, match="'lamp', field 'category'"):
        replaced_items(BEFORE, AFTER, fields=["category:numeric"])
    numbered = SideInformation.from_columns([1, 2], price=[2, 3])
    with pytest.raises(InvalidId):
        replaced_items(numbered, BEFORE, BEFORE, fields=["price"])
