"""The task that watches copies: what it does to a resolver, writes down and tells."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from steering.act.resolvers.command import Command
from steering.act.resolvers.driver import Kind, Result
from steering.agent import copies, copies_zone
from steering.agent.copies import Copies
from steering.agent.copies_file import NAME, CopiesFile, Known
from steering.agent.copies_zone import Around
from steering.config import Setup, ZoneCopy
from steering.copies import Asked, Real, Shown, Way
from steering.decide import copies as deciding
from steering.decide import copy_course
from steering.decide.copy_course import Phase
from steering.judge.copies import served
from steering.lab.waiting import async_until
from steering.model import Event
from steering.observe.copies.servers import Proven
from steering.report.metrics import Meters

OLD, NEW = 2023092100, 2023100400
CLIENT = "10.0.0.53"


@dataclass
class Site:
    """A resolver whose copy is old, in place of the network and of all resolvers."""

    state: Path
    out: bool = False
    hangs: bool = False
    obeys: bool = True
    renewed: bool = False
    calls: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    """The phase in the file when a call came."""
    events: list[Event] = field(default_factory=list)
    acts: bool = True
    off: bool = False
    doubt: str = ""
    copies: tuple[ZoneCopy, ...] = ()

    kind = Kind.UNBOUND

    async def take_out(self, zone: str) -> Result:
        return await self._called(f"take_out {zone}", out=True)

    async def put_back(self, zone: str) -> Result:
        return await self._called(f"put_back {zone}", out=False)

    async def is_out(self, _zone: str) -> bool | None:
        return None

    async def _called(self, what: str, *, out: bool) -> Result:
        self.calls.append(what)
        self.written += self.written_now()
        if self.hangs:
            return Result(done=False, said="no end within 5 s; ended", seconds=5.0)
        if self.obeys:
            self.out = out
        return Result(done=True, said="ok", seconds=0.01)

    def written_now(self) -> list[str]:
        """The phases in the file."""
        kept = json.loads((self.state / NAME).read_text())["copies"]
        return [one["phase"] for one in kept]

    def around(self) -> Around:
        return Around(
            setup=cast("Setup", SimpleNamespace(copies=self.copies)),
            keys=cast("Any", None),
            signatures=cast("Any", None),
            acts=self.acts,
            off=self.off,
            doubt=self.doubt,
            proven=lambda _zone: (),
            servers=lambda _zone: ("198.41.0.4",),
        )

    async def shown(self, _address: str, _zone: str) -> Shown:
        """The authoritative server beside it."""
        serial = NEW if self.renewed else OLD
        expires = time.time() + 10 * 86_400
        return Shown(serial=serial, expires=expires, expire=0.2, authoritative=True)

    async def asked(self, *_: object) -> tuple[Asked, ...]:
        serial = NEW if self.out or self.renewed else OLD
        return (Asked(resolver=CLIENT, name=".", rdtype="SOA", way=Way.GOOD, serial=serial),)

    def held(self) -> bool:
        """What was ordered has been withdrawn."""
        return any("stays as it is" in event.because for event in self.events)

    def names(self) -> set[str]:
        return {event.event for event in self.events}


class Servers:
    """The zone's own servers."""

    def __init__(self, _zone: str, addresses: Sequence[str], *, names: Sequence[str]) -> None:
        assert list(addresses) == ["198.41.0.4"]
        self.given = names

    def names(self) -> Sequence[str]:
        return self.given

    async def has(self, name: str, *_: object) -> bool:
        return name == "there."

    async def look(self, _k: object, _s: object, elsewhere: Sequence[Proven], *_: float) -> Real:
        assert not elsewhere
        expires = time.time() + 12 * 86_400
        return Real(serial=NEW, expires=expires, refresh=0.1, answers=True)


def policy(**settings: object) -> ZoneCopy:
    one = {
        "unbound": {"include": "/etc/unbound/copy.conf"},
        "address": "10.0.0.9",
        "clients": [CLIENT],
        **settings,
    }
    return ZoneCopy.model_validate(
        {"zone_copy": "root", "interval": "200ms", "margin": "1s", "resolvers": {"cache-1": one}}
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path, copies=(policy(),))
    monkeypatch.setattr(copies, "SOON", 0.02)
    monkeypatch.setattr(deciding, "SETTLE", 0.5)
    monkeypatch.setattr(copy_course, "SETTLE", 0.5)
    monkeypatch.setattr(copies_zone, "Servers", Servers)
    monkeypatch.setattr(copies_zone, "driver_of", lambda _control: made)
    monkeypatch.setattr(copies_zone, "by_address", made.shown)
    monkeypatch.setattr(copies_zone, "ask_clients", made.asked)
    return made


