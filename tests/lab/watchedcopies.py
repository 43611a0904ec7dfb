"""Copies of the lab's root with the agent that watches them, and clients that ask all the time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rootcopies import DISTRIBUTOR, SERVERS, RootCopies

from steering.lab import etc
from steering.lab.agent import STATUS_PORT, AgentHost, Answer
from steering.lab.copy_clients import CopyClients
from steering.lab.network.sandbox import PYTHON, Program
from steering.lab.network.topology import EDGE
from steering.lab.scene import seconds
from steering.lab.servers.copies import Copying, Knot
from steering.lab.servers.rootzone import told
from steering.lab.waiting import TRUE, until
from steering.model import Seconds, WallTime

RENEWED: Seconds = 8.0
"""How often the real servers get a new version: the root gets two a day."""
PATIENCE: Seconds = 60.0


@dataclass(slots=True)
class Watched:
    """The scene, with what the agent and the clients have said so far."""

    scene: RootCopies
    host: AgentHost
    clients: CopyClients
    agent: Program
    life: Seconds
    new_type: bool = False
    """What the real servers publish has the new type."""
    distributor_reads: bool = True
    """The distributor is given what it can read."""
    known: dict[int, WallTime] = field(default_factory=dict)
    """Serial -> when it was published."""
    _next: float = 0.0

    def meanwhile(self) -> None:
        """Publish a new version where one is due."""
        if time.monotonic() >= self._next:
            self.publish()

    def publish(self) -> None:
        """Publish a new version now: at the real servers, and as a file for the distributor."""
        self._next = time.monotonic() + RENEWED
        scene = self.scene
        zone = scene.make(life=self.life, new_type=self.new_type)
        for real in scene.reals:
            real.give(zone)
        self.known[scene.root.serial] = time.time()
        scene.distributor.give(zone if self.distributor_reads else told(zone))
        for resolver in scene.resolvers if self.distributor_reads else ():
            if isinstance(resolver, Knot):
                resolver.give(scene.file)

    def until(
        self,
        look: Callable[[], object],
        within: Seconds = PATIENCE,
        *,
        wanted: object = TRUE,
        tell: object = "",
    ) -> Seconds:
        """`waiting.until`, while new versions are published; its error has the agent's events."""

        def story() -> str:
            return f"{tell() if callable(tell) else tell}\n{self.story()}"

        return until(look, within, wanted=wanted, every=0.1, meanwhile=self.meanwhile, tell=story)

    def events(self, event: str = "", **subject: str) -> list[Answer]:
        """The agent's events of a kind and subject, with `at`: their time in UNIX seconds."""
        path = self.scene.world.work / "agent.log"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [
            {**one, "at": seconds(one["time"])}
            for one in found
            if event in ("", one["event"]) and all(one.get(k) == v for k, v in subject.items())
        ]

    def first(self, event: str, **subject: str) -> WallTime:
        """When the first such event was. Raises IndexError if there is none."""
        at: WallTime = self.events(event, **subject)[0]["at"]
        return at

    def copies(self) -> dict[str, Answer]:
        """What the status says of each resolver's copy."""
        return {one["resolver"]: one for one in self.host.api()["copies"]}

    def phases(self) -> dict[str, str]:
        """Where each copy is."""
        return {name: one["phase"] for name, one in self.copies().items()}

    def alarms(self) -> dict[str, str]:
        """Its alarms, with their texts."""
        return {alarm["name"]: alarm["because"] for alarm in self.host.api()["alarms"]}

    def failures(self) -> dict[str, list[Any]]:
        """Address -> the failures that its clients had."""
        return {a: count.failures for a, count in self.clients.counts().items() if count.failed}

    def answered(self) -> int:
        """The fewest good answers that clients of one resolver had."""
        return min(count.good for count in self.clients.counts().values())

    def story(self) -> str:
        """What happened so far."""
        lines = [
            f"{one['time'][11:23]} {one['event']} {one.get('resolver', '')}{one.get('now') or ''}"
            f" {one.get('because', '')[:160]}"
            for one in self.events()
        ]
        return "\n".join(["", *lines[-60:], str(self.failures()), self.agent.tail(1)])


def policies(resolvers: Mapping[str, str], *, margin: str, more: str = "") -> dict[str, str]:
    """The root's own servers as an upstream, and its copies: name -> entry of the policy."""
    copies = "".join(f"  {name}: {{{entry}}}\n" for name, entry in resolvers.items())
    return {
        "root-servers": etc.policy("root-servers", ["."], SERVERS, "steer: {to: [pao]}"),
        "copies": f"zone_copy: root\ninterval: 1s\nmargin: {margin}\n{more}resolvers:\n{copies}",
    }


def entry(resolver: Copying, *, through: Sequence[str] = (), more: str = "") -> str:
    """One resolver in the policy."""
    seen = (
        f"file: {resolver.work}/root.zone"
        if isinstance(resolver, Knot)
        else f"address: {DISTRIBUTOR}"
    )
    behind = f", through: [{', '.join(through)}]" if through else ""
    return f"{resolver.policy}, {seen}, clients: [{resolver.address}]{behind}{more}"


@contextmanager
def watched(
    scene: RootCopies,
    entries: Mapping[str, str],
    *,
    life: Seconds,
    margin: str = "5s",
    mode: str = "enforce",
    asked: Sequence[str] = (),
    more: str = "",
) -> Iterator[Watched]:
    """The agent on the edge host, with healthy copies of all resolvers, and clients of them all.

    At the end no agent may have died of a bug.
    """
    world = scene.world
    config = (
        f"site: sin\nmode: {mode}\nstate: {world.work}/state\nruntime: {world.work}/run\n"
        f"policies: policies\ntrust_anchors: anchors\nresolvers: [{scene.resolvers[0].address}]\n"
        f"{etc.sites({'pao': world.paths['pao'].next_hop})}"
        "observe: {dnstap: [], probe: {interval: 2s, fast_interval: 200ms, timeout: 1s}}\n"
        f"status: 127.0.0.1:{STATUS_PORT}\n{more}"
    )
    made = policies(entries, margin=margin)
    path = etc.place(world.work / "etc", config, made, scene.keys.anchor("."))
    world.run(EDGE, [PYTHON, "-m", "steering", "check", "--config", str(path)])
    host = AgentHost(world=world, namespace=EDGE)
    addresses = [*(resolver.address for resolver in scene.resolvers), *asked]
    clients = CopyClients(world, addresses, scene.root.count)
    agent = host.start(path, log=world.work / "agent.log")
    host.await_ready(agent)
    clients.start()
    story = Watched(scene, host, clients, agent, life)
    try:
        story.until(lambda: {one["health"] for one in story.copies().values()}, wanted={"healthy"})
        yield story
    finally:
        clients.stop()
        agent.stop(10.0)
    log = (world.work / "agent.log").read_text()
    assert "Traceback" not in log, log[-4000:]
