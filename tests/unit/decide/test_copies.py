"""Copies of a zone on a long clock: out in time, checked, put back; and what never happens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from copies_clock import DAY, EXPIRE, HOUR, LIFE, REFRESH, Resolver, World, published

from steering.copies import Way
from steering.decide.copy_course import Act, Course, Leave, Phase, Remedy
from steering.model import Health


def frozen_after(days: float = 0.0, until: float = 1e9) -> Resolver:
    """A resolver that takes no new copy from then on."""
    return Resolver(takes=lambda at: not days * DAY < at < until)


def test_october_2023_is_an_alarm_within_a_refresh_and_no_client_answer_fails() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)})
    world.run(1.5 * DAY + HOUR)
    assert world.copies["cache-1"].health is Health.STALE  # the first that it did not take: day 1.5
    assert "did not take 2023092201" in world.copies["cache-1"].because
    world.run(14 * DAY)
    (at, order), *others = world.orders
    assert (order.act, order.remedies, others) == (Act.TAKE_OUT, (Remedy.DRIVER,), [])
    assert EXPIRE - 2 * REFRESH <= at - 1.5 * DAY <= EXPIRE  # never later than the resolver itself
    assert world.courses["cache-1"].phase is Phase.OUT
    assert not world.failures
    assert [event.event for _, event in world.events] == ["copy_taking_out", "copy_out"]


def test_a_resolver_that_never_takes_the_renewed_file_is_seldom_given_another_try() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)})
    world.resolvers["cache-1"].has_file = True
    world.run(14 * DAY)
    assert not world.failures
    returns = [at for at, order in world.orders if order.act is Act.PUT_BACK]
    assert 2 <= len(returns) <= 8
    world.run(30 * DAY)
    returns = [at for at, order in world.orders if order.act is Act.PUT_BACK]
    assert len(returns) <= 10
    assert len(world.failures) <= 2 * len(returns)  # a second or two each
    assert world.courses["cache-1"].phase is Phase.OUT
    assert "it was put back, and" in world.courses["cache-1"].trouble


def test_the_same_without_this_agent_fails() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)}, leave=Leave(acts=False, off=False))
    world.run(16 * DAY)
    assert world.failures[0][0] == pytest.approx(1 * DAY + LIFE, abs=1200)


def test_a_copy_that_is_renewed_is_healthy_for_two_months_and_nothing_is_ever_done() -> None:
    world = World(resolvers={"cache-1": Resolver(), "cache-2": Resolver(has_file=False)})
    world.run(60 * DAY)
    assert {copy.health for copy in world.copies.values()} == {Health.HEALTHY}
    assert not world.events
    assert not world.failures


def test_a_copy_that_lags_for_one_refresh_at_each_publication_is_not_stale() -> None:
    slow = Resolver(takes=lambda at: at % (12 * HOUR) > REFRESH - 60)
    world = World(resolvers={"cache-1": slow})
    world.run(20 * DAY, step=60.0)
    assert not world.events
    assert world.copies["cache-1"].health is Health.HEALTHY


def test_when_all_sources_are_stale_alike_the_copy_stays() -> None:
    world = World(
        resolvers={"cache-1": Resolver()},
        real_at=lambda at: min(at, 2 * DAY),
    )
    world.run(14.5 * DAY)
    assert world.copies["cache-1"].health is Health.STALE
    assert "the zone's servers show none that is new" in world.copies["cache-1"].because
    world.run(20 * DAY)
    assert not world.orders


@pytest.mark.parametrize(
    "wrong", [-400 * DAY, -3 * DAY, 5 * DAY, 11.9 * DAY, 12.5 * DAY, 400 * DAY]
)
def test_a_clock_that_is_wrong_takes_nothing_out(wrong: float) -> None:
    lagging = Resolver(takes=lambda at: at % (12 * HOUR) > REFRESH - 60)
    world = World(
        resolvers={"cache-1": Resolver(), "cache-2": lagging},
        clock=lambda at: wrong if at > 2 * DAY else 0.0,
    )
    world.run(15 * DAY)
    assert not world.orders


def test_a_wrong_clock_is_said_while_a_stale_copy_stays_because_of_it() -> None:
    world = World(
        resolvers={"cache-1": frozen_after(1)}, clock=lambda at: 30 * DAY if at > 5 * DAY else 0.0
    )
    world.run(10 * DAY)
    assert not world.orders
    assert "it stays: the clock, or all of them" in world.courses["cache-1"].held
    assert [event.event for _, event in world.events] == ["copy_held"]


def test_the_copy_stays_where_the_resolver_could_not_do_without_it() -> None:
    world = World(
        resolvers={"cache-1": frozen_after(1)},
        answers=lambda at: at < 5 * DAY or at > 9 * DAY,
    )
    world.run(9 * DAY - HOUR)
    assert not world.orders
    world.run(9 * DAY + HOUR)
    assert [order.act for _, order in world.orders] == [Act.TAKE_OUT]


def test_a_serial_that_goes_back_is_stale_like_one_that_stands_still() -> None:
    it = Resolver()
    world = World(resolvers={"cache-1": it}).run(5 * DAY)
    it.takes = lambda _at: False
    it.at = 1 * DAY
    world.run(5 * DAY + 2 * HOUR)
    assert world.copies["cache-1"].health is Health.STALE


def test_an_old_copy_that_lives_long_is_out_by_age_and_a_young_one_by_its_signatures() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)})
    world.limits = type(world.limits)(margin=8 * DAY, max_age=None, interval=60.0)
    world.run(14 * DAY)
    # No fault of the copy: half of what the servers' own signatures live is less than the margin.
    assert world.orders[0][0] == pytest.approx(1.5 * DAY + EXPIRE - REFRESH, abs=1200)
    world = World(resolvers={"cache-1": frozen_after(1)})
    world.limits = type(world.limits)(margin=6 * DAY, max_age=30 * DAY, interval=60.0)
    world.run(14 * DAY)
    assert world.orders[0][0] == pytest.approx(1 * DAY + LIFE - 6 * DAY, abs=1200)
    world = World(resolvers={"cache-1": frozen_after(1)})
    world.limits = type(world.limits)(margin=DAY, max_age=2 * DAY, interval=60.0)
    world.run(14 * DAY)
    assert world.orders[0][0] == pytest.approx(3.5 * DAY, abs=1200)


def test_a_control_channel_that_hangs_leads_to_the_next_remedy() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)})
    world.resolvers["cache-1"].hangs = frozenset({Remedy.DRIVER})
    world.run(14 * DAY)
    assert [order.remedies for _, order in world.orders] == [(Remedy.DRIVER,), (Remedy.COMMAND,)]
    assert world.courses["cache-1"].phase is Phase.OUT
    assert "driver: no answer within 5 s" in world.courses["cache-1"].trouble
    assert not world.failures
    assert [event.event for _, event in world.events] == [
        *("copy_taking_out", "copy_remains", "copy_taking_out", "copy_out"),
    ]


def test_a_remedy_that_says_it_is_done_and_did_nothing_is_not_believed() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)})
    world.resolvers["cache-1"].obeys = frozenset({Remedy.COMMAND})
    world.run(14 * DAY)
    assert [order.remedies for _, order in world.orders] == [(Remedy.DRIVER,), (Remedy.COMMAND,)]
    assert "still answers with serial 2023092200" in world.courses["cache-1"].trouble
    assert world.courses["cache-1"].phase is Phase.OUT


def test_where_nothing_helps_all_is_tried_again_ever_more_seldom() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)})
    world.resolvers["cache-1"].obeys = frozenset()
    world.run(12 * DAY, step=60.0)
    assert 10 < len(world.orders) < 50
    assert world.courses["cache-1"].trouble
    assert world.copies["cache-1"].health is Health.FAILING
    gaps = [b - a for (a, _), (b, _) in zip(world.orders[1::2], world.orders[2::2], strict=False)]
    assert gaps == sorted(gaps)
    assert world.courses["cache-1"].phase is Phase.STUCK


def test_what_helps_late_is_seen_and_what_did_not_help_is_undone_for_a_new_copy() -> None:
    world = World(resolvers={"cache-1": frozen_after(1, until=10.2 * DAY)})
    it = world.resolvers["cache-1"]
    it.obeys = frozenset()
    world.run(9 * DAY)
    it.out = True  # an operator did it by hand
    world.run(9.1 * DAY)
    assert {course.phase for course in world.courses.values()} == {Phase.OUT}
    world = World(resolvers={"cache-1": frozen_after(1, until=10.2 * DAY)})
    it = world.resolvers["cache-1"]
    it.obeys, it.has_file = frozenset(), True
    world.run(11 * DAY)
    assert world.orders[-1][1].act is Act.PUT_BACK
    assert world.orders[-1][1].remedies == (Remedy.COMMAND, Remedy.DRIVER)
    assert world.courses["cache-1"] == Course()


def test_another_resolver_s_copy_leaves_although_the_first_is_stuck() -> None:
    world = World(resolvers={"cache-1": frozen_after(1), "cache-2": frozen_after(1)})
    world.resolvers["cache-1"].obeys = frozenset()
    world.run(9 * DAY)
    phases = {name: course.phase for name, course in world.courses.items()}
    assert phases == {"cache-1": Phase.STUCK, "cache-2": Phase.OUT}


def test_a_copy_is_back_once_a_new_one_is_proven_and_taken() -> None:
    world = World(resolvers={"cache-1": frozen_after(1, until=11 * DAY)})
    world.resolvers["cache-1"].has_file = True
    world.run(10.9 * DAY)
    assert world.courses["cache-1"].phase is Phase.OUT
    world.run(14 * DAY)
    assert {course.phase for course in world.courses.values()} == {Phase.IN}
    assert world.copies["cache-1"].health is Health.HEALTHY
    assert not world.resolvers["cache-1"].out
    assert world.named("copy_back")


def test_every_remedy_that_was_used_is_undone_the_last_one_first() -> None:
    world = World(resolvers={"cache-1": frozen_after(1, until=9.2 * DAY)})
    it = world.resolvers["cache-1"]
    it.obeys = frozenset({Remedy.COMMAND})
    it.has_file = False
    world.run(9.1 * DAY)
    assert world.courses["cache-1"].phase is Phase.OUT
    it.has_file, it.at = True, 9.2 * DAY
    world.run(9.5 * DAY)
    assert it.undone[-1] == (Remedy.COMMAND, Remedy.DRIVER)
    assert world.courses["cache-1"] == Course()


def test_nothing_shows_a_new_copy_of_a_resolver_that_fetches_its_own_so_it_stays_out() -> None:
    """While it is out its address shows what the zone's own servers have: that proves nothing."""
    world = World(resolvers={"cache-1": frozen_after(1)})
    world.resolvers["cache-1"].has_file = False
    world.run(20 * DAY)
    assert [order.act for _, order in world.orders] == [Act.TAKE_OUT]