def play(site: Site, *steps: object) -> Copies:
    """An agent until each step holds, one after the other: functions that look at the site."""

    async def story() -> Copies:
        copies = Copies(CopiesFile(site.state), site.around, site.events.append, Meters())
        task = asyncio.create_task(copies.run())
        try:
            for step in steps:
                async with asyncio.timeout(20.0):
                    while not cast("Any", step)(copies):
                        assert not task.done(), task.exception()
                        await asyncio.sleep(0.01)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return copies

    return asyncio.run(story())


def forbid(site: Site, why: str) -> None:
    """From now on the agent may not act."""
    if why == "observe":
        site.acts = False
    elif why == "off":
        site.off = True
    elif why == "doubt":
        site.doubt = "this host's clock is in doubt"
    else:
        site.copies = ()


def phase(copies: Copies) -> str:
    return str(copies.status[0].course.phase) if copies.status else ""


def test_an_old_copy_is_taken_out_and_put_back_when_a_new_one_is_proven(site: Site) -> None:
    def renew(_copies: Copies) -> bool:
        site.renewed = True
        return True

    copies = play(site, lambda c: phase(c) == "out", renew, lambda c: phase(c) == "in")
    assert site.calls == ["take_out .", "put_back ."]
    assert site.written == ["leaving", "returning"]  # written down before it is done
    assert not any(copies.problems().values())
    assert [e.event for e in site.events if e.event != "copy_health"] == [
        *("copy_taking_out", "copy_out", "copy_returning", "copy_back"),
    ]
    (event,) = [e for e in site.events if e.event == "copy_out"]
    assert event.more == {"copy": "root", "resolver": "cache-1"}


def test_the_next_agent_knows_that_it_is_out_and_does_nothing_again(site: Site) -> None:
    play(site, lambda c: phase(c) == "out", lambda _: site.written_now() == ["out"])
    site.events.clear()
    copies = play(site, lambda c: phase(c) == "out", lambda c: c.status[0].look.asked)
    assert site.calls == ["take_out ."]
    assert not site.names() - {"copy_health"}
    assert "root/cache-1 is taken out" in copies.problems()["copy_out"]


@pytest.mark.parametrize("why", ["observe", "off", "doubt"])
def test_an_agent_that_may_not_act_calls_nothing_and_says_why(site: Site, why: str) -> None:
    site.acts, site.off = why != "observe", why == "off"
    site.doubt = "this host's clock is in doubt" if why == "doubt" else ""
    copies = play(site, lambda c: c.problems()["copy_failing"] and c.status[0].course.held)
    word = {"observe": "`mode` is not", "off": "switched off", "doubt": "clock is in doubt"}[why]
    assert word in copies.problems()["copy_failing"]
    assert site.calls == []
    told = "would_take_copy_out" if why == "observe" else "copy_held"
    assert told in site.names()


