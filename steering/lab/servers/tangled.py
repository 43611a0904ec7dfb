"""Zones with many difficult cases, for real authoritative servers.

Four zones on one server: DNAMEs, aliases into zones below, beside and back, wildcards, empty
non-terminals that an opt-out gap hides, and a zone below that is not signed. BIND's dnssec-signzone
signs them in three ways. Beside each signed zone are the zone without signatures, but with DS
records, and the keys: for servers that sign by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from steering.lab.servers.signzone import sign_file
from steering.lab.servers.zone import Keys
from steering.model import Family, Seconds, WallTime

TEXTS: Final = {
    "sub.example.": "www A 192.0.2.6\nup CNAME www.example.\nup2 CNAME nx.example.\n*.w TXT a\n",
    "plain.example.": "www A 192.0.2.7\nup CNAME www.example.\n",
    "other.": "www A 192.0.2.5\n*.w A 192.0.2.8\nback CNAME www.example.\nd DNAME moved.example.\n",
    "example.": """www A 192.0.2.1
a.b.c A 192.0.2.2
*.wild A 192.0.2.3
x.deep.wild A 192.0.2.9
*.wc CNAME www
moved DNAME target
x.target A 192.0.2.4
out DNAME other.
alias1 CNAME www
alias2 CNAME www.sub
alias3 CNAME www.plain
alias4 CNAME www.other.
alias5 CNAME nx.other.
alias6 CNAME nx.sub
alias7 CNAME nx
alias8 CNAME x.moved
sub NS ns.other.
plain NS ns.other.
d.ent.e NS ns.other.
mx MX 10 www.sub
""",
}
"""The content of each zone without its apex and nameserver. Children before their parent."""

ZONES: Final = tuple(TEXTS)
UNSIGNED: Final = "plain.example."
TYPES: Final = ("A", "TXT", "CNAME", "DS", "MX", "ANY")
SIGNERS: Final = {"NSEC": (), "NSEC3": ("-3", "aabb"), "opt-out": ("-3", "aabb", "-A")}
"""Options of dnssec-signzone."""
_MONTH: Final[Seconds] = 30 * 86_400


def names() -> list[str]:
    """Every owner, a name that its wildcard covers, and names beside and below it."""
    found = set()
    for zone, text in TEXTS.items():
        for line in ["ns", *text.splitlines()]:
            owner = f"{line.split()[0]}.{zone}"
            found |= {owner, f"nx.{owner}", f"a.b.{owner}", owner.replace("*", "q")}
            while (owner := owner.partition(".")[2]) and owner != zone:
                found.add(owner)
        found.add(zone)
    return sorted(found)


def fresh_keys() -> dict[str, Keys]:
    """New keys for each zone that is signed."""
    return {zone: Keys.fresh() for zone in ZONES if zone != UNSIGNED}


def sign(
    folder: Path,
    signer: str,
    keys: Mapping[str, Keys],
    *,
    addresses: Sequence[str] = ("127.0.0.1",),
    ttl: int = 300,
    until: WallTime | None = None,
) -> None:
    """Write all zones into a folder: `ZONEsigned`, `ZONEplain`, and the keys as files.

    Args:
        folder: where.
        signer: one of `SIGNERS`.
        keys: of each zone but the unsigned one.
        addresses: of their nameserver.
        ttl: of all records and of denials, in seconds.
        until: when the signatures expire; by default in a month.

    Raises:
        LabError: dnssec-signzone is not installed, or fails.
    """
    for zone in ZONES:
        records = [head(addresses, ttl), TEXTS[zone]]
        records += [
            f"{child} DS {held.ds(child)}\n"
            for child, held in keys.items()
            if child.endswith(f".{zone}")
        ]
        (folder / f"{zone}plain").write_text("".join(records))
        if zone == UNSIGNED:
            (folder / f"{zone}signed").write_text("".join(records))
        else:
            how = SIGNERS[signer]
            sign_zone(folder, zone, "".join(records), keys[zone], how=how, until=until)


def sign_zone(
    folder: Path,
    zone: str,
    text: str,
    keys: Keys,
    *,
    how: Sequence[str] = (),
    until: WallTime | None = None,
) -> Path:
    """Sign one zone with options of dnssec-signzone; its file. Raises LabError as `sign` does."""
    until = time.time() + _MONTH if until is None else until
    files = keys.write(zone, folder)
    unsigned, signed = folder / f"{zone}keyed", folder / f"{zone}signed"
    unsigned.write_text("".join([text, *(path.read_text() for path in files)]))
    dates = until - _MONTH - 3600, until
    return sign_file(unsigned, signed, zone, files, dates=dates, how=how)


def head(addresses: Sequence[str], ttl: int, *, serial: int = 1, negative: int = 0) -> str:
    """The apex of a zone, and its nameserver with these addresses.

    Denials live for ``negative`` seconds, by default as long as everything else.
    """
    types = {Family.IPV4: "A", Family.IPV6: "AAAA"}
    soa = f"@ SOA ns h {serial} 3600 600 86400 {negative or ttl}"
    lines = [f"$TTL {ttl}", soa, "@ NS ns"]
    lines += [f"ns {types[Family.of(a)]} {a}" for a in addresses]
    return "\n".join(lines) + "\n"
