"""What it costs to classify an answer, beside parsing it and beside its arithmetic alone.

The answers are a real NSD's, about zones full of aliases (`lab.servers.tangled`), by kinds. Each
is classified with nothing remembered, so that every signature is verified, and again with all of
its signatures known. Beside it, on the same messages: dnspython's `from_wire`, and its
`validate_rrsig` over each signature in them. CPU seconds, medians of rounds that take turns.

`python -m benchmarks.classify KEPT` measures the answers in a file once more, with whichever
`steering` comes first in the path: of another version, say. CLASSIFY_KEEP says where to keep them.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.rrset

from steering.model import Kind, Outcome, Question
from steering.observe.dnssec.response import classify
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Keys, Trust

ROUNDS = 5
EACH = 40
"""Answers of each kind."""
PORT = 5399
_KINDS: Mapping[str, tuple[str, str, str]] = {
    "plain answers": ("NSEC3", "www.example.", "A"),
    "referrals without DS, NSEC": ("NSEC", "{}.d.ent.e.example.", "A"),
    "referrals without DS, NSEC3 opt-out": ("opt-out", "{}.d.ent.e.example.", "A"),
    "NXDOMAIN, NSEC": ("NSEC", "{}.example.", "A"),
    "NXDOMAIN, NSEC3": ("NSEC3", "{}.example.", "A"),
    "NODATA, NSEC3": ("NSEC3", "www.example.", "TXT"),
    "made from a wildcard, NSEC3": ("NSEC3", "{}.wild.example.", "A"),
    "an alias": ("NSEC3", "alias1.example.", "A"),
    "an alias into a zone below": ("NSEC3", "alias2.example.", "A"),
    "an alias to a DNAME": ("NSEC3", "alias8.example.", "A"),
}
"""Kind -> how the zone is signed, what is asked, with a label drawn for each."""

Kept = dict[str, dict[str, Any]]
"""Kind -> answers as hexadecimal digits, their questions, and the zone's keys as text."""


def run() -> int:
    """Collect, measure, print the table."""
    from steering.lab.network.sandbox import find

    if needed := [p for p in ("nsd", "dnssec-signzone") if not find(p)]:
        print(f"\nclassify: left out: no {', '.join(needed)}")
        return 0
    from benchmarks import report

    kept = collect()
    if path := os.environ.get("CLASSIFY_KEEP"):
        Path(path).write_text(json.dumps(kept))
    rows = []
    for kind, told in measure(kept).items():
        parse = told["parse"]
        rows.append(
            (
                kind,
                *(f"{told[what] * 1e6:,.0f}" for what in _MEASURED),
                f"{told['all known'] / parse:.1f}",
                f"{told['nothing known'] / (parse + told['arithmetic']):.2f}",
            )
        )
    head = ("", *_MEASURED, "known/parse", "unknown/(parse+arithmetic)")
    report.table(f"microseconds of CPU an answer, {EACH} of each kind", head, rows)
    return 0


def collect() -> Kept:
    """Ask a real NSD."""
    from steering.lab.servers.servers import Place, nsd
    from steering.lab.servers.tangled import fresh_keys, sign

    kept: Kept = {}
    for signer in dict.fromkeys(how[0] for how in _KINDS.values()):
        with tempfile.TemporaryDirectory(prefix="steering-bench-") as place:
            keys = fresh_keys()
            sign(Path(place), signer, keys)
            argv = nsd(Place(folder=Path(place), signer=signer, port=PORT))
            with subprocess.Popen(argv, stdout=-3, stderr=-3) as program:
                try:
                    shown = [key.to_text() for key in keys["example."].dnskeys]
                    for kind, (how, name, rdtype) in _KINDS.items():
                        if how == signer:
                            kept[kind] = {"keys": shown, "answers": list(_answers(name, rdtype))}
                finally:
                    program.terminate()
    return {kind: kept[kind] for kind in _KINDS}


def _answers(name: str, rdtype: str) -> Iterator[tuple[str, str, str]]:
    rng = random.Random(name)
    for _ in range(EACH):
        asked = name.format(f"x{rng.getrandbits(32):08x}")
        query = dns.message.make_query(asked, rdtype, want_dnssec=True, flags=0, id=7)
        until = time.monotonic() + 15.0
        while True:
            try:
                wire = dns.query.udp(query, "127.0.0.1", port=PORT, timeout=0.3).to_wire()
                break
            except (OSError, dns.exception.Timeout):
                if time.monotonic() > until:
                    raise
        yield asked, rdtype, wire.hex()


_MEASURED = ("parse", "arithmetic", "nothing known", "all known")


def measure(kept: Kept) -> dict[str, dict[str, float]]:
    """Kind -> what -> CPU seconds for one answer, the median of all rounds."""
    works = {kind: _works(told) for kind, told in kept.items()}
    times: dict[str, dict[str, list[float]]] = {k: {w: [] for w in _MEASURED} for k in kept}
    for _ in range(ROUNDS):
        for kind, work in works.items():
            for what in _MEASURED:
                began = time.process_time()
                number = work[what]()
                times[kind][what].append((time.process_time() - began) / number)
    return {k: {w: statistics.median(s) for w, s in each.items()} for k, each in times.items()}


def _works(told: Mapping[str, Any]) -> dict[str, Callable[[], int]]:
    zone, now = "example.", time.time()
    keys = dns.rrset.from_text_list(zone, 300, "IN", "DNSKEY", told["keys"]).to_rdataset()
    believed = Keys(
        zone=zone, rdataset=keys, inception=now - 60, expiration=now + 86_400, checked=now
    )
    trust = Trust(secure={zone: believed})
    answers = [
        (bytes.fromhex(wire), Question(zone=zone, name=name, rdtype=rdtype, kind=Kind.WITNESS))
        for name, rdtype, wire in told["answers"]
    ]
    held = Signatures()

    def judge(known: Signatures | None) -> int:
        for wire, question in answers:
            signatures = Signatures() if known is None else known
            reading = classify(wire, question, 7, trust, wall=now, skew=0.0, signatures=signatures)
            assert reading.outcome is Outcome.SECURE or _OTHERS, (question, reading)
        return len(answers)

    def parse() -> int:
        for wire, _ in answers:
            dns.message.from_wire(wire)
        return len(answers)

    signed = [pair for wire, _ in answers for pair in _signed(dns.message.from_wire(wire), zone)]

    def arithmetic() -> int:
        for rrset, rrsig in signed:
            dns.dnssec.validate_rrsig(rrset, rrsig, {dns.name.from_text(zone): keys}, None, now)
        return len(answers)

    judge(held)
    return {
        "parse": parse,
        "arithmetic": arithmetic,
        "nothing known": lambda: judge(None),
        "all known": lambda: judge(held),
    }


_OTHERS = False
"""Whether another version is measured, which need not find them good."""


def _signed(message: dns.message.Message, zone: str) -> Sequence[tuple[dns.rrset.RRset, Any]]:
    """RRsets of the zone with each of their signatures."""
    sections = (*message.answer, *message.authority)
    rrsets = {(r.name, r.rdtype): r for r in sections if r.rdtype != dns.rdatatype.RRSIG}
    return [
        (rrsets[r.name, r.covers], rrsig)
        for r in sections
        if r.rdtype == dns.rdatatype.RRSIG
        for rrsig in r
        if rrsig.signer.to_text() == zone
    ]


if __name__ == "__main__":
    _OTHERS = True
    print(json.dumps(measure(json.loads(Path(sys.argv[1]).read_text()))))
