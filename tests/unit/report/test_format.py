"""Values as text: the edge cases of each form."""

import math

import pytest

from steering import format as text
from steering import override_text as words
from steering.config.overrides import moment
from steering.config.types import seconds
from steering.model import Family, Seconds
from steering.override import Action, Match, Override


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.4, "0.4 s"),
        (2.35, "2.4 s"),
        (59, "59 s"),
        (59.6, "59.6 s"),
        (59.96, "1 min"),
        (60, "1 min"),
        (90, "1 min 30 s"),
        (3599.4, "59 min 59 s"),
        (3599.9, "1 h"),
        (7199.9, "2 h"),
        (34800, "9 h 40 min"),
        (90000, "25 h"),
        (3 * 86400 - 1, "71 h 59 min"),
        (3 * 86400, "3 d"),
        (1e7, "115 d 17 h"),
        (-90, "-1 min 30 s"),
        (-0.01, "0 s"),
        (math.nan, "unknown"),
        (math.inf, "unknown"),
        (-math.inf, "unknown"),
    ],
)
def test_a_length_of_time_has_its_two_largest_units(length: Seconds, words: str) -> None:
    assert text.duration(length) == words


@pytest.mark.parametrize("typed", ["1s", "90s", "30m", "2h", "3d", "59m"])
def test_a_length_of_time_that_is_typed_is_shown_in_full(typed: str) -> None:
    shown = text.duration(seconds(typed))
    units = {"s": "s", "min": "m", "h": "h", "d": "d"}
    words = shown.split()
    pairs = zip(words[::2], words[1::2], strict=True)
    assert sum(seconds(f"{number}{units[unit]}") for number, unit in pairs) == seconds(typed)


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (-3, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (7199, "1 h"),
        (86400, "1 d"),
        (1e7, "115 d"),
        (math.nan, "unknown"),
        (math.inf, "unknown"),
    ],
)
def test_an_age_is_in_its_largest_unit(length: Seconds, words: str) -> None:
    assert text.age(length) == words


@pytest.mark.parametrize(
    ("left", "words"),
    [(7200, "in 2 h"), (0.4, "in 0.4 s"), (0, "0 s ago"), (-90, "1 min 30 s ago")],
)
def test_a_time_is_ahead_or_ago(left: Seconds, words: str) -> None:
    assert text.from_now(left) == words


def test_a_time_for_programs_always_has_milliseconds() -> None:
    assert text.timestamp(1688908200) == "2023-07-09T13:10:00.000Z"
    assert text.timestamp(1688908200.25) == "2023-07-09T13:10:00.250Z"
    assert text.clock(1688908200.25) == "13:10:00.250"
    assert text.day(1688908200.25) == "2023-07-09"


def test_a_time_for_people_has_a_fraction_only_where_there_is_one() -> None:
    assert text.rfc3339(1688908200) == "2023-07-09T13:10:00Z"
    assert moment(text.rfc3339(1688908200.25)) == 1688908200.25, "it can be typed"
    assert text.whole_second(1688908200.99) == "2023-07-09T13:10:00Z"
    assert text.whole_second(-0.5) == "1969-12-31T23:59:59Z"


@pytest.mark.parametrize("wall", [math.nan, math.inf, 1e12])
def test_what_is_no_time_is_refused(wall: float) -> None:
    for form in (text.timestamp, text.rfc3339, text.whole_second, text.day, text.clock):
        with pytest.raises((ValueError, OverflowError)):
            form(wall)


def test_seconds_between_two_times_need_not_be_of_one_offset() -> None:
    assert text.between("2023-07-09T13:10:00.000Z", "2023-07-09T15:10:01+02:00") == 1.0
    assert text.between("2023-07-09T13:10:01Z", "2023-07-09T13:10:00Z") == -1.0


def test_a_share_is_in_percent() -> None:
    assert [text.percent(part) for part in (0.0, 0.125, 1.0)] == ["0.0%", "12.5%", "100.0%"]
    assert text.percent(0.00012345, 4) == "0.0123%"
    assert text.percent(None) == text.percent(math.nan) == "-"


def test_a_rate_may_be_unknown() -> None:
    assert text.rate(19.6) == "20 queries/s"
    assert text.rate(math.nan) == "unknown queries/s"


def test_one_is_not_several() -> None:
    assert text.counted(1, "address") == "1 address"
    assert text.counted(0, "address") == "0 addresses"
    assert text.counted(2, "override") == "2 overrides"


def _override(action: Action, match: Match, **more: str) -> Override:
    return Override(
        name="t-1",
        match=match,
        action=action,
        to=more.get("to"),
        alarm=more.get("alarm"),
        until=1688908200.0,
        reason="ticket 4711",
        by="noc",
    )


def test_an_override_says_what_by_whom_and_why() -> None:
    whole = Match(upstream="gtld-servers", family=Family.IPV6, site="sin")
    steer = _override(Action.STEER, whole, to="pao")
    assert words.override_text(steer) == "t-1: steer to pao, by noc: ticket 4711"
    assert words.override_in_full(steer, 1688901000.0) == (
        "t-1: steer to pao, upstream gtld-servers, family ipv6 at sin, "
        "until 2023-07-09T13:10:00Z (in 2 h), by noc: ticket 4711"
    )
    assert "until 2023-07-09T13:10:00Z, by" in words.override_in_full(steer)


@pytest.mark.parametrize(
    ("action", "more", "order", "scope"),
    [
        (Action.LOCAL, {}, "local", "everything"),
        (Action.FREEZE, {}, "freeze", "everything"),
        (Action.AVOID, {"to": "pao"}, "avoid pao", "everything"),
        (Action.ACKNOWLEDGE, {"alarm": "reach"}, "acknowledge reach", "all of it"),
    ],
)
def test_each_order_has_its_words(
    action: Action, more: dict[str, str], order: str, scope: str
) -> None:
    override = _override(action, Match(), **more)
    assert (words.order(override), words.scope(override)) == (order, scope)


def test_an_override_may_have_no_end() -> None:
    assert words.ends(None) == words.ends(None, 0.0) == "never"