def test_one_copy_at_a_time_leaves() -> None:
    world = World(resolvers={f"cache-{n}": frozen_after(1) for n in (1, 2, 3)})
    world.resolvers["cache-1"].obeys = frozenset({Remedy.COMMAND})
    while world.now < 9 * DAY:
        world.run(world.now + 1.0)
        assert sum(course.phase.moving for course in world.courses.values()) <= 1
    assert {course.phase for course in world.courses.values()} == {Phase.OUT}
    assert len({at for at, _ in world.orders}) == len(world.orders)


def test_what_works_worse_without_its_copy_gets_it_back() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)})
    world.resolvers["cache-1"].works_without = False
    world.run(9 * DAY)
    acts = [order.act for _, order in world.orders]
    assert acts[:2] == [Act.TAKE_OUT, Act.PUT_BACK]
    assert "clients' answers fail" in world.courses["cache-1"].trouble
    assert not world.resolvers["cache-1"].out
    assert acts.count(Act.TAKE_OUT) < 12


def test_what_cannot_be_undone_is_tried_again_and_holds_no_other_copy_up() -> None:
    world = World(resolvers={"cache-1": frozen_after(1), "cache-2": frozen_after(1)})
    it = world.resolvers["cache-1"]
    it.works_without, it.returns = False, False
    world.run(9 * DAY)
    assert world.courses["cache-1"].phase is Phase.UNDOING
    assert "no answer within 5 s" in world.courses["cache-1"].refused
    assert world.courses["cache-2"].phase is Phase.OUT
    undone = [at for at, order in world.orders if order.act is Act.PUT_BACK]
    assert 3 < len(undone) < 20
    it.returns = True
    world.run(9.5 * DAY)
    assert not it.out


