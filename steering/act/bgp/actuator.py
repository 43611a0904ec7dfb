"""The BGP actuator: announces a plan to the routers, and reports what is really announced.

`supervisor` runs the process, `link` exchanges lines with it. This module makes routes with
attributes from a plan, and reports what became of them. No call waits, except `meet` and `wait`.
What is announced is never remembered: it is read from ExaBGP, so an agent that finds a running
speaker can go on with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from steering.act.bgp.problems import problems_of
from steering.act.bgp.settings import Attributes, BgpSettings
from steering.act.bgp.status import BgpStatus, bgp_status
from steering.act.bgp.supervisor import Supervisor
from steering.act.kernel.diff import ChangeKind
from steering.model import Done, Event, Instant, Refused, Seconds

MET_WITHIN: Seconds = 3.0
"""A running speaker reports what it announces within milliseconds, or it hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """A change that is not yet sent to all routers."""

    action: ChangeKind
    site: str | None
    attributes: Attributes | None
    at: Instant


class BgpActuator:
    """Announces plans to the routers. `fileno` is readable when `pump` has something to do."""

    def __init__(
        self, terms: BgpSettings, runtime: Path, *, lease: Seconds, may_speak: Callable[[], bool]
    ) -> None:
        """`may_speak` is called before anything is started or announced."""
        self.troubles: tuple[str, ...] = ()
        self._terms = terms
        self._supervisor = Supervisor(terms, runtime, lease=lease, may_speak=may_speak)
        self._link = self._supervisor.talk
        self._sync = self._link.sync
        self._wanted: dict[str, Attributes] = {}
        self._pending: dict[str, _Pending] = {}
        self._up: dict[str, bool] = {}

    def fileno(self) -> int:
        return self._link.fileno()

    def close(self) -> None:
        """Closes the link. The speaker goes on for the lease."""
        self._link.close()

    def adopt(self) -> None:
        """Goes on with a running speaker of the same configuration; ends any other.

        Raises OSError when the other one can't be ended.
        """
        self._supervisor.adopt()

    def meet(self) -> None:
        """Waits at most MET_WITHIN until it is known what an adopted speaker announces.

        Raises OSError as `adopt` does.
        """
        self._supervisor.meet(MET_WITHIN)

    def change(self, terms: BgpSettings, lease: Seconds) -> None:
        """Takes new settings; sessions stay up unless they need another speaker."""
        self._supervisor.change(terms, lease)
        self._terms = terms
        self._sync.set_peers(terms.peers)

    def withdraw(self) -> bool:
        """Withdraws everything at once by ending the speaker; whether one ran.

        Raises OSError if it does not end.
        """
        self._wanted.clear()
        self._pending.clear()
        return self._supervisor.end()

    def apply(
        self, plan: Mapping[str, str], allowed: Collection[str], own: Collection[str]
    ) -> tuple[Done | Refused, ...]:
        """Takes this plan (address to site); the results of this and earlier ones.

        A Done comes once the route is sent in every session that can carry it; its seconds run from
        the plan to then.
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
        self._note_changes(wanted, now)
        self.pump()  # accepts a bridge that has connected meanwhile
        self._supervisor.keep_up(now, wanted)
        ended = "" if self._link.linked else self._supervisor.why
        self.troubles = tuple(
            problems_of(
                self._terms,
                refused,
                self._supervisor.home,
                ended=ended,
                sync=self._sync,
                settled=self._supervisor.settled(now),
                now=now,
            )
        )
        self._link.send_lines(self._sync.want(wanted, now))
        self.pump()
        return (*refused, *self._done(time.monotonic()))

    def wait(self, patience: Seconds) -> None:
        """Waits until there is something to `pump`, at most this long."""
        self._link.wait(patience)

    def pump(self) -> None:
        """Reads what the speaker sent, and answers. Never waits."""
        self._link.pump()

    def installed(self) -> Mapping[str, str]:
        """Address to site, of the routes sent in at least one established session."""
        return {
            address: site
            for address, hop in self._sync.announced().items()
            if (site := self._terms.site_of(hop)) is not None
        }

    @property
    def known(self) -> bool:
        """Whether `installed` is complete: without a link it is empty, whatever is announced."""
        return self._supervisor.known

    def news(self) -> tuple[Event, ...]:
        """Events since the last call: of the sessions, and of the speaker itself."""
        events = self._supervisor.news()
        sessions = self._sync.sessions
        for peer, session in sessions.items():
            if self._up.get(peer, False) is not session.up:
                self._up[peer] = session.up
                events.append(_session_event(peer, session.up, session.because or "established"))
        for peer in self._up.keys() - sessions:
            if self._up.pop(peer):
                events.append(_session_event(peer, False, "the neighbour was removed"))
        return tuple(events)

    def report(self) -> BgpStatus:
        """The status of the speaker and its sessions now."""
        return bgp_status(
            self._sync,
            wanted=len(self._wanted),
            announced=self.installed(),
            starts=self._supervisor.starts,
            linked=self._link.linked,
        )

    def _note_changes(self, wanted: dict[str, Attributes], now: Instant) -> None:
        for address in {*wanted, *self._wanted}:
            was, to = self._wanted.get(address), wanted.get(address)
            if was != to:
                self._pending[address] = _Pending(
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
        for address, pending in list(self._pending.items()):
            if self._sync.sent_everywhere(address, pending.attributes):
                del self._pending[address]
                done.append(
                    Done(
                        action=pending.action,
                        address=address,
                        site=pending.site,
                        seconds=now - pending.at,
                    )
                )
        return done


def _session_event(peer: str, up: bool, because: str) -> Event:
    was, now = ("down", "up") if up else ("up", "down")
    return Event(event="bgp_session", because=because, was=was, now=now, more={"neighbor": peer})
