"""Keys as they really change: our verdict beside Unbound's and BIND's, in each phase of a rollover.

Each step of a rollover is a zone of its own. NSD serves all of them as they were before, and both
resolvers and a key store take that into their caches; then it serves all as they are after. So one
change shows every step, once to who holds what was before, and once to who holds nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
import rollovers
from rollovers import State, steps
from stage import Stage, on_stage

from steering.agent.own_alarms import keys_problem
from steering.lab.network.sandbox import find
from steering.lab.servers.zone import Keys as Signers
from steering.lab.servers.zone import sign
from steering.lab.waiting import async_until, until
from steering.model import LOCAL, Family, Kind, Outcome, Question, Round, Target, Verdict
from steering.observe.dnssec import anchors
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.keys.chain import dnskeys
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.keys.server_keys import LASTS
from steering.observe.dnssec.parse import parse
from steering.observe.dnssec.response import judge
from steering.observe.dnssec.signatures import Signatures
from steering.observe.probe.prober import Path as Way
from steering.observe.probe.prober import Prober
from steering.observe.probe.schedule import Pace
from steering.remedies import KEYS

pytestmark = pytest.mark.lab

HERE: Final = "127.0.0.1"
OTHER: Final = "127.0.0.2"
WANTED: Final = ("nsd", "unbound", "named", "dnssec-signzone", "dnssec-keygen")


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    if lacks := [program for program in WANTED if not find(program)]:
        pytest.skip(f"not installed: {', '.join(lacks)}")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> rollovers.Keys:
    """The keys of all tests here."""
    return rollovers.Keys(tmp_path_factory.mktemp("keys"))


def free(*addresses: str) -> int:
    """A port that nobody has at these addresses."""
    while True:
        with contextlib.ExitStack() as stack:
            port = 0
            try:
                for address in addresses:
                    made = stack.enter_context(socket.create_server((address, port)))
                    port = made.getsockname()[1]
            except OSError:
                continue
            return int(port)


@dataclass
class Lab:
    """Programs on loopback, which end with it."""

    folder: Path
    pool: rollovers.Keys
    authority: int = 0
    anchor: str = ""
    """Of the root."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.authority = free(HERE, OTHER)
        self.anchor = self.anchor or rollovers.anchor(self.pool)

    def run(self, name: str, argv: Sequence[str], address: str, port: int) -> None:
        """Start a program in place of the one of that name, and wait until it answers."""
        self.end(name)
        log = self.folder / f"{name}.log"
        with log.open("ab") as said:
            self.running[name] = subprocess.Popen(argv, stdout=said, stderr=said)

        def up() -> bool:
            assert self.running[name].poll() is None, log.read_text()[-2000:]
            answer = ask(address, port, ".", "SOA", timeout=0.3)
            return answer is not None and answer.rcode() == dns.rcode.NOERROR

        until(up, 20, tell=lambda: log.read_text()[-2000:])

    def end(self, *names: str) -> None:
        for name in names or tuple(self.running):
            program = self.running.pop(name, None)
            if program is not None:
                program.kill()
                program.wait()

    def nsd(self, address: str, files: Mapping[str, Path]) -> None:
        """Serve these zones there, and no others."""
        home = self.folder / address
        home.mkdir(exist_ok=True)
        zones = "".join(f'zone:\n name: "{z}"\n zonefile: "{p}"\n' for z, p in files.items())
        (home / "conf").write_text(
            f"server:\n ip-address: {address}@{self.authority}\n"
            ' username: ""\n chroot: ""\n server-count: 1\n'
            f' zonesdir: "{home}"\n pidfile: "{home}/pid"\n xfrdfile: "{home}/xfrd"\n'
            f' zonelistfile: "{home}/list"\nremote-control:\n control-enable: no\n{zones}'
        )
        argv = ["nsd", "-d", "-c", str(home / "conf")]
        self.run(f"nsd-{address}", argv, address, self.authority)

    def unbound(self, name: str, server: str = HERE) -> int:
        """A resolver that holds nothing, asking one server. Its port."""
        port, path = free(HERE), self.folder / f"{name}.conf"
        path.write_text(
            f'server:\n interface: {HERE}@{port}\n username: ""\n chroot: ""\n pidfile: ""\n'
            f' directory: "{self.folder}"\n use-syslog: no\n do-not-query-localhost: no\n'
            ' module-config: "validator iterator"\n aggressive-nsec: no\n'
            f' trust-anchor: "{self.anchor}"\n'
            f'stub-zone:\n name: "."\n stub-addr: {server}@{self.authority}\n'
            "remote-control:\n control-enable: no\n"
        )
        self.run(name, ["unbound", "-d", "-p", "-c", str(path)], HERE, port)
        return port

    def bind(self, name: str) -> int:
        """The same of BIND."""
        port, path = free(HERE), self.folder / f"{name}.conf"
        tag, algorithm, kind, digest = self.anchor.split(" DS ")[1].split()
        path.write_text(
            f'options {{ directory "{self.folder}"; managed-keys-directory "{self.folder}";'
            " pid-file none; session-keyfile none; lock-file none; recursion yes;"
            f" listen-on port {port} {{ {HERE}; }}; listen-on-v6 {{ none; }};"
            " dnssec-validation yes; synth-from-dnssec no; empty-zones-enable no;"
            f" forward only; forwarders {{ {HERE} port {self.authority}; }}; }};\ncontrols {{ }};\n"
            f'trust-anchors {{ "." static-ds {tag} {algorithm} {kind} "{digest}"; }};\n'
        )
        self.run(name, ["named", "-g", "-n", "1", "-c", str(path)], HERE, port)
        return port

    def store(self, zones: Iterable[str], resolver: int) -> KeyStore:
        """A key store that asks a resolver, and the parent's own servers where it has to."""
        return KeyStore(
            zones,
            anchors.parse(self.anchor, source="the lab"),
            [HERE],
            signatures=Signatures(),
            port=resolver,
            parents_port=self.authority,
        )


