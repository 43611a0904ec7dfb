"""What to do about each alarm, and which follow from another one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

FOLLOW: Mapping[str, tuple[str, ...]] = {
    "self": ("clock",),
    "everywhere": ("clock",),
    "unproven": ("clock",),
    "uncompared": ("clock",),
    "keys": ("clock", "self"),
}
"""Alarm -> those that it is a consequence of. While one of them lasts, it is shown under that one,
and is none of its own: one cause, one alarm."""

REMEDIES: Mapping[str, str] = {
    "clock": "compare `date -u` with another clock; see `timedatectl` or `chronyc tracking`",
    "self": "look for what they share here: uplink, firewall, a DNS proxy on the way",
    "everywhere": "nothing here helps but serve-stale or a negative trust anchor in the resolvers",
    "unproven": "`steering explain ADDRESS` says what each site lacks; `check --sites` why",
    "uncompared": "a site has to be asked: docs/connecting-a-site.md, `steering check --sites`",
    "unwatched": "give this host a route of that family, or take these policies out",
    "intercepted": "look for a DNS proxy on the uplink: `dig +nsid +norec @ADDRESS . SOA`",
    "damped": "find out what flaps; an override moves them all the same",
    "budget": "`budget` in the configuration and `steer.at_most` in the policy hold them back",
    "override": "if it is no longer wanted: `steering override remove NAME`",
    "zone_late": "compare `date -u` with another clock, then tell the operator",
    "unanswered": "if none does, take it out of `resolver_sources`",
    "kernel": "`ip rule` and `ip route show table all proto 53` have what is there",
    "bgp": "docs/bgp.md has the messages; the kernel is served all the same",
    "config": "`steering check` prints every problem; mended files are taken up by themselves",
    "config_held": "`steering reload` shows it and lets it pass, or put the files right",
    "state": "look at the disk of `state` (`df`, `dmesg`); the agent goes on without it",
    "journal": "look at the disk of `state`; the agent goes on without it",
    "sources": "put `resolver_sources` right",
    "log": "find out who should read the events: `journalctl -u steering`",
    "dnstap": "see the resolver's page in docs/resolvers; probes go on without it",
    "status": "find out who has the port: `ss -lntp`; `steering status` does not need it",
    "off": "`steering on` when that is over",
}
"""Alarm -> what to do, where its own text does not end with that."""

KEYS: Mapping[str, str] = {
    "anchor": "put one into `trust_anchors`, or leave that out for the root's",
    "resolver": "list some in `resolvers`, or in /etc/resolv.conf",
    "unreachable": "do the `resolvers` answer DNSKEY and DS with CD set?",
    "chain": (
        "compare `dig +cd +dnssec ZONE DS` of the `resolvers` with that of the parent's servers:"
        " does one of them leave signatures out, or is the parent badly signed?"
    ),
    "ds": (
        "compare `dig +cd ZONE DS` of the `resolvers` with that of the parent's servers: where it"
        " is an old one, flush it there; else tell the zone's operator that DS and DNSKEY do not"
        " fit"
    ),
    "signature": (
        "compare `dig +cd +dnssec ZONE DNSKEY` of the `resolvers` with that of the zone's servers:"
        " where it is an old one, flush it there; else tell the zone's operator"
    ),
    "algorithm": "`update-crypto-policies` or the FIPS mode of this host forbids it",
    "sources": (
        "the `resolvers` say different things: flush those that are behind, or take them out"
    ),
    "servers": (
        "tell the zone's operator which servers these are; those whose keys nobody trusts are held"
        " for bad"
    ),
}
"""What is the matter with a zone's keys (`observe.resolve.Lack`) -> what to do."""


def cause_of(name: str, there: Collection[str]) -> str | None:
    """The alarm that this one follows from, of those that are there."""
    return next((cause for cause in FOLLOW.get(name, ()) if cause in there), None)


def with_remedy(name: str, text: str) -> str:
    """What is the matter, and what to do about it."""
    remedy = REMEDIES.get(name)
    return f"{text.removesuffix('.')}. To do: {remedy}" if remedy else text


EVERY_ALARM: frozenset[str] = frozenset(REMEDIES) | {
    *("marked", "reach", "forwarded", "unserved", "capacity", "bypassed"),
    *("unasked", "pins", "return", "keys"),
}
"""All alarms: those above, and those whose own text ends with what to do."""

OF_ADDRESSES: frozenset[str] = frozenset(
    (
        *("self", "marked", "everywhere", "unproven", "uncompared", "intercepted", "damped"),
        *("budget", "zone_late", "override", "unserved", "unwatched"),
    )
)
"""Those that are about addresses of policies; the others are about this host, a site, a file."""