def test_an_agent_that_does_not_act_says_what_it_would_do_once() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)}, leave=Leave(acts=False, off=False))
    world.run(10 * DAY)
    assert not world.orders
    assert [event.event for _, event in world.events] == ["would_take_copy_out"] * len(world.events)
    assert 1 <= len(world.events) <= 2


def test_switched_off_nothing_leaves_and_nothing_returns() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)}, leave=Leave(acts=True, off=True))
    world.run(10 * DAY)
    assert not world.orders
    assert "switched off" in world.courses["cache-1"].held
    world = World(resolvers={"cache-1": frozen_after(1, until=12 * DAY)}).run(9 * DAY)
    orders = len(world.orders)
    world.leave = Leave(acts=True, off=True)
    world.run(13 * DAY)
    assert len(world.orders) == orders


def test_an_agent_that_ended_in_the_middle_is_followed_by_one_that_finishes() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)})
    while not world.orders:
        world.run(world.now + 60.0)
    world.resolvers["cache-1"].out = False  # it was killed before it did anything
    world.courses["cache-1"] = Course(
        phase=Phase.LEAVING, used=(Remedy.DRIVER,), tried=(Remedy.DRIVER,), serial=2023092200
    )
    world.restart()
    world.run(world.now + 3600)
    assert [order.act for _, order in world.orders] == [Act.TAKE_OUT, Act.TAKE_OUT]
    assert world.courses["cache-1"].phase is Phase.OUT


