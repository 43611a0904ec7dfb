"""Receivers that fail, hang and come back; nobody waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from steering.config.notify import About
from steering.lab.waiting import until
from steering.model import Seconds
from steering.report.notifications import receiver as module
from steering.report.notifications.notice import Notice, Sender, Stage
from steering.report.notifications.receiver import MOST, NotSentError, Receiver

SENDER = Sender(site="sin", host="edge1", mode="enforce", version="0")
NOTICE = Notice(
    about=About.ALARM, name="kernel", stage=Stage.BEGAN, since=0.0, title="alarm kernel", text="x"
)


class Means:
    """Takes notices, or does not."""

    def __init__(self, resend: Seconds | None = None) -> None:
        self.resend, self.sender = resend, SENDER
        self.taken: list[tuple[Notice, ...]] = []
        self.attempts = 0
        self.because = self.beside = ""
        self.error: Exception | None = None
        self.free = threading.Event()
        self.free.set()

    def send(self, notices: Sequence[Notice]) -> str:
        self.attempts += 1
        self.free.wait(30)
        if self.error is not None:
            raise self.error
        if self.because:
            raise NotSentError(self.because)
        self.taken.append(tuple(notices))
        return self.beside


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.04)


def receiver(means: Means, about: frozenset[About] = frozenset(About)) -> Receiver:
    return Receiver("noc", means, about, time.monotonic)


def test_each_notice_is_sent_once_and_in_order() -> None:
    means = Means()
    one = receiver(means)
    notices = [replace(NOTICE, name=str(number)) for number in range(5)]
    one.put(notices)
    assert one.wait(5)
    assert [batch[0] for batch in means.taken] == notices
    assert one.counts.sent == 5


def test_what_it_does_not_want_is_not_sent_and_starts_no_thread() -> None:
    means = Means()
    one = receiver(means, frozenset({About.INCIDENT}))
    before = threading.active_count()
    one.put([NOTICE])
    assert one.wait(0)
    assert threading.active_count() == before
    assert not means.attempts


def test_a_hanging_receiver_keeps_nobody_waiting_and_what_waits_is_bounded() -> None:
    means = Means()
    means.free.clear()
    one = receiver(means)
    began = time.monotonic()
    for number in range(3 * MOST):
        one.put([replace(NOTICE, name=str(number))])
    assert time.monotonic() - began < 1
    until(lambda: means.attempts == 1)
    assert one.counts.dropped == 2 * MOST
    means.free.set()
    assert one.wait(5)
    assert [batch[0].name for batch in means.taken][-1] == str(3 * MOST - 1)
    assert len(means.taken) <= MOST + 1


def test_a_failing_receiver_is_tried_again_and_gets_the_latest_of_each_thing() -> None:
    means = Means()
    means.because = "answers 500"
    one = receiver(means)
    one.put([NOTICE])
    until(lambda: means.attempts > 2)
    one.put([replace(NOTICE, stage=Stage.CHANGED, title="more")])
    one.put([replace(NOTICE, name="other")])
    means.because = ""
    assert one.wait(5)
    told = [batch[0] for batch in means.taken]
    assert (told[-2].title, told[-2].stage) == ("more", Stage.BEGAN) or told[-2].title == "x"
    assert {notice.name for notice in told} == {"kernel", "other"}
    assert one.counts.failed > 2


def test_a_receiver_that_has_failed_for_a_minute_is_a_problem_until_it_takes_one() -> None:
    means, now = Means(), [0.0]
    means.because = "answers 500: no room"
    one = Receiver("noc", means, frozenset(About), lambda: now[0])
    one.put([NOTICE])
    until(lambda: one.counts.failed)
    assert not one.problem()
    now[0] = 61.0
    assert one.problem() == "noc: answers 500: no room, for 1 min 1 s; 1 notice wait"
    means.because = ""
    assert one.wait(5)
    until(lambda: not one.problem())


def test_all_that_lasts_is_sent_again_and_again_to_who_wants_that_and_its_end_once() -> None:
    means = Means(resend=0.05)
    one = receiver(means)
    one.put([NOTICE])
    until(lambda: len(means.taken) > 3)
    assert all(batch == (NOTICE,) for batch in means.taken)
    ended = replace(NOTICE, stage=Stage.ENDED, ended=1.0)
    one.put([ended])
    assert one.wait(5)
    assert means.taken[-1] == (ended,)
    other = replace(NOTICE, name="other")
    one.put([other])
    assert one.wait(5)
    assert means.taken[-1] == (other,)


def test_a_closed_receiver_sends_nothing_more() -> None:
    means = Means(resend=0.01)
    one = receiver(means)
    one.put([NOTICE])
    assert one.wait(5)
    one.close()
    until(lambda: not one.running)
    attempts = means.attempts
    one.put([replace(NOTICE, name="late")])
    assert not one.wait(0.05)
    assert means.attempts == attempts


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        ValueError("filedescriptor out of range"),
        RuntimeError,
    ],
)
def test_no_error_of_this_host_ends_a_receiver(error: Exception) -> None:
    means = Means()
    means.error = error
    one = receiver(means)
    one.put([NOTICE])
    until(lambda: one.counts.failed > 1)
    means.error = None
    assert one.wait(5)
    assert means.taken == [(NOTICE,)]


def test_without_a_thread_to_be_had_nothing_is_lost_and_nobody_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    means, now = Means(), [0.0]
    one = Receiver("noc", means, frozenset(About), lambda: now[0])
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        one.put([NOTICE])
        now[0] = 61.0
        assert "can't start new thread" in one.problem()
    one.put([])
    assert one.wait(5)
    assert means.taken == [(NOTICE,)]


@pytest.mark.parametrize("resend", [None, 60.0])
def test_a_receiver_in_the_place_of_another_gets_what_waited_and_what_lasts(
    resend: Seconds | None,
) -> None:
    old, new = Means(), Means(resend=resend)
    old.because = "no such host"
    one = receiver(old)
    one.put([NOTICE])
    until(lambda: one.counts.failed)
    lasting = replace(NOTICE, name="lasting")
    two = receiver(new)
    one.successor(two, [lasting])
    assert two.wait(5)
    until(lambda: not one.running)
    told = {notice.name for batch in new.taken for notice in batch}
    assert told == ({"kernel", "lasting"} if resend else {"kernel"})


def test_what_is_wrong_beside_is_a_problem_and_keeps_nothing_from_being_sent() -> None:
    means, now = Means(), [0.0]
    means.beside = "am-2: refused"
    one = Receiver("am", means, frozenset(About), lambda: now[0])
    one.put([NOTICE])
    assert one.wait(5)
    now[0] = 61.0
    assert "am-2: refused" in one.problem()
    assert one.counts.sent == 1


def test_who_wants_all_again_is_tried_again_before_that_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 300.0)
    means = Means(resend=0.02)
    means.because = "refused"
    one = receiver(means)
    one.put([NOTICE])
    until(lambda: means.attempts > 12)  # with pauses that double, a minute and more
