"""Small root-like zones with ZONEMD, signed by keys at hand, to be spoiled in every way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataset
import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.ZONEMD import ZONEMD
from dns.zonetypes import DigestHashAlgorithm

from steering.model import WallTime
from steering.observe.dnssec import anchors
from steering.observe.dnssec.anchors import Anchors

ROOT = dns.name.root
DAY = 86_400
Change = Callable[[dns.zone.Zone], None]


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeZone:
    """A zone's keys, and versions of the zone signed by them."""

    now: WallTime
    ksk: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    zsk: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    children: int = 12
    servers: int = 1
    """Nameservers of each child, with an address of either family."""

    @property
    def dnskeys(self) -> tuple[DNSKEY, DNSKEY]:
        """The public keys: KSK and ZSK."""
        ksk, zsk = (
            dns.dnssec.make_dnskey(key.public_key(), "ECDSAP256SHA256", flags=flags)
            for key, flags in ((self.ksk, 257), (self.zsk, 256))
        )
        return ksk, zsk

    @property
    def anchor(self) -> str:
        """The KSK's DS record in zone-file form."""
        return f". IN DS {dns.dnssec.make_ds('.', self.dnskeys[0], 'SHA256').to_text()}\n"

    @property
    def anchors(self) -> Anchors:
        return anchors.parse(self.anchor, source="test")

    def text(self, serial: int = 2026120100) -> str:
        """The zone before it is signed."""
        lines = [
            f". 86400 IN SOA a.root. nstld. {serial} 1800 900 604800 86400",
            ". 518400 IN NS a.root.",
            "a.root. 518400 IN A 198.41.0.4",
        ]
        for n in range(self.children):
            for server in (f"ns{k}.tld{n:05}." for k in range(self.servers)):
                lines.append(f"tld{n:05}. 172800 IN NS {server}")
                lines.append(f"{server} 172800 IN A 192.0.2.{n % 250 + 1}")
                lines.append(f"{server} 172800 IN AAAA 2001:db8::{n % 250 + 1:x}")
            if n % 10 != 9:
                lines.append(f"tld{n:05}. 86400 IN DS {n % 65536} 13 2 {n:064x}")
        return "\n".join(lines) + "\n"

    def signed(
        self,
        serial: int = 2026120100,
        *,
        before: Change | None = None,
        between: Change | None = None,
        inception: WallTime | None = None,
        life: float = 13 * DAY,
        digest: bool = True,
    ) -> dns.zone.Zone:
        """The zone signed, with its digest.

        `before` changes it before it is signed, `between` before the digest is made.
        """
        zone = dns.zone.from_text(self.text(serial), origin=".", relativize=False)
        if before is not None:
            before(zone)
        if digest:
            put(zone, ".", 86400, f"ZONEMD {serial} 1 1 {'00' * 48}")
        begins = self.now - 3600 if inception is None else inception
        ksk, zsk = self.dnskeys
        with zone.writer() as txn:
            dns.dnssec.sign_zone(
                zone=zone,
                txn=txn,
                keys=[(self.ksk, ksk), (self.zsk, zsk)],
                dnskey_ttl=172800,
                inception=_time(begins),
                expiration=_time(begins + life),
            )
        if between is not None:
            between(zone)
        if digest:
            self.digest(zone, begins, life)
        return zone

    def digest(
        self, zone: dns.zone.Zone, begins: WallTime | None = None, life: float = 13 * DAY
    ) -> None:
        """Makes the digest and its signature anew."""
        made = zone.compute_digest(DigestHashAlgorithm.SHA384)
        zone.replace_rdataset(ROOT, dns.rdataset.from_rdata(86400, made))
        self.resign(zone, ".", "ZONEMD", begins, life)

    def resign(
        self,
        zone: dns.zone.Zone,
        name: str,
        rdtype: str,
        begins: WallTime | None = None,
        life: float = 13 * DAY,
    ) -> None:
        """Signs one RRset of the zone anew with the ZSK (the DNSKEY set with the KSK)."""
        owner = dns.name.from_text(name)
        rdataset = zone.find_rdataset(owner, rdtype)
        begins = self.now - 3600 if begins is None else begins
        by_ksk = rdtype == "DNSKEY"
        rrsig = dns.dnssec.sign(
            (owner, rdataset),
            self.ksk if by_ksk else self.zsk,
            ROOT,
            self.dnskeys[0 if by_ksk else 1],
            inception=_time(begins),
            expiration=_time(begins + life),
        )
        sigs = dns.rdataset.from_rdata(rdataset.ttl, rrsig)
        zone.replace_rdataset(owner, sigs)


def put(zone: dns.zone.Zone, name: str, ttl: int, record: str) -> None:
    """Adds a record, given as type and data, beside those of its name and type."""
    rdtype, text = record.split(" ", 1)
    rdata = dns.rdata.from_text("IN", rdtype, text)
    owner = dns.name.from_text(name)
    zone.find_rdataset(owner, rdtype, create=True).add(rdata, ttl)


def zonemd(zone: dns.zone.Zone) -> ZONEMD:
    """The zone's ZONEMD record."""
    (record,) = zone.find_rdataset(ROOT, "ZONEMD")
    assert isinstance(record, ZONEMD)
    return record


def replace_zonemd(zone: dns.zone.Zone, *records: str) -> None:
    """Puts these ZONEMD records, given by their data, in the place of the zone's."""
    rdatas = [dns.rdata.from_text("IN", "ZONEMD", text) for text in records]
    zone.replace_rdataset(ROOT, dns.rdataset.from_rdata_list(86400, rdatas))


def write(zone: dns.zone.Zone, file: Path) -> Path:
    """Writes a zone file."""
    zone.to_file(str(file), relativize=False)
    return file


def _time(wall: WallTime) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(wall), tz=dt.UTC)
