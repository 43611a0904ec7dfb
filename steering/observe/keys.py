"""The zones' key sets, chained from trust anchors, and kept fresh.

From the closest enclosing anchor down, each zone cut is followed: the DS records signed by
the parent, the DNSKEY set signed by a key that a DS names (RFC 4035 5.2). They are asked of
resolvers with CD, so a resolver's own opinion does not matter, and every answer is verified
here. What our probes see of a zone's DNSKEY set is offered too and taken up if it verifies
against the same DS or anchor, so a zone with an anchor of its own needs no resolver.

A set is looked at again before it runs out; when that fails the old one is kept: keys
outlive the signatures over them, and without keys nothing can be told good.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import dns.dnssec
import dns.exception
import dns.name
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.DS
import dns.rrset

from steering.model import Instant, Outcome, Seconds, WallTime
from steering.observe.algorithms import ALGORITHMS, refusal, refused
from steering.observe.anchors import Anchor, Anchors, closest
from steering.observe.bell import Bell
from steering.observe.chain import signatures_in
from steering.observe.denial import Cut, Proof
from steering.observe.relevant import denials
from steering.observe.resolve import Resolvers, Unobtainable, answer_of, dnskeys
from steering.observe.signatures import RRSIG, Signatures, instant
from steering.observe.trust import Keys, Trust, name_of, text_of
from steering.system.unreadable import HERE, Where, printable

DS = dns.rdtypes.ANY.DS.DS
DNSKEY = dns.rdtypes.ANY.DNSKEY.DNSKEY

LONGEST: Final = 3600.0
"""Seconds after which a set is looked at again, whatever its TTL allows."""

_SHORTEST: Final = 10.0
_RETRY_WITHOUT: Final = 30.0  # the longest back-off while there is no set at all
_RETRY_WITH: Final = 300.0
_RECHECK: Final = 60.0  # an unchanged set is noted as seen this often
_MOST_KEYS: Final = 48
_MOST_SIGNATURES: Final = 16
_SHA1: Final = 1
_DIGESTS: Final = frozenset({_SHA1, 2, 4})
"""Digests that a validator must or may know (RFC 8624 3.3). A zone that has only others, or only
other algorithms, counts as insecure (RFC 4035 5.2)."""


@dataclass(slots=True)
class _Watch:
    """When a policy's zone is to be looked at again."""

    zone: dns.name.Name
    due: Instant
    tried: Instant = -math.inf
    failures: int = 0
    trouble: str = ""


