"""What resolvers remember after a move: clients that ask the same names again, measured at them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from stage import EXPIRED, FEW, QUICK, Kernel, Stage, on_stage, slack

from steering.lab.addresses import GTLD_SERVERS
from steering.lab.demo.timeline import route_times
from steering.lab.network.sandbox import find
from steering.lab.network.topology import EDGE
from steering.lab.scene import Scene
from steering.lab.servers.resolver import LISTENS, Bind, Recursor, Resolving, Unbound
from steering.lab.servers.zone import Fault
from steering.lab.waiting import until
from steering.model import LOCAL, Family, Seconds, WallTime

pytestmark = pytest.mark.lab

AFTERMATH: Seconds = 1.0
"""No client may fail later than this after the last route."""
REMEMBERED: Seconds = 5.0
"""Without a flush clients fail for longer than this."""
NAMES = tuple(f"d{number:04}.{zone}" for number in range(0, 20, 2) for zone in ("com.", "net."))


THREE = {letter: GTLD_SERVERS[letter] for letter in (*FEW, "c.gtld-servers.net.")}


@dataclass(frozen=True, slots=True)
class Kept:
    """A resolver that remembers, and the settings by which it is made to forget."""

    program: str
    make: Callable[[Scene], Resolving]
    settings: Callable[[Path], str]
    """By its working directory."""


def _unbound(scene: Scene) -> Resolving:
    made = Unbound(scene.world, keys=scene.anchors)
    made.dnstap = (
        f"remote-control:\n  control-enable: yes\n  control-interface: {made.work}/control\n"
    )
    return made


class _Controlled(Bind):
    """BIND with a control channel."""

    def _configured(self) -> str:
        key = 'key lab { algorithm hmac-sha256; secret "bGFiLWxhYi1sYWItbGFi"; };\n'
        (self.work / "rndc.conf").write_text(f"{key}options {{ default-key lab; }};\n")
        channel = "controls { inet 127.0.0.1 port 953 allow { any; } keys { lab; }; };"
        return key + super()._configured().replace("controls { };", channel)


def _bind(scene: Scene) -> Resolving:
    return _Controlled(scene.world, keys=scene.anchors)


def _recursor(scene: Scene) -> Resolving:
    return Recursor(scene.world, keys=scene.anchors)


RESOLVERS = {
    "unbound": Kept(
        "unbound-control",
        _unbound,
        lambda work: f"unbound: {{control: [unbound-control, -c, {work}/unbound.conf]}}",
    ),
    "pdns-recursor": Kept(
        "rec_control",
        _recursor,
        lambda work: f"pdns-recursor: {{control: [rec_control, --config-dir={work}]}}",
    ),
    "bind": Kept(
        "rndc",
        _bind,
        lambda work: f"bind: {{control: [rndc, -s, 127.0.0.1, -c, {work}/rndc.conf]}}",
    ),
}


class Asking:
    """Clients that ask a few names for their DS, again and again, in a thread."""

    def __init__(self, stage: Stage) -> None:
        self._udp = stage.scene.world.socket(EDGE, Family.IPV4)
        self._udp.settimeout(1.0)
        self._udp.connect((LISTENS, 53))
        self.failures: list[WallTime] = []
        self.well = dict.fromkeys(NAMES, 0)
        """Good answers in a row."""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(10)
        self._udp.close()

    def _work(self) -> None:
        while not self._end.wait(0.02):
            for name in NAMES:
                if self._answered(name):
                    self.well[name] += 1
                else:
                    self.failures.append(time.time())
                    self.well[name] = 0

    def _answered(self, name: str) -> bool:
        """Whether one question is answered well within a second."""
        query = dns.message.make_query(name, "DS", want_dnssec=True)
        with contextlib.suppress(OSError):
            self._udp.send(query.to_wire())
            while True:
                answer = dns.message.from_wire(self._udp.recv(65_535))
                if answer.id == query.id:
                    return answer.rcode() == dns.rcode.NOERROR
        return False


@contextmanager
def remembering(
    kind: str,
    mode: str = "enforce",
    *,
    flush: bool = True,
    nameservers: Mapping[str, tuple[str, ...]] = FEW,
) -> Iterator[Stage]:
    kept = RESOLVERS[kind]
    if not find(kept.program):
        pytest.skip(f"not installed: {kept.program}")
    made: list[Resolving] = []

    def resolver(scene: Scene) -> Resolving:
        made.append(kept.make(scene))
        return made[0]

    with on_stage(
        QUICK, nameservers=nameservers, resolver=resolver, agent=False, load=20.0
    ) as stage:
        more = f"flush: {{{kept.settings(made[0].work)}}}" if flush else ""
        stage.scene.configure(replace(QUICK, more=more, mode=mode))
        stage.scene.start_agent()
        for path in stage.scene.world.paths:
            stage.await_health("healthy", path=path)
        yield stage


def incident(stage: Stage, fault: Fault) -> tuple[WallTime, Asking]:
    """When the last route came after this fault, and the clients that ask meanwhile."""
    kernel = Kernel(stage)
    stage.scene.serve(fault, paths=[LOCAL])
    asking = Asking(stage)
    until(lambda: len(asking.failures) > len(NAMES), 30.0)
    stage.await_routes(stage.through("pao"))
    routes = route_times(kernel.lines(), "5353")
    assert set(routes) == set(stage.addresses)
    return max(routes.values()), asking


@pytest.mark.parametrize(
    ("kind", "share", "nameservers"),
    [
        ("unbound", 1.0, FEW),
        ("unbound", 0.13, FEW),
        ("unbound", 1.0, GTLD_SERVERS),
        ("pdns-recursor", 1.0, FEW),
        ("pdns-recursor", 0.13, FEW),
        ("pdns-recursor", 1.0, GTLD_SERVERS),
        ("bind", 1.0, FEW),  # the keys too; of less it remembers nothing, and is not flushed
    ],
    ids=lambda value: f"{len(value)}" if isinstance(value, dict) else None,
)
def test_clients_that_ask_again_are_served_within_a_second_of_the_last_route(
    kind: str, share: float, nameservers: Mapping[str, tuple[str, ...]]
) -> None:
    with remembering(kind, nameservers=nameservers) as stage:
        fault = replace(EXPIRED, share=share, spare_apex=share < 1)
        last, asking = incident(stage, fault)
        until(lambda: min(asking.well.values()) > 20, 90.0, tell=stage.story)
        asking.stop()
        took = max(asking.failures) - last
        print(f"{kind}, {share:.0%}, {len(stage.addresses)}: {took:+.2f} s after the last route")
        assert max(asking.failures) <= last + AFTERMATH + slack()
        stage.await_event("flushed", upstream="gtld-servers")
        assert "flush" not in stage.alarms()

        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({})
        stage.until(lambda: len(stage.times("flushed")) > 1, tell="after the return")
        texts = [event["because"] for event in stage.heard if event["event"] == "flushed"]
        assert "over pao" in texts[0]
        assert "returned" in texts[-1]
        assert len(texts) <= 3


@pytest.mark.parametrize("kind", ["unbound", "pdns-recursor"])
def test_without_a_flush_clients_go_on_failing(kind: str) -> None:
    """The other stories would notice nothing where the resolver forgot by itself.

    BIND remembers keys alone, and here it has got them before.
    """
    with remembering(kind, flush=False) as stage:
        last, asking = incident(stage, EXPIRED)
        stage.until(lambda: time.time() > last + REMEMBERED + 1)
        asking.stop()
        assert max(asking.failures) > last + REMEMBERED
        assert not stage.times("flushed")


def test_a_rehearsal_flushes_nothing_and_says_what_it_would() -> None:
    with remembering("unbound", "rehearse") as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_event("would_flush", upstream="gtld-servers")
        assert not stage.times("flushed")
        assert not stage.alarms() & {"flush"}


def test_a_control_channel_that_hangs_is_an_alarm_and_holds_nothing_up(tmp_path: Path) -> None:
    """What hangs is the program; when it works again it is done after all."""
    hangs = tmp_path / "hangs"
    hangs.touch()
    program = tmp_path / "unbound-control"
    program.write_text(
        f'#!/bin/sh\n[ ! -e {hangs} ] || exec sleep 600\nexec unbound-control "$@"\n'
    )
    program.chmod(0o755)
    with remembering("unbound", flush=False) as stage:
        conf = stage.scene.resolver.work / "unbound.conf"
        control = f"control: [{program}, -c, {conf}], time_limit: 1s"
        stage.scene.configure(replace(QUICK, more=f"flush: {{unbound: {{{control}}}}}"))
        stage.await_event("config_loaded")
        stage.await_alarm("flush")  # in calm times already

        def because() -> str:
            alarms = stage.status()["alarms"]
            return next((one["because"] for one in alarms if one["name"] == "flush"), "")

        assert "no end within 1 s" in because()
        last, asking = incident(stage, EXPIRED)
        stage.until(lambda: "gtld-servers" in because(), tell=because)
        stage.await_proof()
        asked = stage.samples()
        stage.until(lambda: all(stage.samples()[key] > n + 5 for key, n in asked.items()))
        assert max(asking.failures) > last + AFTERMATH
        hangs.unlink()
        stage.await_event("flushed", upstream="gtld-servers")
        stage.await_alarm("flush", there=False)
        done = time.time()
        until(lambda: min(asking.well.values()) > 20, 30.0, tell=stage.story)
        asking.stop()
        assert max(asking.failures) <= done + AFTERMATH + slack()


def test_after_silence_the_addresses_moved_are_tried_anew() -> None:
    """Unbound would leave out servers that were silent, long after they answer again."""
    with remembering("unbound", nameservers=THREE) as stage:
        dead = THREE["b.gtld-servers.net."]
        stage.scene.world.blackhole(LOCAL, addresses=dead)
        stage.await_routes(stage.through("pao", dead))
        stage.await_event("flushed", upstream="gtld-servers")
        (text, *_) = [e["because"] for e in stage.heard if e["event"] == "flushed"]
        assert "flush_infra" in text
        assert all(address in text for address in dead)
        assert "flush_bogus" not in text, "nothing was bogus"
        stage.clients_fine()
