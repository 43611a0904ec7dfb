"""Signs the lab's zones by BIND's dnssec-signzone, which is called here alone.

It is a second, independent signer: tests compare the zones of ``zone`` with it. Lab tests that need
many signatures which expire at different seconds use its jitter.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import dns.rrset
import dns.zone

from steering.lab.network.sandbox import LabError, find
from steering.lab.servers.zone import Keys, SignedZone, Validity, ZoneSpec, unsigned
from steering.model import WallTime


def signzone(spec: ZoneSpec, keys: Keys, validity: Validity, directory: Path) -> SignedZone:
    """Sign a zone with dnssec-signzone (NSEC3, opt-out, no salt, serial kept).

    ``directory`` is for keys and files. Raises LabError as `sign_file`.
    """
    stem = "root" if spec.name == "." else spec.name.rstrip(".")
    plain, signed = directory / f"{stem}.plain", directory / f"{stem}.signed"
    key_paths = keys.write(spec.name, directory)
    records = [rrset.to_text() for rrset in unsigned(spec)]
    records += [path.read_text().rstrip() for path in key_paths]
    plain.write_text("\n".join(records) + "\n")
    start, end = validity.inception, validity.inception + validity.life
    how = [
        *("-3", "-", "-A", "-X", when(start + validity.dnskey_life)),
        *("-j", str(int(validity.jitter))),
    ]
    sign_file(plain, signed, spec.name, key_paths, dates=(start, end), how=how)
    return read_zone(signed, spec.name)


def sign_file(
    plain: Path,
    signed: Path,
    zone: str,
    keys: Iterable[Path],
    *,
    dates: tuple[WallTime, WallTime],
    how: Iterable[str] = (),
) -> Path:
    """Sign a zone file that has its DNSKEY records, by exactly these keys.

    Args:
        plain: the zone file.
        signed: the file to write, which is returned.
        zone: its name.
        keys: the ``.key`` files; the KSKs among them sign the DNSKEY RRset.
        dates: when signatures begin and end.
        how: more options of dnssec-signzone.

    Raises:
        LabError: the program is not installed, or fails; with its output.
    """
    program = find("dnssec-signzone")
    if program is None:
        raise LabError("dnssec-signzone is not installed (package bind9-utils)")
    argv = [
        *(program, "-q", "-H", "0", "-N", "keep", "-P", "-x", "-O", "full", *how),
        *("-s", when(dates[0]), "-e", when(dates[1]), "-o", zone, "-f", str(signed), str(plain)),
        *(str(path.with_suffix("")) for path in keys),
    ]
    done = subprocess.run(
        argv,
        cwd=plain.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise LabError(f"dnssec-signzone: {(done.stderr or done.stdout).strip()}")
    return signed


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