def test_a_hung_control_channel_is_an_alarm_and_the_command_helps(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.hangs = True
    site.copies = (policy(command=["/bin/out"], restore=["/bin/back"]),)

    async def run(command: Command) -> str:
        site.calls.append(command.argv[0])
        site.out = command.argv[0] == "/bin/out"
        return ""

    monkeypatch.setattr(Command, "run", run)
    copies = play(site, lambda c: phase(c) == "out")
    assert site.calls == ["take_out .", "/bin/out"]
    assert "driver: no end within 5 s" in copies.problems()["copy_stuck"]
    counted = {
        (s.labels["remedy"], s.labels["result"]): s.value
        for metric in copies._meters.copy_actions.collect()
        for s in metric.samples
    }
    assert counted == {("driver", "refused"): 1.0, ("command", "done"): 1.0}


def test_what_a_command_prints_is_one_line_of_limited_length(site: Site) -> None:
    site.hangs = True
    noisy = ["/bin/sh", "-c", "yes 'a line' | head -c 60000; exit 3"]
    site.copies = (policy(command=noisy, restore=["/bin/true"]),)
    watched = play(site, lambda c: phase(c) == "stuck")
    text = watched.problems()["copy_stuck"]
    assert "status 3" in text or "a line" in text
    assert len(text) < 1000
    assert text.isprintable()


def test_a_copy_that_leaves_the_files_while_it_is_out_is_told(site: Site) -> None:
    def forget(_copies: Copies) -> bool:
        site.copies = ()
        return True

    written = lambda _: site.written_now() == ["out"]  # noqa: E731
    play(site, lambda c: phase(c) == "out", written, forget, lambda _: "notice" in site.names())
    (event,) = [e for e in site.events if e.event == "notice"]
    assert event.because == "root/cache-1 is no longer in the files, and stays taken out"
    site.copies = (policy(),)
    play(site, lambda c: phase(c) == "out")  # it is not forgotten
    assert site.calls == ["take_out ."]


def two_zones(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second zone whose resolver never answers, beside the root."""
    hanging = policy().model_copy(update={"zone_copy": "hanging", "zone": "example."})
    site.copies = (hanging, *site.copies)
    shown = site.shown

    async def never(address: str, zone: str) -> Shown:
        if zone == "example.":
            await asyncio.Event().wait()
        return await shown(address, zone)

    monkeypatch.setattr(copies_zone, "by_address", never)


def test_a_zone_whose_look_hangs_holds_up_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_zones(site, monkeypatch)
    watched = play(site, lambda c: c.status and c.status[1].course.phase is Phase.OUT)
    assert site.calls == ["take_out ."]
    assert not watched.status[0].look.asked, "it hangs still"


def test_a_zone_whose_look_hangs_holds_up_changed_files_for_a_while_only(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "FINISH", 0.1)
    two_zones(site, monkeypatch)

    def change(_copies: Copies) -> bool:
        site.copies = site.copies[1:]
        return True

    play(
        site,
        lambda c: len(c.status) == 2 and c.status[1].look.asked,
        change,
        lambda c: [one.zone for one in c.status] == ["."],
    )


def test_a_bug_in_one_zone_ends_the_agent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_address: str, _zone: str) -> Shown:
        raise ZeroDivisionError

    monkeypatch.setattr(copies_zone, "by_address", broken)

    async def story() -> None:
        watched = Copies(CopiesFile(site.state), site.around, site.events.append, Meters())
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(watched.run(), 10.0)

    asyncio.run(story())


def test_a_name_counts_as_denied_only_where_the_zone_has_it_now(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_: object) -> tuple[Asked, ...]:
        return tuple(
            Asked(resolver=CLIENT, name=name, rdtype="DS", way=Way.DENIED, serial=NEW)
            for name in ("there.", "removed.")
        )

    monkeypatch.setattr(copies_zone, "ask_clients", asked)
    copies = play(site, lambda c: bool(c.status) and c.status[0].look.asked)
    ways = {one.name: one.way for one in copies.status[0].look.asked}
    assert ways == {"there.": Way.DENIED, "removed.": Way.GOOD}


@pytest.mark.parametrize("why", ["observe", "off", "doubt", "files"])
def test_what_is_set_during_a_look_is_honoured_by_what_follows(
    site: Site, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    looks = 0

    async def asked(*_: object) -> tuple[Asked, ...]:
        nonlocal looks
        looks += 1
        if looks == 2:  # it lasts until the copy is overdue and too old
            began = time.monotonic()
            await async_until(lambda: time.monotonic() - began > 1.0, 5.0)
            forbid(site, why)
        return await site.asked()

    monkeypatch.setattr(copies_zone, "ask_clients", asked)
    play(site, lambda c: looks == 2 and not c.status if why == "files" else looks > 2)
    assert site.calls == []
    assert "copy_taking_out" not in site.names()


@pytest.mark.parametrize("why", ["observe", "off", "doubt", "files"])
def test_what_is_set_while_the_decision_is_written_down_is_honoured(
    site: Site, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    write = CopiesFile.write

    async def slow(file: CopiesFile, known: Known) -> None:
        await write(file, known)
        if any(course.phase is Phase.LEAVING for _, course in known.values()):
            forbid(site, why)

    monkeypatch.setattr(CopiesFile, "write", slow)

    def returned(_copies: Copies) -> bool:
        return site.written_now() == ["in"]

    copies = play(
        site, lambda _: "copy_taking_out" in site.names(), lambda _: site.held(), returned
    )
    assert site.calls == []
    if why != "files":
        assert phase(copies) == "in"
        assert copies.status[0].course.held


def test_a_forwarder_that_fails_by_itself_is_named_by_an_alarm(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_: object) -> tuple[Asked, ...]:
        (one,) = await site.asked()
        return one, replace(one, resolver="10.0.1.53", behind=True, way=Way.SERVFAIL)

    site.renewed = True
    monkeypatch.setattr(copies_zone, "ask_clients", asked)
    copies = play(site, lambda c: c.problems()["copy_forwarder"])
    assert "10.0.1.53: servfail" in copies.problems()["copy_forwarder"]
    assert site.calls == []


def test_served_is_the_newest_that_the_resolver_itself_shows() -> None:
    def one(serial: int | None, *, behind: bool = False) -> Asked:
        return Asked(
            resolver=CLIENT, name=".", rdtype="SOA", way=Way.GOOD, serial=serial, behind=behind
        )

    assert served([]) is None
    assert served([one(None)]) is None
    assert served([one(5), one(7), one(6), one(9, behind=True)]) == 7
    assert served([one(2**32 - 1), one(1)]) == 1
