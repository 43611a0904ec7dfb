"""The zones' key sets: validated from trust anchors down, and refreshed.

From the closest enclosing anchor down, each zone cut is followed: the DS records signed by the
parent, then the DNSKEY set signed by a key that a DS names (RFC 4035 5.2). Resolvers are asked for
them with CD, so that they don't validate, and every answer is verified here. DNSKEY sets that
probes see are offered too, and used if they verify against the same DS or anchor. So a zone with an
anchor of its own needs no resolver.

A set is refreshed before it expires. If that fails, the old one stays in use: keys live longer than
the signatures over them, and without keys no answer can be verified.

During a rollover servers show different sets, and each is right for its holder. So a set that was
shown lately and verifies is trusted beside the newest one. A signature by a key that is in no set
proves nothing until the server has shown its own set (server_keys.py).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
from steering.observe.dnssec.denial import Cut
from steering.observe.dnssec.keys.cautious_trust import CautiousTrust
from steering.observe.dnssec.keys.chain import (
    COPY,
    FromCopy,
    Lack,
    Resolvers,
    Unobtainable,
    dnskeys,
)
from steering.observe.dnssec.keys.delegations import Delegations
from steering.observe.dnssec.keys.key_sets import RECHECK, KeySets
from steering.observe.dnssec.keys.server_keys import Server, ServerKeys, describe
from steering.observe.dnssec.keys.verify import Verifier
from steering.observe.dnssec.keys.watch import Watch
from steering.observe.dnssec.keys.zone_entry import ZoneEntry, untrusted, usable
from steering.observe.dnssec.signatures import RRSIG, Signatures
from steering.observe.dnssec.trust import Keys, Trust, name_of, text_of
from steering.system.unreadable import HERE, Where
from steering.system.wakeup import Wakeup

LONGEST: Final = 3600.0
"""Seconds after which a set is refreshed at the latest, even with a longer TTL."""

_SHORTEST: Final = 10.0
_EARLIER_KEYS: Final = "; judged by the earlier keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProblem:
    """A problem with one zone's keys."""

    zone: str
    lack: Lack
    because: str
    since: WallTime


