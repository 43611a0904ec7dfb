"""The BGP actuator: a plan in, a speaker that tells it, and what really stands out.

It sees to the process, owns the socket to the bridge in it, and lets `sync` do the talking.
Nothing here waits: each call moves what can be moved. What is announced is never remembered,
it is what ExaBGP reports; so an agent that finds a speaker running goes on with it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import socket
import struct
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from steering.act.bgp import process
from steering.act.bgp.bridge import BEAT
from steering.act.bgp.hear import hear
from steering.act.bgp.household import SOCKET, Household, look_around
from steering.act.bgp.speaking import Line, Speaking
from steering.act.bgp.sync import Phase, Sync
from steering.act.bgp.terms import Attributes, Terms
from steering.act.bgp.text import environment
from steering.act.diff import Act
from steering.model import Done, Event, Instant, Refused, Seconds

CONNECTED_WITHIN: Seconds = 5.0
"""ExaBGP whose helper can't be run stays alive and does nothing; one that died is replaced."""
ADOPTED_WITHIN: Seconds = 3.0
BACK_OFF: tuple[Seconds, Seconds] = (0.5, 30.0)
_CALM: Seconds = 60.0
"""A speaker that lived so long is started anew at once when it dies."""
_CHUNK = 1 << 16
_PEER = struct.Struct("=iII")  # struct ucred of unix(7): process, user, group
_CHUNKS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A change that is on its way to the routers."""

    action: Act
    site: str | None
    attributes: Attributes | None
    at: Instant


class Speaker:
    """Tells the routers. `fileno` is readable when `pump` has something to do."""

    def __init__(
        self, terms: Terms, runtime: Path, *, lease: Seconds, may_speak: Callable[[], bool]
    ) -> None:
        """`may_speak` is asked before anything is started or announced."""
        self.troubles: tuple[str, ...] = ()
        self._terms, self._runtime, self._lease = terms, runtime, lease
        self._may_speak = may_speak
        self._sync = Sync(terms.peers)
        self._home: Household | None = None
        self._epoll = select.epoll()
        self._listener: socket.socket | None = None
        self._link: socket.socket | None = None
        self._out = b""
        self._in = b""
        self._child: int | None = None
        self._started: Instant = float("-inf")
        self._unlinked_at: Instant = float("-inf")
        """Since when a bridge is waited for, where there is none."""
        self._met = False
        """Whether the bridge of the present speaker ever came."""
        self._pause = 0.0
        self._starts = 0
        self._wanted: dict[str, Attributes] = {}
        self._asked: dict[str, _Asked] = {}
        self._objections: tuple[Refused, ...] = ()
        self._news: list[Event] = []
        self._up: dict[str, bool] = {}
        self._why = ""
        """Why the last speaker ended."""

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        """Lets go of the speaker, which goes on for the lease."""
        for end in (self._link, self._listener):
            if end is not None:
                end.close()
        self._link = self._listener = None
        self._epoll.close()

    def adopt(self) -> None:
        """Goes on with a speaker of the same configuration; ends any other.

        Waits for a moment until what it announces is known. Raises OSError when a speaker
        that is not to go on can't be ended.
        """
        found = process.running(self._runtime)
        if found is None:
            return
        home = self._look_around()
        if not home.usable or found != home.fingerprint:
            process.end(self._runtime)
            return
        self._listen()
        self._started = self._unlinked_at = time.monotonic()
        until = self._started + ADOPTED_WITHIN
        while not self._sync.ready and (left := until - time.monotonic()) > 0:
            self.wait(min(left, 0.05))
            self.pump()
        if not self._sync.ready:
            process.end(self._runtime)
            self._lose("a speaker was found that does not answer")

    def withdraw(self) -> bool:
        """Takes back everything, at once, by ending the speaker; whether one ran.

        Raises OSError where it would not go.
        """
        self._wanted.clear()
        self._asked.clear()
        ran = process.end(self._runtime)
        if ran:
            self._lose("taken back")
            self._started = float("-inf")
        return ran

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
                refused.append(Refused(action=Act.ADD, address=address, site=site, because=because))
        for address in {*wanted, *self._wanted}:
            was, to = self._wanted.get(address), wanted.get(address)
            if was != to:
                self._asked[address] = _Asked(
                    action=Act.REMOVE if to is None else Act.ADD if was is None else Act.REPLACE,
                    site=self._terms.site_of(to.next_hop if to else was.next_hop if was else ""),
                    attributes=to,
                    at=now,
                )
        self._wanted = wanted
        self._objections = tuple(refused)
        self.pump()  # a bridge that has come already is not missed
        self._keep_up(now)
        self._write(self._sync.want(wanted, now))
        self.pump()
        return (*refused, *self._done(time.monotonic()))

    def wait(self, patience: Seconds) -> None:
        """Until there is something to `pump`, so long at most."""
        self._epoll.poll(patience)

    def pump(self) -> None:
        """Takes what the speaker said, and answers. Never waits."""
        for descriptor, event in self._epoll.poll(0):
            if self._link is not None and descriptor == self._link.fileno():
                self._converse(event)
            else:
                self._accept()
        self._write(self._sync.tick(time.monotonic()))

    def installed(self) -> Mapping[str, str]:
        """Address to site, of what some established session has been sent."""
        return {
            address: site
            for address, hop in self._sync.announced().items()
            if (site := self._terms.site_of(hop)) is not None
        }

    def news(self) -> tuple[Event, ...]:
        """What changed since the last call: sessions, and the speaker itself."""
        for peer, session in self._sync.sessions.items():
            if self._up.get(peer, False) is not session.up:
                self._up[peer] = session.up
                self._news.append(
                    Event(
                        event="bgp_session",
                        because=session.because or "established",
                        was="down" if session.up else "up",
                        now="up" if session.up else "down",
                        more={"neighbor": peer},
                    )
                )
        told, self._news = tuple(self._news), []
        return told

    def report(self) -> Speaking:
        """Everything there is to tell, now."""
        sessions = {
            peer: Line(
                up=session.up,
                because=session.because,
                routes=len(session.sent) if session.up else 0,
                lacking=tuple(sorted(session.families - session.negotiated)) if session.up else (),
            )
            for peer, session in self._sync.sessions.items()
        }
        times, self._sync.acknowledged = tuple(self._sync.acknowledged), []
        return Speaking(
            sessions=sessions,
            wanted=len(self._wanted),
            announced=self.installed(),
            updates=self._sync.updates,
            starts=self._starts,
            acknowledged=times,
            version=self._sync.version,
            linked=self._link is not None,
            read=self._sync.looks,
        )

    def _keep_up(self, now: Instant) -> None:
        """Sees to it that one speaker runs, answers, and hears that we are here."""
        self._bury()
        lives = process.running(self._runtime) is not None
        if not lives:
            starting = self._child is not None and now - self._started < CONNECTED_WITHIN
            if not starting:
                self._start(now)
        elif self._sync.silent(now) or (
            self._link is None and now - self._unlinked_at > CONNECTED_WITHIN
        ):
            process.end(self._runtime)
            never = "" if self._met else "its helper never came: "
            self._lose(f"{never}it did not answer{self._last_words()}")
        elif self._link is not None:
            self._out += BEAT + b"\n" if len(self._out) < _CHUNK else b""
            if now - self._started > _CALM:
                self._pause = 0.0
        self.troubles = tuple(self._troubles(now))

    def _start(self, now: Instant) -> None:
        if now - self._started < self._pause or not self._may_speak():
            return
        home = self._look_around()
        if not home.usable:
            return
        if self._started > float("-inf"):
            self._lose("it was ended" if self._met else f"it has ended{self._last_words()}")
        self._met = False
        self._pause = min(max(BACK_OFF[0], 2 * self._pause), BACK_OFF[1])
        self._started = self._unlinked_at = now
        try:
            home.furnish(self._runtime, self._wanted)
            self._listen()
            self._child = process.start(
                self._runtime, home.fingerprint, home.command, environment(home.terms)
            )
        except OSError as error:
            self._why = f"it can't be started: {error}"
            return
        self._starts += 1
        self._news.append(
            Event(event="bgp_speaker", because=self._why or "there was none", now="started")
        )

    def _look_around(self) -> Household:
        self._home = look_around(self._terms, self._runtime, self._lease)
        return self._home

    def _listen(self) -> None:
        if self._listener is not None:
            return
        place = self._runtime / process.FOLDER / SOCKET
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.bind(str(place))
            place.chmod(0o600)
            if os.geteuid() == 0:
                with contextlib.suppress(KeyError):
                    os.chown(place, pwd.getpwnam(self._terms.user).pw_uid, -1)
            listener.listen(1)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._epoll.register(listener, select.EPOLLIN)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            link, _ = self._listener.accept()
        except OSError:
            return
        pid = _PEER.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
        if not process.is_helper(self._runtime, pid):
            link.close()
            return
        link.setblocking(False)
        self._unlink()  # the newer bridge is the one that ExaBGP has
        self._link, self._met, self._why = link, True, ""
        self._epoll.register(link, select.EPOLLIN)
        self._out = BEAT + b"\n"
        self._write(self._sync.connected(time.monotonic()))

    def _converse(self, event: int) -> None:
        link = self._link
        assert link is not None
        try:
            if event & select.EPOLLOUT:
                self._write([])
            for _ in range(_CHUNKS):
                if self._link is not link:
                    return  # it was found dead while we wrote to it
                said = link.recv(_CHUNK)
                if not said:
                    raise ConnectionResetError("the bridge hung up")
                *lines, self._in = (self._in + said).split(b"\n")
                now = time.monotonic()
                for line in lines:
                    if (message := hear(line.decode("utf-8", "replace"))) is not None:
                        self._write(self._sync.heard(message, now))
                        if self._link is not link:
                            return
        except BlockingIOError:
            pass
        except OSError as error:
            self._unlink()
            self._sync.apart(f"the speaker is out of reach: {error}")

    def _unlink(self) -> None:
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(self._link)
            self._link.close()
            self._unlinked_at = time.monotonic()
        self._link, self._in, self._out = None, b"", b""

    def _write(self, lines: list[str]) -> None:
        if self._link is None:
            return
        if lines and not self._may_speak():
            return  # the turn that follows ends the speaker; nothing more is said to it
        self._out += "".join(f"{line}\n" for line in lines).encode("ascii")
        try:
            if self._out:
                self._out = self._out[self._link.send(self._out) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._unlink()
            self._sync.apart(f"the speaker is out of reach: {error}")
            return
        self._epoll.modify(self._link, select.EPOLLIN | (select.EPOLLOUT if self._out else 0))

    def _lose(self, because: str) -> None:
        self._unlink()
        self._sync.apart(f"there is no speaker: {because}")
        if self._child is not None or self._met:
            self._news.append(Event(event="bgp_speaker", because=because, now="ended"))
        self._why = because

    def _bury(self) -> None:
        """Takes note of the end of a speaker that we started, so that no zombie stays."""
        if self._child is None:
            return
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(self._child, os.WNOHANG) == (0, 0):
                return
        self._child = None

    def _last_words(self) -> str:
        try:
            text = (self._runtime / process.FOLDER / "log").read_text(errors="replace").strip()
        except OSError:
            return ""
        return f": {text.splitlines()[-1][:200]}" if text else ""

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

    def _troubles(self, now: Instant) -> list[str]:
        found = [f"{r.address} to {r.site}: {r.because}" for r in self._objections]
        if self._home is not None:
            found += self._home.troubles
        if self._why and self._link is None:
            found.append(f"the speaker: {self._why}")
        if self._sync.phase is Phase.USELESS:
            found.append(
                f"this is ExaBGP {self._sync.version}, wanted 5.0: the words of others differ"
            )
        left_out = {p.address for p in self._terms.peers} - (
            {p.address for p in self._home.terms.peers} if self._home else set()
        )
        for peer, session in self._sync.sessions.items():
            if peer in left_out and self._home is not None:
                continue
            if not session.up and self._link is not None and now - self._started > CONNECTED_WITHIN:
                found.append(f"neighbour {peer} is not established: {session.because or '-'}")
            if session.up and (lacking := session.families - session.negotiated):
                names = " and ".join(sorted(lacking))
                found.append(f"neighbour {peer} did not negotiate {names}: not installable there")
        found += [
            f"{address}: the speaker would not take it for neighbour {peer}"
            for address, peer in self._sync.refused(now).items()
        ]
        found += [
            f"{address}: what neighbour {peer} was sent can't be mended"
            for address, peer in self._sync.unmended().items()
        ]
        return found
