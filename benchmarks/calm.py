"""A calm hour: every server that we know of, asked by every resolver that we know of, and no move.

The agent enforces; its probes, the resolvers' dnstap and the second look go over real answers about
zones full of DNAMEs, aliases between zones, wildcards and empty non-terminals in an opt-out gap
(`lab.servers.varied`). Nothing is wrong with them, so a move is a wrong one, and so is an alarm:
either is status 1. That it would have moved is shown in the end, when the signatures at the local
path have run out.

CALM_MINUTES says how long, CALM_RATE how many questions a second each resolver is asked, and
CALM_SIGNER how the zones are signed: `opt-out`, `NSEC3` or `NSEC`.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import report
from steering.lab.network.sandbox import LabError
from steering.lab.servers.mixture import SILENT, Mixture
from steering.lab.servers.varied import (
    RESOLVERS,
    SERVERS,
    SIGNED,
    UPSTREAMS,
    Varied,
    addresses_of,
    lacks,
)
from steering.lab.waiting import poll, until
from steering.model import LOCAL, Outcome, Seconds, Verdict

MINUTES = float(os.environ.get("CALM_MINUTES", "60"))
RATE = float(os.environ.get("CALM_RATE", "2"))
SIGNER = os.environ.get("CALM_SIGNER", "opt-out")
PAGES = Path(__file__).resolve().parents[1] / "docs" / "resolvers"
SOCKET = "/run/steering/dnstap.sock"
LAME = "d.ent.e.example."
"""A delegation to a server that does not have the zone."""
_SEEN: Seconds = 180.0
"""In which a fault of all signatures must be moved from, however busy the host is."""
_MOVES = {"steered", "released", "undone"}
_TOLD = (
    *sorted(_MOVES),
    "suspected",
    "rejected",
    "confirmed",
    "held",
    "health_changed",
    "flapping",
)
_OBSERVED = re.compile(
    r"steering_observations_total\{(?P<labels>[^}]*)\} (?P<number>[0-9.e+]+)", re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(slots=True)
class Figures:
    """What the agent told of itself so far."""

    events: Counter[str] = field(default_factory=Counter)
    alarms: Counter[str] = field(default_factory=Counter)
    because: list[str] = field(default_factory=list)
    """What was said at moves, suspicions and alarms."""
    answers: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """(server, path, source, outcome) -> how many."""
    looked: dict[str, float] = field(default_factory=dict)
    """Metrics of the resolvers' traffic."""

    @property
    def moves(self) -> int:
        return sum(self.events[event] for event in _MOVES)

    def since(self, before: Figures) -> Figures:
        """Without what was told before: a first question may be answered before keys are had."""
        return Figures(
            events=self.events - before.events,
            alarms=self.alarms,
            because=self.because,
            answers=self.answers - before.answers,
            looked=self.looked,
        )

    def failures(self) -> Counter[tuple[str, str, str, str]]:
        """Answers that count against a server."""
        good = {o.value for o in Outcome if o.verdict is Verdict.GOOD}
        return Counter({k: n for k, n in self.answers.items() if k[3] not in good and n})


def dnstap(page: str, tap: Path) -> str:
    """The first block of a resolver's page that names the socket, for a socket of the lab."""
    blocks = re.findall(r"```\w+\n(.*?)```", (PAGES / f"{page}.md").read_text(), re.DOTALL)
    return next((b.replace(SOCKET, str(tap)) for b in blocks if SOCKET in b), "")


def lay(lab: Varied) -> Figures:
    """Serve, resolve, and start the agent; what it told until it had keys and all was healthy."""
    lab.dnstap = {page: dnstap(page, lab.tap) for page in RESOLVERS}
    lab.serve_root()
    lab.serve()
    lab.resolve()
    lab.start_agent()
    until(lambda: _healths(lab), _SEEN, wanted={"healthy"}, every=0.5)
    return figures(lab)


def _healths(lab: Varied) -> set[str]:
    told = lab.agent_host.api()["addresses"]
    return {path["health"] for address in told for path in address["paths"].values()}


