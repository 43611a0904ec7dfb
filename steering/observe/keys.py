"""The zones' key sets, chained from trust anchors, and kept fresh.

From the closest enclosing anchor down, each zone cut is followed: the DS records signed by
the parent, the DNSKEY set signed by a key that a DS names (RFC 4035 5.2). They are asked of
resolvers with CD, so a resolver's own opinion does not matter, and every answer is verified
here. What our probes see of a zone's DNSKEY set is offered too and taken up if it verifies
against the same DS or anchor, so a zone with an anchor of its own needs no resolver.

A set is looked at again before it runs out; when that fails the old one is kept: keys
outlive the signatures over them, and without keys nothing can be told good.

In the midst of a change servers show different sets, and each is right for who holds it. So a set
that was shown lately, and verifies, is believed beside the newest one; and a key that is in none
proves nothing until the server has shown its own set (shown.py).
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
from steering.observe.resolve import Lack, Resolvers, Unobtainable, answer_of, dnskeys
from steering.observe.shown import Server, Shown
from steering.observe.signatures import FRESH, RRSIG, Signatures, instant
from steering.observe.trust import Keys, Trust, digest_of, name_of, named, text_of
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
_MOST_SETS: Final = 3
"""Sets of one zone that are believed at once: before, after, and that of a second operator."""
_PARENT: Final = 60.0
"""Seconds between two looks at a zone's parent past the resolvers' caches."""
_LONGEST_TEXT: Final = 600
_BEFORE: Final = "; judged by the keys of before"
_TOLD: Final = 3
"""Servers with other keys that are named."""
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
    lack: Lack = Lack.CHAIN
    since: WallTime = 0.0

    def fail(self, lack: Lack, trouble: str, wall: WallTime) -> None:
        """It went wrong; since when is that of the first time."""
        if not self.trouble:
            self.since = wall
        self.lack, self.trouble = lack, printable(trouble, _LONGEST_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """What is the matter with one zone's keys."""

    zone: str
    lack: Lack
    because: str
    since: WallTime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Root:
    """What a zone's set is verified against, as the parent said it."""

    anchor: Anchor
    said: Instant
    """When the parent did, or whoever had it in a cache then; infinity: a trust anchor."""
    inception: WallTime = 0.0
    """Of the parent's signature: of two DS sets the newer is the one to go by."""
    expiration: WallTime = math.inf
    """Of that, too: afterwards any other one is newer."""
    by: str = "the trust anchor"


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
        parents_port: int = 53,
        known: KeyStore | None = None,
        wall: Callable[[], WallTime] = time.time,
        monotonic: Callable[[], Instant] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """`resolvers` are addresses (see `system_resolvers`); `skew` and `timeout` in seconds.
        `port` is the resolvers', `parents_port` that of the servers of parent zones.

        `known`: what another store believes by the same anchors is believed at once; by other
        anchors nothing is.
        """
        self.trust = Trust()
        """Everything believed now, replaced whole when something changes."""
        self.anchors = anchors
        self._resolvers = Resolvers(
            resolvers, timeout=timeout, port=port, parents_port=parents_port, rng=rng
        )
        self._signatures = signatures
        self._skew, self._wall, self._monotonic = skew, wall, monotonic
        self._bell = Bell()
        self._sets: dict[str, Keys] = {}  # of policy zones and of those above them
        self._others: dict[str, list[Keys]] = {}  # that servers show beside the newest
        self._set_due: dict[str, Instant] = {}
        self._roots: dict[str, _Root] = {}  # what a zone's own set is verified against
        self._parent_asked: dict[str, Instant] = {}
        self._shown = Shown()
        self._doubting: dict[frozenset[str], tuple[Trust, Trust]] = {}
        self._watches: dict[str, _Watch] = {}
        for zone in zones:
            name = name_of(zone)
            anchor = closest(anchors, name)
            watch = self._watches[zone] = _Watch(name, due=monotonic())
            if anchor is None:
                watch.due = math.inf
                watch.fail(Lack.ANCHOR, "no trust anchor encloses the zone", wall())
                continue
            if name_of(anchor.zone) == name:
                self._roots[zone] = _Root(anchor=_known(anchor) or anchor, said=math.inf)
            if not self._resolvers:
                watch.due = math.inf
                watch.fail(Lack.RESOLVER, "no resolver to ask", wall())
        if known is not None and known.anchors == anchors:
            self._inherit(known)

    def _inherit(self, known: KeyStore) -> None:
        """Believe what another store has proved. What is due is due then, as it was."""
        self._sets = dict(known._sets)
        self._others = {zone: list(sets) for zone, sets in known._others.items()}
        self._shown = known._shown
        self._parent_asked = dict(known._parent_asked)
        self._set_due = dict(known._set_due)
        self._roots |= known._roots
        for zone, watch in self._watches.items():
            before = known._watches.get(zone)
            if before is not None and math.inf not in (before.due, watch.due):
                watch.due, watch.trouble = max(before.due, watch.due), before.trouble
                watch.lack, watch.since = before.lack, before.since
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

    def wrong(self) -> tuple[Wrong, ...]:
        """What is the matter with zones' keys, and since when, for people."""
        found = [
            Wrong(
                zone=zone,
                lack=watch.lack,
                because=watch.trouble + (_BEFORE if zone in self._sets else ""),
                since=watch.since,
            )
            for zone, watch in self._watches.items()
            if watch.trouble
        ]
        for zone, held in self._sets.items():
            believed = {held.digest, *(keys.digest for keys in self._others.get(zone, ()))}
            servers = self._shown.differing(zone, believed, held.digest, self._monotonic())
            if servers:
                each = [
                    f"{one.server[0]} over {one.server[1]} shows {one.text}, "
                    f"{'' if one.good else 'not '}signed by a key that is trusted"
                    for one in servers[:_TOLD]
                ]
                if (more := len(servers) - _TOLD) > 0:
                    each.append(f"so do {more} more")
                text = f"not all servers show the zone's keys, {held.text}: {'; '.join(each)}"
                since = min(one.since for one in servers)
                found.append(Wrong(zone=zone, lack=Lack.SERVERS, because=text, since=since))
        return tuple(sorted(found, key=lambda wrong: wrong.zone))

    def trust_for(self, zones: Iterable[str], server: Server) -> Trust:
        """What a server's answers are judged by: of zones for which it has not shown its own keys
        since it signed by an unknown one, no key's absence proves anything.
        """
        now = self._monotonic()
        doubted = frozenset(
            zone
            for zone in zones
            if zone in self.trust.secure
            and not self._shown.proves(zone, server, now, self._said(zone))
        )
        if not doubted:
            return self.trust
        of, doubting = self._doubting.get(doubted, (None, self.trust))
        if of is not self.trust:
            secure = dict(self.trust.secure)
            for zone in doubted:
                secure[zone] = replace(secure[zone], checked=-math.inf)
            doubting = replace(self.trust, secure=secure)
            self._doubting[doubted] = (self.trust, doubting)
        return doubting

    def wants(self, zone: str, address: str) -> bool:
        """Whether an address is to show a zone's keys now, before it is asked for anything else.

        Who asks for that counts as having asked.
        """
        now = self._monotonic()
        wanted = self._shown.wanted(zone, address, now)
        if wanted:
            self._shown.asked(zone, address, now)
        return wanted

    @property
    def wake_at(self) -> Instant:
        """When the next zone is due; infinity for never."""
        return min((watch.due for watch in self._watches.values()), default=math.inf)

    def offer(
        self,
        zone: str,
        rrset: dns.rrset.RRset,
        rrsigs: Iterable[RRSIG],
        server: Server | None = None,
    ) -> bool:
        """Takes up a DNSKEY set that somebody showed, if no newer is held. Whether it verified."""
        root = self._roots.get(zone)
        good = root is not None and self._take(root.anchor, rrset, rrsigs, again=_RECHECK)
        if server is not None and zone not in self.trust.insecure:
            self._shown.take(
                zone,
                server,
                digest=digest_of(rrset),
                text=named(rrset),
                good=good,
                now=self._monotonic(),
                wall=self._wall(),
            )
        return good

    def miss(self, zone: str, server: Server | None = None) -> None:
        """Somebody met a key that is not in the zone's set: looks again soon."""
        watch = self._watches.get(zone)
        if watch is None:
            return
        if server is not None:
            self._shown.miss(zone, server, self._monotonic())
        if self._resolvers and watch.due != math.inf:
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
        """Looks at one policy zone's chain now, by one resolver after the other until it is whole.

        A failure is noted and tried again later.
        """
        watch = self._watches[zone]
        watch.tried = self._monotonic()
        remaining, failed = None, list[Unobtainable]()
        for address in self._resolvers.addresses or ("",):
            error = Unobtainable("an answer can't be read")
            with HERE.reading(Where.KEYS, lambda: self._resolvers.latest):
                try:
                    remaining = await self._chain(watch.zone, address)
                    break
                except Unobtainable as why:
                    error = why
            failed.append(error)
        if remaining is None:
            watch.failures += 1
            lacks = {error.lack for error in failed}
            lacks = lacks - {Lack.UNREACHABLE} or lacks
            lack = lacks.pop() if len(lacks) == 1 else Lack.SOURCES
            text = "; ".join(dict.fromkeys(map(str, failed)))
            watch.fail(lack, text, self._wall())
            most = _RETRY_WITH if zone in self._sets else _RETRY_WITHOUT
            pause = min(2.0 ** min(watch.failures - 1, 16), most)
        else:
            watch.failures, watch.trouble = 0, ""
            pause = remaining
        watch.due = self._monotonic() + pause

    async def _chain(self, zone: dns.name.Name, resolver: str) -> Seconds:
        """Follows the chain to a zone. The seconds until it should be followed again."""
        enclosing = closest(self.anchors, zone)
        if enclosing is None:
            raise Unobtainable("no trust anchor encloses the zone", Lack.ANCHOR)
        anchor = _known(enclosing)
        if anchor is None:
            self._note_insecure(text_of(zone))
            return LONGEST
        apex = name_of(anchor.zone)
        keys = await self._fetch(_Root(anchor=anchor, said=math.inf), apex == zone, resolver)
        for depth in range(len(apex) + 1, len(zone) + 1):
            cut = zone.split(depth)[1]
            match await self._delegation(cut, keys, resolver, last=cut == zone):
                case Cut.INSECURE:
                    self._note_insecure(text_of(zone))
                    return LONGEST
                case Cut.NONE:
                    continue
                case _Root() as below:
                    keys = await self._fetch(self._replace(below), cut == zone, resolver)
                case Cut.UNPROVEN:
                    raise Unobtainable(f"{cut}: neither DS nor a proof that there is none")
        if name_of(keys.zone) != zone:
            raise Unobtainable(f"{zone} is no zone of its own")
        return max(self._set_due[keys.zone] - self._monotonic(), _SHORTEST)

    def _replace(self, root: _Root) -> _Root:
        """The DS set to go by: the one held, if what came is an older one out of a cache."""
        held = self._roots.get(root.anchor.zone)
        if (
            held is None
            or held.expiration < self._wall()
            or (root.inception, root.said) >= (held.inception, held.said)
        ):
            if held is not None and set(held.anchor.ds) != set(root.anchor.ds):
                self._shown.reconsider(root.anchor.zone)
            self._roots[root.anchor.zone] = held = root
        return held

    def _said(self, zone: str) -> Instant:
        """When the parent said the DS set that a zone's keys are verified against."""
        root = self._roots.get(zone)
        return -math.inf if root is None else root.said

    async def _fetch(self, root: _Root, wanted: bool, resolver: str) -> Keys:
        """A zone's set: the one held, if it is young enough and not just what is `wanted`."""
        zone = root.anchor.zone
        held = self._sets.get(zone)
        if held is not None and not wanted and self._set_due[zone] > self._monotonic():
            return self._believed(held)
        try:
            shown = dnskeys(await self._resolvers.ask(zone, "DNSKEY", resolver), zone)
        except Unobtainable:
            if held is None or wanted:
                raise
            return self._believed(held)
        if shown is None:
            raise Unobtainable(f"{zone} DNSKEY: {resolver} gives none")
        if not self._take(root.anchor, *shown, again=0.0):
            raise self._untrusted(root, *shown, resolver)
        return self._believed(self._sets[zone])

    def _untrusted(
        self, root: _Root, rrset: dns.rrset.RRset, rrsigs: Iterable[RRSIG], resolver: str
    ) -> Unobtainable:
        """Why a set is not taken, and who gave what."""
        anchor, signer = root.anchor, name_of(root.anchor.zone)
        listed = (*anchor.ds, *anchor.dnskey)
        algorithms = {ds.algorithm for ds in anchor.ds} | {key.algorithm for key in anchor.dnskey}
        if cannot := {int(algorithm) for algorithm in algorithms} & refused():
            return Unobtainable(f"{anchor.zone} DNSKEY: {refusal(min(cannot))}", Lack.ALGORITHM)
        there = [key for key in rrset if isinstance(key, DNSKEY) and _names(anchor, signer, key)]
        by = sorted({int(rrsig.key_tag) for rrsig in rrsigs if rrsig.signer == signer})
        signed = f"signed by {', '.join(map(str, by[:_MOST_SIGNATURES]))}" if by else "not signed"
        what = "trust anchor" if math.isinf(root.said) else f"DS set from {root.by}"
        text = (
            f"{anchor.zone} DNSKEY: not signed by a key that is trusted. The {what} names "
            f"{named(listed)}; the DNSKEY set from {resolver} has {named(rrset)}, {signed}: "
        )
        if there:
            return Unobtainable(
                f"{text}the signature by {named(there)} is missing, bad or out of date",
                Lack.SIGNATURE,
            )
        return Unobtainable(f"{text}none of them is named", Lack.DS)

    async def _delegation(
        self, cut: dns.name.Name, parent: Keys, resolver: str, *, last: bool
    ) -> _Root | Cut:
        """What the parent says of a name: its DS records, or what their absence means."""
        zone, by = text_of(cut), resolver
        message = None
        if last and self._needs_parent(zone):
            self._parent_asked[zone] = self._monotonic()
            if found := await self._resolvers.ask_parent(parent.zone, zone, "DS", resolver):
                message, by = found
        if message is None:
            message = await self._resolvers.ask(zone, "DS", resolver)
        rrset, rrsigs = answer_of(message, cut, dns.rdatatype.DS)
        if rrset is not None:
            if self._require(rrset, rrsigs, parent) is not None:
                raise Unobtainable(f"{cut} DS: made from a wildcard")
            if not (good := self._good(rrset, rrsigs, parent)):
                raise Unobtainable(f"{cut} DS: too many signatures")
            held = Anchor(zone=zone, ds=tuple(r for r in rrset if isinstance(r, DS)))
            known = _known(held)
            if known is None:
                return Cut.INSECURE
            wall = self._wall()
            # A cache counts the TTL down from what the parent signed (RFC 4034 3.1.4).
            age = max(float(rrsig.original_ttl) for rrsig in good) - rrset.ttl
            return _Root(
                anchor=known,
                said=self._monotonic() - max(0.0, age),
                inception=float(max(instant(rrsig.inception, wall) for rrsig in good)),
                expiration=float(max(instant(rrsig.expiration, wall) for rrsig in good)),
                by=by,
            )
        alias, rrsigs = answer_of(message, cut, dns.rdatatype.CNAME)
        if alias is not None:  # no other records stand beside it (RFC 2181 10.1), so no cut does
            made = self._require(alias, rrsigs, parent)
            missing = made is not None and self._proof(message, parent).not_closer(cut, made)
            return Cut.UNPROVEN if missing else Cut.NONE
        proof = self._proof(message, parent)
        return Cut.INSECURE if proof.beyond_reach else proof.no_ds(cut)

    def _needs_parent(self, zone: str) -> bool:
        """Whether what resolvers hold of a zone's DS set may be too old to judge a server by."""
        now, watch = self._monotonic(), self._watches.get(zone)
        if now - self._parent_asked.get(zone, -math.inf) < _PARENT:
            return False
        if watch is not None and watch.trouble and watch.lack is Lack.DS:
            return True
        doubted = self._shown.doubted(zone, now)
        return doubted != math.inf and self._said(zone) < doubted

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
            if held is not None:
                self._put_beside(held, keys)
            self._adopt(keys, rrset.ttl)
        elif keys.digest != held.digest and self._is_news(keys):
            self._put_beside(keys, held)
            self._publish(self.trust.insecure)
        return True

    def _is_news(self, keys: Keys) -> bool:
        """Whether a set is not held beside the newest one, or was not shown for a while."""
        held = (o.checked for o in self._others.get(keys.zone, ()) if o.digest == keys.digest)
        return keys.checked - max(held, default=-math.inf) >= _RECHECK

    def _put_beside(self, keys: Keys, newest: Keys) -> None:
        """Believe a set beside the newest one of its zone, for as long as somebody shows it."""
        sets = [keys, *(o for o in self._others.get(keys.zone, ()) if o.digest != keys.digest)]
        self._others[keys.zone] = [o for o in sets if o.digest != newest.digest][: _MOST_SETS - 1]

    def _believed(self, newest: Keys) -> Keys:
        """The keys of a zone's newest set, and of those that others showed lately."""
        wall = self._wall()
        others = [
            keys
            for keys in self._others.get(newest.zone, ())
            if abs(wall - keys.checked) <= FRESH and keys.expiration >= wall - self._skew
        ]
        self._others[newest.zone] = others
        if not others:
            return newest
        keys = dict.fromkeys(key for one in (newest, *others) for key in one.rdataset)
        union = dns.rdataset.from_rdata_list(newest.rdataset.ttl, list(keys))
        return newest if len(union) == len(newest.rdataset) else replace(newest, rdataset=union)

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
        if not (good := self._good(rrset, rrsigs, trusted)):
            return None
        rdataset = dns.rdataset.from_rdata_list(rrset.ttl, list(rrset))
        return replace(
            trusted,
            rdataset=rdataset,
            inception=float(max(instant(rrsig.inception, wall) for rrsig in good)),
            expiration=float(max(instant(rrsig.expiration, wall) for rrsig in good)),
        )

    def _good(self, rrset: dns.rrset.RRset, rrsigs: Iterable[RRSIG], keys: Keys) -> list[RRSIG]:
        """The signatures of a zone over an RRset that are good, of as many as are looked at."""
        signer, wall = name_of(keys.zone), self._wall()
        return [
            rrsig
            for rrsig in itertools.islice(rrsigs, _MOST_SIGNATURES)
            if rrsig.signer == signer
            and self._signatures.examine(rrset, [rrsig], keys, wall=wall, skew=self._skew).outcome
            is Outcome.SECURE
        ]

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
        self._others.pop(zone, None)
        self._roots.pop(zone, None)
        self._publish(self.trust.insecure | {zone})

    def _publish(self, insecure: frozenset[str]) -> None:
        secure = {
            zone: self._believed(keys) for zone, keys in self._sets.items() if zone in self._watches
        }
        self.trust = Trust(secure=secure, insecure=insecure)
        self._doubting = {}


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
