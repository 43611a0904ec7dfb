"""Signs the lab's zones by BIND's dnssec-signzone.

It is a second, independent signer: tests compare the zones of ``zone`` with it. Lab tests that need
many signatures which expire at different seconds use its jitter.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import dns.rrset
import dns.zone

from steering.lab.sandbox import LabError, find
from steering.lab.zone import Keys, SignedZone, Validity, ZoneSpec, unsigned
from steering.model import WallTime


def signzone(spec: ZoneSpec, keys: Keys, validity: Validity, directory: Path) -> SignedZone:
    """Sign a zone with dnssec-signzone (NSEC3, opt-out, no salt, serial kept).

    ``directory`` is for keys and files. Raises LabError if the program fails, with its output, or
    is not installed.
    """
    program = find("dnssec-signzone")
    if program is None:
        raise LabError("dnssec-signzone is not installed (package bind9-utils)")
    stem = "root" if spec.name == "." else spec.name.rstrip(".")
    plain, signed = directory / f"{stem}.plain", directory / f"{stem}.signed"
    key_paths = keys.write(spec.name, directory)
    records = [rrset.to_text() for rrset in unsigned(spec)]
    records += [path.read_text().rstrip() for path in key_paths]
    plain.write_text("\n".join(records) + "\n")
    start, end = validity.inception, validity.inception + validity.life
    argv = [
        *(program, "-q", "-3", "-", "-A", "-H", "0", "-N", "keep", "-P", "-x", "-O", "full"),
        *("-s", when(start), "-e", when(end), "-X", when(start + validity.dnskey_life)),
        *("-j", str(int(validity.jitter)), "-o", spec.name, "-f", str(signed), str(plain)),
        *(str(path.with_suffix("")) for path in key_paths),
    ]
    done = subprocess.run(
        argv, cwd=directory, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise LabError(f"dnssec-signzone: {(done.stderr or done.stdout).strip()}")
    return read_zone(signed, spec.name)


def read_zone(path: Path, name: str) -> SignedZone:
    """A zone from its file. Raises dns.exception.DNSException if it is invalid."""
    zone = dns.zone.from_file(str(path), origin=name, relativize=False)
    rrsets = [
        dns.rrset.from_rdata_list(owner, rdataset.ttl, list(rdataset))
        for owner in sorted(zone.nodes)
        for rdataset in zone.nodes[owner]
    ]
    return SignedZone(name=name, serial=zone.get_soa().serial, rrsets=tuple(rrsets))


def when(instant: WallTime) -> str:
    """YYYYMMDDHHMMSS in UTC, the text form of dates in RRSIGs (RFC 4034 3.2)."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(instant))