class KeyStore:
    """What is believed of the zones' keys, and the task that keeps it true."""

    def __init__(
        self,
        zones: Iterable[str],
        anchors: Anchors,
        resolvers: Sequence[str],
        *,
        signatures: Signatures,
        skew: Seconds = 0.0,
        timeout: Seconds = 2.0,
        port: int = 53,
        known: KeyStore | None = None,
        wall: Callable[[], WallTime] = time.time,
        monotonic: Callable[[], Instant] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """`resolvers` are addresses (see `system_resolvers`); `skew` and `timeout` in seconds.

        `known`: what another store believes by the same anchors is believed at once; by other
        anchors nothing is.
        """
        self.trust = Trust()
        """Everything believed now, replaced whole when something changes."""
        self.anchors = anchors
        self._resolvers = Resolvers(resolvers, timeout=timeout, port=port, rng=rng)
        self._signatures = signatures
        self._skew, self._wall, self._monotonic = skew, wall, monotonic
        self._bell = Bell()
        self._sets: dict[str, Keys] = {}  # of policy zones and of those above them
        self._set_due: dict[str, Instant] = {}
        self._roots: dict[str, Anchor] = {}  # what a zone's own set is verified against
        self._watches: dict[str, _Watch] = {}
        for zone in zones:
            name = name_of(zone)
            anchor = closest(anchors, name)
            watch = self._watches[zone] = _Watch(name, due=monotonic())
            if anchor is None:
                watch.due, watch.trouble = math.inf, "no trust anchor encloses the zone"
                continue
            if name_of(anchor.zone) == name:
                self._roots[zone] = _known(anchor) or anchor
            if not self._resolvers:
                watch.due, watch.trouble = math.inf, "no resolver to ask"
        if known is not None and known.anchors == anchors:
            self._inherit(known)

    def _inherit(self, known: KeyStore) -> None:
        """Believe what another store has proved. What is due is due then, as it was."""
        self._sets = dict(known._sets)
        self._set_due = dict(known._set_due)
        self._roots |= known._roots
        for zone, watch in self._watches.items():
            before = known._watches.get(zone)
            if before is not None and math.inf not in (before.due, watch.due):
                watch.due, watch.trouble = max(before.due, watch.due), before.trouble
                watch.tried, watch.failures = before.tried, before.failures
        self._publish(known.trust.insecure & self._watches.keys())

    def keys_for(self, zone: str) -> Keys | None:
        """A zone's validated set; None where it could not be had, or the zone has none."""
        return self.trust.secure.get(zone)

    def is_insecure(self, zone: str) -> bool:
        """Whether it is proven that the zone is not signed."""
        return zone in self.trust.insecure

    def is_hungry(self, zone: str) -> bool:
        """Whether seeing the zone's DNSKEY set would help: none is held and one can be verified."""
        return zone in self._roots and zone not in self.trust.secure

    @property
    def troubles(self) -> dict[str, str]:
        """Zone -> why its keys could not be had at the last try."""
        return {zone: watch.trouble for zone, watch in self._watches.items() if watch.trouble}

    @property
    def wake_at(self) -> Instant:
        """When the next zone is due; infinity for never."""
        return min((watch.due for watch in self._watches.values()), default=math.inf)

    def offer(self, zone: str, rrset: dns.rrset.RRset, rrsigs: Iterable[RRSIG]) -> bool:
        """Takes up a DNSKEY set that somebody showed, if no newer is held. Whether it verified."""
        root = self._roots.get(zone)
        return root is not None and self._take(root, rrset, rrsigs, again=_RECHECK)

    def miss(self, zone: str) -> None:
        """Somebody met a key that is not in the zone's set: looks again soon."""
        watch = self._watches.get(zone)
        if watch is not None and self._resolvers and watch.due != math.inf:
            watch.due = min(watch.due, max(self._monotonic(), watch.tried + _SHORTEST))
            self._bell.ring()

    async def run(self) -> None:
        """Refreshes what is due, for ever."""
        while True:
            now = self._monotonic()
            for zone, watch in self._watches.items():
                if watch.due <= now:
                    await self.refresh(zone)
            await self._bell.wait(self.wake_at - self._monotonic())

    async def refresh(self, zone: str) -> None:
        """Looks at one policy zone's chain now. A failure is noted and tried again later."""
        watch = self._watches[zone]
        watch.tried = self._monotonic()
        remaining, trouble = None, "an answer can't be read"
        with HERE.reading(Where.KEYS, lambda: self._resolvers.latest):
            try:
                remaining = await self._chain(watch.zone)
            except Unobtainable as error:
                trouble = str(error)
        if remaining is None:
            watch.failures += 1
            watch.trouble = printable(trouble)
            most = _RETRY_WITH if zone in self._sets else _RETRY_WITHOUT
            pause = min(2.0 ** min(watch.failures - 1, 16), most)
        else:
            watch.failures, watch.trouble = 0, ""
            pause = remaining
        watch.due = self._monotonic() + pause

    async def _chain(self, zone: dns.name.Name) -> Seconds:
        """Follows the chain to a zone. The seconds until it should be followed again."""
        anchor = closest(self.anchors, zone)
        if anchor is None:
            raise Unobtainable("no trust anchor encloses the zone")
        anchor = _known(anchor)
        if anchor is None:
            self._note_insecure(text_of(zone))
            return LONGEST
        keys = await self._fetch(anchor, name_of(anchor.zone) == zone)
        apex = name_of(anchor.zone)
        for depth in range(len(apex) + 1, len(zone) + 1):
            cut = zone.split(depth)[1]
            match await self._delegation(cut, keys):
                case Cut.INSECURE:
                    self._note_insecure(text_of(zone))
                    return LONGEST
                case Cut.NONE:
                    continue
                case Anchor() as below:
                    self._roots[below.zone] = below
                    keys = await self._fetch(below, cut == zone)
                case Cut.UNPROVEN:
                    raise Unobtainable(f"{cut}: neither DS nor a proof that there is none")
        if name_of(keys.zone) != zone:
            raise Unobtainable(f"{zone} is no zone of its own")
        return max(self._set_due[keys.zone] - self._monotonic(), _SHORTEST)

    async def _fetch(self, root: Anchor, wanted: bool) -> Keys:
        """A zone's set: the one held, if it is young enough and not just what is `wanted`."""
        held = self._sets.get(root.zone)
        if held is not None and not wanted and self._set_due[root.zone] > self._monotonic():
            return held
        try:
            shown = dnskeys(await self._resolvers.ask(root.zone, "DNSKEY"), root.zone)
        except Unobtainable:
            if held is None or wanted:
                raise
            return held
        if shown is None or not self._take(root, *shown, again=0.0):
            named = {ds.algorithm for ds in root.ds} | {key.algorithm for key in root.dnskey}
            trouble = "not signed by a key that is trusted"
            if cannot := named & refused():
                trouble = refusal(min(cannot))
            raise Unobtainable(f"{root.zone} DNSKEY: {trouble}")
        return self._sets[root.zone]

    async def _delegation(self, cut: dns.name.Name, parent: Keys) -> Anchor | Cut:
        """What the parent says of a name: its DS records, or what their absence means."""
        message = await self._resolvers.ask(text_of(cut), "DS")
        rrset, rrsigs = answer_of(message, cut, dns.rdatatype.DS)
        if rrset is not None:
            if self._require(rrset, rrsigs, parent) is not None:
                raise Unobtainable(f"{cut} DS: made from a wildcard")
            held = Anchor(zone=text_of(cut), ds=tuple(r for r in rrset if isinstance(r, DS)))
            return _known(held) or Cut.INSECURE
        alias, rrsigs = answer_of(message, cut, dns.rdatatype.CNAME)
        if alias is not None:  # no other records stand beside it (RFC 2181 10.1), so no cut does
            made = self._require(alias, rrsigs, parent)
            missing = made is not None and self._proof(message, parent).not_closer(cut, made)
            return Cut.UNPROVEN if missing else Cut.NONE
        proof = self._proof(message, parent)
        return Cut.INSECURE if proof.beyond_reach else proof.no_ds(cut)

    def _proof(self, message: dns.message.Message, parent: Keys) -> Proof:
        """What the parent's own denial records in an answer can prove, as far as they are good.

        Raises Unobtainable over the first bad one if none is.
        """
        signer, seen = name_of(parent.zone), signatures_in(message)
        records, bad = [], None
        for rrset in denials(message, signer, seen):
            try:
                made = self._require(rrset, seen.get((rrset.name, rrset.rdtype), ()), parent)
            except Unobtainable as error:
                bad = bad or error
                continue
            if made is None:  # one made from a wildcard denies nothing (CVE-2017-15105)
                records += [(rrset.name, rdata) for rdata in rrset]
        if bad is not None and not records:
            raise bad
        return Proof.of(signer, records)

    def _require(self, rrset: dns.rrset.RRset, rrsigs: Iterable[RRSIG], keys: Keys) -> int | None:
        """Raises Unobtainable unless the zone signed the RRset; else see `Finding.wildcard`."""
        signer = name_of(keys.zone)
        own = [rrsig for rrsig in rrsigs if rrsig.signer == signer]
        finding = self._signatures.examine(rrset, own, keys, wall=self._wall(), skew=self._skew)
        if finding.outcome is not Outcome.SECURE:
            raise Unobtainable(f"{finding.evidence}")
        return finding.wildcard

    def _take(
        self, root: Anchor, rrset: dns.rrset.RRset, rrsigs: Iterable[RRSIG], *, again: Seconds
    ) -> bool:
        """Whether a set verified. An unchanged one is noted once in `again` seconds."""
        keys = self._validated(root, rrset, rrsigs)
        if keys is None:
            return False
        held = self._sets.get(root.zone)
        if held is None or (
            keys.inception >= held.inception
            and (
                keys.digest != held.digest
                or keys.inception > held.inception
                or keys.checked - held.checked >= again
            )
        ):
            self._adopt(keys, rrset.ttl)
        return True

    def _validated(
        self, root: Anchor, rrset: dns.rrset.RRset, rrsigs: Iterable[RRSIG]
    ) -> Keys | None:
        """The set, if a key that `root` names signed it and the dates are right."""
        wall, signer = self._wall(), name_of(root.zone)
        if rrset.name != signer or len(rrset) > _MOST_KEYS:
            return None
        named = [key for key in rrset if isinstance(key, DNSKEY) and _names(root, signer, key)]
        if not named:
            return None
        trusted = Keys(
            zone=root.zone,
            rdataset=dns.rdataset.from_rdata_list(0, named),
            inception=0.0,
            expiration=0.0,
            checked=wall,
        )
        good = [
            rrsig
            for rrsig in itertools.islice(rrsigs, _MOST_SIGNATURES)
            if rrsig.signer == signer
            and self._signatures.examine(
                rrset, [rrsig], trusted, wall=wall, skew=self._skew
            ).outcome
            is Outcome.SECURE
        ]
        if not good:
            return None
        rdataset = dns.rdataset.from_rdata_list(rrset.ttl, list(rrset))
        return replace(
            trusted,
            rdataset=rdataset,
            inception=float(max(instant(rrsig.inception, wall) for rrsig in good)),
            expiration=float(max(instant(rrsig.expiration, wall) for rrsig in good)),
        )

    def _adopt(self, keys: Keys, ttl: Seconds) -> None:
        remaining = keys.expiration - self._wall()
        pause = max(min(ttl, LONGEST, remaining / 2), _SHORTEST)
        self._sets[keys.zone] = keys
        self._set_due[keys.zone] = due = self._monotonic() + pause
        if keys.zone in self._watches:
            watch = self._watches[keys.zone]
            watch.trouble = ""
            if watch.due != math.inf:
                watch.due = due
            self._publish(self.trust.insecure - {keys.zone})

    def _note_insecure(self, zone: str) -> None:
        self._sets.pop(zone, None)
        self._roots.pop(zone, None)
        self._publish(self.trust.insecure | {zone})

    def _publish(self, insecure: frozenset[str]) -> None:
        secure = {zone: keys for zone, keys in self._sets.items() if zone in self._watches}
        self.trust = Trust(secure=secure, insecure=insecure)


def _known(anchor: Anchor) -> Anchor | None:
    """What of an anchor validators can use; None: the zone counts as insecure (RFC 4035 5.2)."""
    ds = [r for r in anchor.ds if r.algorithm in ALGORITHMS and r.digest_type in _DIGESTS]
    # Who can read the better digests passes SHA-1 over where both are (RFC 4509 3).
    ds = [r for r in ds if r.digest_type != _SHA1] or ds
    dnskey = [key for key in anchor.dnskey if key.algorithm in ALGORITHMS]
    if not ds and not dnskey:
        return None
    return replace(anchor, ds=tuple(ds), dnskey=tuple(dnskey))


def _names(root: Anchor, zone: dns.name.Name, key: DNSKEY) -> bool:
    """Whether an anchor's keys or digests name a key."""
    if key in root.dnskey:
        return True
    tag = dns.dnssec.key_id(key)
    for ds in root.ds:
        if ds.key_tag == tag and ds.algorithm == key.algorithm:
            try:
                made = dns.dnssec.make_ds(zone, key, ds.digest_type, validating=True)
            except dns.exception.DNSException:  # a digest that is not known here
                continue
            if made == ds:
                return True
    return False
