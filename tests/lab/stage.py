"""What the stories share: the opening scene, and the witnesses of what happens after it.

The witnesses are the kernel (`ip`, and its own messages by `ip monitor`), the clients, and
the agent's event log and API. Nothing here sleeps for a fixed time: whoever waits, polls, and
a span in which nothing may happen is measured in answers that the agent got meanwhile.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kernelhost
import pytest

from steering.act.guard import LOCK
from steering.lab.addresses import GTLD_SERVERS
from steering.lab.agent import Answer
from steering.lab.network.topology import EDGE, Topology
from steering.lab.scene import Scene, Settings, seconds
from steering.lab.servers.resolver import Resolving
from steering.lab.servers.zone import Fault, FaultKind
from steering.lab.waiting import TRUE, until
from steering.model import LOCAL, Family, Seconds, WallTime

FEW: Mapping[str, tuple[str, ...]] = {
    name: GTLD_SERVERS[name] for name in ("a.gtld-servers.net.", "b.gtld-servers.net.")
}
"""Two nameservers, four addresses: enough for most stories."""

QUICK = Settings(interval="400ms", hold="2s", clean=20)
"""A cadence for stories that are not about time."""

EXPIRED = Fault(kind=FaultKind.EXPIRED)

PATIENCE: Seconds = 60.0
"""For what is bound to come, on a busy machine."""
FOUND: Seconds = 180.0
"""The same for a fault of a small part of the answers of a few addresses: chance has a say."""

_CANARY = "203.0.113.1"
_numbers = itertools.count()


def slack() -> Seconds:
    """What a limit of seconds is stretched by while the machine has more work than cores."""
    return 5.0 if os.getloadavg()[0] > (os.cpu_count() or 1) else 0.0


@dataclass(slots=True)
class Stage:
    """A scene with the agent on it, and what was heard of it so far."""

    scene: Scene
    heard: list[Answer] = field(default_factory=list)

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.scene.world.addresses

    def family(self, family: Family) -> tuple[str, ...]:
        return tuple(a for a in self.addresses if Family.of(a) is family)

    def through(self, site: str, addresses: Iterable[str] | None = None) -> dict[str, str]:
        """The routes that send these addresses, all if left out, through a site."""
        hops = self.scene.world.paths[site].next_hop
        return {a: hops[Family.of(a)] for a in (self.addresses if addresses is None else addresses)}

    def until(
        self,
        look: Callable[[], object],
        within: Seconds = PATIENCE,
        *,
        wanted: object = TRUE,
        every: Seconds = 0.01,
        tell: object = "",
    ) -> Seconds:
        """`waiting.until`, whose error says what happened so far as well."""

        def story() -> str:
            return f"{tell() if callable(tell) else tell}; {self.story()}"

        return until(look, within, wanted=wanted, every=every, tell=story)

    def await_routes(self, wanted: Mapping[str, str], within: Seconds = PATIENCE) -> WallTime:
        """When the table of the steers was exactly this."""
        self.until(self.scene.routes, within, wanted=wanted)
        return time.time()

    def await_health(self, wanted: str, *, path: str = LOCAL, within: Seconds = PATIENCE) -> None:
        """Until a path of every address is in this health."""
        self.until(lambda: self.healths(path), within, wanted={wanted}, every=0.05, tell=path)

    def await_event(self, event: str, within: Seconds = PATIENCE, **subject: str) -> WallTime:
        """When the first event of this kind and subject was written."""
        what = f"{event} {subject}"
        self.until(lambda: self.times(event, **subject), within, every=0.02, tell=what)
        return self.times(event, **subject)[0]

    def await_about(
        self, event: str, addresses: Iterable[str] | None = None, within: Seconds = PATIENCE
    ) -> None:
        """Until such events were about these addresses, all if left out, and no other.

        The kernel is told before the log is: who saw the routes may have to wait for the word.
        """
        wanted = set(self.addresses if addresses is None else addresses)
        self.until(lambda: self.about(event), within, wanted=wanted, every=0.05, tell=event)

    def await_proof(self) -> None:
        """Until the steers of all addresses are proved."""
        self.await_about("proved")

    def await_alarm(self, *names: str, there: bool = True, within: Seconds = PATIENCE) -> None:
        """Until the API shows one of these alarms, or shows none of them any longer."""
        wanted = set(names)
        self.until(
            lambda: bool(wanted & self.alarms()),
            within,
            wanted=there,
            every=0.05,
            tell=lambda: f"{names} of {self.alarms()}",
        )

    def asked_more(self, times: int, *, meanwhile: Callable[[], object] = lambda: True) -> None:
        """Until every address was asked so many more times, over whichever paths.

        `meanwhile` has to be true throughout.
        """
        before = self.samples()

        def enough() -> bool:
            assert meanwhile(), self.story()
            now = self.samples()
            return all(now[a] >= before[a] + times for a in before)

        self.until(enough, every=0.05, tell=before)

    def steady(self, wanted: Mapping[str, str], *, questions: int = 36) -> None:
        """The routes stay as they are while every address is asked so many more times."""
        self.asked_more(questions, meanwhile=lambda: self.scene.routes() == wanted)

    def clients_fine(self, questions: int = 60, within: Seconds = PATIENCE) -> None:
        """Until so many questions of clients in a row were answered well."""
        clients = self.scene.clients
        start = clients.totals()

        def fine() -> bool:
            nonlocal start
            now = clients.totals()
            if now.failed > start.failed:
                start = now
            return now.answered >= start.answered + questions

        self.until(fine, within, every=0.05, tell=clients.totals)

    def status(self) -> Answer:
        return self.scene.api()

    def alarms(self) -> set[str]:
        return {alarm["name"] for alarm in self.status()["alarms"]}

    def healths(self, path: str) -> set[str]:
        return {a["paths"][path]["health"] for a in self.status()["addresses"]}

    def samples(self) -> dict[str, int]:
        return {
            a["address"]: sum(path["samples"] for path in a["paths"].values())
            for a in self.status()["addresses"]
        }

    def listen(self) -> list[Answer]:
        """All events of all agents of this story."""
        self.heard += self.scene.events()
        return self.heard

    def times(self, event: str, **subject: str) -> list[WallTime]:
        """When events of this kind, about this subject, were written."""
        return [
            seconds(e["time"])
            for e in self.listen()
            if e["event"] == event and all(e.get(k) == v for k, v in subject.items())
        ]

    def about(self, event: str) -> set[str]:
        """The addresses that events of this kind were about; a whole upstream's are left out."""
        return {e["address"] for e in self.listen() if e["event"] == event and "address" in e}

    def story(self) -> str:
        """What happened so far, for the text of a failed assertion."""
        told: dict[tuple[str, ...], list[Answer]] = {}
        for event in self.listen():
            key = tuple(str(event.get(k, "")) for k in ("event", "path", "was", "now"))
            told.setdefault(key, []).append(event)
        lines = [
            f"{mine[0]['time'][14:23]} {len(mine)} x {' '.join(filter(None, key))}: "
            f"{mine[-1].get('because', '')[:100]}"
            for key, mine in told.items()
        ]
        return "\n".join(["", *lines]) + (self.scene.agent.tail(1) if self.scene.agent else "")

    def kill_guard(self) -> None:
        """SIGKILL for the guard that holds the lock."""
        pid = (self.scene.world.work / "run" / LOCK).read_text().strip()
        self.sh(f"kill -9 {int(pid)}")

    def kill_agent(self) -> None:
        """SIGKILL for the agent, and for nothing else."""
        assert self.scene.agent is not None
        self.scene.agent.signal(signal.SIGKILL)
        self.scene.agent.wait(10.0)

    def sh(self, command: str) -> str:
        """What a shell in the edge namespace prints. Raises LabError if it fails."""
        return self.scene.world.run(EDGE, ["sh", "-ec", command]).stdout


