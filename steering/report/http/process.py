"""The process that serves HTTP: all connections in one thread, each with a place and a deadline.

Started by ``service`` as ``python -m steering.report.http.process CONTROL``, with the standard
library alone. The agent sends it the listening sockets, a message for each turn, and answers when
it asks for them. So clients cost the agent no CPU time, no descriptor and no memory, and `/healthz`
is answered while the agent hangs. It ends when the agent's end of the control socket closes, so
whenever the agent ends.

For TCP there are `PLACES`. When all are in use, no connection is accepted until one is free: those
that wait are served in order, since requests take milliseconds. A client that has had its place for
a second loses it to another, unless it waits for an answer. At the socket in `runtime` the kernel
shows the client's user; root and the agent's user have their own places, so an operator always gets
an answer.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

from steering.model import Instant, Seconds
from steering.report.http import ipc
from steering.report.http.connection import GRACE, Connection, Phase, long_there, refused, user_of
from steering.report.http.ipc import LIVE, Answer, Failed, Rendering, Turned, Wanted
from steering.report.http.rendering import LANES, RenderQueue, lane_of
from steering.report.http.request import BadRequest, Request
from steering.report.http.routes import is_ours, misdirected, route, stalled, unavailable
from steering.report.http.watchers import Watchers, watching

PLACES: Final = 64
"""Connections by TCP; a quarter of that at the socket in `runtime`, and as many for its owner."""
DEADLINE: Final[Seconds] = 30.0
"""For a whole request, from its first byte to the last byte of its answer."""
HELD: Final = 1 << 26
"""Bytes of answers to slow clients; above that the slowest client is disconnected."""
_NICE: Final = 5
"""The agent comes first when CPU is short."""
_TICK: Final[Seconds] = 0.25
_ACCEPTED: Final = 16  # in one go
_SPARE: Final = 16  # descriptors for all but clients
_LOST: Final[Seconds] = 2 * DEADLINE  # the agent ends a rendering well before
_QUIET: Final[Seconds] = 60.0  # between two messages about errors


class Process:
    """The loop and its clients."""

    def __init__(self, control: socket.socket, *, places: int = PLACES) -> None:
        self._control, self._places = control, places
        self._turned = Turned(number=0, at=None, ready=False)
        self._doors: dict[str, socket.socket] = {}
        self._open: set[str] = set()
        """Listening sockets at which connections are accepted now."""
        self._clients: dict[int, Connection] = {}
        self._again: set[Connection] = set()
        """Clients with a further request already received."""
        self._lanes = {name: RenderQueue(name=name) for name in LANES}
        self._watchers = Watchers()
        self._names: frozenset[str] = frozenset()
        self._cache: dict[str, Answer] = {}
        """Answers of the latest turn."""
        self._errors, self._example, self._quiet_until = 0, "", float("-inf")
        self._poll = select.epoll()
        self._poll.register(control, select.EPOLLIN)

    def run(self) -> None:
        """Serve until the agent is gone."""
        while self.step(0.0 if self._again else _TICK):
            pass

    def step(self, timeout: Seconds) -> bool:
        """Wait for events and handle them; False when the agent is gone."""
        ready = self._poll.poll(timeout)
        now = time.monotonic()
        again, self._again = self._again, set()
        for client in again:
            self._guarded(client, self._take, now)
        for descriptor, _ in ready:
            if descriptor == self._control.fileno():
                if not self._receive(now):
                    return False
            elif descriptor in self._clients:
                self._guarded(self._clients[descriptor], self._go_on, now)
            else:
                self._serve(descriptor, now)
        self._tend(now)
        return True

    def close(self) -> None:
        """Close all sockets."""
        for client in list(self._clients.values()):
            client.socket.close()
        for door in self._doors.values():
            door.close()
        self._poll.close()

    # --- clients ---

    def _serve(self, descriptor: int, now: Instant) -> None:
        for lane in self._lanes.values():
            if lane.pipe == descriptor:
                self._read(lane, now)
                return
        for name, door in self._doors.items():
            if door.fileno() == descriptor:
                self._accept(name, door, now)
                return

    def _accept(self, name: str, door: socket.socket, now: Instant) -> None:
        for _ in range(_ACCEPTED):
            if name != ipc.UNIX and not self._has_room(name, now):
                self._shut(name)
                return
            try:
                made, _ = door.accept()
            except BlockingIOError:
                return
            except OSError:  # gone again, or no descriptor is left
                self._shut(name)
                return
            ours = name == ipc.UNIX and user_of(made) in (0, os.geteuid())
            if not self._make_room(name, now, ours=ours):
                made.close()
                continue
            made.setblocking(False)
            self._clients[made.fileno()] = client = Connection(
                socket=made, door=name, ours=ours, accepted=now, since=now
            )
            self._poll.register(made, client.events)

    def _crowd(self, name: str, *, ours: bool) -> list[Connection]:
        return [c for c in self._clients.values() if (c.door, c.ours) == (name, ours)]

    def _has_room(self, name: str, now: Instant) -> bool:
        there = self._crowd(name, ours=False)
        return len(there) < self._allowed(name) or bool(long_there(there, now))

    def _make_room(self, name: str, now: Instant, *, ours: bool) -> bool:
        """Whether there is a place; a client that had one for long enough loses it."""
        there = self._crowd(name, ours=ours)
        if len(there) < self._allowed(name):
            return True
        if not (idle := long_there(there, now)):
            return False
        self._drop(min(idle, key=lambda c: c.accepted))
        return True

    def _allowed(self, name: str) -> int:
        return max(4, self._places // 4) if name == ipc.UNIX else self._places

    def _full(self, client: Connection) -> bool:
        return len(self._crowd(client.door, ours=client.ours)) >= self._allowed(client.door)

    def _go_on(self, client: Connection, now: Instant) -> None:
        if client.phase is Phase.ROOM or (client.phase is Phase.STREAM and client.sending):
            self._send(client, now)
        elif client.phase is Phase.ANSWER or not client.receive():
            self._drop(client)  # polled for no event, so it is an error or a hang-up
        elif client.phase is Phase.HEAD:
            self._take(client, now)

    def _take(self, client: Connection, now: Instant) -> None:
        """Handle the next request, if it is complete."""
        if client.phase is not Phase.HEAD:
            return
        asked = client.request()
        if isinstance(asked, BadRequest):
            self._respond(client, refused(asked), now)
        elif isinstance(asked, Request):
            if client.door != ipc.UNIX and not is_ours(asked.host, self._names):
                self._respond(client, misdirected(asked.host), now)
                return
            found = route(asked, self._turned, now)
            if found == LIVE and asked.body:
                client.stream(gzip=asked.gzip)
                self._watchers.number = -1  # it is told at the next look
                self._send(client, now)
                return
            answer = found if isinstance(found, Answer) else self._cache.get(found)
            if answer is not None:
                self._respond(client, answer, now)
            elif isinstance(found, str):
                client.key, client.number = found, self._turned.number
                client.phase = Phase.ANSWER
                self._poll.modify(client.socket, client.events)

    def _respond(self, client: Connection, answer: Answer, now: Instant) -> None:
        client.respond(answer, keep=not self._full(client))
        self._send(client, now)

    def _send(self, client: Connection, now: Instant) -> None:
        if not client.send(now):
            self._drop(client)
            return
        self._poll.modify(client.socket, client.events)
        if client.more:
            self._again.add(client)

    def _drop(self, client: Connection) -> None:
        self._clients.pop(client.socket.fileno(), None)
        self._again.discard(client)
        client.socket.close()  # this also removes it from the poll

    def _guarded(
        self, client: Connection, work: Callable[[Connection, Instant], None], now: Instant
    ) -> None:
        """Handle a client; an error closes its connection and nothing else."""
        try:
            work(client, now)
        except Exception as error:  # noqa: BLE001 - see above
            self._errors += 1
            self._example = f"{type(error).__name__}: {error}"[:500]
            self._drop(client)

    # --- answers ---

    def _waiting(self, lane: RenderQueue) -> list[Connection]:
        return [
            c
            for c in self._clients.values()
            if c.phase is Phase.ANSWER and lane_of(c.key) == lane.name
        ]

    def _watching(self) -> list[Connection]:
        return watching(list(self._clients.values()))

    def _push(self, now: Instant) -> None:
        for client in self._watching():
            if client.sending:
                self._guarded(client, self._send, now)

    def _wants_live(self, now: Instant) -> bool:
        return self._watchers.wants(self._turned.number, now) and bool(self._watching())

    def _ask(self, now: Instant) -> None:
        for lane in self._lanes.values():
            keys = () if lane.busy else lane.wanted(self._waiting(lane), now)
            if lane.free(now) and lane.name == lane_of(LIVE) and self._wants_live(now):
                self._watchers.asked(now)
                keys = tuple(dict.fromkeys((*keys, LIVE)))
            if keys:
                if not self._tell(Wanted(lane=lane.name, keys=keys)):
                    return
                lane.begin(keys, now)

    def _read(self, lane: RenderQueue, now: Instant) -> None:
        try:
            answers, over = lane.read()
        except (OSError, ValueError):
            answers, over = [], True
        for key, answer in answers:
            if lane.number == self._turned.number:
                self._cache[key] = answer
            for client in self._waiting(lane):
                if client.key == key and client.number <= lane.number:
                    self._respond(client, answer, now)
            if key == LIVE and answer.code is HTTPStatus.OK:
                self._watchers.tell(answer, lane.number, self._watching(), now)
                self._push(now)
        if over:
            self._end(lane, unavailable("the answer could not be rendered: try again"), now)
        self._shed()

    def _end(self, lane: RenderQueue, instead: Answer, now: Instant) -> None:
        """A rendering is over: clients without an answer get `instead`."""
        if lane.pipe is not None:
            self._poll.unregister(lane.pipe)
        for client in self._waiting(lane):
            if client.key in lane.keys and client.number <= lane.number:
                self._respond(client, instead, now)
        lane.end(now)

    def _shed(self) -> None:
        """Disconnect the slowest clients while answers use too much memory (each is held once)."""
        taking = [c for c in self._clients.values() if c.phase is Phase.ROOM and c.answer]
        taking.sort(key=lambda c: c.since)
        while sum({id(c.answer): len(c.answer.body) for c in taking if c.answer}.values()) > HELD:
            self._drop(taking.pop(0))

    # --- the agent ---

    def _receive(self, now: Instant) -> bool:
        while True:
            try:
                data, given, _, _ = socket.recv_fds(self._control, ipc.LARGEST, 1)
            except BlockingIOError:
                return True
            if not data:
                return False
            match ipc.read(data):
                case Turned() as turned:
                    if turned.number != self._turned.number:
                        self._cache.clear()
                    self._turned = turned
                case ipc.Names(names=names):
                    self._names = frozenset(names)
                case ipc.Door(name=name):
                    self._set(name, socket.socket(fileno=given[0]) if given else None)
                case Rendering() as rendering:
                    self._rendering(rendering, given, now)

    def _rendering(self, told: Rendering, given: list[int], now: Instant) -> None:
        lane = self._lanes[told.lane]
        lane.number = told.number
        if given:
            lane.pipe = given[0]
            os.set_blocking(lane.pipe, False)
            self._poll.register(lane.pipe, select.EPOLLIN)
        else:
            self._end(lane, unavailable(f"the answer can't be rendered: {told.because}"), now)

    def _tell(self, letter: ipc.Letter) -> bool:
        try:
            self._control.send(ipc.written(letter), socket.MSG_NOSIGNAL)
        except OSError:  # it is busy, or gone, which `_receive` will notice
            return False
        return True

    # --- doors and time ---

    def _set(self, name: str, door: socket.socket | None) -> None:
        if name in self._doors:
            self._shut(name)
            self._doors.pop(name).close()
        if door is not None:
            door.setblocking(False)
            self._doors[name] = door

    def _shut(self, name: str) -> None:
        if name in self._open:
            self._open.discard(name)
            self._poll.unregister(self._doors[name])

    def _tend(self, now: Instant) -> None:
        """Apply deadlines, accept again, ask for answers."""
        for client in list(self._clients.values()):
            patience = GRACE if client.phase is Phase.END else DEADLINE
            idle = client.phase is Phase.STREAM and not client.sending
            if now - client.since > patience and not idle:
                self._drop(client)
        if self._watchers.keep_alive(self._watching(), now):
            self._push(now)
        for name in self._doors.keys() - self._open:
            if name == ipc.UNIX or self._has_room(name, now):
                self._open.add(name)
                self._poll.register(self._doors[name], select.EPOLLIN)
        for lane in self._lanes.values():
            dead = None if lane.pipe is not None else stalled(self._turned, now)
            if dead is not None:
                for client in self._waiting(lane):
                    self._respond(client, dead, now)
            if lane.busy and now - lane.began > _LOST:
                self._end(lane, unavailable("the answer took too long to render"), now)
        self._ask(now)
        told = Failed(number=self._errors, example=self._example)
        if self._errors and now >= self._quiet_until and self._tell(told):
            self._errors, self._quiet_until = 0, now + _QUIET


def main(control: int) -> None:
    """Serve until the agent is gone."""
    # Signals from the agent's terminal and the service manager's reload are for the agent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.nice(_NICE)
    with contextlib.suppress(OSError):  # if memory runs out, this goes before the agent
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    made = socket.socket(fileno=control)
    made.setblocking(False)
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # By TCP all of them, at the other socket half as many again.
    process = Process(made, places=max(4, min(PLACES, (allowed - _SPARE) * 2 // 3)))
    with contextlib.suppress(ConnectionError):
        process.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
