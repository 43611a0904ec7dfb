"""A zone like the root's: delegations, NSEC, ZONEMD (RFC 8976), and times as short as a test wants.

`ldns-signzone` signs it and computes its digest, so what verifies it here was written by others. A
`Root` says what is in it; its file is the whole zone in the form that every loader reads. `told`
has the same zone as a newer program would write it: a new type by its name, which older loaders
don't know (4 October 2023: ZONEMD itself, then two years old).
"""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from steering.lab.network.sandbox import LabError, find
from steering.lab.servers.zone import Keys
from steering.model import Family, Seconds, WallTime

NEW_TYPE: Final = 65_280
"""The first type for private use (RFC 6895 3.1): no loader knows a name for it."""
NEW_NAME: Final = "NEWTYPE"
"""What a program that knows it calls it."""
_GENERIC: Final = f"TYPE{NEW_TYPE}\t\\# 4 c0000201"


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """One version of the zone. Times are seconds."""

    serial: int
    servers: Mapping[str, tuple[str, ...]]
    """Its nameservers, one label below it, with their addresses."""
    count: int = 300
    """Top-level domains `d0000.` and so on; each second one is signed."""
    refresh: int = 5
    retry: int = 5
    expire: int = 30
    life: Seconds = 13 * 86_400
    """Of its signatures. The root's live thirteen days."""
    inception: WallTime = field(default_factory=lambda: time.time() - 3600)
    ends: WallTime | None = None
    """When its signatures end, in place of `life` from now."""
    new_type: bool = False
    """Has a record of the new type at the apex."""
    ttl: int = 86_400

    @property
    def last(self) -> str:
        """The name at the zone's end in canonical order: what a copy that was cut lacks."""
        return f"d{self.count - 1:04}."

    def after(self, **changes: object) -> Root:
        """The next version, with the next serial."""
        return replace(self, **{"serial": self.serial + 1, **changes})  # type: ignore[arg-type]

    def lines(self) -> Iterator[str]:
        """The records before they are signed."""
        first = next(iter(self.servers))
        yield (
            f".\t{self.ttl}\tIN\tSOA\t{first} nstld.example. {self.serial} {self.refresh}"
            f" {self.retry} {self.expire} {min(self.ttl, 86_400)}"
        )
        for name, addresses in self.servers.items():
            yield f".\t{self.ttl}\tIN\tNS\t{name}"
            for address in addresses:
                kind = "A" if Family.of(address) is Family.IPV4 else "AAAA"
                yield f"{name}\t{self.ttl}\tIN\t{kind}\t{address}"
        if self.new_type:
            yield f".\t{self.ttl}\tIN\t{_GENERIC}"
        for number in range(self.count):
            child = f"d{number:04}."
            # The names of a delegation vary as the root's do: some share theirs, most have glue.
            for server in range(1, 5):
                yield f"{child}\t{self.ttl}\tIN\tNS\tns{server}.{child}"
                yield f"ns{server}.{child}\t{self.ttl}\tIN\tA\t198.51.100.{server}"
                yield f"ns{server}.{child}\t{self.ttl}\tIN\tAAAA\t2001:db8:{number:x}::{server}"
            if number % 2:
                digest = hashlib.sha256(child.encode()).hexdigest()
                yield f"{child}\t{self.ttl}\tIN\tDS\t{int(digest[:4], 16)} 13 2 {digest}"


def sign(root: Root, keys: Keys, folder: Path) -> Path:
    """The whole zone with its signatures and its ZONEMD, in a file of the folder.

    Raises LabError if ldns-signzone is not installed, or fails.
    """
    program = find("ldns-signzone")
    if program is None:
        raise LabError("ldns-signzone is not installed (package ldnsutils)")
    folder.mkdir(exist_ok=True)
    plain, made = folder / f"{root.serial}.plain", folder / f"{root.serial}.zone"
    plain.write_text("".join(f"{line}\n" for line in root.lines()))
    stems = [str(path.with_suffix("")) for path in keys.write(".", folder)]
    end = time.time() + root.life if root.ends is None else root.ends
    argv = [
        *(program, "-z", "simple:sha384", "-o", ".", "-f", str(made)),
        *("-i", str(int(root.inception)), "-e", str(int(end)), str(plain), *stems),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    plain.unlink()
    if done.returncode:
        raise LabError(f"ldns-signzone: {(done.stderr or done.stdout).strip()}")
    return made


def told(zone: str) -> str:
    """The text of a zone as a program writes it that knows the new type by name.

    The name also stands where types are listed: in the RRSIG and in the NSEC of the apex.
    """
    named = zone.replace(_GENERIC, f"{NEW_NAME}\t192.0.2.1")
    return named.replace(f"TYPE{NEW_TYPE}", NEW_NAME)