@contextmanager
def on_stage(
    settings: Settings = QUICK,
    *,
    nameservers: Mapping[str, tuple[str, ...]] = FEW,
    sites: Sequence[str] = ("pao", "fra"),
    count: int = 60,
    agent: bool = True,
    prefix: Sequence[str] = (),
    root: bool = False,
    load: float = 50.0,
    secure: float = 0.1,
    spare_keys: int = 0,
    resolver: Callable[[Scene], Resolving] | None = None,
) -> Iterator[Stage]:
    """The opening: every copy fresh, resolver and clients busy, every path known to be healthy.

    At the end no agent may have died of a bug.
    """
    if lacks := _missing():
        pytest.skip("; ".join(lacks))
    with Scene(
        nameservers=nameservers,
        sites=sites,
        count=count,
        root=root,
        load=load,
        secure=secure,
        spare_keys=spare_keys,
    ) as scene:
        stage = Stage(scene)
        if resolver is not None:
            scene.resolver = resolver(scene)
        scene.serve()
        scene.resolver.start()
        scene.clients.start()
        scene.configure(settings)
        if agent:
            scene.start_agent(prefix=prefix)
            if settings.mode != "observe" and not prefix:
                for path in scene.world.paths:
                    stage.await_health("healthy", path=path)
        yield stage
        if scene.log.exists():
            assert "Traceback" not in scene.log.read_text(), scene.log.read_text()[-4000:]