@contextlib.contextmanager
def laboratory(folder: Path, pool: rollovers.Keys) -> Iterator[Lab]:
    lab = Lab(folder, pool)
    try:
        yield lab
    finally:
        lab.end()


def ask(
    address: str,
    port: int,
    name: str,
    rdtype: str,
    *,
    flags: int = dns.flags.RD,
    timeout: float = 5,
) -> dns.message.Message | None:
    query = dns.message.make_query(name, rdtype, want_dnssec=True, flags=flags, id=7, payload=1232)
    try:
        return dns.query.udp_with_fallback(query, address, port=port, timeout=timeout)[0]
    except (OSError, EOFError, dns.exception.DNSException):
        return None


def said_by(port: int, name: str) -> str:
    """A resolver's verdict on an address that it has not in its cache."""
    answer = ask(HERE, port, name, "A")
    assert answer is not None
    if answer.rcode() == dns.rcode.SERVFAIL:
        return "bad"
    assert answer.rcode() == dns.rcode.NOERROR
    return "good" if answer.flags & dns.flags.AD else "insecure"


def ours(lab: Lab, store: KeyStore, zone: str, number: int) -> str:
    """Our verdict on what the zone's server answers, as the prober comes by it.

    `bad` if it was held against the server at all, `open` while it said nothing for or against it.
    """
    server, seen = (HERE, LOCAL), []
    todo = [Kind.SOA, Kind.WITNESS, Kind.DENIAL, Kind.DNSKEY, Kind.WITNESS, Kind.DENIAL]
    while todo:
        kind = Kind.DNSKEY if store.needs_keys_from(zone, HERE) else todo.pop(0)
        name = {Kind.WITNESS: f"w{number}.{zone}", Kind.DENIAL: f"nx.{zone}"}.get(kind, zone)
        rdtype = kind.value.upper() if name == zone else "A"
        question = Question(zone=zone, name=name, rdtype=rdtype, kind=kind)
        answer = ask(HERE, lab.authority, name, rdtype, flags=0)
        assert answer is not None
        message = parse(answer.to_wire(max_size=65535), question, 7)
        assert not isinstance(message, Classified)
        if kind is Kind.DNSKEY and (shown := dnskeys(message, zone)):
            store.offer(zone, *shown, server)
        reading = judge(
            message,
            question,
            store.trust_for((zone,), server),
            wall=time.time(),
            skew=0.0,
            signatures=store._verifier.signatures,
        )
        if reading.outcome is Outcome.NO_KEY:
            store.miss(zone, server)
        if reading.judged:
            seen.append(reading.outcome.verdict is Verdict.GOOD)
    if not seen:
        return "open"
    return "good" if all(seen) else "bad"


