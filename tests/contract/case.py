"""One case: zones of its own, a question, and the odd answer to it.

A case is told by seed and number alone: what it is made of is drawn from these, and only its dates
are those of the moment it is made at. Its zone is `cN.lab.`, with a signed and an unsigned zone
below it, each on an address that no other case has: what a resolver remembers of servers, names
and gaps of one case says nothing of another.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.DNAME import DNAME
from dns.rdtypes.ANY.RRSIG import RRSIG

from contract import odd  # noqa: F401 - each module in it enters its variants
from contract.draft import Draft, Record
from contract.keys import KSK, ZSK, key_of
from contract.kinds import BASES, VARIANTS, Making, Stage, Unfit, Variant
from contract.zone import DS, Denial, Reply, Zone

NETWORK: Final = ipaddress.ip_network("198.18.0.0/15")
"""For tests of networks (RFC 2544): no resolver has rules about it."""
COMBINED: Final = 0.3
"""The share of cases with two mutations, once each variant was met alone."""
_FIRST: Final = 64
MOST: Final = 16_000
"""Cases that there are addresses for, twice."""
KINDS: Final = tuple(sorted({variant.kind for variant in VARIANTS}))
"""The kinds of mutations, in the order in which cases go through them."""


def address(number: int) -> str:
    """An address of the lab."""
    return str(NETWORK[number])


@dataclass
class World:
    """The zones above all cases and beside them."""

    now: int
    root: Zone = field(init=False)
    parent: Zone = field(init=False)
    sibling: Zone = field(init=False)
    plain: Zone = field(init=False)

    def __post_init__(self) -> None:
        made = [_zone(name, 16 + n, self.now, n) for n, name in enumerate((".", "lab.", "other."))]
        self.root, self.parent, self.sibling = made
        self.plain = _zone("plain.", 19, self.now, 3, Denial.NONE)
        for zone in (self.parent, self.sibling):
            self.root.delegate(str(zone.apex), zone.address, [zone.ksks[0].ds(zone.apex)])
        self.root.delegate("plain.", self.plain.address, [])

    @property
    def zones(self) -> tuple[Zone, ...]:
        """All of them."""
        return self.root, self.parent, self.sibling, self.plain

    @property
    def anchor(self) -> str:
        """The root's, as a line of a zone file."""
        return f". 3600 IN DS {self.root.ksks[0].ds(self.root.apex)}\n"


@dataclass
class Case:
    """A question with the answer to it."""

    number: int
    kind: str
    label: str
    """What was done, in words."""
    zones: tuple[Zone, ...]
    """Its own: that which is asked, then those below."""
    name: dns.name.Name
    rdtype: int
    wire: bytes
    """The odd answer, with the id 0."""
    others: dict[tuple[dns.name.Name, int], bytes] = field(default_factory=dict)
    """Answers to what a validator asks next: it must not be told better there than here. Those of
    the DS below, and those on the way behind an alias."""

    @property
    def zone(self) -> Zone:
        """That which is asked."""
        return self.zones[0]


def plan(seed: int, number: int) -> tuple[list[Variant], str, Denial]:
    """What a case is made of: its mutations, the base and the way of denial."""
    turn, _ = divmod(number, len(KINDS))
    kind = kind_of(number)
    everything = sorted(VARIANTS, key=lambda one: (one.kind, one.name))
    own = [variant for variant in everything if variant.kind == kind]
    random.Random(f"{seed} {kind}").shuffle(own)
    rng = random.Random(f"{seed} {number}")
    first = own[turn % len(own)]
    mutations, bases, denials = [first], set(first.bases), set(first.denials)
    if turn >= len(own) // 2 and rng.random() < COMBINED:
        second = rng.choice(everything)
        if second.kind != first.kind and bases & set(second.bases) and denials & second.denials:
            mutations.append(second)
            bases &= set(second.bases)
            denials &= second.denials
    base = rng.choice(sorted(bases))
    denial = rng.choice(sorted(denials, key=lambda one: one.value))
    return sorted(mutations, key=lambda one: one.stage), base, denial


