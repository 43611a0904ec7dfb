"""Zones in every phase of a change of keys, signed by dnssec-signzone, under a root of their own.

A step of a rollover is two states of one zone: the one that caches hold, and the one that its
servers have now. The states are those of RFC 6781 4.1 and RFC 7583 3.
"""

from __future__ import annotations

import itertools
import re
import shutil
import string
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from steering.lab.servers.signzone import sign_file
from steering.lab.servers.tangled import head
from steering.lab.servers.zone import write_key

DNSKEY = dns.rdtypes.ANY.DNSKEY.DNSKEY

ALGORITHMS: Final = {"8": "RSASHA256", "13": "ECDSAP256SHA256", "15": "ED25519"}
NAMES: Final = 9
"""Names of each zone that have an address: each is asked for once, as its answer is cached then."""
_TTL: Final = 3600
_REVOKED: Final = "rev"
_SAME: Final = "same"
_TWIN: Final = "twin"


@dataclass(frozen=True, slots=True)
class State:
    """A zone's keys at one moment, each by its name: ``K13`` is a KSK, ``z13b`` another ZSK."""

    shown: str
    """The DNSKEY set."""
    over_keys: str
    """Whose signatures stand over it."""
    over_data: str
    """Whose signatures stand over everything else."""
    ds: str
    """Which keys the parent's DS set names."""
    ttl: int = _TTL
    """Of the DNSKEY set, in seconds."""


@dataclass(frozen=True, slots=True)
class Step:
    """What caches hold of a zone, and what its servers and its parent have now."""

    was: State
    now: State


