"""One look at a copy: which evidence makes it stale or failing, and what is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from steering.copies import Asked, FileShown, Look, Real, Shown, Way
from steering.judge.copies import (
    BAD_LOOKS,
    UNSEEN_LOOKS,
    Copy,
    Limits,
    Moment,
    judge,
)
from steering.model import Health

DAY = 86_400.0
WALL = 1_700_000_000.0
LIMITS = Limits(margin=DAY, max_age=None, interval=60.0)
REAL = Real(serial=100, expires=WALL + 12 * DAY, refresh=1800.0, expire=7 * DAY, answers=True)
GOOD = Shown(serial=100, expires=WALL + 12 * DAY, expire=7 * DAY)


def looks(
    *each: Look, copy: Copy | None = None, real: Real = REAL, limits: Limits = LIMITS
) -> Copy:
    """The copy after these looks, a minute apart."""
    copy, now = copy or Copy(watched=0.0), 0.0
    for look in each:
        now += 60.0
        copy = judge(copy, look, real, limits, Moment(now=now, wall=WALL + now))
    return copy


def asked(way: Way, *, serial: int | None = None) -> Asked:
    return Asked(resolver="10.0.0.53", name="zw.", rdtype="DS", way=way, serial=serial)


def test_a_copy_with_the_serial_of_the_servers_is_healthy_at_once() -> None:
    copy = looks(Look(address=GOOD))
    assert (copy.health, copy.proven, copy.behind, copy.out) == (Health.HEALTHY, 60.0, None, "")


@pytest.mark.parametrize("ahead", [1, 2**31 - 1])
def test_a_serial_that_is_ahead_proves_nothing_and_is_not_behind(ahead: int) -> None:
    copy = looks(Look(address=replace(GOOD, serial=100 + ahead)))
    assert (copy.proven, copy.behind, copy.health) == (None, None, Health.UNKNOWN)


@pytest.mark.parametrize("serial", [99, (100 + 2**31) % 2**32, (100 - 2**31 + 1) % 2**32])
def test_one_that_is_older_or_half_the_circle_away_is_behind(serial: int) -> None:
    assert looks(Look(address=replace(GOOD, serial=serial))).behind == 60.0


def test_what_is_ahead_for_longer_than_it_may_live_is_out_where_the_servers_are_fresh() -> None:
    """A copy with a serial from nowhere: nothing would ever prove it new, nor show it behind."""
    ahead = replace(GOOD, serial=5000, expires=WALL + 3 * DAY)
    assert looks(Look(address=ahead), copy=Copy(watched=-8 * DAY)).out
    late = replace(GOOD, serial=5000)  # as fresh as the servers: all of those may be late
    assert not looks(Look(address=late), copy=Copy(watched=-8 * DAY)).out


def test_names_that_fail_count_after_three_looks_in_a_row() -> None:
    bad = Look(address=GOOD, asked=(asked(Way.SERVFAIL),))
    well = Look(address=GOOD, asked=(asked(Way.GOOD),))
    assert looks(bad).health is Health.SUSPECT
    assert not looks(*[bad] * (BAD_LOOKS - 1), well, *[bad] * (BAD_LOOKS - 1)).out
    copy = looks(*[bad] * BAD_LOOKS)
    assert (copy.health, copy.out) == (
        Health.FAILING,
        "names fail: zw. DS at 10.0.0.53: servfail",
    )


@pytest.mark.parametrize("way", [Way.SILENT, Way.REFUSED, Way.GOOD])
def test_silence_and_refusals_have_other_causes_than_a_copy(way: Way) -> None:
    copy = looks(*[Look(address=GOOD, asked=(asked(way),))] * 9)
    assert (copy.health, copy.out, copy.bad) == (Health.HEALTHY, "", ())


def test_answers_that_have_expired_count_only_where_the_servers_have_fresh_ones() -> None:
    old = replace(GOOD, serial=90, expires=WALL - 5.0)
    look = Look(address=old, asked=(asked(Way.EXPIRED),))
    assert looks(look).bad
    assert looks(look).out
    alike = replace(REAL, expires=WALL - 5.0)
    assert not looks(*[look] * 5, real=alike).bad
    assert not looks(*[look] * 5, real=alike).out
    assert not looks(*[look] * 5, real=replace(REAL, doubt="the clock")).out


def test_what_the_resolver_has_counts_and_not_what_its_source_has() -> None:
    """October 2023, where the source is new and the resolver does not take it."""
    one = Asked(
        resolver="r", name=".", rdtype="SOA", way=Way.GOOD, serial=90, expires=WALL + DAY / 2
    )
    copy = looks(Look(address=replace(GOOD, authoritative=True), own=90, asked=(one,)))
    assert copy.behind is not None
    assert copy.shown is not None
    assert (copy.shown.serial, copy.shown.expires) == (90, WALL + DAY / 2)
    assert "first signature ends" in copy.out


def test_while_it_is_out_what_the_resolver_answers_proves_nothing() -> None:
    moment = Moment(now=60.0, wall=WALL, out=True)
    copy = judge(Copy(), Look(address=GOOD, own=100), REAL, LIMITS, moment)
    assert copy.proven is None
    source = replace(GOOD, authoritative=True)
    copy = judge(Copy(), Look(address=source, own=7), REAL, LIMITS, moment)
    assert copy.proven == 60.0
    bad = Look(address=source, asked=(asked(Way.SERVFAIL),))
    assert judge(copy, bad, REAL, LIMITS, moment).bad == ()


def test_a_file_with_an_unknown_type_is_stale_unless_the_resolver_took_it() -> None:
    file = FileShown(shown=GOOD, foreign=("NEWTYPE",))
    copy = looks(Look(file=file))
    assert copy.health is Health.STALE
    assert "NEWTYPE" in copy.because
    assert looks(Look(file=file, own=100)).health is Health.HEALTHY
    assert looks(Look(file=replace(file, refused="cut"), own=100)).health is Health.STALE
    late = [Look(file=file, own=99)] * 33  # more than a refresh and a look
    assert looks(*late[:-1]).health is Health.UNKNOWN
    assert "NEWTYPE" in looks(*late).because


def test_a_server_that_soon_drops_its_copy_is_a_reason_and_one_that_keeps_it_none() -> None:
    """EDNS EXPIRE may only shorten: a stale primary that answers renews it for ever."""
    dropping = replace(GOOD, serial=90, left=100.0)
    assert "EDNS EXPIRE" in looks(Look(address=dropping)).out
    assert not looks(Look(address=replace(dropping, serial=100))).out
    kept = looks(Look(address=replace(dropping, left=7 * DAY)), copy=Copy(watched=-8 * DAY))
    assert not kept.out  # it is behind for a minute only
    behind = Copy(watched=-8 * DAY, behind=-4000.0)
    assert looks(Look(address=replace(dropping, left=7 * DAY)), copy=behind).out


def test_where_nothing_is_seen_for_long_nothing_is_known() -> None:
    silent = Look(trouble="10.0.0.9: no answer")
    copy = looks(Look(address=GOOD), *[silent] * (UNSEEN_LOOKS - 1))
    assert copy.health is Health.HEALTHY
    copy = looks(Look(address=GOOD), *[silent] * UNSEEN_LOOKS)
    assert (copy.health, copy.because) == (Health.UNKNOWN, "10.0.0.9: no answer")
    assert copy.proven == 60.0  # its age goes on


def test_without_a_soa_of_its_own_the_servers_say_how_long_it_may_live() -> None:
    copy = looks(Look(own=90), copy=Copy(watched=-6.99 * DAY, behind=-4000.0))
    assert "allowed are" in copy.out
    assert not looks(Look(own=90), copy=Copy(watched=-6 * DAY, behind=-4000.0)).out


def test_a_copy_of_a_zone_that_changes_faster_than_it_is_copied_is_healthy() -> None:
    """The zone com. has a new serial every minute or so; a copy is half an hour behind at most."""
    copy, now, history = Copy(), 0.0, list[tuple[int, float]]()
    limits = replace(LIMITS, refresh=1800.0)
    for minute in range(3 * 24 * 60):
        now, serial = 60.0 * minute, 1000 + minute
        history = [*history, (serial, now)][-64:]
        real = replace(REAL, serial=serial, history=tuple(history), expires=WALL + now + 6 * DAY)
        taken = 1000 + minute // 30 * 30 - 1  # never the newest at any look
        shown = Shown(serial=taken, expires=WALL + now + 5.9 * DAY, expire=7 * DAY)
        at = Moment(now=now, wall=WALL + now)
        copy = judge(copy, Look(address=shown), real, limits, at)
        assert not copy.out
        assert copy.health in (Health.UNKNOWN, Health.HEALTHY) or minute < 30
    assert copy.health is Health.HEALTHY
    for minute in range(3 * 24 * 60, 11 * 24 * 60):  # from now on it is not renewed
        now, serial = 60.0 * minute, 1000 + minute
        history = [*history, (serial, now)][-64:]
        real = replace(REAL, serial=serial, history=tuple(history), expires=WALL + now + 6 * DAY)
        at = Moment(now=now, wall=WALL + now)
        copy = judge(copy, Look(address=shown), real, replace(limits, margin=1.0), at)
        if copy.out:
            break
    assert copy.age(now) == pytest.approx(5.9 * DAY, abs=3600.0)  # its signatures end first


@pytest.mark.parametrize(
    ("serial", "proven", "behind"),
    [(99, 10.0, 20.0), (100, 30.0, 30.0), (101, 20.0, 30.0), (102, 40.0, 40.0), (50, None, 60.0)],
)
def test_a_serial_was_new_until_the_next_one_was_seen(
    serial: int, proven: float | None, behind: float
) -> None:
    history = ((98, 10.0), (100, 20.0), (102, 30.0), (110, 40.0))
    real = replace(REAL, serial=110, history=history)
    copy = looks(Look(address=replace(GOOD, serial=serial)), real=real)
    assert (copy.proven, copy.behind) == (proven, behind)


def test_what_the_source_had_a_moment_ago_does_not_make_an_old_copy_new() -> None:
    """A resolver that was given its copy back, and answers from the old one."""
    source = Look(address=replace(GOOD, authoritative=True))
    out = judge(Copy(), source, REAL, LIMITS, Moment(now=60.0, wall=WALL, out=True))
    assert (out.renewed, out.proven) == (True, 60.0)
    back = replace(source, own=7)
    copy = judge(out, back, REAL, LIMITS, Moment(now=61.0, wall=WALL))
    assert not copy.renewed


def test_a_look_without_a_result_changes_nothing_of_a_copy_that_is_new() -> None:
    short = replace(GOOD, expires=WALL + 3600.0)
    copy = looks(Look(address=short), Look(trouble="no answer"))
    assert (copy.renewed, copy.out) == (True, "")


def test_signatures_that_others_renew_alike_are_no_reason() -> None:
    """Where each record is signed at its own time, the least life is that of any record."""
    short = replace(GOOD, expires=WALL + 3600.0)
    copy = looks(Look(address=short))  # the same serial: the servers have the same signatures
    assert (copy.health, copy.out) == (Health.STALE, "")
    assert looks(Look(address=replace(short, serial=90))).out


def forwarded(way: Way) -> Asked:
    return replace(asked(way), resolver="10.0.1.53", behind=True)


def test_a_copy_that_lags_within_its_refresh_rightly_denies_a_name_that_is_newer() -> None:
    """Whoever can register a name would take out every copy that is one serial behind."""
    look = Look(address=replace(GOOD, serial=99), asked=(asked(Way.DENIED),))
    copy = looks(*[look] * 30)  # a refresh is half an hour
    assert (copy.out, copy.bad, copy.bad_looks) == ("", (), 0)
    assert "names fail" in looks(*[look] * 40).out  # it should have taken the newer one long ago
    assert "names fail" in looks(*[replace(look, address=GOOD)] * BAD_LOOKS).out
    failing = replace(look, asked=(asked(Way.SERVFAIL),))
    assert "names fail" in looks(*[failing] * BAD_LOOKS).out


def test_a_name_that_is_denied_from_an_old_version_in_a_cache_is_no_fault_of_the_copy() -> None:
    old = Look(address=GOOD, asked=(replace(asked(Way.DENIED), denied=99),))
    assert looks(*[old] * 40).health is Health.HEALTHY
    lacking = Look(address=GOOD, asked=(replace(asked(Way.DENIED), denied=100),))
    assert "names fail" in looks(*[lacking] * BAD_LOOKS).out


@pytest.mark.parametrize("way", [Way.SERVFAIL, Way.DENIED, Way.EXPIRED])
def test_a_forwarder_that_fails_by_itself_takes_no_copy_out(way: Way) -> None:
    copy = looks(*[Look(address=GOOD, asked=(asked(Way.GOOD), forwarded(way)))] * 9)
    assert (copy.health, copy.out, copy.bad_looks) == (Health.HEALTHY, "", 0)
    old = replace(GOOD, serial=90, expires=WALL + 2 * DAY)  # it may stay for a day yet
    copy = looks(*[Look(address=old, asked=(asked(Way.GOOD), forwarded(Way.SERVFAIL)))] * 9)
    assert (copy.out, copy.before_looks) == ("", 9)


def test_what_fails_before_the_resolver_counts_where_the_resolver_fails_too() -> None:
    both = Look(address=GOOD, asked=(asked(Way.SERVFAIL), forwarded(Way.SERVFAIL)))
    copy = looks(*[both] * BAD_LOOKS)
    assert "names fail" in copy.out
    assert (len(copy.bad), copy.before, copy.before_looks) == (2, (), 0)


def test_a_short_expire_is_no_reason_at_each_change_of_the_zone() -> None:
    """EDNS EXPIRE never exceeds SOA expire, which may be less than two looks."""
    hourly = replace(LIMITS, interval=3600.0)
    lagging = replace(GOOD, serial=99, expire=7200.0, left=7000.0)
    assert not looks(Look(address=lagging), limits=hourly).out
    dropping = replace(lagging, left=1700.0)
    assert "EDNS EXPIRE" in looks(Look(address=dropping), limits=hourly).out
