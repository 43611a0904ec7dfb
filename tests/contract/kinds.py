"""What can be done to an answer: variants by kind, each taking hold at one stage.

A kind is a row of the table at the end. A variant is one way of being odd, with what it needs:
the questions that it makes sense for (`BASES`), and how the zone denies.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import dns.name
import dns.rdata
from dns.rdtypes.ANY.RRSIG import RRSIG

from contract.draft import Draft
from contract.keys import DAY, Key, Signed
from contract.zone import NSEC, NSEC3, Denial, Zone

BASES: Final[dict[str, tuple[str, str]]] = {
    "positive": ("www", "A"),
    "text": ("www", "TXT"),
    "soa": ("@", "SOA"),
    "alias": ("alias", "A"),
    "chain": ("chain", "A"),
    "out": ("out", "A"),
    "plain": ("plain", "A"),
    "gone": ("gone", "A"),
    "dname": ("x.dn", "A"),
    "dname-out": ("x.dout", "A"),
    "wild": ("q.wild", "A"),
    "wild-deep": ("p.q.wild", "A"),
    "wild-alias": ("q.wc", "A"),
    "wild-nodata": ("q.wild", "TXT"),
    "asterisk": ("*.wild", "A"),
    "nxdomain": ("nope", "A"),
    "nxdomain-deep": ("a.b.nope", "A"),
    "nodata": ("www", "AAAA"),
    "ent": ("b.ent", "A"),
    "secure": ("www.sub", "A"),
    "bare": ("www.bare", "A"),
    "ds": ("sub", "DS"),
    "no-ds": ("bare", "DS"),
}
"""The questions: name below the case's zone, and type."""

EVERY: Final = tuple(BASES)
PLAIN: Final = ("positive", "text", "soa", "alias", "nxdomain", "nodata", "wild", "ds")
ANSWERED: Final = ("positive", "text", "soa", "alias", "chain", "wild", "ds", "dname", "asterisk")
SINGLE: Final = ("positive", "text", "soa", "ds")
DENIED: Final = ("nxdomain", "nxdomain-deep", "nodata", "ent", "wild-nodata", "no-ds")
WILD: Final = ("wild", "wild-deep", "wild-alias")
REFERRED: Final = ("secure", "bare")
PROBED: Final = (*PLAIN, *REFERRED, "dname", "out")
SIGNED: Final = (*PLAIN, "chain", "dname", *REFERRED, "no-ds", "ent")
PROVED: Final = (*DENIED, *WILD, "bare")
HASHED: Final = frozenset({Denial.NSEC3, Denial.OPT_OUT})
LISTED: Final = frozenset({Denial.NSEC})
ALL: Final = HASHED | LISTED


class Stage(enum.IntEnum):
    """When a variant takes hold; of two the earlier one is done first."""

    ZONE = 0
    SETS = 1
    RECORDS = 2
    WIRE = 3


class Unfit(Exception):  # noqa: N818 - it is the answer that is
    """Another mutation took away what this one is about."""


@dataclass
class Making:
    """A case in the making."""

    rng: random.Random
    now: int
    base: str
    zone: Zone
    parent: Zone
    root: Zone
    sibling: Zone
    child: Zone
    draft: Draft = field(default_factory=lambda: Draft(dns.name.root, 0))

    def pick(self, *rdtypes: int) -> Signed:
        """A signed RRset of the answer, of one of these types if any are given."""
        held = [r for r in self.draft.rrsets if r.sigs and (not rdtypes or r.rdtype in rdtypes)]
        if not held:
            raise Unfit
        return self.rng.choice(held)

    def first(self, rdtype: int = 0) -> Signed:
        """The first RRset of a type, or of any that is signed."""
        for rrset in self.draft.rrsets:
            if rrset.rdtype == rdtype or (not rdtype and rrset.sigs):
                return rrset
        raise Unfit

    def denial(self) -> Signed:
        """A record of the proof."""
        return self.pick(int(NSEC), int(NSEC3))

    def rrsig(
        self,
        rrset: Signed,
        *,
        key: Key | None = None,
        signer: dns.name.Name | None = None,
        inception: int | None = None,
        expiration: int | None = None,
        **fields: int,
    ) -> RRSIG:
        """A signature over an RRset by the zone; fields as for `Key.sign`."""
        begin = self.now - DAY if inception is None else inception
        end = self.now + 10 * DAY if expiration is None else expiration
        by = key or self.zone.zsks[0]
        return by.sign(rrset, signer or self.zone.apex, begin, end, **fields)

    def anchor(self) -> None:
        """The DS records of the zone become those of its KSKs."""
        self.parent.put(self.zone.apex, [key.ds(self.zone.apex) for key in self.zone.ksks])

    def resign(self, rrset: Signed, **fields: Any) -> None:  # noqa: ANN401 - those of `rrsig`
        """The same, in place of those that it has."""
        rrset.sigs = [self.rrsig(rrset, **fields)]


Act = Callable[[Making], object]


@dataclass(frozen=True)
class Variant:
    """One way of being odd."""

    kind: str
    name: str
    stage: Stage
    act: Act
    bases: Sequence[str] = PLAIN
    denials: frozenset[Denial] = ALL


VARIANTS: Final[list[Variant]] = []


def variant(
    kind: str,
    name: str,
    stage: Stage,
    bases: Sequence[str] = PLAIN,
    denials: frozenset[Denial] = ALL,
) -> Callable[[Act], Act]:
    """Enters a function as a variant."""

    def enter(act: Act) -> Act:
        VARIANTS.append(Variant(kind, name, stage, act, bases, denials))
        return act

    return enter


def broken(rrsig: RRSIG) -> RRSIG:
    """The signature with one bit turned over."""
    wrong = bytes([rrsig.signature[0] ^ 1]) + rrsig.signature[1:]
    made = rrsig.replace(signature=wrong)
    assert isinstance(made, RRSIG)
    return made


def cname(target: dns.name.Name) -> dns.rdata.Rdata:
    """A CNAME record's data."""
    return dns.rdata.from_text("IN", "CNAME", target.to_text())