def signed(lab: Lab, states: Mapping[str, State], serial: int, where: str) -> dict[str, Path]:
    """The files of zones and of the root above them."""
    folder = lab.folder / where
    folder.mkdir()
    for state in states.values():  # one after the other: a key is made once
        for name in f"{state.shown} {state.over_keys} {state.over_data} {state.ds}".split():
            lab.pool.dnskey(name)
    with ThreadPoolExecutor(2) as jobs:
        files = jobs.map(
            lambda zone: rollovers.sign(lab.pool, zone, states[zone], folder, serial), states
        )
        made = dict(zip(states, files, strict=True))
    above = {zone: state.ds for zone, state in states.items()}
    return {**made, ".": rollovers.root(lab.pool, above, folder, serial)}


# --- Every phase ----------------------------------------------------------------------------

COLUMNS: Final = (
    *("before: Unbound", "before: BIND", "before: ours"),
    *("held: Unbound", "held: BIND", "held: ours", "held: ours, looked again", "held: restarted"),
    *("fresh: Unbound", "fresh: BIND", "fresh: ours"),
)
Table = Mapping[str, Mapping[str, str]]


@pytest.fixture(scope="module")
def table(pool: rollovers.Keys, tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Zone -> column -> verdict. Every look asks for a name of its own."""
    all_steps = steps()
    rows: dict[str, dict[str, str]] = {zone: {} for zone in all_steps}
    with laboratory(tmp_path_factory.mktemp("phases"), pool) as lab:
        before = signed(lab, {zone: step.was for zone, step in all_steps.items()}, 1, "was")
        after = signed(lab, {zone: step.now for zone, step in all_steps.items()}, 2, "now")
        lab.nsd(HERE, before)
        unbound, bind = lab.unbound("unbound"), lab.bind("bind")
        store = lab.store(all_steps, unbound)
        rows["three-long."]["by UDP"] = _by_udp(unbound, "three-long.")
        for zone, row in rows.items():
            asyncio.run(store.refresh(zone))
            row["before: Unbound"] = said_by(unbound, f"w0.{zone}")
            row["before: BIND"] = said_by(bind, f"w0.{zone}")
            row["before: ours"] = ours(lab, store, zone, 0)
        lab.nsd(HERE, after)
        until(lambda: _expired(unbound, "nz."), 10)
        for zone, row in rows.items():
            row["held: Unbound"] = said_by(unbound, f"w1.{zone}")
            row["held: BIND"] = said_by(bind, f"w1.{zone}")
            row["held: ours"] = ours(lab, store, zone, 1)
            asyncio.run(store.refresh(zone))
            row["held: ours, looked again"] = ours(lab, store, zone, 2)
            row["trouble"] = store.troubles.get(zone, "")
            anew = lab.store([zone], unbound)
            asyncio.run(anew.refresh(zone))
            if anew.troubles:
                asyncio.run(anew.refresh(zone))
            row["held: restarted"] = ours(lab, anew, zone, 3)
        unbound, bind = lab.unbound("unbound"), lab.bind("bind")
        fresh = lab.store(all_steps, unbound)
        for zone, row in rows.items():
            asyncio.run(fresh.refresh(zone))
            row["fresh: Unbound"] = said_by(unbound, f"w4.{zone}")
            row["fresh: BIND"] = said_by(bind, f"w4.{zone}")
            row["fresh: ours"] = ours(lab, fresh, zone, 4)
            row["fresh trouble"] = fresh.troubles.get(zone, "")
    return rows


def _by_udp(port: int, zone: str) -> str:
    query = dns.message.make_query(zone, "DNSKEY", want_dnssec=True, payload=1232)
    answer = dns.query.udp(query, HERE, port=port, timeout=5)
    return "truncated" if answer.flags & dns.flags.TC else "whole"


def _expired(port: int, zone: str) -> bool:
    """Whether a resolver no longer holds the DNSKEY set of before."""
    answer = ask(HERE, port, zone, "DNSKEY", flags=dns.flags.RD | dns.flags.CD)
    if answer is None:
        return False
    asked = answer.question[0]
    held = answer.get_rrset(answer.answer, asked.name, asked.rdclass, asked.rdtype)
    return held is not None and len(held) == 2


MEANT: Final[Mapping[str, Mapping[str, str]]] = {
    # The new key signs before caches have seen it. It would be for their clients, not for us.
    "zsk-hasty.": {"held: Unbound": "bad", "held: BIND": "bad"},
    "zsk-swapped.": {"held: Unbound": "bad", "held: BIND": "bad"},
    # The DS set of before is in the cache, the DNSKEY set is not. We ask the parent itself.
    "nz.": {"held: Unbound": "bad", "held: BIND": "bad"},
    # Nothing is judged until the parent has said the DS set anew.
    "ds-and-all.": {
        "held: Unbound": "bad",
        "held: BIND": "bad",
        "held: ours": "open",
        "held: restarted": "open",
    },
    # Bad for everybody, so no path is better; without a key that is trusted we say nothing.
    "ds-only-other.": {"fresh: Unbound": "bad", "fresh: BIND": "bad", "fresh: ours": "open"},
    "ds-unmatched.": {"fresh: Unbound": "bad", "fresh: BIND": "bad", "fresh: ours": "open"},
    # BIND does not come to the second of two keys with one tag, and that one signs here.
    "tag-zsk.": {"before: BIND": "bad", "held: BIND": "bad", "fresh: BIND": "bad"},
}
"""Zone -> the columns that say something else than `good`."""


@pytest.mark.parametrize("zone", steps())
def test_no_phase_is_held_against_a_server(table: Table, zone: str) -> None:
    """Wherever a resolver that holds nothing answers, we find the servers good, or say nothing."""
    row = table[zone]
    assert {column: row[column] for column in COLUMNS} == (
        dict.fromkeys(COLUMNS, "good") | dict(MEANT.get(zone, {}))
    ), row
    assert "bad" not in {
        row[column] for column in COLUMNS if "BIND" not in column and "Unbound" not in column
    }


def test_a_set_of_three_long_keys_comes_by_tcp(table: Table) -> None:
    """RSA with 4096 bits, one of them revoked: far more than 1232 octets (RFC 5011 2.1)."""
    assert table["three-long."]["by UDP"] == "truncated"
    assert table["three-long."]["held: restarted"] == "good"


def test_the_reason_names_both_sets_and_who_gave_them(table: Table, pool: rollovers.Keys) -> None:
    old, new, zsk = (dns.dnssec.key_id(pool.dnskey(name)) for name in ("K13", "K13b", "z13"))
    shown = sorted([f"{new} (KSK, algorithm 13)", f"{zsk} (ZSK, algorithm 13)"])
    assert table["nz."]["trouble"] == (
        "nz. DNSKEY: not signed by a key that is trusted. The DS set from 127.0.0.1 lists "
        f"{old} (algorithm 13); the DNSKEY set from 127.0.0.1 has {', '.join(shown)}, "
        f"signed by {new}: none of them is named"
    )
    eight = dns.dnssec.key_id(pool.dnskey("K8"))
    assert f"lists {eight} (algorithm 8)" in table["ds-only-other."]["fresh trouble"]
    assert not table["zsk-hasty."]["trouble"]


# --- Servers that differ --------------------------------------------------------------------

PLAIN: Final = State("K13 z13", "K13", "z13", "K13")
SERVERS: Final[Mapping[str, tuple[State, State, str]]] = {
    "foreign.": (PLAIN, State("K13x z13x", "K13x", "z13x", "K13"), "bad"),
    "unshown.": (PLAIN, State("K13 z13", "K13", "z13x", "K13"), "bad"),
    "ahead.": (PLAIN, State("K13 z13b", "K13", "z13b", "K13"), "good"),
    "two-operators.": (
        State("K13 z13", "K13", "z13", "K13 K13b"),
        State("K13b z13b", "K13b", "z13b", "K13 K13b"),
        "good",
    ),
}
"""Zone -> what the one server has, what the other, and what clients of the other get."""


def test_a_server_with_other_keys_is_bad_where_its_clients_get_nothing(
    tmp_path: Path, pool: rollovers.Keys
) -> None:
    found: dict[tuple[str, str], list[Round]] = {}

    def deliver(done: Round) -> None:
        found.setdefault((done.question.zone, done.address), []).append(done)

    def failing(zone: str, address: str) -> list[Round]:
        return [
            done
            for done in found.get((zone, address), ())
            for one in done.observations
            if one.judged and one.outcome.verdict is not Verdict.GOOD
        ]

    async def story(store: KeyStore, prober: Prober) -> None:
        """Until each server was asked about each zone often enough to show what it is."""
        tasks = [asyncio.create_task(store.run()), asyncio.create_task(prober.run())]

        def enough() -> bool:
            assert not any(task.done() for task in tasks)
            return all(
                len(found.get((zone, address), ())) >= 12
                and (address == HERE or verdict == "good" or len(failing(zone, address)) >= 3)
                for zone, (_, _, verdict) in SERVERS.items()
                for address in (HERE, OTHER)
            )

        try:
            await async_until(enough, 40, every=0.05)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with laboratory(tmp_path, pool) as lab:
        lab.nsd(HERE, signed(lab, {z: one for z, (one, _, _) in SERVERS.items()}, 1, "one"))
        lab.nsd(OTHER, signed(lab, {z: other for z, (_, other, _) in SERVERS.items()}, 2, "other"))
        clients = lab.unbound("unbound-other", OTHER)
        assert {zone: said_by(clients, f"w0.{zone}") for zone in SERVERS} == {
            zone: verdict for zone, (_, _, verdict) in SERVERS.items()
        }
        store = lab.store(SERVERS, lab.unbound("unbound"))
        prober = Prober(
            [
                Target(upstream="lab", nameserver=f"{n}.", address=at, family=Family.of(at))
                for n, at in enumerate((HERE, OTHER))
            ],
            [Upstream()],
            [Way(name=LOCAL)],
            Pace(interval=0.1, fast_interval=0.05, timeout=2.0),
            keys=store,
            signatures=store._verifier.signatures,
            deliver=deliver,
            port=lab.authority,
        )
        asyncio.run(story(store, prober))
    for zone, (_, _, verdict) in SERVERS.items():
        assert not failing(zone, HERE), zone
        assert bool(failing(zone, OTHER)) is (verdict == "bad"), zone
    (tag,) = {
        one.evidence.key_tag
        for done in failing("unshown.", OTHER)
        for one in done.observations
        if one.evidence
    }
    assert tag == dns.dnssec.key_id(pool.dnskey("z13x"))
    later = time.monotonic() + LASTS
    store._monotonic = lambda: later
    text = keys_problem(store)
    assert text.startswith("foreign.: not all servers show the zone's keys, ")
    names = sorted(
        f"{dns.dnssec.key_id(pool.dnskey(name))} ({role}, algorithm 13)"
        for name, role in (("K13x", "KSK"), ("z13x", "ZSK"))
    )
    assert (
        f"{', '.join(names)}, signed by no key that is trusted, at 127.0.0.2 over local"
    ) in text
    assert text.endswith(f"To do: {KEYS['servers']}")


@dataclass(frozen=True)
class Upstream:
    """The zones of both servers."""

    name: str = "lab"
    zones: Sequence[str] = tuple(SERVERS)
    skew: float = 0.0


# --- A signer that does it by itself --------------------------------------------------------

_KNOT: Final = """\
server:
    listen: 127.0.0.1@{port}
    rundir: {home}
log:
  - target: stderr
    any: notice
database:
    storage: {home}
remote:
  - id: parent
    address: 127.0.0.1@{port}
acl:
  - id: push
    address: 127.0.0.1
    action: update
submission:
  - id: asks
    parent: parent
    check-interval: 1s
policy:
  - id: rolling
    algorithm: {algorithm}
    dnskey-ttl: 2s
    zone-max-ttl: 2s
    propagation-delay: 1s
    ksk-submission: asks
    ds-push: parent
    cds-cdnskey-publish: rollover
    ksk-lifetime: 0
    zsk-lifetime: 0
    delete-delay: 0
  - id: still
    algorithm: ecdsap256sha256
    ksk-lifetime: 0
    zsk-lifetime: 0
template:
  - id: default
    storage: {home}
    dnssec-signing: on
    zonefile-load: difference-no-serial
    zonefile-sync: -1
    journal-content: all
zone:
  - domain: .
    file: root
    dnssec-policy: still
    acl: push
  - domain: roll.
    file: roll
    dnssec-policy: rolling
"""
_SOA: Final = "SOA ns.roll. host.roll. 1 3600 600 86400 2"
_DELEGATION: Final = "roll. 2 NS ns.roll.\nns.roll. 2 A 127.0.0.1\n"


def test_an_automatic_rollover_of_the_algorithm_is_seen_by_nobody(
    tmp_path: Path, pool: rollovers.Keys
) -> None:
    """Knot DNS takes its zone from algorithm 13 to 15, DS and all, while everybody asks it."""
    for program in ("knotd", "knotc"):
        if not find(program):
            pytest.skip(f"{program} is not installed")
    wrong, sets, asked = list[object](), set[frozenset[int]](), list[str]()

    def deliver(done: Round) -> None:
        wrong.extend(
            one
            for one in done.observations
            if one.judged and one.outcome.verdict is not Verdict.GOOD
        )

    async def story(lab: Lab, store: KeyStore, home: Path, resolver: int) -> None:
        prober = Prober(
            [Target(upstream="lab", nameserver="ns.roll.", address=HERE, family=Family.IPV4)],
            [Upstream(zones=("roll.",))],
            [Way(name=LOCAL)],
            Pace(interval=0.05, fast_interval=0.05, timeout=2.0),
            keys=store,
            signatures=store._verifier.signatures,
            deliver=deliver,
            port=lab.authority,
        )
        tasks = [asyncio.create_task(store.run()), asyncio.create_task(prober.run())]
        try:
            async with asyncio.timeout(60):
                for algorithm in (13, 15):
                    if algorithm == 15:
                        _knot(lab, home, "ed25519")
                        rollovers.run(home, "knotc", "-c", str(home / "conf"), "reload")
                    while not sets or {a for a, _ in _tags(store)} != {algorithm}:
                        assert not any(task.done() for task in tasks)
                        sets.add(frozenset(tag for _, tag in _tags(store)))
                        name = f"w{len(asked) % 9}.roll."
                        asked.append(await asyncio.to_thread(said_by, resolver, name))
                        await asyncio.sleep(0.05)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with tempfile.TemporaryDirectory() as short, laboratory(tmp_path, pool) as lab:
        home = Path(short)
        (home / "root").write_text(f". 2 {_SOA}\n. 2 NS ns.roll.\n{_DELEGATION}")
        names = "".join(f"w{n}.roll. 2 A 192.0.2.{n}\n" for n in range(9))
        (home / "roll").write_text(f"roll. 2 {_SOA}\n{_DELEGATION}{names}")
        _knot(lab, home, "ecdsap256sha256")
        lab.run("knotd", ["knotd", "-c", str(home / "conf")], HERE, lab.authority)
        until(lambda: _signed(lab.authority), 20)
        lab.anchor = _signed(lab.authority)
        resolver = lab.unbound("unbound")
        store = lab.store(["roll."], resolver)
        asyncio.run(story(lab, store, home, resolver))
    assert wrong == []
    assert set(asked) == {"good"}
    assert len(sets) >= 3, "before, in between and after"
    assert store.troubles == {}


def _knot(lab: Lab, home: Path, algorithm: str) -> None:
    text = _KNOT.format(home=home, port=lab.authority, algorithm=algorithm)
    (home / "conf").write_text(text)


def _tags(store: KeyStore) -> frozenset[tuple[int, int]]:
    """Of the newest set; the one before it is believed beside it for a while."""
    keys = store._sets.newest.get("roll.")
    return frozenset() if keys is None else keys.tags


def _signed(port: int) -> str:
    """The root's trust anchor, as soon as the parent has signed itself and names its child's key.

    "" until then.
    """
    parent, keyed = ask(HERE, port, "roll.", "DS", flags=0), ask(HERE, port, ".", "DNSKEY", flags=0)
    if parent is None or not parent.answer or keyed is None or not keyed.answer:
        return ""
    keys = (key for key in keyed.answer[0] if isinstance(key, rollovers.DNSKEY))
    ksk = next(key for key in keys if key.flags & 1)
    return f". IN DS {dns.dnssec.make_ds('.', ksk, 'SHA256')}"


# --- The whole agent ------------------------------------------------------------------------


def _other_keys(stage: Stage, paths: Iterable[str]) -> None:
    """Zones signed by keys that nobody has named, behind these paths."""
    scene = stage.scene
    zones = [sign(spec, Signers.fresh()) for spec in scene.specs.values()]
    for path in paths:
        scene.authorities[path].serve(zones)


def test_an_instance_with_keys_of_its_own_is_steered_around_and_returned_to() -> None:
    with on_stage() as stage:
        _other_keys(stage, [LOCAL])
        stage.await_routes(stage.through("pao"))
        shown = stage.status()["addresses"]
        assert all(a["paths"][LOCAL]["outcomes"].get("no_key", 0) >= 3 for a in shown), shown
        stage.clients_fine()
        told = stage.scene.steering("explain", stage.addresses[0])
        assert "is not in the zone's key set: " in " ".join(told.split())
        stage.scene.serve()
        stage.await_routes({})


def test_where_all_have_other_keys_nothing_moves() -> None:
    with on_stage() as stage:
        _other_keys(stage, stage.scene.authorities)
        stage.await_alarm("everywhere")
        stage.steady({})
        assert stage.about("steered") == set()