def test_without_a_remedy_it_is_said_that_none_is_configured() -> None:
    world = World(resolvers={"cache-1": frozen_after(1)})
    world.resolvers["cache-1"].remedies = ()
    world.run(9 * DAY)
    assert not world.orders
    assert "neither `include` nor `command`" in world.courses["cache-1"].held
    assert [event.event for _, event in world.events] == ["copy_held"]


@pytest.mark.parametrize("phase", [Phase.LEAVING, Phase.RETURNING, Phase.UNDOING])
def test_switched_off_what_was_begun_is_not_continued(phase: Phase) -> None:
    world = World(resolvers={"cache-1": frozen_after(1)}, leave=Leave(acts=True, off=True))
    world.run(8 * DAY)
    world.courses["cache-1"] = Course(phase=phase, used=(Remedy.DRIVER,), tried=(Remedy.DRIVER,))
    world.run(8 * DAY + HOUR)
    assert not world.orders
    assert "switched off" in world.courses["cache-1"].held
    world.leave = Leave(acts=True, off=False)
    world.run(8 * DAY + 2 * HOUR)
    assert world.orders


def test_silence_and_refusals_are_never_held_against_a_copy() -> None:
    assert not Way.SILENT.bad
    assert not Way.REFUSED.bad


@pytest.mark.parametrize("way", [Way.SERVFAIL, Way.DENIED, Way.SILENT])
def test_a_forwarder_that_fails_by_itself_takes_no_copy_out(way: Way) -> None:
    world = World(resolvers={"cache-1": Resolver(forwarder=way)})
    world.run(5 * DAY)
    assert not world.orders
    assert world.copies["cache-1"].health is Health.HEALTHY


@pytest.mark.parametrize("way", [Way.SERVFAIL, Way.SILENT])
def test_a_forwarder_that_fails_when_a_copy_is_put_back_does_not_take_it_out_again(
    way: Way,
) -> None:
    world = World(resolvers={"cache-1": frozen_after(1, until=9.2 * DAY)})
    it = world.resolvers["cache-1"]
    world.run(9 * DAY)
    assert world.courses["cache-1"].phase is Phase.OUT
    world.run(9.3 * DAY)
    it.has_file, it.forwarder = True, way
    world.run(9.5 * DAY)
    assert not it.out
    assert {course.phase for course in world.courses.values()} == {Phase.IN}
    returns = len(world.orders)
    world.run(12 * DAY)
    assert len(world.orders) == returns
    assert [order.act for _, order in world.orders] == [Act.TAKE_OUT, Act.PUT_BACK]


def test_a_copy_one_serial_behind_stays_while_it_denies_names_that_are_new() -> None:
    slow = Resolver(takes=lambda at: at % (12 * HOUR) > REFRESH - 60)
    world = World(resolvers={"cache-1": slow})
    denials = 0
    while world.now < 5 * DAY:
        slow.denies = world.now > HOUR and published(world.now + 60.0) != published(slow.at)
        denials += slow.denies
        world.run(world.now + 60.0, step=60.0)
    assert denials > 9 * 25  # half an hour at each of nine publications
    assert not world.orders


@pytest.mark.parametrize("configured", [True, False])
def test_a_copy_that_is_back_is_believed_to_be_where_the_configuration_has_it(
    configured: bool,
) -> None:
    world = World(resolvers={"cache-1": frozen_after(1)})
    it = world.resolvers["cache-1"]
    it.says = True
    world.run(9 * DAY)
    assert world.courses["cache-1"].phase is Phase.OUT
    it.out, it.configured = False, configured  # a return that was ended, and took effect
    world.turn()
    told = [event.because for _, event in world.named("copy_back")]
    assert told == (["by someone else"] if configured else [])
    if not configured:
        assert "its configuration has none" in world.courses["cache-1"].trouble
    world.run(9 * DAY + HOUR, step=60.0)
    assert it.out  # it is stale, and so it is taken out again
    assert world.courses["cache-1"].phase is Phase.OUT


def test_a_new_copy_that_is_back_without_its_configuration_gets_it_at_the_next_return() -> None:
    world = World(resolvers={"cache-1": frozen_after(1, until=9.1 * DAY)})
    it = world.resolvers["cache-1"]
    it.says = True
    world.run(9 * DAY)
    it.out, it.configured, it.at, it.has_file = False, False, 9.2 * DAY, True
    world.courses["cache-1"] = replace(world.courses["cache-1"], not_before=9.3 * DAY)
    world.run(9.25 * DAY)
    assert world.courses["cache-1"].phase is Phase.OUT
    world.run(9.4 * DAY)
    assert world.orders[-1][1].act is Act.PUT_BACK
    assert {course.phase for course in world.courses.values()} == {Phase.IN}