class Keys:
    """Key pairs by name, made once each by dnssec-keygen, whatever the zones are called."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Path] = {}
        self._twins: dict[str, DNSKEY] = {}

    def path(self, name: str, zone: str) -> Path:
        """The ``.key`` file of a key, with the zone as its owner."""
        made = self._pair(name)
        target = self._folder / zone / f"K{zone}{made.name.removeprefix('Kx.')}"
        target.parent.mkdir(exist_ok=True)
        text = Path(f"{made}.key").read_text()
        public = Path(f"{target}.key")
        public.write_text(re.sub("^x. ", f"{zone} ", text, flags=re.MULTILINE))
        shutil.copy(f"{made}.private", f"{target}.private")
        return public

    def dnskey(self, name: str) -> DNSKEY:
        """The public key."""
        if name.endswith(_TWIN):
            self._pair(name.removesuffix(_TWIN))
            return self._twins[name]
        text = Path(f"{self._pair(name)}.key").read_text()
        line = next(line for line in text.splitlines() if not line.startswith(";"))
        rdata = dns.rdata.from_text("IN", "DNSKEY", line.partition(" DNSKEY ")[2])
        assert isinstance(rdata, DNSKEY)
        return rdata

    def _pair(self, name: str) -> Path:
        if name not in self._made:
            how = self._revoke if name.endswith(_REVOKED) else self._generate
            self._made[name] = (self._collide if name.endswith(_SAME) else how)(name)
        return self._made[name]

    def _collide(self, name: str) -> Path:
        flags = 257 if name.startswith("K") else 256
        private, key, self._twins[name + _TWIN] = pair(flags)
        folder = self._folder / f"made-{name}"
        folder.mkdir(parents=True)
        return write_key("x.", private, key, folder).with_suffix("")

    def _revoke(self, name: str) -> Path:
        """The same key with the flag of RFC 5011 2.1, which gives it another tag."""
        made = self._pair(name.removesuffix(_REVOKED))
        folder = self._folder / f"made-{name}"
        folder.mkdir()
        for suffix in (".key", ".private"):
            shutil.copy(f"{made}{suffix}", folder)
        return folder / Path(run(folder, "dnssec-revoke", made.name).strip()).name

    def _generate(self, name: str) -> Path:
        algorithm = ALGORITHMS[name[1:].rstrip(string.ascii_lowercase)]
        flags = ["-f", "KSK"] if name.startswith("K") else []
        size = ["-b", "4096" if name.endswith("long") else "2048"] if algorithm[0] == "R" else []
        folder = self._folder / f"made-{name}"
        folder.mkdir(parents=True)
        said = run(folder, "dnssec-keygen", "-q", "-a", algorithm, *size, *flags, "x.")
        return folder / said.strip()


def pair(flags: int) -> tuple[ec.EllipticCurvePrivateKey, DNSKEY, DNSKEY]:
    """A key pair, its public key, and another one with the same tag (.ru 2024).

    A tag has 16 bits, so some hundred keys hold two of one tag (RFC 4034 appendix B). The one that
    signs sorts behind the other, so that who tries them in order tries the wrong one first.
    """
    held: dict[int, DNSKEY] = {}
    while True:
        private = ec.generate_private_key(ec.SECP256R1())
        key = dns.dnssec.make_dnskey(private.public_key(), 13, flags)
        other = held.setdefault(dns.dnssec.key_id(key), key)
        if other.key < key.key:
            return private, key, other


def run(folder: Path, *argv: str) -> str:
    """What a program prints. Raises CalledProcessError if it fails."""
    done = subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def sign(keys: Keys, zone: str, state: State, folder: Path, serial: int) -> Path:
    """The file of a zone in this state.

    The program signs by keys of the DNSKEY set alone; in the midst of a rollover of the algorithm
    others sign. Then it signs twice, and the DNSKEY set of the one is put into the other.
    """
    shown, over_keys = state.shown.split(), state.over_keys.split()
    over_data = state.over_data.split()
    parts = [("zone", shown, [*over_keys, *over_data])]
    if not set(over_data) <= set(shown):
        ksk = over_keys[:1]
        parts = [
            ("data", [*ksk, *over_data], [*ksk, *over_data]),
            ("keys", shown, [*over_keys, *over_data[:1]]),
        ]
    made = []
    for part, published, signers in parts:
        text = [
            *(f"w{n} A 192.0.2.{n}" for n in range(NAMES)),
            *(f"@ {state.ttl} DNSKEY {keys.dnskey(name)}" for name in published),
        ]
        plain = folder / f"{zone}{part}"
        signed = _signed(plain, zone, text, serial, [keys.path(name, zone) for name in signers])
        if len(parts) == 1:
            return signed
        made.append(dns.zone.from_file(str(signed), origin=zone, relativize=False))
    data, keyed = made
    apex = dns.name.from_text(zone)
    for covers in (dns.rdatatype.NONE, dns.rdatatype.DNSKEY):
        kind = dns.rdatatype.RRSIG if covers else dns.rdatatype.DNSKEY
        rdataset = keyed.get_rdataset(apex, kind, covers)
        assert rdataset is not None
        data.replace_rdataset(apex, rdataset)
    path = folder / f"{zone}zone"
    data.to_file(str(path), relativize=False)
    return path


def root(keys: Keys, delegations: Mapping[str, str], folder: Path, serial: int) -> Path:
    """The file of the root zone: zone -> the keys that its DS set names, by SHA-256."""
    names = ("K13root", "z13root")
    text = [f"@ DNSKEY {keys.dnskey(name)}" for name in names]
    for zone, named in delegations.items():
        text.append(f"{zone} NS ns.{zone}")
        text += [
            f"{zone} DS {dns.dnssec.make_ds(zone, keys.dnskey(name), 'SHA256')}"
            for name in named.split()
        ]
    return _signed(folder / "root", ".", text, serial, [keys.path(name, ".") for name in names])


def _signed(plain: Path, zone: str, text: list[str], serial: int, keys: list[Path]) -> Path:
    apex = head(["127.0.0.1"], _TTL, serial=serial, negative=60)
    plain.write_text(apex + "\n".join(text) + "\n")
    dates = time.time() - 3600 + serial, time.time() + 86400
    return sign_file(plain, plain.with_name(f"{plain.name}.signed"), zone, keys, dates=dates)


def anchor(keys: Keys) -> str:
    """The root's trust anchor."""
    return f". IN DS {dns.dnssec.make_ds('.', keys.dnskey('K13root'), 'SHA256')}"


# --- The steps ------------------------------------------------------------------------------

_BOTH13 = "K13 K13b z13"


