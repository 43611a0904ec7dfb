"""The BGP actuator: a plan in, a speaker that tells it, and what really stands out.

`supervisor` sees to the process, `link` to what is said; here a plan becomes routes with
attributes, and what became of it is told. Nothing waits: each call moves what can be moved.
What is announced is never remembered, it is what ExaBGP reports; so an agent that finds a
speaker running goes on with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from steering.act.bgp.problems import complaints
from steering.act.bgp.settings import Attributes, BgpSettings
from steering.act.bgp.status import BgpStatus, speaking
from steering.act.bgp.supervisor import Supervisor
from steering.act.kernel.diff import ChangeKind
from steering.model import Done, Event, Instant, Refused, Seconds

MET_WITHIN: Seconds = 3.0
"""A speaker that was found says what it announces within milliseconds, or hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A change that is on its way to the routers."""

    action: ChangeKind
    site: str | None
    attributes: Attributes | None
    at: Instant


class BgpActuator:
    """Tells the routers. `fileno` is readable when `pump` has something to do."""

    def __init__(
        self, terms: BgpSettings, runtime: Path, *, lease: Seconds, may_speak: Callable[[], bool]
    ) -> None:
        """`may_speak` is asked before anything is started or announced."""
        self.troubles: tuple[str, ...] = ()
        self._terms = terms
        self._life = Supervisor(terms, runtime, lease=lease, may_speak=may_speak)
        self._talk = self._life.talk
        self._sync = self._talk.sync
        self._wanted: dict[str, Attributes] = {}
        self._asked: dict[str, _Asked] = {}
        self._up: dict[str, bool] = {}

    def fileno(self) -> int:
        return self._talk.fileno()

    def close(self) -> None:
        """Lets go of the speaker, which goes on for the lease."""
        self._talk.close()

    def adopt(self) -> None:
        """Goes on with a speaker of the same configuration; ends any other.

        Raises OSError when a speaker that is not to go on can't be ended.
        """
        self._life.adopt()

    def meet(self) -> None:
        """Waits for a moment until it is known what an adopted speaker announces.

        Raises OSError as `adopt` does.
        """
        self._life.meet(MET_WITHIN)

    def change(self, terms: BgpSettings, lease: Seconds) -> None:
        """Goes by other terms; no session ends where the speaker need not be another."""
        self._life.change(terms, lease)
        self._terms = terms
        self._sync.speak_to(terms.peers)

    def withdraw(self) -> bool:
        """Takes back everything, at once, by ending the speaker; whether one ran.

        Raises OSError where it would not go.
        """
        self._wanted.clear()
        self._asked.clear()
        return self._life.end()

    def apply(
        self, plan: Mapping[str, str], allowed: Collection[str], own: Collection[str]
    ) -> tuple[Done | Refused, ...]:
        """Wants this plan (address to site) from now on; what has become of earlier ones.

        A Done comes once every session that can carry the route has been sent it; its seconds
        run from the plan to then.
        """
        now = time.monotonic()
        wanted: dict[str, Attributes] = {}
        refused: list[Refused] = []
        for address, site in plan.items():
            because = self._terms.objection(address, site, allowed=allowed, own=own)
            if because is None:
                wanted[address] = self._terms.attributes(address, site)
            else:
                refused.append(
                    Refused(action=ChangeKind.ADD, address=address, site=site, because=because)
                )
        self._ask(wanted, now)
        self.pump()  # a bridge that has come already is not missed
        self._life.keep_up(now, wanted)
        ended = "" if self._talk.linked else self._life.why
        self.troubles = tuple(
            complaints(
                self._terms,
                refused,
                self._life.home,
                ended=ended,
                sync=self._sync,
                settled=self._life.settled(now),
                now=now,
            )
        )
        self._talk.say(self._sync.want(wanted, now))
        self.pump()
        return (*refused, *self._done(time.monotonic()))

    def wait(self, patience: Seconds) -> None:
        """Until there is something to `pump`, so long at most."""
        self._talk.wait(patience)

    def pump(self) -> None:
        """Takes what the speaker said, and answers. Never waits."""
        self._talk.pump()

    def installed(self) -> Mapping[str, str]:
        """Address to site, of what some established session has been sent."""
        return {
            address: site
            for address, hop in self._sync.announced().items()
            if (site := self._terms.site_of(hop)) is not None
        }

    @property
    def known(self) -> bool:
        """Whether `installed` is all there is: without a link it is empty, whatever stands."""
        return self._life.known

    def news(self) -> tuple[Event, ...]:
        """What changed since the last call: sessions, and the speaker itself."""
        told = self._life.news()
        sessions = self._sync.sessions
        for peer, session in sessions.items():
            if self._up.get(peer, False) is not session.up:
                self._up[peer] = session.up
                told.append(_changed(peer, session.up, session.because or "established"))
        for peer in self._up.keys() - sessions:
            if self._up.pop(peer):
                told.append(_changed(peer, False, "it is no neighbour any more"))
        return tuple(told)

    def report(self) -> BgpStatus:
        """Everything there is to tell, now."""
        return speaking(
            self._sync,
            wanted=len(self._wanted),
            announced=self.installed(),
            starts=self._life.starts,
            linked=self._talk.linked,
        )

    def _ask(self, wanted: dict[str, Attributes], now: Instant) -> None:
        for address in {*wanted, *self._wanted}:
            was, to = self._wanted.get(address), wanted.get(address)
            if was != to:
                self._asked[address] = _Asked(
                    action=ChangeKind.REMOVE
                    if to is None
                    else ChangeKind.ADD
                    if was is None
                    else ChangeKind.REPLACE,
                    site=self._terms.site_of(to.next_hop if to else was.next_hop if was else ""),
                    attributes=to,
                    at=now,
                )
        self._wanted = wanted

    def _done(self, now: Instant) -> list[Done]:
        done: list[Done] = []
        for address, asked in list(self._asked.items()):
            if self._sync.everywhere(address, asked.attributes):
                del self._asked[address]
                done.append(
                    Done(
                        action=asked.action,
                        address=address,
                        site=asked.site,
                        seconds=now - asked.at,
                    )
                )
        return done


def _changed(peer: str, up: bool, because: str) -> Event:
    was, now = ("down", "up") if up else ("up", "down")
    return Event(event="bgp_session", because=because, was=was, now=now, more={"neighbor": peer})
