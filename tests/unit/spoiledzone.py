"""Two hundred ways to spoil a zone: kinds, each applied at a place that a seed draws."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import dns.name
import dns.rdata
import dns.rdataset
import dns.rdatatype
import dns.zone
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.RRSIG import RRSIG
from wholezone import DAY, ROOT, WholeZone, put, replace_zonemd, zonemd

Spoil = Callable[[WholeZone, random.Random], str]
"""Returns the text of a zone file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiled:
    """One spoiled zone."""

    kind: str
    text: str
    good: bool
    """Whether it may be used all the same."""


def _text(zone: dns.zone.Zone) -> str:
    return str(zone.to_text(relativize=False))


def _child(made: WholeZone, rng: random.Random) -> str:
    """A child with a DS set."""
    return f"tld{rng.choice([n for n in range(made.children) if n % 10 != 9]):05}."


def _digest_flipped(made: WholeZone, rng: random.Random) -> str:
    zone = made.signed()
    digest = bytearray(zonemd(zone).digest)
    digest[rng.randrange(48)] ^= 1 << rng.randrange(8)
    replace_zonemd(zone, f"{zonemd(zone).serial} 1 1 {digest.hex()}")
    made.resign(zone, ".", "ZONEMD")
    return _text(zone)


def _zonemd(form: str) -> Spoil:
    """ZONEMD records in the place of the zone's, signed."""

    def spoil(made: WholeZone, rng: random.Random) -> str:
        zone = made.signed()
        digest, junk = zonemd(zone).digest.hex(), rng.randbytes(48).hex()
        serial = zonemd(zone).serial
        records = form.format(
            serial=serial, digest=digest, junk=junk, other=serial + rng.choice((-1, 1, 1 << 31))
        )
        replace_zonemd(zone, *records.split(" + "))
        made.resign(zone, ".", "ZONEMD")
        return _text(zone)

    return spoil


def _after_the_digest(change: Callable[[dns.zone.Zone, str, random.Random], None]) -> Spoil:
    def spoil(made: WholeZone, rng: random.Random) -> str:
        zone = made.signed()
        change(zone, _child(made, rng), rng)
        return _text(zone)

    return spoil


def _before_the_digest(
    change: Callable[[WholeZone, dns.zone.Zone, str, random.Random], None],
) -> Spoil:
    """The signer itself made the mistake: the digest and its signature are right."""

    def spoil(made: WholeZone, rng: random.Random) -> str:
        child = _child(made, rng)
        return _text(made.signed(between=lambda zone: change(made, zone, child, rng)))

    return spoil


def _names(zone: dns.zone.Zone, rdtype: str) -> list[dns.name.Name]:
    return sorted(n for n in zone.nodes if zone.get_rdataset(n, rdtype) is not None)