@functools.cache
def _missing() -> tuple[str, ...]:
    return Topology.missing()


class Kernel:
    """What the kernel tells of routes and rules from here on, by `ip monitor` in the namespace."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._log: Path = stage.scene.world.work / f"monitor-{next(_numbers)}.log"
        argv = ["ip", "-ts", "-o", "monitor", "route", "rule"]
        self._program = stage.scene.world.start(EDGE, argv, log=self._log)
        self.lines()

    def lines(self) -> list[str]:
        """All that was told so far, in the order of the kernel: `[time] words`.

        It waits for the message of a route of its own, so nothing earlier is still on its way,
        and silence is not the silence of a listener that has gone.
        """
        told = len(self._read())

        def knock() -> bool:
            route = f"blackhole {_CANARY} table 7"
            self._stage.sh(f"ip route add {route}; ip route del {route}")
            return any(_CANARY in line for line in self._read()[told:])

        until(knock, 10.0, every=0.02, tell=self._program.tail)
        return [line for line in self._read() if _CANARY not in line]

    def steers(self) -> list[str]:
        """What was told of the steers' table."""
        return [line for line in self.lines() if " table 5353 " in line and "lookup" not in line]

    def _read(self) -> list[str]:
        return self._log.read_text().splitlines()


def everything(stage: Stage) -> dict[str, list[str]]:
    """Every route and rule of the edge host."""
    return kernelhost.everything(stage.sh)


def ours(stage: Stage) -> list[str]:
    """Everything of the agent's protocol number."""
    return kernelhost.ours(stage.sh)


def foreign(stage: Stage) -> dict[str, list[str]]:
    """Everything that is not the agent's, bit for bit."""
    return {
        command: [line for line in lines if "proto 53" not in line]
        for command, lines in everything(stage).items()
    }


def add_foreign(stage: Stage) -> None:
    """Routes and rules that other people might have on an edge host."""
    for ip, net, hop in (
        ("ip", "198.18.0.0/15", "10.255.0.2"),
        ("ip -6", "2001:db8:77::/48", "fd00:ff:0::2"),
    ):
        stage.sh(
            f"{ip} route add {net} via {hop} table 77 proto 99;"
            f"{ip} route add {net} via {hop} metric 77 proto static;"
            f"{ip} rule add pref 100 to {net} lookup 77;"
            f"{ip} rule add pref 5400 fwmark 0x77 lookup 77 protocol 99"
        )


def dump(stage: Stage) -> list[Any]:
    """The steers and rules in all their details."""
    texts = [
        stage.sh(f"ip -d -j {family} {what}")
        for family in ("-4", "-6")
        for what in ("route show table 5353", "rule show")
    ]
    return [json.loads(text) for text in texts]