class KeyStore:
    """The trusted keys of the zones, and the task that refreshes them."""

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
        copy: FromCopy | None = None,
        wall: Callable[[], WallTime] = time.time,
        monotonic: Callable[[], Instant] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """`resolvers` are addresses (see `system_resolvers`); `skew` and `timeout` are in seconds.
        `port` is the resolvers', `parents_port` that of the servers of parent zones.

        `known` is another store, whose keys are taken over if it has the same anchors. `copy` gives
        what a copy of the root zone has, and is asked where no resolver answers.
        """
        self.trust = Trust()
        """All trusted keys now; replaced as a whole at each change."""
        self.anchors = anchors
        self._resolvers = Resolvers(
            resolvers, timeout=timeout, port=port, parents_port=parents_port, rng=rng, copy=copy
        )
        self._verifier = Verifier(signatures, wall, skew)
        self._wall, self._monotonic = wall, monotonic
        self._wakeup = Wakeup()
        self._sets = KeySets(wall, monotonic, skew)  # of policy zones and of those above them
        self._set_due: dict[str, Instant] = {}
        self._entries: dict[str, ZoneEntry] = {}  # what a zone's own set is verified against
        self._delegations = Delegations(self._resolvers, self._verifier, monotonic)
        self._server_keys = ServerKeys()
        self._cautious = CautiousTrust()
        self._watches: dict[str, Watch] = {}
        for zone in zones:
            name = name_of(zone)
            anchor = closest(anchors, name)
            watch = self._watches[zone] = Watch(name, due=monotonic())
            if anchor is None:
                watch.give_up(Lack.ANCHOR, "no trust anchor encloses the zone", wall())
                continue
            if name_of(anchor.zone) == name:
                self._entries[zone] = ZoneEntry(anchor=usable(anchor) or anchor, as_of=math.inf)
            if not self._resolvers:
                watch.give_up(Lack.RESOLVER, "no resolver to ask", wall())
        if known is not None and known.anchors == anchors:
            self._inherit(known)

    def _inherit(self, known: KeyStore) -> None:
        """Take over what another store has verified, with its times of refresh."""
        self._sets.copy_from(known._sets)
        self._server_keys = known._server_keys
        self._delegations.copy_from(known._delegations)
        self._set_due = dict(known._set_due)
        self._entries |= known._entries
        for zone, watch in self._watches.items():
            if (before := known._watches.get(zone)) is not None:
                watch.copy_from(before)
        self._publish(known.trust.insecure & self._watches.keys())

    def keys_for(self, zone: str) -> Keys | None:
        """A zone's validated keys; None if they are not available or the zone is unsigned."""
        return self.trust.secure.get(zone)

    def is_insecure(self, zone: str) -> bool:
        """Whether the zone is proven to be unsigned."""
        return zone in self.trust.insecure

    def lacks_keys(self, zone: str) -> bool:
        """Whether the zone's DNSKEY set is needed: none is held, and it could be verified."""
        return zone in self._entries and zone not in self.trust.secure

    @property
    def troubles(self) -> dict[str, str]:
        """Zone -> why its keys could not be refreshed at the last try."""
        return {zone: watch.trouble for zone, watch in self._watches.items() if watch.trouble}

    def wrong(self) -> tuple[KeyProblem, ...]:
        """The problems with zones' keys, and since when, for people."""
        found = [
            KeyProblem(
                zone=zone,
                lack=watch.lack,
                because=watch.trouble + (_EARLIER_KEYS if zone in self._sets.newest else ""),
                since=watch.since,
            )
            for zone, watch in self._watches.items()
            if watch.trouble
        ]
        for zone, held in self._sets.newest.items():
            digests = self._sets.digests(zone)
            servers = self._server_keys.differing(zone, digests, held.digest, self._monotonic())
            if servers:
                text = f"not all servers show the zone's keys, {held.text}: {describe(servers)}"
                since = min(one.since for one in servers)
                found.append(KeyProblem(zone=zone, lack=Lack.SERVERS, because=text, since=since))
        return tuple(sorted(found, key=lambda wrong: wrong.zone))

    def trust_for(self, zones: Iterable[str], server: Server) -> Trust:
        """The trust to judge a server's answers by. In a zone for which the server has not shown
        its own keys yet, a signature by an unknown key proves nothing.
        """
        now = self._monotonic()
        undecided = frozenset(
            zone
            for zone in zones
            if zone in self.trust.secure
            and not self._server_keys.proves(zone, server, now, self._ds_as_of(zone))
        )
        return self._cautious.within(self.trust, undecided) if undecided else self.trust

    def needs_keys_from(self, zone: str, address: str) -> bool:
        """Whether an address must be asked for a zone's keys now, before anything else.

        A true result counts as asked: the caller has to ask.
        """
        now = self._monotonic()
        wanted = self._server_keys.wanted(zone, address, now)
        if wanted:
            self._server_keys.asked(zone, address, now)
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
        """Take a DNSKEY set that a server showed, if no newer one is held; whether it verified."""
        entry = self._entries.get(zone)
        good = entry is not None and self._take(
            entry, rrset, rrsigs, interval=RECHECK, by_server=True
        )
        if server is not None and zone not in self.trust.insecure:
            self._server_keys.take(
                zone,
                server,
                keys=rrset,
                good=good,
                now=self._monotonic(),
                wall=self._wall(),
            )
        return good

    def miss(self, zone: str, server: Server | None = None) -> None:
        """A signature by a key that is not in the zone's set was seen: refresh soon."""
        watch = self._watches.get(zone)
        if watch is None:
            return
        if server is not None:
            self._server_keys.miss(zone, server, self._monotonic())
        if self._resolvers and watch.due != math.inf:
            watch.due = min(watch.due, max(self._monotonic(), watch.tried + _SHORTEST))
            self._wakeup.ring()

    async def run(self) -> None:
        """Refresh what is due, until cancelled."""
        while True:
            now = self._monotonic()
            for zone, watch in self._watches.items():
                if watch.due <= now:
                    await self.refresh(zone)
            await self._wakeup.wait(self.wake_at - self._monotonic())

    async def refresh(self, zone: str) -> None:
        """Follow one policy zone's chain now, by one resolver after the other until it is complete.

        A failure is noted and tried again later.
        """
        watch = self._watches[zone]
        watch.tried = self._monotonic()
        remaining, failed = None, list[Unobtainable]()
        for address in self._resolvers.sources:
            if address == COPY and any(why.lack is not Lack.UNREACHABLE for why in failed):
                break  # a resolver answers, and what it says is newer
            error = Unobtainable("an answer can't be read")
            with HERE.reading(Where.KEYS, lambda: self._resolvers.latest):
                try:
                    remaining = await self._chain(watch.zone, address)
                    break
                except Unobtainable as why:
                    error = why
            failed.append(error)
        if remaining is None:
            pause = watch.failed(failed, self._wall(), held=zone in self._sets.newest)
        else:
            watch.succeeded()
            pause = remaining
        watch.due = self._monotonic() + pause

    async def _chain(self, zone: dns.name.Name, resolver: str) -> Seconds:
        """Follow the chain to a zone. Returns the seconds until the next refresh."""
        enclosing = closest(self.anchors, zone)
        if enclosing is None:
            raise Unobtainable("no trust anchor encloses the zone", Lack.ANCHOR)
        anchor = usable(enclosing)
        if anchor is None:
            self._note_insecure(text_of(zone))
            return LONGEST
        apex = name_of(anchor.zone)
        keys = await self._fetch(ZoneEntry(anchor=anchor, as_of=math.inf), apex == zone, resolver)
        for depth in range(len(apex) + 1, len(zone) + 1):
            cut = zone.split(depth)[1]
            by_parent = cut == zone and self._needs_parent(text_of(cut))
            match await self._delegations.of(cut, keys, resolver, by_parent=by_parent):
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
        """The DS set to use: the one held, if the one that came is older, from a cache."""
        held = self._entries.get(entry.anchor.zone)
        if held is None or held.gives_way(entry, self._wall()):
            if held is not None and set(held.anchor.ds) != set(entry.anchor.ds):
                self._server_keys.reconsider(entry.anchor.zone)
                self._sets.outdate(entry.anchor.zone)
            self._entries[entry.anchor.zone] = held = entry
        return held

    def _ds_as_of(self, zone: str) -> Instant:
        """When the parent gave the DS set that a zone's keys are verified against."""
        entry = self._entries.get(zone)
        return -math.inf if entry is None else entry.as_of

    async def _fetch(self, entry: ZoneEntry, wanted: bool, resolver: str) -> Keys:
        """A zone's set: the one held if it is not due, unless a refresh is `wanted`."""
        zone = entry.anchor.zone
        held = self._sets.newest.get(zone)
        if held is not None and not wanted and self._set_due[zone] > self._monotonic():
            return self._sets.trusted_keys(zone)
        try:
            shown = dnskeys(await self._resolvers.ask(zone, "DNSKEY", resolver), zone)
        except Unobtainable:
            if held is None or wanted:
                raise
            return self._sets.trusted_keys(zone)
        if shown is None:
            raise Unobtainable(f"{zone} DNSKEY: {resolver} returns none")
        if not self._take(entry, *shown, interval=0.0):
            raise untrusted(entry, *shown, resolver)
        return self._sets.trusted_keys(zone)

    def _needs_parent(self, zone: str) -> bool:
        """Whether the resolvers' copy of a zone's DS set may be too old to judge a server by."""
        now, watch = self._monotonic(), self._watches.get(zone)
        if not self._delegations.may_ask_parent(zone):
            return False
        if watch is not None and watch.trouble and watch.lack is Lack.DS:
            return True
        return self._server_keys.is_undecided(zone, now, self._ds_as_of(zone))

    def _take(
        self,
        entry: ZoneEntry,
        rrset: dns.rrset.RRset,
        rrsigs: Iterable[RRSIG],
        *,
        interval: Seconds,
        by_server: bool = False,
    ) -> bool:
        """Whether a set verified. An unchanged set is noted once in `interval` seconds."""
        keys = self._verifier.key_set(entry.anchor, rrset, rrsigs)
        if keys is None:
            return False
        if self._sets.leads(keys, interval, by_server=by_server):
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
            if math.isinf(self._ds_as_of(keys.zone)):
                watch.trouble = ""
            else:  # the parent may have changed the DS set meanwhile
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
            zone: self._sets.trusted_keys(zone)
            for zone in self._sets.newest
            if zone in self._watches
        }
        self.trust = Trust(secure=secure, insecure=insecure)
        self._cautious.forget()