def figures(lab: Varied) -> Figures:
    """What the agent tells now."""
    found = Figures()
    for line in lab.log.read_text().splitlines():
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        kind = str(event["event"])
        found.events[kind] += len(event.get("addresses", [None]))
        if kind == "alarm_raised":
            found.alarms[str(event["now"])] += 1
        if kind in {*_MOVES, "suspected", "alarm_raised"}:
            about = event.get("address") or event.get("addresses") or event.get("now")
            found.because.append(f"{event['time'][11:19]} {kind} {about}: {event.get('because')}")
    servers = {a: s for s in SERVERS for u in UPSTREAMS for a in addresses_of(s, u)}
    if lab.agent and not lab.agent.running:
        raise LabError(f"the agent ended{lab.agent.tail(40)}")
    _, text = lab.agent_host.get("/metrics")
    for match in _OBSERVED.finditer(text):
        of = dict(_LABEL.findall(match["labels"]))
        key = (servers[of["address"]], of["path"], of["source"], of["outcome"])
        found.answers[key] += int(float(match["number"]))
    for line in text.splitlines():
        if re.match(r"steering_dnstap_(frames|lost|verified|passed_over|writers)", line):
            name, number = line.rsplit(" ", 1)
            found.looked[name.removeprefix("steering_dnstap_")] = float(number)
    return found


def shown(lab: Varied) -> bool:
    """Whether it moves, once the local signatures have run out."""
    lab.serve(paths=[LOCAL], kinds=SIGNED, until=time.time() - 600)
    wanted = [a for server in SIGNED for u in UPSTREAMS for a in addresses_of(server, u)]

    def moved() -> bool:
        there = {line.split()[0] for line in lab.routes().splitlines()}
        return there >= set(wanted)

    return poll(moved, timeout=_SEEN, every=0.5)


def run() -> int:
    """Be calm for so long, print the tables, and show that it could have been otherwise."""
    if said := lacks():
        print(f"\ncalm: left out: {'; '.join(said)}")
        return 0
    with Varied(signer=SIGNER) as lab:
        before = lay(lab)
        with Mixture(world=lab.world, resolvers=RESOLVERS, rate=RATE) as clients:
            end = time.monotonic() + 60 * MINUTES
            _wait(lab, lambda: time.monotonic() > end)
            calm, asked = figures(lab).since(before), lab.asked()
            print_tables(calm, clients, asked)
            moves = shown(lab)
    print(f"\nonce the signatures at the local path had run out: {'moved' if moves else 'NO MOVE'}")
    return int(bool(calm.moves or calm.alarms) or not moves)


def _wait(lab: Varied, over: Callable[[], bool]) -> None:
    """Raises LabError if a program ends."""
    while not over():
        ended = [p for p in (*lab.programs.values(), lab.agent) if p and not p.running]
        if ended:
            raise LabError(f"{ended[0].name} ended{ended[0].tail()}")
        time.sleep(1.0)


def print_tables(found: Figures, clients: Mixture, asked: dict[str, int]) -> None:
    """What there was in a calm time."""
    report.table(
        f"{MINUTES:g} minutes, {RATE:g} questions a second to each resolver, {SIGNER}",
        ("", ""),
        [
            *((event, f"{found.events[event]:,}") for event in _TOLD),
            ("alarms", ", ".join(f"{a} {n}" for a, n in found.alarms.items()) or "0"),
            *((name, f"{number:,.0f}") for name, number in found.looked.items()),
        ],
    )
    answered = {name: Counter(dict(told)) for name, told in clients.counts.items()}  # they go on
    rcodes = sorted({rcode for told in answered.values() for rcode in told} - {SILENT})
    report.table(
        "what clients were answered, and what the resolvers asked for it",
        ("resolver", *rcodes, SILENT, "packets to servers"),
        [
            (
                name,
                *(f"{told[rcode]:,}" for rcode in (*rcodes, SILENT)),
                f"{asked[name]:,}",
            )
            for name, told in answered.items()
        ],
    )
    paths = sorted({(path, source) for _, path, source, _ in found.answers})
    failures = found.failures()
    report.table(
        "answers that the agent judged, and how many of them as failures",
        ("server", *(f"{source}, {path}" for path, source in paths)),
        [
            (server, *(_of(found.answers, failures, server, *one) for one in paths))
            for server in SERVERS
        ],
    )
    refused: Counter[tuple[str, str]] = Counter()
    for (who, name, rdtype), number in dict(clients.failed).items():
        lame = name.endswith(LAME)
        refused[who, f"below {LAME}" if lame else "ANY" if rdtype == "ANY" else name] += number
    for (who, what), number in refused.most_common():
        print(f"  {number} x SERVFAIL: {who}, {what}")
    for (server, path, source, outcome), number in failures.most_common():
        print(f"  {number} x {outcome}: {server}, {path}, {source}")
    for said in found.because:
        print(f"  {said}")


def _of(
    answers: Counter[tuple[str, str, str, str]],
    failures: Counter[tuple[str, str, str, str]],
    *who: str,
) -> str:
    def total(of: Counter[tuple[str, str, str, str]]) -> int:
        return sum(number for key, number in of.items() if key[:3] == who)

    return f"{total(answers):,}, {total(failures):,}"