def _glue_changed(zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    owner = dns.name.from_text(f"ns0.{child}")
    address = f"198.51.100.{rng.randrange(256)}"
    zone.replace_rdataset(owner, dns.rdataset.from_text("IN", "A", 172800, address))


def _record_lost(zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    owner = rng.choice(sorted(zone.nodes))
    node = zone.nodes[owner]
    choices = [r for r in node if r.rdtype != dns.rdatatype.SOA and owner != ROOT]
    if not choices:
        choices = [zone.find_rdataset(ROOT, "NSEC")]
    lost = rng.choice(choices)
    zone.delete_rdataset(owner, lost.rdtype, lost.covers)


def _serial_moved(zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    soa = zone.get_soa()
    later = soa.replace(serial=(soa.serial + rng.choice((-1, 1, 1 << 31))) % (1 << 32))
    zone.replace_rdataset(ROOT, dns.rdataset.from_rdata(86400, later))


def _signature_lost(zone: dns.zone.Zone, name: dns.name.Name, rdtype: str) -> None:
    zone.delete_rdataset(name, "RRSIG", rdtype)


def _a_signed_name(
    made: WholeZone, zone: dns.zone.Zone, rng: random.Random
) -> tuple[dns.name.Name, str]:
    rdtype = rng.choice(("DS", "NSEC", "NSEC", "SOA", "NS", "DNSKEY"))
    at_apex = rdtype in {"SOA", "NS", "DNSKEY"}
    return (ROOT if at_apex else rng.choice(_names(zone, rdtype))), rdtype


def _unsigned(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    _signature_lost(zone, *_a_signed_name(made, zone, rng))


def _bad_signature(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    name, rdtype = _a_signed_name(made, zone, rng)
    (rrsig,) = zone.find_rdataset(name, "RRSIG", rdtype)
    assert isinstance(rrsig, RRSIG)
    signature = bytearray(rrsig.signature)
    signature[rng.randrange(len(signature))] ^= 1 << rng.randrange(8)
    zone.replace_rdataset(
        name, dns.rdataset.from_rdata(86400, rrsig.replace(signature=bytes(signature)))
    )


def _dated(begin: int, life: int) -> Spoil:
    def change(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
        name, rdtype = _a_signed_name(made, zone, rng)
        made.resign(zone, name.to_text(), rdtype, made.now + begin, life)

    return _before_the_digest(change)


def _other_key(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    stranger = WholeZone(now=made.now)
    name, rdtype = _a_signed_name(made, zone, rng)
    stranger.resign(zone, name.to_text(), rdtype)


def _nsec_lost(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    name = rng.choice([n for n in _names(zone, "NSEC") if n != ROOT])
    zone.delete_rdataset(name, "NSEC")
    _signature_lost(zone, name, "NSEC")


def _nsec_changed(text: Callable[[NSEC], str]) -> Spoil:
    def change(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
        name = rng.choice([n for n in _names(zone, "NSEC") if n != ROOT])
        (record,) = zone.find_rdataset(name, "NSEC")
        assert isinstance(record, NSEC)
        other = dns.rdataset.from_text("IN", "NSEC", 86400, text(record))
        zone.replace_rdataset(name, other)
        made.resign(zone, name.to_text(), "NSEC")

    return _before_the_digest(change)


def _unsigned_record(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    put(zone, child, 86400, f"DS {rng.randrange(65536)} 13 2 {rng.randbytes(32).hex()}")


def _more_glue(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    put(zone, f"ns{rng.randrange(2, 9)}.{child}", 172800, f"A 203.0.113.{rng.randrange(256)}")


def _unsigned_name(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    put(zone, f"x{rng.randrange(1000)}.", 86400, "TXT spoiled")


def _undelegated(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    zone.delete_rdataset(dns.name.from_text(child), "NS")


def _signature_alone(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    zone.delete_rdataset(dns.name.from_text(child), "DS")


def _no_key(made: WholeZone, zone: dns.zone.Zone, child: str, rng: random.Random) -> None:
    zone.replace_rdataset(ROOT, dns.rdataset.from_rdata(86400, made.dnskeys[rng.randrange(2)]))
    made.resign(zone, ".", "DNSKEY")


def _strange_keys(made: WholeZone, rng: random.Random) -> str:
    """A whole zone, in order, signed by keys of others."""
    return _text(WholeZone(now=made.now, children=made.children).signed())


def _plain(made: WholeZone, rng: random.Random) -> str:
    return _text(made.signed(2026120100 + rng.randrange(1000)))


def _unsigned_digest(made: WholeZone, rng: random.Random) -> str:
    zone = made.signed()
    _signature_lost(zone, ROOT, "ZONEMD")
    return _text(zone)


def _no_digest(made: WholeZone, rng: random.Random) -> str:
    return _text(made.signed(digest=False))


def _digest_removed(made: WholeZone, rng: random.Random) -> str:
    zone = made.signed()
    zone.delete_rdataset(ROOT, "ZONEMD")
    _signature_lost(zone, ROOT, "ZONEMD")
    return _text(zone)


def _cut(made: WholeZone, rng: random.Random) -> str:
    text = _text(made.signed())
    return text[: rng.randrange(len(text) // 10, len(text) - 60)]


def _line(form: str) -> Spoil:
    def spoil(made: WholeZone, rng: random.Random) -> str:
        lines = _text(made.signed()).splitlines()
        lines.insert(rng.randrange(3, len(lines)), form.format(n=rng.randrange(1000)))
        return "\n".join(lines) + "\n"

    return spoil


def _new_type(made: WholeZone, rng: random.Random) -> str:
    def add(zone: dns.zone.Zone) -> None:
        number = rng.randrange(65280, 65535)
        put(
            zone, f"new{rng.randrange(100)}.", 86400, rf"TYPE{number} \# 4 {rng.randbytes(4).hex()}"
        )

    return _text(made.signed(before=add))


KINDS: Final[Mapping[str, tuple[Spoil, bool]]] = {
    "nothing is spoiled": (_plain, True),
    "a new type": (_new_type, True),
    "glue the signer added": (_before_the_digest(_more_glue), True),
    "two hashes": (_zonemd("{serial} 1 1 {digest} + {serial} 1 2 {junk}{junk:.32}"), True),
    "an unknown scheme beside": (_zonemd("{serial} 1 1 {digest} + {serial} 7 1 {junk}"), True),
    "another digest": (_digest_flipped, False),
    "another serial's digest": (_zonemd("{other} 1 1 {digest}"), False),
    "a doubled digest": (_zonemd("{serial} 1 1 {digest} + {serial} 1 1 {junk}"), False),
    "an unknown scheme": (_zonemd("{serial} 240 1 {digest}"), False),
    "an unknown hash": (_zonemd("{serial} 1 240 {digest}"), False),
    "an unsigned digest": (_unsigned_digest, False),
    "no digest": (_no_digest, False),
    "a digest that was removed": (_digest_removed, False),
    "glue changed": (_after_the_digest(_glue_changed), False),
    "records lost": (_after_the_digest(_record_lost), False),
    "the serial moved": (_after_the_digest(_serial_moved), False),
    "unsigned": (_before_the_digest(_unsigned), False),
    "a bad signature": (_before_the_digest(_bad_signature), False),
    "expired": (_dated(-3 * DAY, DAY), False),
    "not yet valid": (_dated(DAY, DAY), False),
    "signed by another key": (_before_the_digest(_other_key), False),
    "an NSEC lost": (_before_the_digest(_nsec_lost), False),
    "an NSEC that leads elsewhere": (_nsec_changed(lambda _: "zz. NS DS RRSIG NSEC"), False),
    "an NSEC with other types": (
        _nsec_changed(lambda r: f"{r.next} NS DS RRSIG NSEC TXT MX"),
        False,
    ),
    "an unsigned record in a signed set": (_before_the_digest(_unsigned_record), False),
    "an unsigned name": (_before_the_digest(_unsigned_name), False),
    "a delegation without NS": (_before_the_digest(_undelegated), False),
    "a signature alone": (_before_the_digest(_signature_alone), False),
    "a key lost": (_before_the_digest(_no_key), False),
    "keys of others": (_strange_keys, False),
    "cut": (_cut, False),
    "an unknown mnemonic": (_line("tld00001. 86400 IN NEWTYPE{n} 1 2 3"), False),
    "another class": (_line("tld00001. 86400 CH TXT spoiled{n}"), False),
    "a second SOA": (_line(". 86400 IN SOA a.root. nstld. {n} 1800 900 604800 86400"), False),
    "a line that is none": (_line("tld00001. {n} IN"), False),
}


def spoiled(made: WholeZone, number: int, seed: int) -> Iterator[Spoiled]:
    """So many spoiled zones, of all kinds in turn."""
    rng = random.Random(seed)
    kinds = list(KINDS.items())
    for n in range(number):
        kind, (spoil, good) = kinds[n % len(kinds)]
        yield Spoiled(kind=kind, text=spoil(made, rng), good=good)