def build(world: World, seed: int, number: int, now: int, *, again: bool = False) -> Case:
    """The case of this number. Its zone is delegated from now on.

    `again`: in zones that nobody has heard of, though it was made before.
    """
    mutations, base, denial = plan(seed, number)
    rng = random.Random(f"{seed} {number} done")
    label = f"again{number}" if again else f"c{number}"
    at = _FIRST + 4 * (number + MOST * again)
    zone = _zone(f"{label}.lab.", at, now, 10 + 8 * number, denial)
    child = _zone(f"sub.{label}.lab.", at + 1, now, 12 + 8 * number)
    bare = _zone(f"bare.{label}.lab.", at + 2, now, 14 + 8 * number, Denial.NONE)
    for below in (child, bare):
        below.add("www", "A", "192.0.2.21")
    _fill(zone, child, bare, label)
    world.sibling.add(label, "A", "192.0.2.31")
    world.plain.add(label, "A", "192.0.2.32")
    world.sibling.add("x", "A", "192.0.2.33")
    world.parent.delegate(label, zone.address, [zone.ksks[0].ds(zone.apex)])
    making = Making(rng, now, base, zone, world.parent, world.root, world.sibling, child)
    owner, rdtype = zone.name(BASES[base][0]), int(_type(BASES[base][1]))
    pending = list(mutations)
    _run(pending, Stage.ZONE, making)
    reply = zone.reply(owner, rdtype)
    making.draft = Draft.of(owner, rdtype, reply)
    _run(pending, Stage.SETS, making)
    making.draft.flatten()
    _run(pending, Stage.RECORDS, making)
    _run(pending, Stage.WIRE, making)
    others = {asked: other.wire() for asked, other in _others(making.draft, zone)}
    what = " + ".join(f"{one.kind}: {one.name}" for one in mutations)
    text = f"{what} [{base}, {denial.value}]"
    return Case(
        number,
        kind_of(number),
        text,
        (zone, child, bare),
        owner,
        rdtype,
        making.draft.wire(),
        others,
    )


def kind_of(number: int) -> str:
    """The kind that a case is counted under."""
    return KINDS[number % len(KINDS)]


def _run(pending: list[Variant], stage: Stage, making: Making) -> None:
    for variant in pending:
        if variant.stage is stage:
            with suppress(Unfit):
                variant.act(making)


def _others(draft: Draft, zone: Zone) -> Iterator[tuple[tuple[dns.name.Name, int], Draft]]:
    """What the same server would say of the DS below, or of an alias's target, asked by itself.

    Validators ask for both where what came along does not do.
    """
    answer, authority = draft.records["answer"], draft.records["authority"]
    cut = zone.cut(draft.name)
    if cut is not None and draft.name != cut:
        about = [r for r in authority if r.owner == cut and int(DS) in {r.rdtype, _covered(r)}]
        proof = [r for r in authority if {r.rdtype, _covered(r)} & {47, 50}]
        reply = Reply(authority=[] if about else [zone.sign(zone.sets[zone.apex][6])])
        other = Draft.of(cut, int(DS), reply)
        other.flatten()
        other.records["answer"] = about
        other.records["authority"] += [] if about else proof
        yield (cut, int(DS)), other
    way = [draft.name]
    targets = {r.owner: r.rdata.target for r in answer if isinstance(r.rdata, CNAME)}
    for record in answer:
        if isinstance(record.rdata, DNAME) and draft.name.is_subdomain(record.owner):
            with suppress(dns.name.NameTooLong):
                made = draft.name.relativize(record.owner).concatenate(record.rdata.target)
                targets.setdefault(draft.name, made)
    while way[-1] in targets and targets[way[-1]] not in way:
        way.append(targets[way[-1]])
    passed = {draft.name}
    for owner in way[1:]:
        if owner.is_subdomain(zone.apex) and zone.cut(owner) is None:
            other = Draft.of(owner, draft.rdtype, Reply(draft.rcode))
            other.flatten()
            other.records["answer"] = [r for r in answer if r.owner not in passed]
            other.records["authority"] = list(authority)
            if other.records["answer"] or authority:
                yield (owner, draft.rdtype), other
        passed.add(owner)


def _covered(record: Record) -> int:
    """What an RRSIG covers."""
    return int(record.rdata.type_covered) if isinstance(record.rdata, RRSIG) else 0


def _zone(name: str, at: int, now: int, number: int, denial: Denial = Denial.EXACT) -> Zone:
    return Zone(
        dns.name.from_text(name),
        address(at),
        now,
        [key_of(number, KSK)],
        [key_of(number + 1, ZSK)],
        denial,
    )


def _type(text: str) -> int:
    return int(dns.rdatatype.from_text(text))


def _fill(zone: Zone, child: Zone, bare: Zone, label: str) -> None:
    for owner, rdtype, *rdatas in _records(label):
        zone.add(owner, rdtype, *rdatas)
    zone.delegate("sub", child.address, [child.ksks[0].ds(child.apex)])
    zone.delegate("bare", bare.address, [])


def _records(label: str) -> Sequence[tuple[str, ...]]:
    return (
        ("www", "A", "192.0.2.1", "192.0.2.2"),
        ("www", "TXT", '"a text"', '"another"'),
        ("alias", "CNAME", "www"),
        ("chain", "CNAME", "alias"),
        ("out", "CNAME", f"{label}.other."),
        ("plain", "CNAME", f"{label}.plain."),
        ("gone", "CNAME", "missing"),
        ("dn", "DNAME", "tgt"),
        ("x.tgt", "A", "192.0.2.3"),
        ("dout", "DNAME", "other."),
        ("a.b.ent", "A", "192.0.2.4"),
        ("*.wild", "A", "192.0.2.5"),
        ("*.wc", "CNAME", "www"),
        ("zone", "MX", "10 www"),
    )
