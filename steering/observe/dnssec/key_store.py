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

from steering.model import Instant, Seconds, WallTime
from steering.observe.dnssec.anchors import Anchors, closest
from steering.observe.dnssec.chain import Lack, Resolvers, Unobtainable, answer_of, dnskeys
from steering.observe.dnssec.denial import Cut
from steering.observe.dnssec.key_sets import RECHECK, KeySets
from steering.observe.dnssec.server_keys import PARENT, Server, ServerKeys, told
from steering.observe.dnssec.signatures import RRSIG, Signatures
from steering.observe.dnssec.trust import Keys, Trust, name_of, text_of
from steering.observe.dnssec.verify import Verifier
from steering.observe.dnssec.zone_entry import ZoneEntry, said, untrusted, usable
from steering.system.unreadable import HERE, Where, printable
from steering.system.wakeup import Wakeup

LONGEST: Final = 3600.0
"""Seconds after which a set is looked at again, whatever its TTL allows."""

_SHORTEST: Final = 10.0
_RETRY_WITHOUT: Final = 30.0  # the longest back-off while there is no set at all
_RETRY_WITH: Final = 300.0
_LONGEST_TEXT: Final = 600
_BEFORE: Final = "; judged by the earlier keys"


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
class KeyProblem:
    """What is the matter with one zone's keys."""

    zone: str
    lack: Lack
    because: str
    since: WallTime


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
        self._verifier = Verifier(signatures, wall, skew)
        self._wall, self._monotonic = wall, monotonic
        self._bell = Wakeup()
        self._sets = KeySets(wall, monotonic, skew)  # of policy zones and of those above them
        self._set_due: dict[str, Instant] = {}
        self._entries: dict[str, ZoneEntry] = {}  # what a zone's own set is verified against
        self._parent_asked: dict[str, Instant] = {}
        self._shown = ServerKeys()
        self._doubting: dict[frozenset[str], tuple[Trust, Trust]] = {}
        self._aged: dict[str, tuple[Keys, Keys]] = {}
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
                self._entries[zone] = ZoneEntry(anchor=usable(anchor) or anchor, said=math.inf)
            if not self._resolvers:
                watch.due = math.inf
                watch.fail(Lack.RESOLVER, "no resolver to ask", wall())
        if known is not None and known.anchors == anchors:
            self._inherit(known)

    def _inherit(self, known: KeyStore) -> None:
        """Believe what another store has proved. What is due is due then, as it was."""
        self._sets.inherit(known._sets)
        self._shown = known._shown
        self._parent_asked = dict(known._parent_asked)
        self._set_due = dict(known._set_due)
        self._entries |= known._entries
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

    def lacks_keys(self, zone: str) -> bool:
        """Whether seeing the zone's DNSKEY set would help: none is held and one can be verified."""
        return zone in self._entries and zone not in self.trust.secure

    @property
    def troubles(self) -> dict[str, str]:
        """Zone -> why its keys could not be had at the last try."""
        return {zone: watch.trouble for zone, watch in self._watches.items() if watch.trouble}

    def wrong(self) -> tuple[KeyProblem, ...]:
        """What is the matter with zones' keys, and since when, for people."""
        found = [
            KeyProblem(
                zone=zone,
                lack=watch.lack,
                because=watch.trouble + (_BEFORE if zone in self._sets.newest else ""),
                since=watch.since,
            )
            for zone, watch in self._watches.items()
            if watch.trouble
        ]
        for zone, held in self._sets.newest.items():
            believed = self._sets.digests(zone)
            servers = self._shown.differing(zone, believed, held.digest, self._monotonic())
            if servers:
                text = f"not all servers show the zone's keys, {held.text}: {told(servers)}"
                since = min(one.since for one in servers)
                found.append(KeyProblem(zone=zone, lack=Lack.SERVERS, because=text, since=since))
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
                secure[zone] = self._of_long_ago(zone)
            doubting = replace(self.trust, secure=secure)
            self._doubting[doubted] = (self.trust, doubting)
        return doubting

    def _of_long_ago(self, zone: str) -> Keys:
        """A zone's keys as if nobody had shown them lately.

        Kept: by policies of hundreds of zones they are wanted after each set that is taken up.
        """
        held = self.trust.secure[zone]
        of, made = self._aged.get(zone, (None, held))
        if of is not held:
            made = replace(held, checked=-math.inf)
            self._aged[zone] = (held, made)
        return made

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
        entry = self._entries.get(zone)
        good = entry is not None and self._take(entry, rrset, rrsigs, again=RECHECK, by_server=True)
        if server is not None and zone not in self.trust.insecure:
            self._shown.take(
                zone,
                server,
                keys=rrset,
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
            most = _RETRY_WITH if zone in self._sets.newest else _RETRY_WITHOUT
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
        anchor = usable(enclosing)
        if anchor is None:
            self._note_insecure(text_of(zone))
            return LONGEST
        apex = name_of(anchor.zone)
        keys = await self._fetch(ZoneEntry(anchor=anchor, said=math.inf), apex == zone, resolver)
        for depth in range(len(apex) + 1, len(zone) + 1):
            cut = zone.split(depth)[1]
            match await self._delegation(cut, keys, resolver, last=cut == zone):
                case Cut.INSECURE:
                    self._note_insecure(text_of(zone))
                    return LONGEST
                case Cut.NONE:
                    continue
                case ZoneEntry() as below:
                    keys = await self._fetch(self._replace(below), cut == zone, resolver)
                case Cut.UNPROVEN:
                    raise Unobtainable(f"{cut}: neither DS nor a proof that there is none")
        if name_of(keys.zone) != zone:
            raise Unobtainable(f"{zone} is no zone of its own")
        return max(self._set_due[keys.zone] - self._monotonic(), _SHORTEST)

    def _replace(self, entry: ZoneEntry) -> ZoneEntry:
        """The DS set to go by: the one held, if what came is an older one out of a cache."""
        held = self._entries.get(entry.anchor.zone)
        if held is None or held.gives_way(entry, self._wall()):
            if held is not None and set(held.anchor.ds) != set(entry.anchor.ds):
                self._shown.reconsider(entry.anchor.zone)
                self._sets.outdate(entry.anchor.zone)
            self._entries[entry.anchor.zone] = held = entry
        return held

    def _said(self, zone: str) -> Instant:
        """When the parent said the DS set that a zone's keys are verified against."""
        entry = self._entries.get(zone)
        return -math.inf if entry is None else entry.said

    async def _fetch(self, entry: ZoneEntry, wanted: bool, resolver: str) -> Keys:
        """A zone's set: the one held, if it is young enough and not just what is `wanted`."""
        zone = entry.anchor.zone
        held = self._sets.newest.get(zone)
        if held is not None and not wanted and self._set_due[zone] > self._monotonic():
            return self._sets.believed(zone)
        try:
            shown = dnskeys(await self._resolvers.ask(zone, "DNSKEY", resolver), zone)
        except Unobtainable:
            if held is None or wanted:
                raise
            return self._sets.believed(zone)
        if shown is None:
            raise Unobtainable(f"{zone} DNSKEY: {resolver} gives none")
        if not self._take(entry, *shown, again=0.0):
            raise untrusted(entry, *shown, resolver)
        return self._sets.believed(zone)

    async def _delegation(
        self, cut: dns.name.Name, parent: Keys, resolver: str, *, last: bool
    ) -> ZoneEntry | Cut:
        """What the parent says of a name: its DS records, or what their absence means."""
        zone, by = text_of(cut), resolver
        message = None
        if last and self._needs_parent(zone):
            self._parent_asked[zone] = self._monotonic()
            if found := await self._resolvers.ask_parent(parent.zone, zone, "DS", resolver):
                message, by = found
            else:
                self._parent_asked[zone] -= PARENT - _SHORTEST
        if message is None:
            message = await self._resolvers.ask(zone, "DS", resolver)
        rrset, rrsigs = answer_of(message, cut, dns.rdatatype.DS)
        if rrset is not None:
            if self._verifier.require(rrset, rrsigs, parent) is not None:
                raise Unobtainable(f"{cut} DS: made from a wildcard")
            if not (good := self._verifier.good(rrset, rrsigs, parent)):
                raise Unobtainable(f"{cut} DS: too many signatures")
            entry = said(rrset, good, by, self._monotonic(), self._wall())
            return Cut.INSECURE if entry is None else entry
        alias, rrsigs = answer_of(message, cut, dns.rdatatype.CNAME)
        if alias is not None:  # no other records stand beside it (RFC 2181 10.1), so no cut does
            made = self._verifier.require(alias, rrsigs, parent)
            missing = made is not None and self._verifier.proof(message, parent).not_closer(
                cut, made
            )
            return Cut.UNPROVEN if missing else Cut.NONE
        proof = self._verifier.proof(message, parent)
        return Cut.INSECURE if proof.beyond_reach else proof.no_ds(cut)

    def _needs_parent(self, zone: str) -> bool:
        """Whether what resolvers hold of a zone's DS set may be too old to judge a server by."""
        now, watch = self._monotonic(), self._watches.get(zone)
        if now - self._parent_asked.get(zone, -math.inf) < PARENT:
            return False
        if watch is not None and watch.trouble and watch.lack is Lack.DS:
            return True
        return self._shown.doubts(zone, now, self._said(zone))

    def _take(
        self,
        entry: ZoneEntry,
        rrset: dns.rrset.RRset,
        rrsigs: Iterable[RRSIG],
        *,
        again: Seconds,
        by_server: bool = False,
    ) -> bool:
        """Whether a set verified. An unchanged one is noted once in `again` seconds."""
        keys = self._verifier.key_set(entry.anchor, rrset, rrsigs)
        if keys is None:
            return False
        if self._sets.leads(keys, again, by_server=by_server):
            self._sets.lead(keys)
            self._adopt(keys, rrset.ttl)
        elif self._sets.put_beside(keys):
            self._publish(self.trust.insecure)
        return True

    def _adopt(self, keys: Keys, ttl: Seconds) -> None:
        remaining = keys.expiration - self._wall()
        pause = max(min(ttl, LONGEST, remaining / 2), _SHORTEST)
        self._set_due[keys.zone] = due = self._monotonic() + pause
        if keys.zone in self._watches:
            watch = self._watches[keys.zone]
            if math.isinf(self._said(keys.zone)):
                watch.trouble = ""
            else:  # no server can tell what the parent says by now
                due = min(due, max(watch.tried + LONGEST, self._monotonic() + _SHORTEST))
                if watch.trouble and watch.lack is Lack.UNREACHABLE:
                    due = watch.due
                else:
                    watch.trouble = ""
            if watch.due != math.inf:
                watch.due = due
            self._publish(self.trust.insecure - {keys.zone})

    def _note_insecure(self, zone: str) -> None:
        self._sets.forget(zone)
        self._entries.pop(zone, None)
        self._publish(self.trust.insecure | {zone})

    def _publish(self, insecure: frozenset[str]) -> None:
        secure = {
            zone: self._sets.believed(zone) for zone in self._sets.newest if zone in self._watches
        }
        self.trust = Trust(secure=secure, insecure=insecure)
        self._doubting = {}
