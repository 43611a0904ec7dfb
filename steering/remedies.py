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
"""Alarm -> the alarms that can be its cause. While one of them lasts, it is shown under that one
and is not raised itself: one cause, one alarm."""

REMEDIES: Mapping[str, str] = {
    "clock": "compare `date -u` with another clock; see `timedatectl` or `chronyc tracking`",
    "self": "check what they share here: uplink, firewall, a DNS proxy on the path",
    "everywhere": "no detour helps; serve-stale or a negative trust anchor in the resolvers may",
    "unproven": "`steering explain ADDRESS` shows what each site lacks, `check --sites` why",
    "uncompared": "probe a site: docs/connecting-a-site.md, `steering check --sites`",
    "unwatched": "give this host a route of that family, or remove these policies",
    "intercepted": "look for a DNS proxy on the uplink: `dig +nsid +norec @ADDRESS . SOA`",
    "damped": "find out what flaps; an override moves them in spite of it",
    "budget": "the limits are `budget` in the configuration and `steer.at_most` in the policy",
    "override": "if it is no longer wanted: `steering override remove NAME`",
    "zone_late": "compare `date -u` with another clock, then tell the operator",
    "unanswered": "if none does, take it out of `resolver_sources`",
    "kernel": "`ip rule` and `ip route show table all proto 53` show what is installed",
    "bgp": "docs/bgp.md explains the messages; routes in the kernel do not depend on it",
    "config": "`steering check` prints every problem; corrected files are taken up automatically",
    "config_held": "`steering reload` shows it and asks for approval; or correct the files",
    "state": "check the disk of `state` (`df`, `dmesg`); the agent goes on without it",
    "journal": "check the disk of `state`; the agent goes on without it",
    "sources": "correct `resolver_sources`",
    "log": "find out which program should read the events: `journalctl -u steering`",
    "dnstap": "see the resolver's page in docs/resolvers; probes go on without it",
    "copy_stale": "find out why the resolver takes no new copy: its log, `steering explain NAME`",
    "copy_failing": "take it out by hand: the resolver's page in docs/resolvers has the commands",
    "copy_out": "nothing, if a new copy is on its way; `steering explain NAME` says what it lacks",
    "copy_stuck": "try the command by hand, as the agent's user; docs/copies.md explains it",
    "copy_forwarder": "find out why the forwarder fails: its log; the resolver is in order",
    "status": "find out which program has the port: `ss -lntp`; `steering status` does not need it",
    "notify": "`steering notify --send` tries them; addresses instead of names need no resolver",
    "flush": "run the command by hand: docs/operations.md#flushing",
    "rootzone": "`steering rootzone status` shows the sources; docs/rootzone.md explains them",
    "off": "`steering on` ends it",
}
"""Alarm -> what to do, for alarms whose own text does not end with that."""

KEYS: Mapping[str, str] = {
    "anchor": "add one to `trust_anchors`, or remove that key to use the root's",
    "resolver": "list some in `resolvers`, or in /etc/resolv.conf",
    "unreachable": "do the `resolvers` answer DNSKEY and DS with CD set?",
    "chain": (
        "compare `dig +cd +dnssec ZONE DS` of the `resolvers` with that of the parent's servers:"
        " does one of them leave signatures out, or is the parent badly signed?"
    ),
    "ds": (
        "compare `dig +cd ZONE DS` of the `resolvers` with that of the parent's servers: where it"
        " is an old one, flush it there; else tell the zone's operator that DS and DNSKEY do not"
        " match"
    ),
    "signature": (
        "compare `dig +cd +dnssec ZONE DNSKEY` of the `resolvers` with that of the zone's servers:"
        " where it is an old one, flush it there; else tell the zone's operator"
    ),
    "algorithm": "`update-crypto-policies` or the FIPS mode of this host forbids it",
    "sources": (
        "the `resolvers` give different answers: flush those that are behind, or remove them"
    ),
    "servers": (
        "tell the zone's operator which servers these are; servers with untrusted keys count as bad"
    ),
}
"""What is wrong with a zone's keys (`observe.dnssec.keys.chain.Lack`) -> what to do."""


def cause_of(name: str, there: Collection[str]) -> str | None:
    """The alarm that this one follows from, of those that are raised."""
    return next((cause for cause in FOLLOW.get(name, ()) if cause in there), None)


def with_remedy(name: str, text: str) -> str:
    """What is wrong, and what to do about it."""
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
"""Alarms about addresses of policies; the others are about this host, a site, a file."""