def algorithm(old: str, new: str, *, conservative: bool) -> Iterable[tuple[str, Step]]:
    """A rollover of the algorithm (RFC 6781 4.1.4), by the one way or the other."""
    k, z, m, y = f"K{old}", f"z{old}", f"K{new}", f"z{new}"
    begin = State(f"{k} {z}", k, z, k)
    signatures = State(f"{k} {z}", k, f"{z} {y}", k)
    both = State(f"{k} {z} {m} {y}", f"{k} {m}", f"{z} {y}", k)
    moved = State(both.shown, both.over_keys, both.over_data, m)
    alone = State(f"{m} {y}", m, f"{z} {y}", m)
    end = State(f"{m} {y}", m, y, m)
    states = (
        [begin, signatures, both, moved, alone, end]
        if conservative
        else [
            begin,
            both,
            moved,
            end,
        ]
    )
    way = "con" if conservative else "lib"
    for number, (was, now) in enumerate(itertools.pairwise(states), start=1):
        yield f"alg-{old}-{new}-{way}-{number}", Step(was, now)


def steps() -> dict[str, Step]:
    """Zone -> what changes in it."""
    plain = State("K13 z13", "K13", "z13", "K13")
    both = State("K13 z13 z13b", "K13", "z13", "K13")
    signed = State("K13 z13 z13b", "K13", "z13b", "K13")
    twice = State("K13 z13 z13b", "K13", "z13 z13b", "K13")
    after = State("K13 z13b", "K13", "z13b", "K13")
    double_ds = State("K13 z13", "K13", "z13", "K13 K13b")
    moved = State("K13b z13", "K13b", "z13", "K13 K13b")
    new = State("K13b z13", "K13b", "z13", "K13b")
    double_ksk = State(_BOTH13, "K13 K13b", "z13", "K13")
    swapped = State(_BOTH13, "K13 K13b", "z13", "K13b")
    double_rrset = State(_BOTH13, "K13 K13b", "z13", "K13 K13b")
    same_zsk = State("K13 z13same z13sametwin", "K13", "z13same", "K13")
    same_ksk = State("K13same K13sametwin z13", "K13same", "z13", "K13same")
    revoked = State("K13rev K13b z13", "K13rev K13b", "z13", "K13b")
    long = "K8long K8blong K8clongrev z8"
    found = {
        "zsk-pre-1": Step(plain, both),
        "zsk-pre-2": Step(both, signed),
        "zsk-pre-3": Step(signed, after),
        "zsk-hasty": Step(plain, signed),
        "zsk-swapped": Step(plain, after),
        "zsk-double-1": Step(plain, twice),
        "zsk-double-2": Step(twice, after),
        "ksk-ds-1": Step(plain, double_ds),
        "ksk-ds-2": Step(double_ds, moved),
        "ksk-ds-3": Step(moved, new),
        "ksk-double-1": Step(plain, double_ksk),
        "ksk-double-2": Step(double_ksk, swapped),
        "ksk-double-3": Step(swapped, new),
        "ksk-rrset-1": Step(plain, double_rrset),
        "ksk-rrset-2": Step(double_rrset, new),
        # The DS set lives longer in caches than the DNSKEY set, and its change was not waited for.
        "nz": Step(replace(double_ksk, ttl=1), replace(new, ttl=1)),
        "ds-and-all": Step(plain, State("K13b z13b", "K13b", "z13b", "K13b")),
        "standby-ds": Step(plain, double_ds),
        "standby-key": Step(plain, State(_BOTH13, "K13", "z13", "K13")),
        "ds-other-alg": Step(plain, State("K13 z13", "K13", "z13", "K13 K8")),
        "ds-only-other": Step(plain, State("K13 z13", "K13", "z13", "K8")),
        "ds-unmatched": Step(plain, State("K13 z13", "K13", "z13", "K13b")),
        "tag-zsk": Step(same_zsk, same_zsk),
        "tag-ksk": Step(same_ksk, same_ksk),
        "revoked": Step(swapped, revoked),
        "revoked-ds": Step(plain, State("K13rev z13", "K13rev", "z13", "K13rev")),
        "three-long": Step(
            State(long, "K8long K8blong K8clongrev", "z8", "K8long"),
            State(long, "K8long K8blong K8clongrev", "z8", "K8blong"),
        ),
    }
    for old, after_ in (("8", "13"), ("13", "15")):
        for conservative in (True, False):
            found |= algorithm(old, after_, conservative=conservative)
    return {f"{name}.": step for name, step in found.items()}
